"""1-Wasserstein distances between the values of two records, and tables of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xdownscale.core import wasserstein_kernels
from xdownscale.core.alignment import Pair, bring_together, template
from xdownscale.core.coords import find_axes, require_time
from xdownscale.core.errors import OptionError, check_option
from xdownscale.core.grids import same_grid
from xdownscale.core.normalization import Scaling
from xdownscale.core.space import space_of
from xdownscale.core.streaming import RereadableArray, gather
from xdownscale.core.units import transformed_units, units_of
from xdownscale.core.values import check_some
from xdownscale.geostat._common_days import on_common_days
from xdownscale.geostat._grouping import Groups, resolve
from xdownscale.geostat._variables import for_each_variable
from xdownscale.regridding import regrid
from xdownscale.splits import SEASONS, normalise_regions, region_mask, resolve_seasons, season_of

KINDS = ("daily", "pooled")
EXACT = 1 << 22  # values of both records up to which a pooled distance is exact
_BLOCK = 1 << 22  # values of an array in memory that are summed up at a time
_MERGED = 4  # partial results that are merged at a time
_CORES = (("_y", "_x"), ("_other_y", "_other_x"), ("_cell_y", "_cell_x"), ("_c_y", "_c_x"))
_WAYS = ("season", "region")
_WHOLE = "all"
_PERIOD = "period"
_COLUMNS = ["daily mean", "daily p10", "daily p90", "pooled", "days"]
_NAMES = {
    "wasserstein": "1-Wasserstein distance",
    "span": "joint range of the transformed values",
    "count": "values of the record",
    "count_other": "values of the other record",
    "error_bound": "most that the distance can be off",
    "wasserstein_mean": "mean over the days of the 1-Wasserstein distance",
    "wasserstein_p10": "10 % quantile over the days of the 1-Wasserstein distance",
    "wasserstein_p90": "90 % quantile over the days of the 1-Wasserstein distance",
}


@for_each_variable(other="other")
def wasserstein(
    da: xr.DataArray,
    other: xr.DataArray,
    kind: str = "daily",
    bins: int | None = None,
    by: Any = None,
    *,
    transform: str | Scaling | None = "auto",
    floor: float | None = None,
    normalise: bool | str = True,
    common: bool = True,
) -> xr.Dataset:
    """Return the 1-Wasserstein distance between the values of two records.

    The least mean distance by which the values of one must be moved to become those of the
    other. It looks at marginal distributions only: it sees neither where a value lies nor when,
    so shuffling the pixels, or for ``kind="pooled"`` the days, does not change it. See
    `diagnose_pairing` for what it cannot see, and `by` for conditional distances.

    Parameters
    ----------
    da, other : DataArray or Dataset
        ([time,] lat, lon) and further dims, in any order; their grids may differ. Every pixel
        counts the same; NaN and infinite values are left out. A Dataset gives one result along
        ``variable``: each variable against that of the same name, or against one DataArray.
    kind : {"daily", "pooled"}
        One distance for each day, or one for all days together. Days are matched by date.
    bins : int, optional
        None: exact. Else the distance of histograms with this many bins over the joint range,
        which is off by one bin's width at most.
    by : optional
        Sort values into groups and give the distance within each: ``"season"``; a DataArray over
        (time), (lat, lon) or (time, lat, lon) on any grid that overlaps the records'; a tuple of
        such a DataArray and the edges of its bins; or a mapping of names to these, which makes a
        dimension of each. Without edges numbers are cut at their quartiles (this reads the
        field), other values (whole numbers, booleans, texts) are groups by themselves. A bin
        holds its lower edge, the last bin its upper edge too. Fields are brought to other grids by
        area means or linear interpolation, groups from the nearest cell.
    transform : str, Scaling or None
        Where distances are measured; None or ``"identity"`` for the values as they are.
        ``"auto"`` reads the values of both and chooses as `choose_transform` does: ``"log10"`` for
        skewed values above 0, ``"identity"`` for temperatures, ``"sqrt"`` for daily rain.
    floor : float, optional
        Under log10, values below it count as the floor; with it ``"auto"`` is ``"log10"``.
    normalise : bool or "period"
        Divide by the joint range of both (of the day, or of all days together; all groups share
        it), so that distances lie in [0, 1]. ``"period"``: the range of all days together divides
        the distance of each day too, as in the public code of arXiv:2512.05139, whose text has that
        of the day; bins divide it too. False: in transformed units.
    common : bool
        Compare common cells only: where the grids agree, pixels that neither lacks; else the
        cells whose centres lie within both grids. False: all cells of both, and with
        ``kind="pooled"`` all days of both too.

    Returns
    -------
    Dataset
        ``wasserstein``, ``span`` (the joint range), ``count`` and ``count_other`` (numbers of
        values) over time for ``"daily"``, and over the groups. For ``"daily"`` also
        ``wasserstein_mean``, ``wasserstein_p10`` and ``wasserstein_p90`` over the days; for
        ``"pooled"`` ``error_bound``. NaN where a group is empty. Lazy where the records are;
        ``"auto"`` reads them once before.

    Raises
    ------
    OptionError
        For unknown names, fewer than one bin, edges that do not ascend, another `normalise`.
    DataError
        If values cannot be transformed (0 or less under log10 without a floor); for lazy records
        when they are computed.
    TimeAxisError
        If no day is common, times are duplicate or one record has no time.
    GridError
        If the grids, or the field in `by`, do not overlap.

    Notes
    -----
    Equations 10-13 of arXiv:2512.05139: with z the transformed values after a joint min-max
    scaling, ``W1 = integral |F^-1(q) - G^-1(q)| dq``, computed from sorted values. Both are cut at
    all k/n and k/m, so the sum is exact for any sizes n and m.

    A pooled distance of up to 4.2 million values is exact. Larger records are read once, chunk
    by chunk, and values that agree in the leading 24 bits of a float32 are replaced by their
    mean; ``error_bound`` says how much that can be off (about 2^-16 of the values' size). Neither
    chunking nor laziness changes the result.

    Examples
    --------
    >>> edges = {"lat": [0.0], "lon": [0.0, 1.0, 2.0]}
    >>> one = xr.DataArray([[1.0, 10.0, 100.0]], coords=edges)
    >>> round(wasserstein(one, 10 * one, transform="log10", normalise=False).wasserstein.item(), 12)
    1.0
    >>> round(wasserstein(one, 10 * one, transform="log10").wasserstein.item(), 12)
    0.333333333333
    >>> days = pd.date_range("2000-01-01", periods=2)
    >>> two = xr.concat([one, 100 * one], pd.Index(days, name="time"))
    >>> wasserstein(two, 10 * two, transform="log10", normalise="period").wasserstein.values
    array([0.2, 0.2])
    """
    check_option("kind of distance", kind, KINDS)
    _check_bins(bins)
    _check_normalise(normalise)
    pair = bring_together(da, other, common, days=common or kind == "daily")
    space = space_of(transform, (each.data for each in pair), floor)
    bounds = _period_bounds(pair, space) if normalise == _PERIOD else None
    return _distance(pair, kind, by, space, bins, normalise, common, bounds)


def _distance(
    pair: Pair,
    kind: str,
    by: Any,
    space: Scaling,
    bins: int | None,
    normalise: bool | str,
    common: bool,
    bounds: xr.DataArray | None,
) -> xr.Dataset:
    """Return what `wasserstein` does, of records that were brought together.

    `bounds` has the minimum and the range of a period; None: those of the day, or of all days.
    """
    groups = resolve(by, pair)
    measure = _daily if kind == "daily" else _pooled
    found = measure(pair, groups, space, bins, bool(normalise), bounds)
    attrs = {
        "kind": kind,
        "bins": "exact" if bins is None else bins,
        "transform": space.transform,
        "floor": "none" if space.floor is None else space.floor,
        "normalised": str(normalise),
        "common": str(common),
        "source": "arXiv:2512.05139, equations 10-13",
    }
    return _describe(found, pair, space, bool(normalise)).assign_attrs(attrs)


def similarity_table(
    fields_a: xr.DataArray,
    fields_b: xr.DataArray,
    by: str | Sequence[str] | None = ("season", "region"),
    *,
    seasons: str | Sequence[str] | Mapping[str, Sequence[int]] = SEASONS,
    regions: Mapping[str, Any] | None = None,
    bins: int | None = None,
    transform: str | Scaling | None = "auto",
    floor: float | None = None,
    normalise: bool | str = True,
) -> pd.DataFrame:
    """Tabulate the Wasserstein distances of two records by season and region.

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
        As in `wasserstein`; ``"period"`` are all common days of the region, in any season.

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
    _check_normalise(normalise)
    fields_a = check_some(fields_a, "The first record")
    fields_b = check_some(fields_b, "The second record")
    one, other = on_common_days(fields_a, fields_b, ("The first record", "The second record"))
    boxes: dict[str, Any] = dict(normalise_regions(regions)) or {_WHOLE: None}
    names = list(resolve_seasons(seasons)) if "season" in ways else [_WHOLE]
    space = space_of(transform, (one.data, other.data), floor)
    _check_bins(bins)
    options = {"by": None, "space": space, "bins": bins, "normalise": normalise, "common": True}
    rows = {}
    for region, box in boxes.items():
        a = one if box is None else _crop(one, box)
        b = other if box is None else _crop(other, box)
        bounds = None
        if normalise == _PERIOD:
            bounds = _period_bounds(bring_together(a, b, True, days=True), space).compute()
        for season, days in _seasons(one, names, seasons):
            rows[(season, region)] = _row(a.isel(days), b.isel(days), options | {"bounds": bounds})
    return _frame(rows, ways, names, list(boxes))


def _check_bins(bins: int | None) -> None:
    whole = isinstance(bins, (int, np.integer)) and not isinstance(bins, bool)
    if bins is not None and not (whole and bins >= 1):
        raise OptionError(
            f"bins is {bins!r}; give a whole number of 1 or more, or None for the exact distance."
        )


def _check_normalise(normalise: bool | str) -> None:
    if not isinstance(normalise, (bool, np.bool_)) and normalise != _PERIOD:
        raise OptionError(
            f"normalise is {normalise!r}; give True, for the range of each day, 'period', for that "
            "of all days together, or False."
        )


def _period_bounds(pair: Pair, space: Scaling) -> xr.DataArray:
    """Return the joint minimum and the joint range (2,) of all transformed values of both.

    NaN where neither has any. Lazy where the records are.
    """
    lows = []
    highs = []
    for da in pair:
        moved = xr.apply_ufunc(
            wasserstein_kernels.clean,
            da,
            kwargs={"space": space},
            dask="parallelized",
            output_dtypes=[np.float64],
        )
        lows.append(moved.fillna(np.inf).min().drop_vars(list(moved.coords), errors="ignore"))
        highs.append(moved.fillna(-np.inf).max().drop_vars(list(moved.coords), errors="ignore"))
    low = np.minimum(*lows)
    high = np.maximum(*highs)
    known = np.isfinite(low) & np.isfinite(high)
    low, high = (end.where(known).astype(float) for end in (low, high))
    found: xr.DataArray = xr.concat([low, high - low], "_bound", coords="minimal")
    return found.chunk(_bound=-1) if found.chunks is not None else found


def _daily(
    pair: Pair,
    groups: Groups,
    space: Scaling,
    bins: int | None,
    normalise: bool,
    bounds: xr.DataArray | None,
) -> xr.Dataset:
    """Return the distance of each day and group, and mean and quantiles over the days."""
    kernel = partial(
        wasserstein_kernels.daily, groups=groups.sizes, bins=bins, normalise=normalise, space=space
    )
    one, other = pair
    axes = find_axes(one)
    other_axes = find_axes(other)
    grid = (axes.y, axes.x)
    other_grid = (other_axes.y, other_axes.x)
    arrays = [
        _with_core_dims(one, grid, _CORES[0]),
        _with_core_dims(other, other_grid, _CORES[1]),
        _with_core_dims(groups.where[0], grid, _CORES[2]),
        _with_core_dims(groups.where[1], other_grid, _CORES[3]),
    ]
    entries = xr.apply_ufunc(
        kernel,
        *arrays,
        groups.when[0].astype(np.int64),
        *([] if bounds is None else [bounds]),
        input_core_dims=[*map(list, _CORES), [], *([] if bounds is None else [["_bound"]])],
        output_core_dims=[["_when", "_where", "_entry"]],
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={
            "allow_rechunk": True,
            "output_sizes": {
                "_when": groups.sizes[0],
                "_where": groups.sizes[1],
                "_entry": len(wasserstein_kernels.DAILY),
            },
        },
    )
    found = _split(entries, groups, wasserstein_kernels.DAILY)
    time = axes.time
    if time is None:
        return found
    statistics = xr.apply_ufunc(
        wasserstein_kernels.day_statistics,
        found.wasserstein,
        input_core_dims=[[time]],
        output_core_dims=[["_entry"]],
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"allow_rechunk": True, "output_sizes": {"_entry": 3}},
    )
    parts = {f"wasserstein_{n}": statistics[..., k] for k, n in enumerate(("mean", "p10", "p90"))}
    return found.assign(parts)


