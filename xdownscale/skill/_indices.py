"""Climate indices of a record: maps of VALUE's and of CORDEX-ML-Bench's, by season and region."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from xdownscale.core.alignment import template
from xdownscale.core.coords import Axes, find_axes, require_time
from xdownscale.core.errors import OptionError, XDownscaleWarning, check_option
from xdownscale.core.grids import cell_weights
from xdownscale.core.located import with_located
from xdownscale.core.missing import finite
from xdownscale.core.time import check_time
from xdownscale.core.units import units_of
from xdownscale.core.values import as_floats, check_some
from xdownscale.skill import _index_kernels as kernels
from xdownscale.skill._groups import WHOLE, By, Seasons, check_by
from xdownscale.skill._index_days import Days, days_of, require_daily
from xdownscale.skill._index_units import checked_kind, converted
from xdownscale.splits import SEASONS, normalise_regions, region_mask, resolve_seasons, season_of


class Index(NamedTuple):
    """One index: how it is computed, of what, in which units.

    Attributes
    ----------
    compute : callable of Sample
    kind : str
        ``"any"``, or the kind of record that it is of.
    units : str
        ``{}`` stands for the units of the record.
    long_name : str
    cycle : bool
        Whether it needs all days of the year.
    years : int
        Whole years that it needs.
    """

    compute: Callable[[kernels.Sample], Any]
    kind: str
    units: str
    long_name: str
    cycle: bool = False
    years: int = 0


_RAIN = "precipitation"
_WARM = "temperature"
_JOINED = ", of the days of a calendar year as they follow in the record"


def _general() -> dict[str, Index]:
    found = {
        "Mean": Index(lambda s: s.mean, "any", "{}", "mean"),
        "Var": Index(kernels.variance, "any", "({})2", "variance, divisor n - 1"),
        "Skewness": Index(kernels.skewness, "any", "1", "skewness"),
        "P02": Index(lambda s: kernels.quantile(s.x, 0.02), "any", "{}", "2nd percentile"),
        "P98": Index(lambda s: kernels.quantile(s.x, 0.98), "any", "{}", "98th percentile"),
    }
    for end, how in (("max", np.maximum), ("min", np.minimum)):
        text = f"20-year return value of annual {end}ima"
        found[f"RV20_{end}"] = Index(
            kernels.return_value(how), "any", "{}", text, years=kernels.FEWEST_MAXIMA
        )
    for lag in (1, 2, 3):
        text = f"autocorrelation at lag {lag} day{'s' if lag > 1 else ''}"
        found[f"AC{lag}"] = Index(kernels.autocorrelation(lag), "any", "1", text)
    return found


def _rain() -> dict[str, Index]:
    found = {
        "P98Wet": Index(
            lambda s: kernels.quantile(kernels.wet_days(s), 0.98), _RAIN, "{}", "98 % of wet days"
        ),
        "SDII": Index(
            lambda s: kernels.mean_of(kernels.wet_days(s)), _RAIN, "{}", "mean of wet days"
        ),
    }
    for level in (1, 10, 20):
        text = f"share of days with {level} mm or more"
        found[f"R{level:02d}"] = Index(kernels.frequency(level), _RAIN, "1", text)
    for letter, wet, word in (("W", True, "wet"), ("D", False, "dry")):
        text = f"probability of a wet day after a {word} one"
        both = f"probability of a {word} day and a wet one after it"
        found[f"{letter}WProb"] = Index(kernels.transition(wet, False), _RAIN, "1", text)
        found[f"{letter}WProb_joint"] = Index(kernels.transition(wet, True), _RAIN, "1", both)
        name = f"{word.capitalize()}Spell"
        found[f"{name}Mean"] = Index(
            kernels.spell_mean(wet), _RAIN, "day", f"mean length of {word} spells"
        )
        found[f"{name}P90"] = Index(
            kernels.spell_quantile(wet, 0.9), _RAIN, "day", f"90 % of the length of {word} spells"
        )
    return found


def _yearly() -> dict[str, Index]:
    found = {
        "AnnualCycleAmp": Index(
            kernels.cycle_amplitude, "any", "{}", "amplitude of the daily annual cycle", True
        ),
        "AnnualCycleAmp_filtered": Index(
            kernels.cycle_amplitude_filtered, "any", "{}", "amplitude of four harmonics", True
        ),
        "AnnualCyclePhase": Index(
            kernels.cycle_phase, "any", "day", "day of the year of the annual maximum", True
        ),
        "VarY": Index(
            kernels.interannual_variance, "any", "({})2", "variance of annual means", years=2
        ),
        "Trend": Index(kernels.trend, "any", "{} year-1", "linear trend of annual means", years=3),
    }
    for joined, end, more in ((False, "", ""), (True, "_joined", _JOINED)):
        texts = {
            "SU": (kernels.days_above(25.0, joined), _WARM, "day", "days a year above 25 degC"),
            "SU300K": (
                *(kernels.days_above(300 - 273.15, joined), _WARM, "day"),
                "days a year above 300 K",
            ),
            "TXx": (kernels.extreme(np.maximum, joined), _WARM, "{}", "mean annual maximum"),
            "TXn": (kernels.extreme(np.minimum, joined), _WARM, "{}", "mean annual minimum"),
            "Rx1day": (kernels.extreme(np.maximum, joined), _RAIN, "{}", "mean annual maximum"),
            "CDD": (
                *(kernels.longest_spell(False, joined), _RAIN, "day"),
                "mean longest dry spell of a year",
            ),
            "CWD": (
                *(kernels.longest_spell(True, joined), _RAIN, "day"),
                "mean longest wet spell of a year",
            ),
            "interannual_sd": (
                *(kernels.interannual_sd(joined), "any", "{}"),
                "standard deviation of annual means, divisor n",
            ),
        }
        for name, (compute, kind, units, text) in texts.items():
            least = 0 if joined else 1 + (name == "interannual_sd")
            found[name + end] = Index(compute, kind, units, text + more, years=least)
        text = "correlation of each day with the next" + more
        found["lag1" + end] = Index(kernels.neighbours(joined), "any", "1", text)
    return found


INDICES = _general() | _rain() | _yearly()
_BENCH = ("SU", "TXx", "TXn", "Rx1day", "SDII", "CDD", "CWD", "lag1", "interannual_sd")
_CODE = {"SDII": "SDII", "SU": "SU300K_joined"}
PROTOCOLS: dict[str, tuple[str, ...]] = {
    "value": (
        *("Mean", "Var", "Skewness", "P02", "P98", "P98Wet", "R01", "R10", "R20", "SDII"),
        *("RV20_max", "AC1", "AC2", "AC3", "WWProb", "DWProb"),
        *("WetSpellMean", "WetSpellP90", "DrySpellMean", "DrySpellP90"),
        *("AnnualCycleAmp", "AnnualCyclePhase", "VarY", "Trend"),
    ),
    "cordex-ml": ("Mean", *_BENCH),
    "cordex-ml-code": ("Mean", *(_CODE.get(name, f"{name}_joined") for name in _BENCH)),
}
CIRCULAR = ("AnnualCyclePhase",)
_GROUP = "_group"
_INDEX = "_index"


class Plan(NamedTuple):
    """What is computed of a record.

    Attributes
    ----------
    names : tuple of str
        Indices.
    kind : str
        What the record is of.
    groups : dict of str to Days
        Seasons, or ``"all"``.
    ways : tuple of str
        Ways of grouping.
    regions : dict of str to DataArray
        (y, x) weights of the cells of each region in a mean over it; one region, ``"all"``, where
        there are none.
    left_out : dict of str to str
        Indices of the protocol that the record has not, and why.
    """

    names: tuple[str, ...]
    kind: str
    groups: dict[str, Days]
    ways: tuple[str, ...]
    regions: dict[str, xr.DataArray]
    left_out: dict[str, str]


@with_located
def indices(
    da: xr.DataArray,
    protocol: str | Sequence[str] = "value",
    *,
    by: By = None,
    regions: Mapping[str, Any] | None = None,
    seasons: Seasons = SEASONS,
    kind: str | None = None,
) -> xr.Dataset:
    """Compute climate indices of each cell over time: those of VALUE or of CORDEX-ML-Bench.

    Parameters
    ----------
    da : DataArray
        Daily values (time, lat, lon) and further dims, in any order, NaN and infinities where
        there are none. Rain in units of a daily amount or a rate (``mm``, ``mm day-1``, ``m``,
        ``kg m-2``, ``kg m-2 s-1``) is brought to mm a day, temperatures to degrees Celsius.
    protocol : {"value", "cordex-ml", "cordex-ml-code"} or sequence of str
        Or names of indices, see Notes. Of a protocol those are computed that the kind of record
        has; ``attrs["left_out"]`` names the others.
    by : {"season", "region"}, both in any order, or None
        A season makes a dimension of the maps; regions make area means of them.
    regions, seasons
        As for `table`.
    kind : {"precipitation", "temperature", "other"}, optional
        What the record is of. By default its units say it; units other than ``mm`` that may be of
        rain or of something else (``kg m-2``, ``m``) are of rain where the name or the
        ``standard_name`` says so.

    Returns
    -------
    Dataset
        One variable ([season,] lat, lon) or ([season,] region) for each index, with its units;
        and ``days``, the number of values. Lazy where the record is: each chunk of cells is read
        once, with all its days.

    Raises
    ------
    DataError
        If an index is asked for by name whose units the record cannot be brought to, or the
        values are no numbers.
    OptionError
        For an unknown name, or an index of the annual cycle by season.
    TimeAxisError
        If there is no time, a day is there twice, or the record is not one of days.
    GridError
        If a region holds no cell.

    Warns
    -----
    XDownscaleWarning
        If there are fewer whole years than an index needs: it is NaN.

    Notes
    -----
    With x the values of a cell, m their mean, n their number, wet days of 1 mm or more (thresholds
    allow for the rounding of float32, so that 1 mm given in kg m-2 s-1 is one):

    ``Mean``, ``Var`` (divisor n - 1), ``Skewness`` ``mean((x - m)^3) / Var^1.5``, ``P02``, ``P98``
    (linear between order statistics, R's type 7), ``P98Wet`` and ``SDII`` (98 % quantile and mean
    of wet days), ``R01``, ``R10``, ``R20`` (share of days of 1, 10, 20 mm or more).

    ``RV20_max`` (``RV20_min``): the value that the maximum (minimum) of a year exceeds (falls
    below) once in 20 years, of a generalised extreme value distribution fitted by L-moments
    (Hosking 1990; R VALUE fits by maximum likelihood), from 10 years on.

    ``AC1``, ``AC2``, ``AC3``: ``sum (x_t - m)(x_t+k - m) / (p + k)`` over ``sum (x_t - m)^2 / n``
    for the p pairs of days that are k days apart, as R's ``acf``. ``lag1``: Pearson's correlation
    of those pairs. Neither pairs the last day of a season with the first of the next year's;
    ``lag1_joined`` does, as the public code of CORDEX-ML-Bench.

    ``WWProb``, ``DWProb``: share of wet days among the days after a wet (dry) one;
    ``WWProb_joint``, ``DWProb_joint``: share of such pairs among all pairs, which is what the R
    package computes. ``WetSpellMean``, ``WetSpellP90``, ``DrySpellMean``, ``DrySpellP90``: of the
    lengths of spells, which end at a missing day, at a gap and at the end of a season; 0 where
    there is none, as in R.

    ``AnnualCycleAmp``: largest minus smallest mean of a calendar day (29 February apart);
    ``AnnualCyclePhase``: the day of the year, from 1, on which their circular mean over 31 days is
    largest; ``AnnualCycleAmp_filtered``: amplitude of four harmonics fitted to them. ``VarY``:
    variance of the means of the years; ``Trend``: their least-squares slope.

    ``SU`` (days above 25 degC), ``TXx``, ``TXn`` (largest and smallest daily value), ``Rx1day``
    (largest), ``CDD``, ``CWD`` (longest dry and wet spell): means over the years of the value of a
    year. ``interannual_sd``: standard deviation (divisor n) of the means of the years.

    A year counts where 90 % of its days have a value; December belongs to the winter of the next
    year. The names with ``_joined`` are what the code of CORDEX-ML-Bench computes of a season: the
    days of one calendar year one after the other, so that a dry spell may run from February to
    December, and partial years count. Its code counts days above 300 K (``SU300K_joined``), its
    text those above 25 degC. ``"cordex-ml"`` has the definitions, ``"cordex-ml-code"`` the others.

    References
    ----------
    Maraun et al. (2015), doi:10.1002/2014EF000259; Maraun et al. (2019), doi:10.1002/joc.5222;
    Gutierrez et al. (2019), doi:10.1002/joc.5462; CORDEX-ML-Bench: arXiv 2606.29172.

    Examples
    --------
    >>> days = xr.date_range("2000-01-01", periods=4)
    >>> edges = {"time": days, "lat": [0.0], "lon": [0.0]}
    >>> rain = xr.DataArray(np.array([0, 4, 2, 0.0]).reshape(4, 1, 1), coords=edges)
    >>> found = indices(rain.assign_attrs(units="mm day-1"), ["R01", "SDII", "WWProb"])
    >>> found.R01.item(), found.SDII.item(), found.WWProb.item()
    (0.5, 3.0, 0.5)
    """
    da = check_some(da, "The record")
    require_time(da, "The record")
    record = check_time(da, "The record")
    plan = make_plan(record, protocol, by, regions, seasons, kind)
    maps = index_maps(converted(record, plan.kind), plan)
    found = over_regions(maps, plan.regions) if "region" in plan.ways else maps
    said = ", ".join(f"{name} ({why})" for name, why in plan.left_out.items())
    return found.assign_attrs(protocol=str(protocol), kind=plan.kind, left_out=said or "none")


def make_plan(
    record: xr.DataArray,
    protocol: str | Sequence[str],
    by: By,
    regions: Mapping[str, Any] | None,
    seasons: Seasons,
    kind: str | None,
    what: str = "The record",
) -> Plan:
    """Check what is asked, and return what is to be computed.

    Parameters
    ----------
    record : DataArray
        Whose times ascend.
    protocol, by, regions, seasons, kind
        As for `indices`.
    what : str
        What the record is, for messages.

    Returns
    -------
    Plan
    """
    ways = check_by(by, regions)
    time = record[require_time(record, what)]
    require_daily(time, what)
    whole = isinstance(protocol, str) and protocol in PROTOCOLS
    names = _names(protocol)
    named = {} if whole else {name: INDICES[name].kind for name in names}
    of = checked_kind(record, kind, named, what)
    left_out = {name: why for name in names if (why := _why_not(name, of, ways))}
    if not whole and left_out:
        name, why = next(iter(left_out.items()))
        raise OptionError(f"{name} cannot be computed: it {why}. Leave it out, or by='season'.")
    groups = _season_days(time, seasons) if "season" in ways else {WHOLE: days_of(time)}
    kept = tuple(name for name in names if name not in left_out)
    _tell_of_years(kept, groups)
    return Plan(kept, of, groups, ways, _region_weights(record, regions), left_out)


def _region_weights(
    record: xr.DataArray, regions: Mapping[str, Any] | None
) -> dict[str, xr.DataArray]:
    """Return the areas of the cells of each region, 0 outside."""
    areas = cell_weights(template(record)).reset_coords(drop=True)
    parts = {
        name: areas.where(region_mask(record, region).reset_coords(drop=True), 0.0)
        for name, region in normalise_regions(regions).items()
    }
    return parts or {WHOLE: areas}


def _names(protocol: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of the indices of a protocol, or those given."""
    if isinstance(protocol, str) and protocol not in INDICES:
        check_option("protocol", protocol, PROTOCOLS)
        return PROTOCOLS[protocol]
    names = (protocol,) if isinstance(protocol, str) else tuple(protocol)
    if not names:
        raise OptionError(f"No index was named; give some of {list(INDICES)}, or a protocol.")
    for name in names:
        check_option("index", name, INDICES)
    return names


