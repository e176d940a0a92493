"""Scores of a table against the best cheap baseline, with standard errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xdownscale.core.resampling import ratio_with_error
from xdownscale.skill._groups import Group

ERRORS = ("crps", "energy", "variogram", "rmse", "mae")  # smaller is better; the first one leads
Columns = dict[tuple[str, str], dict[Any, Any]]


def versus_best(
    daily: Mapping[str, Any],
    groups: Sequence[Group],
    labels: Sequence[Sequence[Any]],
    units: Sequence[str],
    scores: Sequence[str],
    candidates: Sequence[int],
) -> dict[str, Columns]:
    """Compare each row with the baseline whose mean error in its group is least.

    Parameters
    ----------
    daily : mapping of str to ndarray (row, units, score, time)
        Scores of each day, by region.
    groups : sequence of Group
    labels : sequence of sequence
        Labels of the rows of each group.
    units, scores : sequence of str
        Scores that are no errors are left out.
    candidates : sequence of int
        Rows that may be the best.

    Returns
    -------
    dict of dict
        ``best`` (name of the best baseline's row), ``ratio`` (of mean errors, on the days that both
        have) and ``error`` (its standard error): column -> label -> value. Empty without a
        candidate.
    """
    found: dict[str, Columns] = {"best": {}, "ratio": {}, "error": {}}
    columns = [(u, s) for u in range(len(units)) for s in range(len(scores)) if scores[s] in ERRORS]
    for u, s in columns:
        column = (units[u], scores[s])
        for group, own in zip(groups, labels, strict=True):
            values = daily[group.region][:, u, s][:, group.days]
            best = _best(values, candidates)
            if best is None:
                continue
            for label, row in zip(own, values, strict=True):
                ratio, error = ratio_with_error(row, values[best])
                found["best"].setdefault(column, {})[label] = _method(own[best])
                found["ratio"].setdefault(column, {})[label] = ratio
                found["error"].setdefault(column, {})[label] = error
    return found if found["best"] else {}


def _best(values: Any, candidates: Sequence[int]) -> int | None:
    """Return the candidate with the least mean; None where none has a value."""
    known = [row for row in candidates if np.isfinite(values[row]).any()]
    means = [float(np.nanmean(values[row])) for row in known]
    return known[int(np.argmin(means))] if known else None


def leading(columns: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """Return the column that the comparison is shown for: the first unit, the first of `ERRORS`.

    Examples
    --------
    >>> leading([("log10", "mae"), ("log10", "crps"), ("physical", "mae")])
    ('log10', 'crps')
    """
    for score in ERRORS:
        for unit, name in columns:
            if name == score:
                return unit, name
    return None


def _method(label: Any) -> Any:
    """Return the name of a row, without its group."""
    return label[-1] if isinstance(label, tuple) else label


def is_best(best: Mapping[Any, Any], label: Any) -> bool:
    """Tell whether a row is the best baseline of its group."""
    return bool(best[label] == _method(label))


def said(ratio: float, error: float, *, is_best: bool, digits: int) -> str:
    """Write a ratio and its standard error; nothing where there is none.

    Examples
    --------
    >>> said(0.9512, 0.0123, is_best=False, digits=3)
    '0.951 +- 0.012'
    """
    if is_best:
        return "best"
    if not np.isfinite(ratio):
        return ""
    known = np.isfinite(error)
    return f"{ratio:.{digits}g}" + (f" +- {error:.{max(digits - 1, 1)}g}" if known else "")