def _with_core_dims(
    da: xr.DataArray, grid: tuple[str, str], names: tuple[str, str]
) -> xr.DataArray:
    """Rename the horizontal dims, which differ between the records though their names may not."""
    bare = da.drop_vars([c for c in da.coords if set(da[c].dims) & set(grid)])
    here = [d for d in grid if d in da.dims]
    renamed = bare.rename({d: names[grid.index(d)] for d in here})
    whole = renamed.expand_dims([n for n in names if n not in renamed.dims])
    return whole.chunk(dict.fromkeys(names, -1)) if whole.chunks is not None else whole


def _split(entries: xr.DataArray, groups: Groups, names: tuple[str, ...]) -> xr.Dataset:
    """Give each entry its name, and the groups their dimensions."""
    shape = tuple(len(labels) for labels in groups.coords.values())
    lead = [d for d in entries.dims if d not in ("_when", "_where", "_entry")]
    ordered = entries.transpose(*lead, "_when", "_where", "_entry")
    data = ordered.data.reshape((*ordered.shape[: len(lead)], *shape, len(names)))
    coords = {c: v for c, v in entries.coords.items() if set(v.dims) <= set(lead)}
    dims = [*lead, *groups.coords]
    parts = {name: (dims, data[..., k]) for k, name in enumerate(names)}
    return xr.Dataset(parts, coords={**coords, **groups.coords})