def _why_not(name: str, kind: str, ways: tuple[str, ...]) -> str:
    """Return why an index is not computed; "" where it is."""
    index = INDICES[name]
    if index.kind not in ("any", kind):
        return f"is of {index.kind}"
    return "needs all days of the year" if index.cycle and "season" in ways else ""


def _season_days(time: xr.DataArray, seasons: Seasons) -> dict[str, Days]:
    named = season_of(time, seasons)
    wanted = {name: given for name, given in resolve_seasons(seasons).items() if name in named}
    if not wanted:
        raise OptionError(
            f"None of the {time.size} days lies in the seasons {list(resolve_seasons(seasons))}; "
            "give the seasons that the days lie in, with seasons=[...]."
        )
    return {name: days_of(time, given) for name, given in wanted.items()}


def _tell_of_years(names: Sequence[str], groups: Mapping[str, Days]) -> None:
    """Warn of indices that have fewer whole years than they need."""
    for group, days in groups.items():
        lengths = np.diff(np.append(days.years.starts, days.rows.size))
        count = int((lengths >= days.years.enough).sum())
        short = [name for name in names if INDICES[name].years > count]
        if short:
            where = "" if group == WHOLE else f" of {group}"
            most = max(INDICES[name].years for name in short)
            warnings.warn(
                f"The record has {count} whole years{where}, with 90 % of their days; "
                f"{', '.join(short)} (up to {most} years) will be NaN.",
                XDownscaleWarning,
                stacklevel=4,
            )
            return


