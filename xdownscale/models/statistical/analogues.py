"""Members from the fine fields of the training times with the most similar coarse fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from xdownscale.core.blas import one_thread
from xdownscale.models.statistical.ensembles import (
    Components,
    Judge,
    filled_along_time,
    keyed_choice,
    lower_bounds,
    nearest,
)
from xdownscale.models.statistical.marginal import (
    Censored,
    Marginal,
    marginal_state,
    read_marginal,
)
from xdownscale.models.statistical.predictors import (
    Array,
    Floats,
    State,
    check_days,
    entry,
    floats,
    prefixed,
    under,
    whole_entry,
)

NEEDED = 12
_MEMBERS = 8  # of a time step, by which the distribution of members is found
_CELLS = 2048  # by which it is found
_TOP = 0.8  # errors have a tail of their own
COMPONENTS = (4, 8, 16)
SEASON = 2.0  # of the calendar's numbers, beside scores of standard deviation 1
KINDS = ("field", "error")


@dataclass(frozen=True)
class Analogues:
    """Fine fields of the training times whose coarse fields and season are most similar.

    A member is the fine field of one of the k most similar training times (Zorita and von Storch
    1999), or the interpolated driver of the time step plus the driver's error at that time.

    Attributes
    ----------
    components : Components
        Of standardised coarse fields; their scores have standard deviation 1.
    scores : ndarray (n, q + c)
        Of the training times, and their calendar.
    fields : ndarray (n, target, y, x)
        What a member is made of.
    kind : {"field", "error"}
        Whether `fields` are fine fields, or errors of the interpolated driver.
    neighbours : int
        k.
    bounds : ndarray (target,)
        Members are raised to these, such as no rain; -inf for none.
    marginal : Marginal or None
        Maps members of kind ``"error"`` of censored targets; None where none is.

    References
    ----------
    Zorita and von Storch (1999), doi:10.1175/1520-0442(1999)012<2474:TAMAAS>2.0.CO;2.
    """

    components: Components
    scores: Floats
    fields: Floats
    kind: str
    neighbours: int
    bounds: Floats
    marginal: Marginal | None = None

    @classmethod
    @one_thread("fine")
    def fit(
        cls,
        coarse: Array,
        calendar: Array,
        driver: Array,
        fine: Array,
        *,
        neighbours: int | None = None,
        components: int | None = None,
        kind: str | None = None,
        censored: Censored = (),
    ) -> Analogues:
        """Keep the training times; choose what is not given by CRPS, see `Judge`.

        Parameters
        ----------
        coarse : ndarray (n, ...)
            Coarse fields of n time steps in chronological order; no NaN.
        calendar : ndarray (n, c)
            Numbers that tell the season.
        driver : ndarray (n, target, y, x)
            Interpolated driver of each target; zeros where it has none.
        fine : ndarray (n, target, y, x)
            Fine fields; NaN where missing: taken from the nearest time step that has the cell.
        neighbours, components : int, optional
            k, and the number of principal components.
        kind : {"field", "error"}, optional
            See above.
        censored : sequence of (float, float) or None
            For each target, as for `Marginal.fit`; empty where none is censored.

        Raises
        ------
        DataError
            If there are fewer than 12 time steps.
        """
        check_days(len(fine), NEEDED, "The analogue method")
        flat = coarse.reshape(len(coarse), -1)
        spread = flat.std(0)
        weights = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1), 0)
        widths = COMPONENTS if components is None else (components,)
        kinds = KINDS if kind is None else (kind,)
        parts = {name: filled_along_time(_parts(fine, driver, name)) for name in kinds}
        bounds = lower_bounds(fine)
        found = [Components.fit(flat, width, weights=weights, whiten=True) for width in widths]
        best = (np.inf, found[0], kinds[0], neighbours or 1)
        judge = Judge.of(fine, bounds)
        tried = None if neighbours is None else [neighbours]
        for each in found:
            scores = _scores(each, flat, calendar)
            for name in kinds:
                base = driver if name == "error" else 0 * driver
                judged = judge.best(scores, base, parts[name], tried)
                option = (judged.crps, each, name, judged.neighbours)
                best = min(best, option, key=lambda option: option[0])
        _, chosen, name, count = best
        scores = _scores(chosen, flat, calendar)
        made = cls(chosen, scores, parts[name], name, min(count, len(fine)), bounds)
        if name == "field" or not any(censored):
            return made
        wide = Judge.of(fine, bounds, _CELLS)
        members = wide.members(scores, driver, parts[name], made.neighbours, _MEMBERS)
        known = wide.truth[wide.days]
        marginal = Marginal.fit(members, known, wide.target, censored, top=_TOP)
        return replace(made, marginal=marginal)

    def member(self, near: Array, driver: Array, seed: int, realization: int, key: int) -> Floats:
        """Return a member (target, y, x) of a time step.

        Parameters
        ----------
        near : ndarray of int
            From `similar`.
        driver : ndarray (target, y, x)
            Interpolated driver of each target.
        seed, realization, key : int
            Of the choice: `key` is the time in seconds.
        """
        return self._made(near[keyed_choice(near.size, seed, realization, key)], driver)

    def mean(self, near: Array, driver: Array) -> Floats:
        """Return the mean (target, y, x) of all that a member can be."""
        return floats(np.mean([self._made(row, driver) for row in near], axis=0))

    def _made(self, row: int, driver: Array) -> Floats:
        """Return the member that a training time gives."""
        out = self.fields[row] + driver if self.kind == "error" else self.fields[row]
        if self.marginal is not None:
            out = self.marginal.apply(out)
        return floats(np.maximum(out, self.bounds[:, None, None]))

    def similar(self, coarse: Array, calendar: Array) -> Array:
        """Return the rows of the k training times that are most similar to a time step.

        Parameters
        ----------
        coarse : ndarray
            Coarse fields of the time step, as one row of those that were fitted on.
        calendar : ndarray (c,)
            Its calendar.
        """
        own = _scores(self.components, coarse.reshape(1, -1), calendar[None])[0]
        return nearest(self.scores, own, self.neighbours)

    def to_state(self) -> State:
        """Return arrays, as they are saved."""
        return {
            "scores": self.scores,
            "fields": self.fields,
            "about": np.array([self.neighbours, KINDS.index(self.kind)], np.float32),
            "bounds": self.bounds,
            **prefixed(self.components.to_state(), "components"),
            **marginal_state(self.marginal),
        }

    @classmethod
    def from_state(
        cls, state: Mapping[str, Floats], targets: int, calendar: int, shape: tuple[int, int]
    ) -> Analogues:
        """Read what `to_state` returned.

        Parameters
        ----------
        state : mapping of ndarray
            Arrays by name.
        targets, calendar : int
            Their number, and that of the numbers that tell the season.
        shape : tuple of int
            Rows and columns of the fields.
        """
        components = Components.from_state(under(state, "components"), None)
        fields = entry(state, "fields", (None, targets, *shape))
        about = entry(state, "about", (2,))
        count = whole_entry("about", about[0], len(fields))
        kind = KINDS[whole_entry("about", about[1] + 1, len(KINDS)) - 1]
        scores = entry(state, "scores", (len(fields), components.vectors.shape[1] + calendar))
        bounds = entry(state, "bounds", (targets,), unbounded=True)
        marginal = read_marginal(state, targets)
        return cls(components, scores, fields, kind, count, bounds, marginal)


def _parts(fine: Array, driver: Array, kind: str) -> Array:
    return np.asarray(fine - driver if kind == "error" else fine)


def _scores(components: Components, flat: Array, calendar: Array) -> Floats:
    """Return the scores of coarse fields and their calendar, as they are compared."""
    return np.concatenate([components.scores(flat), SEASON * calendar], axis=1, dtype=np.float32)