def _pooled(
    pair: Pair,
    groups: Groups,
    space: Scaling,
    bins: int | None,
    normalise: bool,
    bounds: xr.DataArray | None,
) -> xr.Dataset:
    """Return the distance of all days together, for each group."""
    exact = pair[0].size + pair[1].size <= EXACT
    sums = [
        _summary(da, when, where, groups, exact, space)
        for da, when, where in zip(pair, groups.when, groups.where, strict=True)
    ]
    ends = None if bounds is None else bounds.data
    size = (groups.sizes[0] * groups.sizes[1], len(wasserstein_kernels.POOLED))
    if any(da.chunks is not None for da in pair):
        import dask.array
        from dask.delayed import delayed

        late = delayed(wasserstein_kernels.pooled, pure=False)(*sums, bins, normalise, exact, ends)
        make: Any = dask.array.from_delayed
        data = make(late, size, dtype=np.float64)
    else:
        data = wasserstein_kernels.pooled(sums[0], sums[1], bins, normalise, exact, ends)
    entries = xr.DataArray(
        data.reshape((*groups.sizes, size[1])), dims=("_when", "_where", "_entry")
    )
    return _split(entries, groups, wasserstein_kernels.POOLED)


def _summary(
    da: xr.DataArray,
    when: xr.DataArray,
    where: xr.DataArray,
    groups: Groups,
    exact: bool,
    space: Scaling,
) -> Any:
    """Summarise the values of each group of a record; delayed where the record is lazy."""
    codes = when * groups.sizes[1] + where
    codes = codes.where((when >= 0) & (where >= 0), -1)
    codes = codes.expand_dims([d for d in da.dims if d not in codes.dims]).transpose(*da.dims)
    total = groups.sizes[0] * groups.sizes[1]
    kernel = partial(wasserstein_kernels.summarise, groups=total, exact=exact, space=space)
    merge = partial(wasserstein_kernels.merge, exact=exact)
    if da.chunks is not None:
        cut = tuple(c if n > 1 else (1,) for c, n in zip(da.chunks, codes.shape, strict=True))
        beside = codes.chunk(dict(zip(da.dims, cut, strict=True))).data
        return gather(RereadableArray(da.data).array, kernel, merge, beside=beside)
    parts: list[Any] = []
    step = max(1, _BLOCK * len(da) // max(1, da.size))
    for start in range(0, len(da), step):
        part = slice(start, start + step)
        own = codes[part] if len(codes) > 1 else codes
        parts.append(kernel(da[part].values, None, own.values))
        parts = [merge(parts)] if len(parts) == _MERGED else parts
    return merge(parts)


def _describe(found: xr.Dataset, pair: Pair, space: Scaling, normalise: bool) -> xr.Dataset:
    """Set long names and units."""
    units = transformed_units(units_of(pair[0]) or units_of(pair[1]), space.transform)
    distance = "1" if normalise else units
    for name in found.data_vars:
        unit = "1" if "count" in str(name) else units if name == "span" else distance
        attrs = {"units": unit} if unit else {}
        found[name].attrs = {"long_name": _NAMES[str(name)], **attrs}
    return found


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


def _crop(da: xr.DataArray, region: Any) -> xr.DataArray:
    """Cut out the bounding box of a region, NaN outside the region."""
    if isinstance(region, xr.DataArray) and not same_grid(region, da):
        there = regrid(region.astype(float), template(da), "nearest", extrapolate="nearest")
        region = there > 0.5
    axes = find_axes(da)
    mask = region_mask(da, region)
    rows = mask.any(axes.x).values
    columns = mask.any(axes.y).values
    where = {axes.y: np.flatnonzero(rows), axes.x: np.flatnonzero(columns)}
    return da.isel(where).where(mask.isel(where))


def _row(a: xr.DataArray, b: xr.DataArray, options: Mapping[str, Any]) -> list[float]:
    days = a.sizes[require_time(a, "The first record")]
    if days == 0:
        return [np.nan] * 4 + [0]
    pair = bring_together(a, b, True, days=True)
    daily, pooled = (_distance(pair, kind, **options).compute() for kind in KINDS)
    found = [daily[f"wasserstein_{part}"].item() for part in ("mean", "p10", "p90")]
    return [*found, pooled.wasserstein.item(), days]


def _frame(
    rows: Mapping[tuple[str, str], list[float]],
    ways: Sequence[str],
    seasons: Sequence[str],
    regions: Sequence[str],
) -> pd.DataFrame:
    """Make a DataFrame with the rows in the order asked."""
    levels = {"season": list(seasons), "region": list(regions)}
    if not ways:
        index = pd.Index([_WHOLE])
        keys = [(_WHOLE, _WHOLE)]
    else:
        full = pd.MultiIndex.from_product([levels[w] for w in ways], names=list(ways))
        words = [dict(zip(ways, label, strict=True)) for label in full]
        keys = [(w.get("season", _WHOLE), w.get("region", _WHOLE)) for w in words]
        index = full if len(ways) > 1 else full.get_level_values(0)
    frame = pd.DataFrame([rows[key] for key in keys], index=index, columns=_COLUMNS)
    return frame.astype({"days": int})
