"""Method "analogues": fine fields of the training times with the most similar coarse fields.

Similarity is the distance of standardised principal components of the coarse fields of the window,
and of the season. A member is the fine field of one of the k nearest training times, or the
interpolated driver plus the driver's error at that time: whichever, with k and the number of
components, has the smallest CRPS with members from other blocks of time. Fitted in seconds,
without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from xdownscale.config import DownscalerConfig
from xdownscale.core.errors import check_option, check_whole
from xdownscale.methods._statistical import (
    Records,
    StatisticalMethod,
    StatisticalSampler,
    drivers,
    shape_of,
)
from xdownscale.methods.base import Floats, Trained
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.sampling.request import Conditions, SampleRequest
from xdownscale.models.statistical import Analogues
from xdownscale.models.statistical.analogues import KINDS
from xdownscale.models.statistical.predictors import prefixed, under
from xdownscale.models.training.data import Rows


@dataclass(frozen=True, kw_only=True)
class AnaloguesOptions:
    """Options of method "analogues".

    Attributes
    ----------
    neighbours : int or None
        Training times that members are taken from; None chooses their number by CRPS.
    components : int or None
        Principal components by which they are found; None chooses 4, 8 or 16 by CRPS.
    kind : str
        ``"field"``: a member is a fine field of the past. ``"error"``: it is the interpolated
        driver, plus the driver's error then. ``"auto"`` chooses by CRPS.
    """

    neighbours: int | None = None
    components: int | None = None
    kind: str = "auto"

    def __post_init__(self) -> None:
        check_option("kind", self.kind, ("auto", *KINDS))
        for name in ("neighbours", "components"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), least=1)


class AnalogueMethod(StatisticalMethod):
    """Fine fields of similar training times."""

    name = "analogues"
    summary = "Fine fields of the training days with the most similar coarse fields; seconds"
    options = AnaloguesOptions

    def fit(self, records: Records, options: AnaloguesOptions) -> Trained:
        """Keep the training times, and choose how many of them are taken."""
        first = records.predictors[0]
        found = Analogues.fit(
            first.coarse,
            first.calendar,
            records.driver,
            records.fine,
            neighbours=options.neighbours,
            components=options.components,
            kind=None if options.kind == "auto" else options.kind,
            censored=records.censored,
        )
        shape = {"shape": np.array(records.shape, np.float32)}
        return Trained(state=shape | prefixed(found.to_state(), "analogues"))

    def load(
        self, state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes, device: str
    ) -> AnalogueSampler:
        """Return a sampler of a trained state; the device does not matter."""
        own = under(state, "analogues")
        found = Analogues.from_state(own, sizes.targets, sizes.calendar, shape_of(state))
        return AnalogueSampler(found)

    def describe(self, config: DownscalerConfig, state: Mapping[str, Floats]) -> str:
        """Say how many training times are taken, and how they are found."""
        count, kind = state["analogues.about"].astype(int).tolist()
        every = len(state["analogues.fields"])
        width = state["analogues.components.vectors"].shape[1]
        what = "fields" if KINDS[kind] == "field" else "errors of the interpolated driver"
        return f"{what} of {count} of {every} time steps, by {width} principal components"


class _Found(NamedTuple):
    near: Rows  # training times
    driver: Floats  # (target, y, x)


@dataclass(frozen=True)
class AnalogueSampler(StatisticalSampler):
    """Takes fields of training times."""

    analogues: Analogues

    def prepare(self, known: Conditions, item: int) -> _Found:
        """Return the most similar training times of a time step."""
        near = self.analogues.similar(known.coarse_window[item], known.calendar[item])
        return _Found(near, drivers(known, item))

    def mean(self, given: _Found) -> Floats:
        """Return the mean of all members."""
        return self.analogues.mean(given.near, given.driver)

    def member(self, given: _Found, request: SampleRequest, realization: int, key: int) -> Floats:
        """Return the field of one of those times."""
        return self.analogues.member(given.near, given.driver, request.seed, realization, key)
