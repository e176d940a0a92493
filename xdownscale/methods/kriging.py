"""Method "kriging": area-to-point kriging of the coarse field, and conditional simulation.

The mean is the fine field whose averages over coarse cells are the coarse field, kriged with the
variogram of the fine record; static fields or the mean fine field may be its trend. Members add a
Gaussian field with that variogram less what is kriged from its own averages: their averages are the
coarse field too, and their variance is the kriging variance. All of this holds in scaled,
transformed units, to the rounding of float32. Fitted in seconds, without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xdownscale.config import DownscalerConfig
from xdownscale.core.errors import DataError
from xdownscale.methods._statistical import Records, StatisticalMethod, shape_of
from xdownscale.methods.base import Floats, State, Trained
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.sampling.request import Conditions, SampleRequest
from xdownscale.models.statistical import Marginal
from xdownscale.models.statistical.conditional import ConditionalSimulation, KrigingOptions
from xdownscale.models.statistical.ensembles import Judge, lower_bounds
from xdownscale.models.statistical.marginal import marginal_state, read_marginal
from xdownscale.models.statistical.predictors import Array, entry, floats, prefixed, under

_MEMBERS = 2  # of a time step, by which the distribution of members is found
_CELLS = 2048  # by which it is found


class Kriging(StatisticalMethod):
    """Area-to-point kriging, and conditional simulation of its error."""

    name = "kriging"
    summary = "Area-to-point kriging of the coarse field, conditional simulation; seconds"
    options = KrigingOptions
    uses: ClassVar[Mapping[str, frozenset[str]]] = {
        "data": frozenset({"blend"}),
        "sampling": frozenset({"sampler"}),
    }

    def window(self, config: DownscalerConfig) -> tuple[int, int]:
        """Return 0 and 0: kriging sees the coarse field of the target alone."""
        return 0, 0

    def fit(self, records: Records, options: KrigingOptions) -> Trained:
        """Fit trend and variogram of each target, and solve for the kriging weights."""
        if records.blocks is None or min(records.own) < 0:
            raise DataError(
                "Kriging needs the coarse field of every fine variable, as its averages are what "
                "is kept; a variable has none of its own. Name it with drivers={...}, or leave the "
                "variable out."
            )
        blocks = records.blocks()
        targets = [
            ConditionalSimulation.fit(
                blocks,
                records.predictors[k].coarse[:, 0, own],
                records.fine[:, k],
                options,
                records.static,
                records.following,
            )
            for k, own in enumerate(records.own)
        ]
        sampler = KrigingSampler(targets, np.eye(len(targets)), lower_bounds(records.fine), None)
        kriged = sampler.kriged(records)
        sampler = sampler.mixed(records.fine - kriged)
        return Trained(state=sampler.with_marginal(records, kriged).to_state())

    def load(
        self, state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes, device: str
    ) -> KrigingSampler:
        """Return a sampler of a trained state; the device does not matter."""
        shape = shape_of(state)
        count = sizes.targets
        return KrigingSampler(
            [
                ConditionalSimulation.from_state(under(state, f"target.{k}"), shape)
                for k in range(count)
            ],
            entry(state, "mixing", (count, count)).astype(np.float64),
            entry(state, "bounds", (count,), unbounded=True),
            read_marginal(state, count),
        )

    def describe(self, config: DownscalerConfig, state: Mapping[str, Floats]) -> str:
        """Say which trend and variogram were fitted."""
        said: list[str] = []
        shape = shape_of(state)
        while f"target.{len(said)}.trend" in state:
            own = ConditionalSimulation.from_state(under(state, f"target.{len(said)}"), shape)
            found = own.field.variogram
            said.append(
                f"trend {own.trend}, {found.model} variogram of range {found.effective_range:.0f} "
                f"km, sill {found.sill:.3g}, nugget {found.nugget:.2g} (scaled units)"
            )
        return "; ".join(said)


@dataclass(frozen=True)
class KrigingSampler:
    """Krige coarse fields, and add conditioned random fields.

    Attributes
    ----------
    targets : list of ConditionalSimulation
    mixing : ndarray (target, target)
        Shares of independent noises in each target's; rows have squares that sum to 1.
    bounds : ndarray (target,)
        Members are raised to these, such as no rain; -inf for none.
    marginal : Marginal or None
        Maps members of censored targets; None where none is.
    """

    targets: list[ConditionalSimulation]
    mixing: Array
    bounds: Floats
    marginal: Marginal | None

    def sample(self, request: SampleRequest) -> Floats:
        """Return fields (realization, n, target, y, x) in scaled units."""
        known = request.conditions
        count = len(known.keys)
        means = [self.predict(known, item) for item in range(count)]
        if request.config.sampling.sampler == "mean":
            fields = np.stack([self.mean(mean) for mean in means])
        else:
            fields = self._members(request, means)
        return fields.reshape(-1, count, *fields.shape[1:])

    def predict(self, known: Conditions, item: int) -> Floats:
        """Return the kriged fields (target, y, x) of a time step."""
        coarse = known.coarse_window[item, 0]
        pairs = zip(self.targets, known.own, strict=True)
        return np.stack([target.predict(coarse[own]) for target, own in pairs])

    def mean(self, kriged: Floats) -> Floats:
        """Return the kriged fields, or the mean of all members of a censored record."""
        if self.marginal is None:
            return floats(kriged)
        sd = [np.sqrt(target.variance).reshape(target.shape) for target in self.targets]
        return self.marginal.expected(kriged, np.stack(sd))

    def _members(self, request: SampleRequest, means: list[Floats]) -> Floats:
        """Return members (fields, target, y, x) in the order of the request."""
        wanted = request.fields()
        out = np.empty((len(wanted), *means[0].shape), np.float32)
        for realization in dict.fromkeys(number for number, _ in wanted):
            rows = [row for row, (number, _) in enumerate(wanted) if number == realization]
            items = [wanted[row][1] for row in rows]
            keys = [int(request.conditions.keys[item]) for item in items]
            errors = self._errors(
                request.seed,
                realization,
                keys,
                step=request.step,
                corner=request.corner,
                domain=request.domain,
            )
            for row, item, error in zip(rows, items, errors, strict=True):
                out[row] = self._bounded(means[item] + error)
        return out

    def _errors(
        self,
        seed: int,
        realization: int,
        keys: list[int],
        *,
        step: int = 0,
        corner: tuple[int, int] = (0, 0),
        domain: tuple[int, int] | None = None,
    ) -> Floats:
        """Return what members add to the kriged fields (n, target, y, x)."""
        fields = [
            target.error(
                seed, realization, keys, step=step, mix=mix.tolist(), corner=corner, domain=domain
            )
            for target, mix in zip(self.targets, self.mixing, strict=True)
        ]
        return np.stack(fields, axis=1)

    def _bounded(self, fields: Floats) -> Floats:
        """Map censored targets, and raise fields (target, y, x) to their bounds."""
        if self.marginal is not None:
            fields = self.marginal.apply(fields)
        return np.asarray(np.maximum(fields, self.bounds[:, None, None]), np.float32)

    # Fitting

    def kriged(self, records: Records) -> Floats:
        """Return the kriged fields (n, target, y, x) of the known time steps."""
        fields = [
            [target.predict(day) for day in records.predictors[k].coarse[:, 0, own]]
            for k, (target, own) in enumerate(zip(self.targets, records.own, strict=True))
        ]
        return np.stack([np.array(each, np.float32) for each in fields], axis=1)

    def mixed(self, errors: Floats) -> KrigingSampler:
        """Return a sampler whose noises are correlated as the errors of the targets are."""
        count = len(self.targets)
        found = np.eye(count)
        for one in range(count):
            for other in range(one):
                known = np.isfinite(errors[:, one] * errors[:, other])
                pair = [errors[:, k][known].astype(np.float64) for k in (one, other)]
                below = float(np.sqrt(np.square(pair[0]).sum() * np.square(pair[1]).sum()))
                share = float((pair[0] * pair[1]).sum()) / below if below > 0 else 0.0
                found[one, other] = found[other, one] = share
        # positive definite, also for equal targets
        factor = np.linalg.cholesky(0.999 * found + 0.001 * np.eye(count))
        return KrigingSampler(self.targets, factor, self.bounds, self.marginal)

    def with_marginal(self, records: Records, kriged: Floats) -> KrigingSampler:
        """Return a sampler whose members have the distribution of the known values, if censored."""
        if not any(records.censored):
            return self
        judge = Judge.of(records.fine, self.bounds, _CELLS)
        members = [
            [
                (kriged[day] + self._errors(0, number, [int(day)])[0]).ravel()[judge.cells]
                for day in judge.days
            ]
            for number in range(_MEMBERS)
        ]
        truth = judge.truth[judge.days]
        marginal = Marginal.fit(np.array(members), truth, judge.target, records.censored)
        return KrigingSampler(self.targets, self.mixing, self.bounds, marginal)

    def to_state(self) -> State:
        """Return arrays, as they are saved."""
        state = {
            "shape": floats(self.targets[0].shape),
            "mixing": floats(self.mixing),
            "bounds": floats(self.bounds),
            **marginal_state(self.marginal),
        }
        for k, target in enumerate(self.targets):
            state |= prefixed(target.to_state(), f"target.{k}")
        return state
