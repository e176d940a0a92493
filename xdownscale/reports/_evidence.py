"""Evidence: each statistic of the prediction against the intervals of the records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from xdownscale.core.errors import XDownscaleError
from xdownscale.core.resampling import mean, resampled_means
from xdownscale.core.tables import SentenceTable
from xdownscale.reports._curves import DIAGNOSTICS, Curve, Diagnostic, Scope, scope_of
from xdownscale.reports._intervals import BLOCK, interval
from xdownscale.reports._records import LEAST, Records

LEVEL = 0.95
TOO_FEW = "too few days"
FEWEST = 5  # days of a prediction that is judged
BLOCKS = 3  # blocks that a reference must have
NAMES = {"coarse": "the coarse record", "fine": "the fine record"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One diagnostic of all records.

    Attributes
    ----------
    diagnostic : Diagnostic
        Which.
    curves : dict of str to Curve
        By record.
    table : DataFrame
        A row for each statistic: ``statistic``, ``prediction``, and for each reference
        ``<name>``, ``<name>_low``, ``<name>_high``, ``<name>_verdict``; and ``sentence``.
    bands : dict of str to (ndarray, ndarray)
        Interval of the curve of each reference.
    too_short : frozenset of str
        References that have too few days, or the prediction has, for an interval to mean anything.
    """

    diagnostic: Diagnostic
    curves: dict[str, Curve]
    table: pd.DataFrame
    bands: dict[str, tuple[Any, Any]]
    too_short: frozenset[str] = frozenset()

    def centre(self, name: str) -> Any:
        """Return the curve of a record."""
        return self.diagnostic.shape(mean(self.curves[name].per_step))


def judge(records: Records, draws: int, seed: int) -> list[Finding]:
    """Compare every curve of the prediction with those of the other records."""
    scope = scope_of(records.fields)
    found = []
    for diagnostic in DIAGNOSTICS:
        curves = _measured(diagnostic, records, scope)
        if "prediction" in curves:
            found.append(_finding(diagnostic, curves, scope, draws, seed))
    return found


def _measured(diagnostic: Diagnostic, records: Records, scope: Scope) -> dict[str, Curve]:
    """Measure the curves of the records that are large enough; others make a note."""
    curves = {}
    for name, field in records.fields.items():
        try:
            curves[name] = diagnostic.measure(field, scope)
        except XDownscaleError as err:
            records.notes.append(f"No {diagnostic.key.replace('_', ' ')} of the {name}: {err}")
    return curves


def _finding(
    diagnostic: Diagnostic, curves: dict[str, Curve], scope: Scope, draws: int, seed: int
) -> Finding:
    judged = curves["prediction"]
    own = diagnostic.read(judged.x, mean(judged.per_step)[None], scope)
    rows: dict[str, dict[str, Any]] = {
        label: {"statistic": label, "prediction": float(value[0])} for label, value in own.items()
    }
    bands = {}
    too_short = set()
    days = len(judged.per_step) / scope.steps["prediction"]
    for name in (n for n in curves if n != "prediction"):
        curve = curves[name]
        steps = scope.steps[name]
        length = min(round(days * steps), len(curve.per_step))
        sample = resampled_means(curve.per_step, length, draws, seed, round(BLOCK * steps))
        bands[name] = interval(diagnostic.shape(sample), LEVEL)
        if not enough_days(days, len(curve.per_step) / steps):
            too_short.add(name)
        centre = diagnostic.read(curve.x, mean(curve.per_step)[None], scope)
        spread = diagnostic.read(curve.x, sample, scope)
        for label, row in rows.items():
            value = row["prediction"]
            row.update(_compared_with(name, value, centre.get(label), spread.get(label)))
            if name in too_short:
                row[f"{name}_verdict"] = TOO_FEW
    table = pd.DataFrame([{**row, "sentence": sentence(row)} for row in rows.values()])
    return Finding(
        diagnostic=diagnostic,
        curves=curves,
        table=table,
        bands=bands,
        too_short=frozenset(too_short),
    )


def enough_days(predicted: float, known: float) -> bool:
    """Tell whether resampled stretches of a reference differ enough to judge by.

    Examples
    --------
    >>> enough_days(3, 3), enough_days(30, 20), enough_days(30, 90)
    (False, False, True)
    """
    return predicted >= FEWEST and known >= max(LEAST, BLOCKS * min(BLOCK, predicted))


def _compared_with(name: str, value: float, centre: Any, spread: Any) -> dict[str, Any]:
    """Return the columns that a reference adds to a row; NaN where it lacks the statistic."""
    low = high = np.nan
    if spread is not None:
        low, high = map(float, interval(spread, LEVEL))
    return {
        name: np.nan if centre is None else float(centre[0]),
        f"{name}_low": low,
        f"{name}_high": high,
        f"{name}_verdict": verdict(value, low, high),
    }


def verdict(value: float, low: float, high: float) -> str:
    """Return ``inside``, ``below``, ``above`` or ``not comparable``.

    Examples
    --------
    >>> verdict(2.0, 0.0, 1.0)
    'above'
    """
    if not np.isfinite([value, low, high]).all():
        return "not comparable"
    if value < low:
        return "below"
    return "above" if value > high else "inside"


def sentence(row: dict[str, Any]) -> str:
    """Describe in words how a statistic relates to the intervals.

    Examples
    --------
    >>> row = {"statistic": "95 % quantile", "prediction": 2.0, "fine_verdict": "above"}
    >>> sentence(row | {"fine_low": 0.5, "fine_high": 1.0})
    'The 95 % quantile of the prediction (2) is above the interval of the fine record (0.5 to 1).'
    """
    head = f"The {row['statistic']} of the prediction ({row['prediction']:.3g})"
    if not np.isfinite(row["prediction"]):
        return f"The {row['statistic']} of the prediction cannot be measured."
    said = {name: row[f"{name}_verdict"] for name in NAMES if f"{name}_verdict" in row}
    parts = [_part(row, name, said) for name in said]
    link = " and " if len(set(said.values())) == 1 else ", but "
    return f"{head} {link.join(parts)}."


def _part(row: dict[str, Any], name: str, said: dict[str, str]) -> str:
    if said[name] == TOO_FEW:
        return f"is not judged by {NAMES[name]} ({TOO_FEW})"
    if said[name] == "not comparable":
        return f"cannot be compared with {NAMES[name]}"
    span = f"{row[f'{name}_low']:.3g} to {row[f'{name}_high']:.3g}"
    is_again = name != next(iter(said)) and len(set(said.values())) == 1
    head = "that" if is_again else f"is {said[name]} the interval"
    return f"{head} of {NAMES[name]} ({span})"


def as_frame(findings: list[Finding]) -> pd.DataFrame:
    """Concatenate the tables of all findings, with the diagnostic as first column."""
    tables = [f.table.assign(diagnostic=f.diagnostic.key) for f in findings]
    frame = pd.concat(tables, ignore_index=True)
    return SentenceTable(frame[["diagnostic", *[c for c in frame.columns if c != "diagnostic"]]])
