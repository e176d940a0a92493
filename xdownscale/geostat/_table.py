"""Wasserstein distances of seasons and regions in one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xdownscale.alignment import on_one_grid
from xdownscale.errors import OptionError, check_option
from xdownscale.geostat._together import common_days, template
from xdownscale.geostat.similarity import wasserstein
from xdownscale.labels import find_axes, require_time
from xdownscale.regridding import regrid
from xdownscale.scaling import Scaling
from xdownscale.splits import SEASONS, normalise_regions, region_mask, resolve_seasons, season_of

_WAYS = ("season", "region")
_WHOLE = "all"
_COLUMNS = ["daily mean", "daily p10", "daily p90", "pooled", "days"]


def similarity_table(
    fields_a: xr.DataArray,
    fields_b: xr.DataArray,
    by: str | Sequence[str] | None = ("season", "region"),
    *,
    seasons: str | Sequence[str] | Mapping[str, Sequence[int]] = SEASONS,
    regions: Mapping[str, Any] | None = None,
    bins: int | None = None,
    transform: str | Scaling | None = "log10",
    floor: float | None = None,
    normalise: bool = True,
) -> pd.DataFrame:
    """How far apart the values of two records are in each season and region.

    Table 2 of arXiv:2512.05139: the mean and the 10 and 90 % quantiles of the daily Wasserstein
    distances, and the pooled distance, each over the days and the area that both records have.

    Parameters
    ----------
    fields_a, fields_b : DataArray
        (time, lat, lon), dims in any order, grids may differ.
    by : "season", "region", a sequence of these, or None
        What the rows are, outer level first.
    seasons : str, sequence of str or mapping of str to months
        As in `xdownscale.splits.resolve_seasons`.
    regions : mapping of str to (west, east, south, north) or mask, optional
        Where ``"region"`` is among `by`; None for the whole area.
    bins, transform, floor, normalise
        As in `wasserstein`.

    Returns
    -------
    DataFrame
        Columns ``daily mean``, ``daily p10``, ``daily p90``, ``pooled`` and ``days`` (the common
        days of the row; NaN distances where there are none). `xdownscale.skill.to_markdown`
        renders it. Lazy records are read.

    Raises
    ------
    OptionError
        For an unknown way of grouping, season or region, or regions that are not asked for.
    GridError
        If a region holds no cell of a grid.
    TimeAxisError, DataError
        As `wasserstein`.

    Examples
    --------
    >>> days = pd.date_range("2000-01-01", periods=2)
    >>> edges = {"time": days, "lat": [0.0], "lon": [0.0, 1.0]}
    >>> one = xr.DataArray([[[1.0, 10.0]], [[1.0, 100.0]]], coords=edges)
    >>> from xdownscale.skill import to_markdown
    >>> print(to_markdown(similarity_table(one, 10 * one, by="season", seasons=["DJF"])))
    | season | daily mean | daily p10 | daily p90 | pooled | days |
    |---|---|---|---|---|---|
    | DJF | 0.417 | 0.35 | 0.483 | 0.333 | 2 |
    """
    ways = [by] if isinstance(by, str) else list(by or [])
    for way in ways:
        check_option("way of grouping", way, _WAYS)
    if regions is not None and "region" not in ways:
        raise OptionError(
            f"regions names {list(regions)}, but by is {by!r}; put 'region' among by, or leave "
            "regions out."
        )
    one, other = _shared(fields_a, fields_b)
    boxes: dict[str, Any] = dict(normalise_regions(regions)) or {_WHOLE: None}
    names = list(resolve_seasons(seasons)) if "season" in ways else [_WHOLE]
    options = {"bins": bins, "transform": transform, "floor": floor, "normalise": normalise}
    rows = {}
    for region, box in boxes.items():
        a, b = (da if box is None else _inside(da, box) for da in (one, other))
        for season, days in _seasons(one, names, seasons):
            rows[(season, region)] = _row(a.isel(days), b.isel(days), options)
    return _frame(rows, ways, names, list(boxes))


def _shared(fields_a: xr.DataArray, fields_b: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    time = require_time(fields_a, "The first record")
    there = require_time(fields_b, "The second record")
    return common_days(fields_a, fields_b.rename({} if there == time else {there: time}), time)


def _seasons(
    da: xr.DataArray, names: Sequence[str], seasons: Any
) -> Iterator[tuple[str, dict[str, Any]]]:
    time = require_time(da, "The first record")
    if list(names) == [_WHOLE]:
        yield _WHOLE, {}
        return
    resolved = resolve_seasons(seasons)
    for name in names:
        yield name, {time: season_of(da[time], {name: resolved[name]}) == name}


def _inside(da: xr.DataArray, region: Any) -> xr.DataArray:
    """Cut a region's bounding box out, NaN outside the region."""
    if isinstance(region, xr.DataArray) and not on_one_grid(region, da):
        there = regrid(region.astype(float), template(da), "nearest", extrapolate="nearest")
        region = there > 0.5
    axes, mask = find_axes(da), region_mask(da, region)
    rows, columns = mask.any(axes.x).values, mask.any(axes.y).values
    where = {axes.y: np.flatnonzero(rows), axes.x: np.flatnonzero(columns)}
    return da.isel(where).where(mask.isel(where))


def _row(a: xr.DataArray, b: xr.DataArray, options: Mapping[str, Any]) -> list[float]:
    days = a.sizes[require_time(a, "The first record")]
    if days == 0:
        return [np.nan] * 4 + [0]
    daily = wasserstein(a, b, "daily", **options)
    pooled = wasserstein(a, b, "pooled", **options)
    found = [daily[f"wasserstein_{part}"].item() for part in ("mean", "p10", "p90")]
    return [*found, pooled.wasserstein.item(), days]


def _frame(
    rows: Mapping[tuple[str, str], list[float]],
    ways: Sequence[str],
    seasons: Sequence[str],
    regions: Sequence[str],
) -> pd.DataFrame:
    """Order the rows as asked."""
    levels = {"season": list(seasons), "region": list(regions)}
    if not ways:
        index, keys = pd.Index([_WHOLE]), [(_WHOLE, _WHOLE)]
    else:
        full = pd.MultiIndex.from_product([levels[w] for w in ways], names=list(ways))
        words = [dict(zip(ways, label, strict=True)) for label in full]
        keys = [(w.get("season", _WHOLE), w.get("region", _WHOLE)) for w in words]
        index = full if len(ways) > 1 else full.get_level_values(0)
    frame = pd.DataFrame([rows[key] for key in keys], index=index, columns=_COLUMNS)
    return frame.astype({"days": int})
