"""Several predictions side by side: scores per day, and the table that sums them up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xdownscale.config import TRANSFORMS
from xdownscale.errors import DataError, GridError, OptionError, check_option
from xdownscale.labels import require_time
from xdownscale.scaling import Scaling
from xdownscale.skill._arrays import KERNELS
from xdownscale.skill._matching import MEMBERS, Matched, match

_BLOCK = 1 << 22


def per_day(
    predictions: Mapping[str, xr.DataArray],
    truth: xr.DataArray,
    transform: str | Scaling | None = "log10",
    scores: Sequence[str] = ("r2", "pearson_r2", "rmse", "mae"),
) -> xr.DataArray:
    """Score several predictions on the days that all of them share with the truth.

    Parameters
    ----------
    predictions : mapping of str to DataArray
        (time, lat, lon), with or without ``realization``, on the grid of the truth. An ensemble
        makes two rows: its mean (taken in the units that are scored) and its first realization.
    truth : DataArray
        (time, lat, lon).
    transform : str, Scaling or None
        Transformed units to score in, besides the physical ones; None or ``"identity"`` for the
        physical ones alone.
    scores : sequence of str
        Of ``"r2"``, ``"pearson_r2"``, ``"rmse"``, ``"mae"`` and ``"bias"``.

    Returns
    -------
    DataArray
        (method, units, score, time). Lazy inputs are read a few days at a time.

    Raises
    ------
    OptionError
        If there is nothing to score, or a name is not known.
    DataError
        If values cannot be transformed.
    GridError, TimeAxisError
        As `r2`.

    Examples
    --------
    >>> days = pd.date_range("2000-01-01", periods=2)
    >>> edges = {"time": days, "lat": [0.0], "lon": [0.0, 1.0]}
    >>> truth = xr.DataArray([[[1.0, 10.0]], [[1.0, 100.0]]], coords=edges)
    >>> per_day({"tenfold": 10 * truth}, truth, scores=["mae"]).sel(units="log10").values.ravel()
    array([1., 1.])
    """
    if not predictions:
        raise OptionError("There is no prediction to score; give a mapping of name to DataArray.")
    require_time(truth, "The truth")
    for name in scores:
        check_option("score", name, KERNELS)
    space = _space(transform)
    units = ["physical"] if space.transform == "identity" else [space.transform, "physical"]
    pairs = match(predictions, truth)
    blocks = [_block_scores(p, t, space, units, scores) for p, t in _day_blocks(pairs)]
    rows = [row for name, p in pairs.predictions.items() for row in _rows(name, p)]
    return xr.DataArray(
        np.concatenate(blocks, axis=-1),
        dims=("method", "units", "score", pairs.time.name),
        coords={"method": rows, "units": units, "score": list(scores), pairs.time.name: pairs.time},
        name="skill",
    )


def table(
    predictions: Mapping[str, xr.DataArray],
    truth: xr.DataArray,
    transform: str | Scaling | None = "log10",
    scores: Sequence[str] = ("r2", "pearson_r2", "rmse", "mae"),
) -> pd.DataFrame:
    """Mean score of each prediction over the common days.

    Parameters, errors and the two rows of an ensemble as for `per_day`.

    Returns
    -------
    DataFrame
        One row for each method, columns (units, score). ``attrs["days"]`` is the number of
        common days, ``attrs["days_scored"]`` what is left of them for each row (persistence has
        no first day), ``attrs["sd"]`` the standard deviation over the days, as nested dicts.

    Examples
    --------
    >>> days = pd.date_range("2000-01-01", periods=2)
    >>> edges = {"time": days, "lat": [0.0], "lon": [0.0, 1.0]}
    >>> truth = xr.DataArray([[[1.0, 10.0]], [[1.0, 100.0]]], coords=edges)
    >>> skill = table({"tenfold": 10 * truth}, truth, scores=["r2", "mae"])
    >>> print(to_markdown(skill))
    | method | log10 r2 | log10 mae | physical r2 | physical mae |
    |---|---|---|---|---|
    | tenfold | -1.5 | 1 | -183 | 252 |
    """
    daily = per_day(predictions, truth, transform, scores)
    columns = pd.MultiIndex.from_product(
        [daily["units"].values, daily["score"].values], names=["units", "score"]
    )
    rows = pd.Index(daily["method"].values, name="method")
    flat = pd.DataFrame(daily.values.reshape(-1, daily.shape[-1]))
    shape = (len(rows), len(columns))
    mean = pd.DataFrame(flat.mean(axis=1).to_numpy().reshape(shape), rows, columns)
    spread = pd.DataFrame(flat.std(axis=1).to_numpy().reshape(shape), rows, columns)
    left = (~np.isnan(daily.values)).any(axis=(1, 2)).sum(axis=1)
    mean.attrs = {
        "days": daily.shape[-1],
        "days_scored": dict(zip(rows, left.tolist(), strict=True)),
        "sd": spread.to_dict(),
    }
    return mean


def format_table(scores: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """Write each score as ``mean (sd)``.

    Parameters
    ----------
    scores : DataFrame
        What `table` returned.
    digits : int
        Significant digits.

    Returns
    -------
    DataFrame
        Of texts.

    Examples
    --------
    >>> frame = pd.DataFrame({"r2": [0.91]}, index=["bicubic"])
    >>> frame.attrs["sd"] = {"r2": {"bicubic": 0.02}}
    >>> format_table(frame).iloc[0, 0]
    '0.91 (0.02)'
    """
    spread = scores.attrs.get("sd", {})
    texts = {
        column: [
            _number(mean, digits) + _bracket(spread.get(column, {}).get(row), digits)
            for row, mean in scores[column].items()
        ]
        for column in scores.columns
    }
    return pd.DataFrame(texts, index=scores.index, columns=scores.columns)


def to_markdown(scores: pd.DataFrame, digits: int = 3) -> str:
    """Write a table in Markdown.

    Parameters
    ----------
    scores : DataFrame
        Any table; column levels are joined by a space.
    digits : int
        Significant digits of numbers.

    Returns
    -------
    str

    Examples
    --------
    >>> print(to_markdown(pd.DataFrame({"r2": [0.91234]}, index=["bicubic"])))
    |  | r2 |
    |---|---|
    | bicubic | 0.912 |
    """
    columns: list[Any] = list(scores.columns)
    heads = [" ".join(map(str, c)) if isinstance(c, tuple) else str(c) for c in columns]
    rows = [[str(scores.index.name or ""), *heads], ["---"] * (len(heads) + 1)]
    for label, values in zip(scores.index, scores.itertuples(index=False), strict=True):
        rows.append([str(label), *(_number(value, digits) for value in values)])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], lines[1].replace(" ", ""), *lines[2:]])


def _space(transform: str | Scaling | None) -> Scaling:
    if isinstance(transform, Scaling):
        return transform
    name = transform or "identity"
    check_option("transform", name, [t for t in TRANSFORMS if t != "auto"])
    return Scaling(transform=name)


def _rows(name: str, prediction: xr.DataArray) -> list[str]:
    """Names of the rows that a prediction makes."""
    if MEMBERS not in prediction.dims:
        return [name]
    count = prediction.sizes[MEMBERS]
    mean = [f"{name} (mean of {count})"] if count > 1 else []
    return [*mean, f"{name} (one realization)"]


def _in_units(name: str, fields: Any, units: str, space: Scaling) -> Any:
    if units == "physical":
        return fields
    try:
        return space.transform_only(fields)
    except DataError as err:
        raise DataError(
            f"{name!r} cannot be scored in {units} units: {err} Or score in physical units "
            "alone, with transform='identity'."
        ) from err


def _candidates(fields: Any) -> list[Any]:
    """Return what is scored of ([member,] time, y, x): mean and first member, or the field."""
    if fields.ndim == 3:
        return [fields]
    return [fields[0]] if len(fields) == 1 else [fields.mean(axis=0), fields[0]]


def _day_blocks(matched: Matched) -> Iterator[tuple[dict[str, Any], Any]]:
    """Predictions ([member,] time, y, x) and truth (time, y, x) in memory, some days at a time."""
    order = (matched.time.name, matched.axes.y, matched.axes.x)
    for name, array in [("truth", matched.truth), *matched.predictions.items()]:
        further = set(array.dims) - {*order, *([] if name == "truth" else [MEMBERS])}
        if further:
            raise GridError(
                f"{name!r} has the further dimensions {sorted(map(str, further))}; reduce or "
                f"select them first. Only predictions may have one: {MEMBERS!r}."
            )
    members = max([p.sizes.get(MEMBERS, 1) for p in matched.predictions.values()])
    step = max(1, _BLOCK // (members * int(np.prod(matched.truth.shape)) // matched.time.size))
    for start in range(0, matched.time.size, step):
        days = {matched.time.name: slice(start, start + step)}
        read = {
            name: p.isel(days).transpose(..., *order).values.astype(float)
            for name, p in matched.predictions.items()
        }
        yield read, matched.truth.isel(days).transpose(*order).values.astype(float)


def _block_scores(
    predictions: Mapping[str, Any],
    truth: Any,
    space: Scaling,
    units: Sequence[str],
    scores: Sequence[str],
) -> Any:
    """Scores (method, units, score, time) of a block of days."""
    rows: list[list[Any]] = []
    targets = {unit: _in_units("truth", truth, unit, space) for unit in units}
    for name, prediction in predictions.items():
        found = [
            [
                [KERNELS[score](field, targets[unit]) for score in scores]
                for field in _candidates(_in_units(name, prediction, unit, space))
            ]
            for unit in units
        ]
        rows += [list(row) for row in zip(*found, strict=True)]
    return np.array(rows)


def _number(value: Any, digits: int) -> str:
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def _bracket(value: float | None, digits: int) -> str:
    return "" if value is None else f" ({_number(value, digits)})"