def index_maps(record: xr.DataArray, plan: Plan) -> xr.Dataset:
    """Return the indices of each cell.

    Parameters
    ----------
    record : DataArray
        Whose times ascend, in the units of the indices.
    plan : Plan

    Returns
    -------
    Dataset
        ([season,] ..., y, x)
    """
    axes = find_axes(record)
    time = str(axes.time)
    groups = list(plan.groups.values())

    def kernel(x: Any) -> Any:
        flat = finite(x.reshape(-1, x.shape[-1])).astype(float)
        found = np.full((len(flat), len(groups), len(plan.names) + 1), np.nan)
        with np.errstate(all="ignore"):  # what has no value is NaN
            for g, days in enumerate(groups):
                sample = kernels.Sample(flat[:, days.rows], days)
                for i, name in enumerate(plan.names):
                    found[:, g, i] = INDICES[name].compute(sample)
                found[:, g, -1] = sample.count
        return found.reshape(*x.shape[:-1], *found.shape[1:])

    whole = as_floats(record)
    if whole.chunks is not None:
        whole = whole.chunk({time: -1, axes.y: "auto", axes.x: "auto"})
    stacked = xr.apply_ufunc(
        kernel,
        whole,
        input_core_dims=[[time]],
        output_core_dims=[[_GROUP, _INDEX]],
        dask="parallelized",
        output_dtypes=[float],
        dask_gufunc_kwargs={
            "output_sizes": {_GROUP: len(groups), _INDEX: len(plan.names) + 1},
        },
    )
    return _labelled(stacked, plan, axes, units_of(record))


