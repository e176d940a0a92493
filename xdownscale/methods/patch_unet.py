"""Method "patch_unet": regression of the fine field, patch by patch, deterministic.

The paper's "Large U-Net" (arXiv 2512.05139), whose code is not public: inputs, networks, patches
and training of method "diffusion", without noise. The noisy field and the step of the chain are
held at 0, so that both methods have the same weights and differ by the noise alone. The loss is the
mean absolute error, of which the conditional median is the best estimate: smoother than any true
field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from xdownscale.config import DownscalerConfig
from xdownscale.methods._patches import COVERING, PATCHES
from xdownscale.methods.base import Method
from xdownscale.methods.paper_diffusion import NETWORK, PaperDiffusion

if TYPE_CHECKING:
    from xdownscale.models.networks.unet import Networks
    from xdownscale.models.sampling.chain import ChainSampler


class PatchUNet(PaperDiffusion):
    """Regression of the fine field, patch by patch, given the fine fields before it."""

    name = "patch_unet"
    summary = "Regression of the field, patch by patch; no ensemble (arXiv 2512.05139)"
    samplers = ()
    uses: ClassVar[Mapping[str, frozenset[str]]] = {
        "data": PATCHES,
        "network": NETWORK,
        "diffusion": frozenset({"loss"}),
        "sampling": COVERING,
    }

    def is_stochastic(self, config: DownscalerConfig) -> bool:
        """Return False: it gives one field."""
        return False

    def check(self, config: DownscalerConfig) -> None:
        """Check nothing of the chain: there is none."""
        Method.check(self, config)

    def task(self, config: DownscalerConfig, **options: Any) -> Any:
        """Return the regression on patches."""
        from xdownscale.models.training.tasks import RegressPatch

        return RegressPatch(name="regress", **options)

    def sampler(self, networks: Networks) -> ChainSampler:
        """Return a sampler that evaluates the networks once."""
        from xdownscale.models.sampling.chain import ChainSampler

        return ChainSampler(networks, regression=True)
