"""Method "dressed": a point estimate plus residual fields of similar training times.

1. The point estimate of each target is chosen by its error on six held-out blocks of time: the
   interpolated driver, the same with a bias per cell, or ridge regression on the coarse cells of
   all drivers.
2. Its residual at every training time is that of a fit that did not see the time's block.
3. A member adds the residual field of one of the k training times whose predictions are nearest in
   6 principal components; k has the smallest CRPS with residuals from other blocks.
4. Of records with many zeros, such as rain, members are mapped to the distribution of the known
   values: as many dry ones, as much drizzle.

Fitted in seconds, without torch. It is what a network has to beat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xdownscale.config import DownscalerConfig, check_kinds
from xdownscale.core.errors import check_whole
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
from xdownscale.models.statistical import Dressing
from xdownscale.models.statistical.choice import MeanModel
from xdownscale.models.statistical.dressing import Similar
from xdownscale.models.statistical.predictors import prefixed, under


@dataclass(frozen=True, kw_only=True)
class DressedOptions:
    """Options of method "dressed".

    Attributes
    ----------
    mean : str
        Point estimate: ``"driver"``, ``"bias"``, ``"quantile_mapping"`` or ``"ridge"``; ``"auto"``
        chooses among the first two and the last by held-out error.
    neighbours : int or None
        Training times that residuals are taken from; None chooses their number by CRPS.
    latent : bool
        Where many values equal the smallest one (dry days), fit the point estimate to latent values
        below it, by the EM algorithm: better where the record is a Gaussian that is cut, worse on
        the rain that it was tried on.
    """

    mean: str = "auto"
    neighbours: int | None = None
    latent: bool = False

    def __post_init__(self) -> None:
        check_point_estimate(self.mean)
        if self.neighbours is not None:
            check_whole("neighbours", self.neighbours, least=1)
        check_kinds(self)


class Dressed(StatisticalMethod):
    """Point estimate plus residual fields of similar training times."""

    name = "dressed"
    summary = "Ridge regression or bias per cell, plus residual fields of similar days; seconds"
    options = DressedOptions

    def fit(self, records: Records, options: DressedOptions) -> Trained:
        """Choose and fit the point estimate, and keep its out-of-fold residuals."""
        points = records.point_estimates(options.mean, options.latent)
        dressing = Dressing.fit(
            points.out_of_fold,
            points.fine,
            options.neighbours,
            known=records.fine,
            censored=records.censored,
        )
        state = means_state(points.choices, records.shape)
        return Trained(state=state | prefixed(dressing.to_state(), "dressing"))

    def load(
        self, state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes, device: str
    ) -> DressedSampler:
        """Return a sampler of a trained state; the device does not matter."""
        dressing = under(state, "dressing")
        shape = shape_of(state)
        return DressedSampler(
            read_means(state, sizes), Dressing.from_state(dressing, sizes.targets, shape)
        )

    def describe(self, config: DownscalerConfig, state: Mapping[str, Floats]) -> str:
        """Say which point estimate was chosen, and how many residual fields."""
        count = int(state["dressing.neighbours"][0])
        every = len(state["dressing.residuals"])
        return f"{describe_means(state)}, residuals of {count} of {every} time steps"


@dataclass(frozen=True)
class DressedSampler(StatisticalSampler):
    """Adds residual fields to point estimates."""

    means: list[MeanModel]
    dressing: Dressing

    def prepare(self, known: Conditions, item: int) -> Similar:
        """Return the point estimate of a time step and the training times like it."""
        return self.dressing.similar(predict_means(self.means, known, item))

    def mean(self, given: Similar) -> Floats:
        """Return the point estimate, or the mean of all members of a censored record."""
        return self.dressing.mean(given)

    def member(self, given: Similar, request: SampleRequest, realization: int, key: int) -> Floats:
        """Return the point estimate plus the residual of one of those times."""
        return self.dressing.member(given, request.seed, realization, key)
