"""Method "gaussian": a point estimate plus correlated Gaussian noise.

The point estimate is chosen as that of method "dressed". The noise has the spectrum of its
out-of-fold residual, its smoothed map of local standard deviations, and its correlation from one
time step to the next. Fitted in seconds, without torch. It is what any calibrated noise reaches: a
network that draws structure has to beat it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xdownscale.config import DownscalerConfig, check_kinds
from xdownscale.methods._statistical import (
    Records,
    StatisticalMethod,
    StatisticalSampler,
    check_point_estimate,
    describe_means,
    means_state,
    predict_means,
    read_means,
    shape_of,
)
from xdownscale.methods.base import Floats, Trained
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.sampling.request import Conditions, SampleRequest
from xdownscale.models.statistical import Gaussian
from xdownscale.models.statistical.choice import MeanModel
from xdownscale.models.statistical.predictors import prefixed, under


@dataclass(frozen=True, kw_only=True)
class GaussianOptions:
    """Options of method "gaussian".

    Attributes
    ----------
    mean : str
        Point estimate: ``"driver"``, ``"bias"``, ``"quantile_mapping"`` or ``"ridge"``; ``"auto"``
        chooses among the first two and the last by held-out error.
    latent : bool
        As for method "dressed".
    """

    mean: str = "auto"
    latent: bool = False

    def __post_init__(self) -> None:
        check_point_estimate(self.mean)
        check_kinds(self)


class GaussianNoise(StatisticalMethod):
    """Point estimate plus correlated Gaussian noise."""

    name = "gaussian"
    summary = "Ridge regression or bias per cell, plus correlated Gaussian noise; seconds"
    options = GaussianOptions

    def fit(self, records: Records, options: GaussianOptions) -> Trained:
        """Choose and fit the point estimate, and measure its out-of-fold residual."""
        points = records.point_estimates(options.mean, options.latent)
        noise = Gaussian.fit(
            points.out_of_fold,
            points.fine,
            records.following,
            known=records.fine,
            censored=records.censored,
        )
        state = means_state(points.choices, records.shape)
        return Trained(state=state | prefixed(noise.to_state(), "noise"))

    def load(
        self, state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes, device: str
    ) -> GaussianSampler:
        """Return a sampler of a trained state; the device does not matter."""
        noise = under(state, "noise")
        shape = shape_of(state)
        return GaussianSampler(
            read_means(state, sizes), Gaussian.from_state(noise, sizes.targets, shape)
        )

    def describe(self, config: DownscalerConfig, state: Mapping[str, Floats]) -> str:
        """Say which point estimate was chosen, and how long noise is remembered."""
        rho = float(state["noise.rho"][0])
        return f"{describe_means(state)}, noise with a correlation of {rho:.2f} to the next step"


@dataclass(frozen=True)
class GaussianSampler(StatisticalSampler):
    """Adds Gaussian noise to point estimates."""

    means: list[MeanModel]
    noise: Gaussian

    def prepare(self, known: Conditions, item: int) -> Floats:
        """Return the point estimate of a time step."""
        return predict_means(self.means, known, item)

    def mean(self, given: Floats) -> Floats:
        """Return the point estimate, or the mean of all members of a censored record."""
        return self.noise.mean(given)

    def member(self, given: Floats, request: SampleRequest, realization: int, key: int) -> Floats:
        """Return the point estimate plus noise, cut from that of the whole domain."""
        return self.noise.member(
            given,
            request.seed,
            realization,
            key,
            step=request.step,
            corner=request.corner,
            domain=request.domain,
        )
