"""Judge a prediction by a protocol: tables and maps of indices and measures, by season and region.

Records are read by cells, with all their days, for the indices and the measures over time; by days
for spectra, pooled distances and correlations by distance.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from dask import base

from xdownscale.core.alignment import Matched, template
from xdownscale.core.coords import find_axes, require_time
from xdownscale.core.errors import DataError, GridError, OptionError, TimeAxisError
from xdownscale.core.time import check_time
from xdownscale.core.units import units_of
from xdownscale.core.values import check_some
from xdownscale.skill import _protocol_space as space
from xdownscale.skill._groups import WHOLE, By, Crop, Seasons, crops
from xdownscale.skill._index_days import days_of
from xdownscale.skill._index_units import converted
from xdownscale.skill._indices import CIRCULAR, INDICES, Plan, area_mean, index_maps, make_plan
from xdownscale.skill._multivariate import intervariable_correlation
from xdownscale.skill._options import MEMBERS
from xdownscale.skill._protocol_kernels import SERIES, event_measures, series_measures
from xdownscale.skill._scales import ralsd
from xdownscale.skill._scores import paired
from xdownscale.splits import SEASONS

compute: Any = base.compute  # untyped in dask
_SMALL = 1 << 22  # values up to which lazy records are read at once
Record = xr.DataArray | xr.Dataset
Period = tuple[Any, Any]
COLUMNS = ("truth", "prediction", "bias", "abs_bias", "relative_bias", "ratio")
EVENTS: dict[str, dict[str, tuple[bool, float]]] = {  # whether it lies above, and the level
    "precipitation": {
        "1mm": (True, 1 - 1e-6),
        "10mm": (True, 10 - 1e-5),
        "20mm": (True, 20 - 2e-5),
    },
    "temperature": {
        "above_25": (True, 25 + 5e-5),
        "above_30": (True, 30 + 5e-5),
        "below_0": (False, -5e-5),
    },
    "other": {},
}
SPACE = ("correlation_length", "variogram_range")
SPECTRA = ("ralsd", "ralsd_mean_square", "ralsd_zero_filled")
_TEXTS = {
    "rmse": "root mean square error over time",
    "pearson": "correlation over time",
    "spearman": "rank correlation over time",
    "pearson_deseasonalised": "correlation over time without the annual cycle",
    "spearman_deseasonalised": "rank correlation over time without the annual cycle",
    "ks": "Kolmogorov-Smirnov distance",
    "cvm": "Cramer-von Mises statistic",
    "wasserstein": "1-Wasserstein distance of the values over time",
}
_NUMBERED = ("distance", "count", "wavelength")  # what classes and rings stand for
_OWN_UNITS = ("rmse", "wasserstein")


@dataclass(frozen=True)
class Assessment:
    """What `protocol` found.

    Attributes
    ----------
    indices : DataFrame
        One row for each group and index; columns ``truth``, ``prediction``, ``bias``,
        ``abs_bias``, ``relative_bias`` (%) and ``ratio``.
    measures : DataFrame
        One row for each group; a column for each measure.
    maps : Dataset
        ([season,] lat, lon) of each index and measure.
    curves : Dataset
        By group: ``correlation`` of the records over ``class``, with their ``distance``, and
        ``log_ratio`` of power (dB) over ``ring``, with their ``wavelength``.
    change : DataFrame or None
        Like ``indices``, of the changes between two periods.
    """

    indices: pd.DataFrame
    measures: pd.DataFrame
    maps: xr.Dataset
    curves: xr.Dataset
    change: pd.DataFrame | None = None


class _Given(NamedTuple):
    """Options of `protocol`."""

    protocol: str | Sequence[str]
    by: By
    regions: Mapping[str, Any] | None
    seasons: Seasons
    kind: str | None
    seed: int


class _Case(NamedTuple):
    """A pair of records on their common days and cells, and what is computed of it."""

    pairs: Matched
    p: xr.DataArray
    t: xr.DataArray
    plan: Plan
    crops: dict[str, Crop]
    given: _Given

    @property
    def groups(self) -> list[tuple[tuple[str, ...], str, str]]:
        """Labels of the rows, season and region of each group."""
        found = []
        for season in self.plan.groups:
            for region in self.plan.regions:
                words = {"season": season, "region": region}
                found.append((tuple(words[w] for w in self.plan.ways), season, region))
        return found


def protocol(
    prediction: Record,
    truth: Record,
    protocol: str | Sequence[str] = "value",
    *,
    by: By = None,
    regions: Mapping[str, Any] | None = None,
    seasons: Seasons = SEASONS,
    kind: str | None = None,
    periods: tuple[Period, Period] | None = None,
    seed: int = 0,
) -> Assessment:
    """Judge a prediction by the indices and measures of VALUE or of CORDEX-ML-Bench.

    Parameters
    ----------
    prediction, truth : DataArray or Dataset
        Daily values (time, lat, lon) on one grid, dims in any order; the prediction with or
        without ``realization``. Judged on their common days, and on the cells and days that none
        lacks. Of two Datasets every variable that both have is judged, and the correlations
        between them.
    protocol, by, regions, seasons, kind
        As for `indices`.
    periods : ((start, end), (start, end)), optional
        Two periods, as ``.sel(time=slice(start, end))`` takes them: the table ``change`` holds how
        much each index changes from the first to the second.
    seed : int
        Of the 300 cells that correlations by distance are taken of.

    Returns
    -------
    Assessment
        Tables that `to_markdown` and `to_latex` write, maps and curves, computed; see Notes. Both
        tables of an ensemble are means over its realizations.

    Raises
    ------
    DataError, OptionError, TimeAxisError, GridError
        As for `indices` and `r2`; for Datasets without a common variable, and periods that hold no
        day.

    Warns
    -----
    XDownscaleWarning
        As for `indices`.

    Notes
    -----
    Table ``indices``: ``truth`` and ``prediction`` are area means of the maps of an index, ``bias``
    the mean of prediction minus truth, ``abs_bias`` that of its absolute values (what
    CORDEX-ML-Bench reports), ``relative_bias`` (%) and ``ratio`` of the area means; NaN for values
    in degC, whose zero means nothing. Biases of a phase are circular, within half a year, above 0
    where the prediction is later (the R package's have the other sign). The rows
    ``correlation_length`` (distance at which the mean correlation over time of two cells falls to
    1/e) and ``variogram_range`` (of a spherical variogram fitted to 1 minus the correlation),
    both in km, are of up to 300 cells, and pairs within half of the longest distance.

    Table ``measures``, area means of what is computed of each cell over time: ``rmse``;
    ``pearson`` and ``spearman``, raw and of anomalies from the 31-day circular mean of the
    calendar days' means; ``ks`` (largest difference of the distribution functions), ``cvm``
    (``n m / (n + m)^2 sum (F - G)^2``), ``wasserstein``. ``brier_*`` and ``roc_*``: Brier score and
    ``2 A - 1``, A the area under the ROC curve, of days of 1, 10 and 20 mm or more, or of days
    above 25 and 30 and below 0 degC; of an ensemble the probability is the share of its
    realizations, a single field is 0 or 1 for the Brier score and ranked by its values for A.

    And of all cells together: ``wasserstein_pooled``; ``ralsd`` (dB) as `ralsd` computes it, and
    its mean square (dB2), which CORDEX-ML-Bench calls RALSD. ``ralsd_zero_filled`` (dB2) is of
    spectra as its code makes them: NaN is 0, no taper, rings around the middle of the plane, the
    first ring (the mean) left out. Spectra need a regular grid of 8 rows and columns.

    References
    ----------
    As for `indices`; Anderson (1962), doi:10.1214/aoms/1177704477; Mason and Graham (2002),
    doi:10.1256/003590002320603584; Widmann et al. (2019), doi:10.1002/joc.6024.

    Examples
    --------
    >>> days = xr.date_range("2001-01-01", "2001-01-31")
    >>> rng = np.random.default_rng(0)
    >>> edges = {"time": days, "lat": [0.0, 1.0], "lon": [0.0, 1.0]}
    >>> truth = xr.DataArray(rng.gamma(1, 5, (31, 2, 2)), coords=edges, attrs={"units": "mm"})
    >>> found = protocol(1.1 * truth, truth, ["SDII", "R10"])
    >>> found.indices.loc["SDII", ["truth", "ratio"]].round(2).tolist()
    [6.76, 1.08]
    >>> round(float(found.measures.loc["all", "pearson"]), 6)
    1.0
    """
    given = _Given(protocol, by, regions, seasons, kind, seed)
    if isinstance(prediction, xr.DataArray) and isinstance(truth, xr.DataArray):
        return _of_one(prediction, truth, given, periods)
    if not (isinstance(prediction, xr.Dataset) and isinstance(truth, xr.Dataset)):
        raise DataError(
            f"The prediction is a {type(prediction).__name__} and the truth a "
            f"{type(truth).__name__}; give two DataArrays or two Datasets."
        )
    return _of_several(prediction, truth, given, periods)


def _of_one(
    prediction: xr.DataArray,
    truth: xr.DataArray,
    given: _Given,
    periods: tuple[Period, Period] | None,
) -> Assessment:
    case = _make_case(prediction, truth, given)
    maps = _maps(case)
    indices, curve = _index_table(case, maps)
    measures, ratio = _measure_table(case, maps)
    change = None if periods is None else _change(case, periods)
    curves = xr.merge([each for each in (curve, ratio) if each is not None], compat="override")
    return Assessment(indices, measures, _public(maps, case), curves, change)


def _make_case(prediction: xr.DataArray, truth: xr.DataArray, given: _Given) -> _Case:
    truth = check_some(truth, "The truth")
    require_time(truth, "The truth")
    pairs = paired(prediction, _bare_truth(check_time(truth, "The truth")), None)
    axes = pairs.axes
    p = pairs.predictions["prediction"]
    t = pairs.truth
    further = [dim for dim in p.dims if dim not in t.dims]
    if further not in ([], [MEMBERS]):
        raise GridError(
            f"The prediction has the further dimensions {further}; reduce or select them first. "
            f"It may have one: {MEMBERS!r}."
        )
    good = space.has_value(t) & space.has_value(p).all(further)
    t = t.where(good)
    options = (given.protocol, given.by, given.regions, given.seasons, given.kind)
    plan = make_plan(t, *options, what="The truth")
    p = converted(p.where(good).assign_attrs(t.attrs), plan.kind)
    t = converted(t, plan.kind)
    order = (str(axes.time), axes.y, axes.x)
    if p.size <= _SMALL:
        p, t = compute(p, t)
    regions = given.regions if "region" in plan.ways else None
    return _Case(
        pairs, p.transpose(..., *order), t.transpose(*order), plan, crops(t, regions), given
    )


def _bare_truth(truth: xr.DataArray) -> xr.DataArray:
    """Return the truth without coordinates beside its axes; raise for further dimensions."""
    axes = find_axes(truth)
    further = [str(d) for d in truth.dims if d not in (axes.time, axes.y, axes.x)]
    if further:
        raise GridError(
            f"The truth has the further dimensions {further}; reduce or select them first."
        )
    kept = {axes.latitude, axes.longitude, *truth.dims}
    return truth.drop_vars([name for name in truth.coords if name not in kept])


def _maps(case: _Case) -> dict[str, xr.Dataset]:
    """Return maps of the indices of both records, and of the measures over time; computed."""
    truth = index_maps(case.t, case.plan)
    prediction = index_maps(case.p, case.plan)
    series = _cell_measures(case)
    one, other, third = compute(truth, prediction, series)
    return {"truth": one, "prediction": other, "measures": third}


def _apply(
    case: _Case, kernel: Callable[..., Any], names: Sequence[str], *records: Any
) -> xr.Dataset:
    """Apply a kernel of arrays (cell, day) to records; return a Dataset of maps."""
    time = str(case.pairs.axes.time)
    axes = case.pairs.axes
    groups = list(case.plan.groups)

    def on_rows(*given: Any) -> Any:
        spread = np.broadcast_arrays(*given)
        flat = [np.asarray(x, float).reshape(-1, x.shape[-1]) for x in spread]
        with np.errstate(all="ignore"):  # what has no value is NaN
            found = kernel(*flat)
        return found.reshape(*spread[0].shape[:-1], *found.shape[1:])

    whole = [
        da if da.chunks is None else da.chunk({time: -1, axes.y: "auto", axes.x: "auto"})
        for da in records
    ]
    stacked = xr.apply_ufunc(
        on_rows,
        *xr.unify_chunks(*whole),
        input_core_dims=[[time]] * len(whole),
        output_core_dims=[["season", "_measure"]],
        dask="parallelized",
        output_dtypes=[float],
        dask_gufunc_kwargs={
            "allow_rechunk": True,
            "output_sizes": {"season": len(groups), "_measure": len(names)},
        },
    )
    stacked = stacked.transpose("season", ..., axes.y, axes.x, "_measure")
    stacked = stacked.assign_coords(season=groups)
    if "season" not in case.plan.ways:
        stacked = stacked.isel(season=0, drop=True)
    return xr.Dataset({n: stacked.isel(_measure=i) for i, n in enumerate(names)})


def _cell_measures(case: _Case) -> xr.Dataset:
    groups = list(case.plan.groups.values())
    year = days_of(case.t[str(case.pairs.axes.time)])
    found = _apply(case, lambda p, t: series_measures(p, t, groups, year), SERIES, case.p, case.t)
    units = units_of(case.t)
    for name in SERIES:
        about = {"units": "1"} if name not in _OWN_UNITS else ({"units": units} if units else {})
        found[name].attrs = {"long_name": _TEXTS[name], **about}
    for event, (above, level) in EVENTS[case.plan.kind].items():
        found = found.merge(_event_maps(case, above, level, event), compat="override")
    return found


def _event_maps(case: _Case, above: bool, level: float, event: str) -> xr.Dataset:
    """Return the maps of Brier score and ROC skill of one event."""
    sign = 1.0 if above else -1.0
    known = space.has_value(case.t)
    happened = (sign * case.t >= sign * level).where(known).astype(float)
    chance = (sign * case.p >= sign * level).astype(float)
    score = sign * case.p
    if MEMBERS in case.p.dims:
        chance = chance.mean(MEMBERS)
        score = chance
    names = (f"brier_{event}", f"roc_{event}")
    groups = list(case.plan.groups.values())
    found = _apply(
        case,
        lambda s, c, e: event_measures(s, c, e, groups),
        names,
        score.where(known),
        chance.where(known),
        happened,
    )
    for name, text in zip(names, ("Brier score", "ROC skill score"), strict=True):
        found[name].attrs = {"long_name": f"{text} of {event.replace('_', ' ')}", "units": "1"}
    return found


def _difference(case_name: str, p: xr.DataArray, t: xr.DataArray) -> xr.DataArray:
    """Return prediction minus truth, of a phase round the circle."""
    apart = p - t
    if case_name not in CIRCULAR:
        return apart
    period = t.attrs["period"]
    turned: xr.DataArray = (apart + period / 2) % period - period / 2
    return turned


def _has_zero(name: str, case: _Case) -> bool:
    """Tell whether the zero of an index means none, so that ratios make sense."""
    shifted = case.plan.kind == "temperature" and INDICES[name].units == "{}"
    spread = name in ("interannual_sd", "interannual_sd_joined") or "Amp" in name
    signed = name in ("Skewness", "Trend", *CIRCULAR) or name.startswith(("AC", "lag1"))
    return (spread or not shifted) and not signed


def _row(case: _Case, name: str, p: xr.DataArray, t: xr.DataArray, inside: Any) -> list[float]:
    """Return the columns of `COLUMNS` of one index in one group."""
    circular = name in CIRCULAR
    means = [float(area_mean(x, inside, circular).mean()) for x in (t, p)]
    if circular and MEMBERS in p.dims:
        means[1] = float(area_mean(p.isel({MEMBERS: 0}), inside, True))
    apart = _difference(name, p, t)
    bias, size = (float(area_mean(x, inside).mean()) for x in (apart, abs(apart)))
    return [*means, bias, size, *_relative(means, _has_zero(name, case))]


def _relative(means: Sequence[float], has_zero: bool) -> list[float]:
    """Return relative bias (%) and ratio of two means (truth, prediction)."""
    if not has_zero or means[0] == 0:
        return [np.nan, np.nan]
    ratio = means[1] / means[0]
    return [100 * (ratio - 1), ratio]


def _of_season(case: _Case, maps: xr.Dataset, season: str) -> xr.Dataset:
    return maps.sel(season=season) if "season" in case.plan.ways else maps


def _frame(rows: dict[tuple[str, ...], list[float]], names: list[str], columns: Any) -> Any:
    """Make a table of rows by their labels."""
    if len(names) == 1:
        index = pd.Index([label[0] for label in rows], name=names[0])
    else:
        index = pd.MultiIndex.from_tuples(list(rows), names=names)
    return pd.DataFrame(list(rows.values()), index, list(columns))


def _index_table(
    case: _Case, maps: Mapping[str, xr.Dataset]
) -> tuple[pd.DataFrame, xr.Dataset | None]:
    """Return the table of the indices, and the correlations by distance."""
    rows: dict[tuple[str, ...], list[float]] = {}
    curves = []
    for words, season, region in case.groups:
        inside = case.plan.regions[region]
        one, other = (_of_season(case, maps[w], season) for w in ("truth", "prediction"))
        for name in case.plan.names:
            rows[(*words, name)] = _row(case, name, other[name], one[name], inside)
        lengths, curve = _in_space(case, season, region)
        for name, pair in zip(SPACE, lengths, strict=True):
            t, p = pair
            apart = p - t
            rows[(*words, name)] = [t, p, apart, abs(apart), *_relative([t, p], True)]
        curves.append(curve)
    found = _frame(rows, [*case.plan.ways, "index"], COLUMNS)
    units = {n: maps["truth"][n].attrs.get("units", "") for n in case.plan.names}
    found.attrs = {
        "units": units | dict.fromkeys(SPACE, "km"),
        "left_out": dict(case.plan.left_out),
        "days": case.pairs.time.size,
    }
    return found, _joined(case, curves)


def _in_space(case: _Case, season: str, region: str) -> tuple[list[list[float]], Any]:
    """Return correlation length and variogram range (truth, prediction) each, and the curves."""
    inside = case.plan.regions[region]
    time = str(case.pairs.axes.time)
    known = (space.has_value(case.t).any(time) & (inside > 0)).transpose(*inside.dims).values
    places = space.choose_places(template(case.t), known, case.given.seed)
    if places is None:
        return [[np.nan, np.nan]] * 2, None
    days = {time: case.plan.groups[season].rows}
    curves = []
    for da in (case.t, case.p):
        members = space.read_cells(da.isel(days), places, time)
        with np.errstate(all="ignore"):
            curves.append(np.mean([space.correlations(x, places) for x in members], axis=0))
    reaches = [space.reaches(curve, places) for curve in curves]
    about = {"long_name": "mean correlation over time of two cells", "units": "1"}
    curve = xr.Dataset(
        {"correlation": (("record", "class"), np.stack(curves), about)},
        coords={
            "record": ["truth", "prediction"],
            "class": np.arange(places.distance.size),
            "distance": ("class", places.distance, {"long_name": "distance", "units": "km"}),
            "count": ("class", places.pairs, {"long_name": "pairs of cells", "units": "1"}),
        },
    )
    return [list(pair) for pair in zip(*reaches, strict=True)], curve


def _axis(name: str, labels: list[str]) -> xr.DataArray:
    return xr.DataArray(labels, dims=name, name=name)


def _bare(part: xr.Dataset) -> xr.Dataset:
    """Make variables of the coordinates that differ between regions."""
    return part.reset_coords([name for name in _NUMBERED if name in part.coords])


def _joined(case: _Case, parts: Sequence[xr.Dataset | None]) -> xr.Dataset | None:
    """Join Datasets of groups along season and region, with what they are numbered by."""
    bare = [None if part is None else _bare(part) for part in parts]
    known = [part for part in bare if part is not None]
    if not known:
        return None
    empty = known[0].where(False)
    regions = list(case.plan.regions)
    filled = [empty if part is None else part for part in bare]
    rows = [filled[k : k + len(regions)] for k in range(0, len(filled), len(regions))]
    options: Any = {"join": "outer", "combine_attrs": "override", "coords": "minimal"}
    whole = xr.concat(
        [xr.concat(row, _axis("region", regions), **options) for row in rows],
        _axis("season", list(case.plan.groups)),
        compat="override",
        **options,
    )
    drop = {way: 0 for way in ("season", "region") if way not in case.plan.ways}
    kept: xr.Dataset = whole.isel(drop, drop=True)
    return kept.set_coords([name for name in _NUMBERED if name in kept])


def _measure_table(
    case: _Case, maps: Mapping[str, xr.Dataset]
) -> tuple[pd.DataFrame, xr.Dataset | None]:
    """Return the table of the measures, and the log ratios of the spectra."""
    rows: dict[tuple[str, ...], list[float]] = {}
    names = [str(name) for name in maps["measures"].data_vars]
    curves = []
    why = ""
    for words, season, region in case.groups:
        own = _of_season(case, maps["measures"], season)
        inside = case.plan.regions[region]
        means = [float(area_mean(own[name], inside).mean()) for name in names]
        p, t = _cut(case, season, region)
        pooled = space.pooled_distance(p, t, str(case.pairs.axes.time))
        spectra, curve, refused = _spectra(p, t, str(case.pairs.axes.time))
        why = why or refused
        rows[words or (WHOLE,)] = [*means, pooled, *spectra]
        curves.append(curve)
    columns = [*names, "wasserstein_pooled", *SPECTRA]
    found = _frame(rows, list(case.plan.ways) or ["group"], columns)
    lacking = dict.fromkeys(SPECTRA, why) if why else {}
    found.attrs = {"left_out": lacking, "days": case.pairs.time.size}
    return found, _joined(case, curves)


def _cut(case: _Case, season: str, region: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Return both records of a group, NaN outside its region; the truth spread over members."""
    axes = case.pairs.axes
    crop = case.crops[region]
    at = {
        str(axes.time): case.plan.groups[season].rows,
        axes.y: crop.rows,
        axes.x: crop.columns,
    }
    p, t = (da.isel(at) for da in (case.p, case.t))
    if crop.inside is not None:
        inside = xr.DataArray(crop.inside, dims=(axes.y, axes.x))
        p = p.where(inside)
        t = t.where(inside)
    return p, t


def _spectra(
    p: xr.DataArray, t: xr.DataArray, time: str
) -> tuple[list[float], xr.Dataset | None, str]:
    """Return the three distances of spectra, the log ratio, and why there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            found = ralsd(p, t).compute()
    except GridError:
        return [np.nan] * 3, None, "need a regular grid of 8 rows and columns or more"
    further = list(found.ralsd.dims)
    square = float((found.ralsd**2).mean(further))
    powers = [space.zero_filled_power(da, time) for da in (p, t)]
    most = min(p.sizes[find_axes(p).y], p.sizes[find_axes(p).x]) // 2
    own, reference = (power[1 : most + 1] for power in powers)
    with np.errstate(all="ignore"):
        apart = 10 * np.log10(own / reference)
    zero_filled = float(np.mean(apart**2)) if np.isfinite(apart).all() else np.nan
    values = [float(found.ralsd.mean(further)), square, zero_filled]
    curve = found[["log_ratio"]].mean(further, keep_attrs=True)
    ring = np.arange(1, curve.sizes["wavelength"] + 1)
    return values, curve.swap_dims(wavelength="ring").assign_coords(ring=ring), ""


def _public(maps: Mapping[str, xr.Dataset], case: _Case) -> xr.Dataset:
    """Return the maps under the names that a user sees."""
    found = xr.Dataset()
    for name in case.plan.names:
        t = maps["truth"][name]
        p = maps["prediction"][name]
        found[f"{name}_truth"] = t
        found[f"{name}_prediction"] = p
        apart = _difference(name, p, t)
        text = f"bias of {t.attrs['long_name']}"
        found[f"{name}_bias"] = apart.assign_attrs({**t.attrs, "long_name": text})
        if _has_zero(name, case):
            about = {"long_name": f"ratio of {t.attrs['long_name']}", "units": "1"}
            found[f"{name}_ratio"] = (p / t.where(t != 0)).assign_attrs(about)
    return found.merge(maps["measures"], compat="override").assign_attrs(
        protocol=str(case.given.protocol)
    )


def _change(case: _Case, periods: tuple[Period, Period]) -> pd.DataFrame:
    """Return the table of changes of each index between two periods."""
    parts = [_period_maps(case, period) for period in periods]
    rows: dict[tuple[str, ...], list[float]] = {}
    for words, season, region in case.groups:
        for name in case.plan.names:
            changes = []
            for record in ("truth", "prediction"):
                before, after = (_of_season(case, part[record], season)[name] for part in parts)
                kept = _difference(name, after, before)
                changes.append(kept.assign_attrs(before.attrs))
            inside = case.plan.regions[region]
            t, p = (float(area_mean(x, inside).mean()) for x in changes)
            apart = changes[1] - changes[0]
            bias, size = (float(area_mean(x, inside).mean()) for x in (apart, abs(apart)))
            rows[(*words, name)] = [t, p, bias, size, *_relative([t, p], True)]
    found: pd.DataFrame = _frame(rows, [*case.plan.ways, "index"], COLUMNS)
    found.attrs = {"periods": [tuple(map(str, period)) for period in periods]}
    return found


def _period_maps(case: _Case, period: Period) -> dict[str, xr.Dataset]:
    """Return the maps of the indices of one period."""
    time = str(case.pairs.axes.time)
    start, end = period
    chosen = case.t.sel({time: slice(start, end)})
    if not chosen.sizes[time]:
        index = case.t.indexes[time]
        raise TimeAxisError(
            f"The period from {start} to {end} holds none of the common days, which run from "
            f"{index.min()} to {index.max()}. Give periods that both records have."
        )
    given = case.given
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        names = case.plan.names
        options = (given.regions, given.seasons, case.plan.kind)
        plan = make_plan(chosen, names, given.by, *options, what="The truth")
    p = case.p.sel({time: slice(start, end)})
    return {
        "truth": index_maps(chosen, plan).compute(),
        "prediction": index_maps(p, plan).compute(),
    }


def _of_several(
    prediction: xr.Dataset,
    truth: xr.Dataset,
    given: _Given,
    periods: tuple[Period, Period] | None,
) -> Assessment:
    """Judge each variable that two Datasets have, and their correlations."""
    names = [n for n in truth.data_vars if n in prediction.data_vars and _is_record(truth[n])]
    if not names:
        raise DataError(
            f"The Datasets have no variable in common: the prediction has "
            f"{list(map(str, prediction.data_vars))}, the truth {list(map(str, truth.data_vars))}. "
            "Rename those that are to be compared."
        )
    if given.kind is not None and len(names) > 1:
        raise OptionError(
            f"kind={given.kind!r} is given for {len(names)} variables; leave it out, and name the "
            "units of each."
        )
    found = {str(n): _of_one(prediction[n], truth[n], given, periods) for n in names}
    tables = {
        part: pd.concat({n: getattr(f, part) for n, f in found.items()}, names=["variable"])
        for part in ("indices", "measures", *(() if periods is None else ("change",)))
    }
    if len(names) > 1:
        tables["indices"] = pd.concat(
            [tables["indices"], _between(prediction[names], truth[names], given)]
        )
    tables["indices"].attrs = {
        "units": {n: f.indices.attrs["units"] for n, f in found.items()},
        "left_out": {},
    }
    tables["measures"].attrs = {}
    maps = xr.merge(
        [f.maps.rename({k: f"{n}_{k}" for k in f.maps.data_vars}) for n, f in found.items()],
        combine_attrs="override",
    )
    curves = xr.concat(
        [f.curves for f in found.values()], dim=_axis("variable", list(found)), join="outer"
    )
    return Assessment(tables["indices"], tables["measures"], maps, curves, tables.get("change"))


def _is_record(da: xr.DataArray) -> bool:
    return da.ndim >= 3 and da.dtype.kind in "fiub"


def _between(prediction: xr.Dataset, truth: xr.Dataset, given: _Given) -> pd.DataFrame:
    """Return rows of the correlations between variables, by group."""
    first = truth[next(iter(truth.data_vars))]
    time = require_time(first, "The truth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        sorted_times = check_time(first, "The truth")
        plan = make_plan(sorted_times, ["Mean"], given.by, given.regions, given.seasons, None)
    rows: dict[tuple[str, ...], list[float]] = {}
    for season, days in plan.groups.items():
        own = truth.sel({time: sorted_times[time][days.rows]})
        found = intervariable_correlation(prediction, own).compute()
        for region, inside in plan.regions.items():
            words = {"season": season, "region": region}
            label = tuple(words[way] for way in plan.ways)
            for k in range(found.sizes["pair"]):
                pair = found.isel(pair=k)
                t, p, bias = (
                    float(area_mean(pair[n], inside).mean())
                    for n in ("truth", "prediction", "difference")
                )
                size = float(area_mean(abs(pair["difference"]), inside).mean())
                name = f"{pair['first'].item()} & {pair['second'].item()}"
                rows[(name, *label, "correlation")] = [t, p, bias, size, np.nan, np.nan]
    return pd.DataFrame(_frame(rows, ["variable", *plan.ways, "index"], COLUMNS))