def _labelled(stacked: xr.DataArray, plan: Plan, axes: Axes, units: str | None) -> xr.Dataset:
    stacked = stacked.transpose(_GROUP, ..., axes.y, axes.x, _INDEX)
    if "season" in plan.ways:
        stacked = stacked.rename({_GROUP: "season"}).assign_coords(season=list(plan.groups))
    else:
        stacked = stacked.isel({_GROUP: 0}, drop=True)
    found = xr.Dataset()
    for i, name in enumerate(plan.names):
        index = INDICES[name]
        own = index.units.format(units or "?")
        about: dict[str, Any] = {} if units is None and "{}" in index.units else {"units": own}
        if name in CIRCULAR:
            about = {**about, "period": next(iter(plan.groups.values())).period}
        found[name] = stacked.isel({_INDEX: i}).assign_attrs(long_name=index.long_name, **about)
    about = {"long_name": "days with a value", "units": "1"}
    found["days"] = stacked.isel({_INDEX: -1}).assign_attrs(about)
    return found


def over_regions(maps: xr.Dataset, regions: Mapping[str, xr.DataArray]) -> xr.Dataset:
    """Return area means of maps over regions.

    Parameters
    ----------
    maps : Dataset
        (..., y, x)
    regions : mapping of str to DataArray (y, x)
        Weights of the cells.

    Returns
    -------
    Dataset
        (..., region); days of the year are averaged round the circle.
    """
    parts = [
        xr.Dataset({str(n): area_mean(da, weights, str(n) in CIRCULAR) for n, da in maps.items()})
        for weights in regions.values()
    ]
    joined = xr.concat(parts, dim="region", coords="minimal", compat="override")
    return joined.assign_coords(region=list(regions)).transpose(..., "region")


def area_mean(da: xr.DataArray, weights: xr.DataArray, circular: bool = False) -> xr.DataArray:
    """Return the weighted mean of a map.

    Parameters
    ----------
    da : DataArray
        (..., y, x)
    weights : DataArray
        (y, x), 0 outside the region.
    circular : bool
        Whether the values are days of the year; ``attrs["period"]`` is its length.

    Returns
    -------
    DataArray
        NaN cells are left out.
    """
    dims = list(weights.dims)
    if not circular:
        flat: xr.DataArray = da.weighted(weights).mean(dims, keep_attrs=True)
        return flat
    period = da.attrs["period"]
    angle = 2 * np.pi * da / period
    east = np.cos(angle).weighted(weights).mean(dims)
    north = np.sin(angle).weighted(weights).mean(dims)
    turned = xr.apply_ufunc(np.arctan2, north, east, dask="allowed") * period / (2 * np.pi)
    found: xr.DataArray = ((turned - 0.5) % period + 0.5).assign_attrs(da.attrs)
    return found
