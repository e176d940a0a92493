"""Every public function under awkward records: a right value, or an error of the library.

Functions are found by introspection: a new one is swept, or named in `LEFT_OUT` with the reason,
or fails a test. Foreign exceptions and foreign warnings fail, and so does a result without any
number for a record that has some.
"""

from __future__ import annotations

import functools
import inspect
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xdownscale as xd
from xdownscale import accessors
from xdownscale.core.errors import XDownscaleError, XDownscaleWarning

mpl.use("agg")
STEPS, NY, NX = 16, 8, 9
LAYOUT = xd.patches.PatchLayout((NY, NX), 4, 4, 0)


@pytest.fixture(autouse=True)
def page(tmp_path, monkeypatch):
    """Pages are written to a folder of the test."""
    monkeypatch.setitem(FIXED, "path", tmp_path / "report.html")


def plain(seed: int = 0, steps: int = STEPS) -> xr.DataArray:
    """Return a smooth record of positive values, of a degree and more."""
    values = np.random.default_rng(seed).lognormal(size=(steps, NY + 2, NX + 2))
    values = (values[:, 1:] + values[:, :-1])[..., 1:] + (values[:, 1:] + values[:, :-1])[..., :-1]
    return xr.DataArray(
        values[:, :NY, :NX],
        coords={
            "time": pd.date_range("2000-01-01", periods=steps),
            "lat": ("lat", np.arange(NY) + 20.0, {"units": "degrees_north"}),
            "lon": ("lon", np.arange(NX) + 40.0, {"units": "degrees_east"}),
        },
        dims=("time", "lat", "lon"),
        name="dust",
        attrs={"units": "kg m-2"},
    )


def _set(value: Any) -> xr.DataArray:
    da = plain()
    da.values[3, 2, 1] = value
    return da


def _with_time(values: Any, **attrs: Any) -> xr.DataArray:
    return plain().assign_coords(time=("time", values, attrs))


def _degrees(factor: float = 1.0, **attrs: Any) -> xr.DataArray:
    da = plain()
    coords = {n: (n, da[n].values * factor, da[n].attrs | attrs) for n in ("lat", "lon")}
    return da.assign_coords(coords)


def _curvilinear(hole: bool) -> xr.DataArray:
    lat, lon = np.meshgrid(np.arange(NY) + 20.0, np.arange(NX) + 40.0, indexing="ij")
    lon = lon + 0.05 * lat
    if hole:
        lat[:2, :2] = lon[:2, :2] = np.nan
    da = plain().drop_vars(["lat", "lon"]).rename(lat="y", lon="x")
    return da.assign_coords(lat=(("y", "x"), lat), lon=(("y", "x"), lon))


def _rotated() -> xr.DataArray:
    da = _curvilinear(False).rename(y="rlat", x="rlon")
    for name, words in (("rlat", "grid_latitude"), ("rlon", "grid_longitude")):
        attrs = {"standard_name": words, "units": "degrees"}
        da = da.assign_coords({name: (name, np.arange(da.sizes[name]) - 4.0, attrs)})
    return da


def _pint() -> xr.DataArray:
    import pint

    return plain().copy(data=pint.UnitRegistry().Quantity(plain().values, "kg/m**2"))


def _quantified(da: xr.DataArray) -> xr.DataArray:
    """Return a record with units on its values, and on its coordinates and their indexes."""
    import cf_xarray.units  # a registry that knows "kg m-2" and degrees north
    import pint_xarray  # the accessor

    assert isinstance(da.pint, pint_xarray.accessors.PintDataArrayAccessor)
    return da.pint.quantify(unit_registry=cf_xarray.units.units)


class Foreign:
    """An array of a kind that is not known here, and that nobody may read or reckon with."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __getitem__(self, key: Any) -> Foreign:
        return Foreign(self._values[key])

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("a foreign array was read")

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("a foreign array was reckoned with")

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func is np.transpose:
            return Foreign(np.transpose(args[0]._values, *args[1:], **kwargs))
        raise TypeError(f"{func.__name__} of a foreign array")


# the same numbers in other clothes: results must be those of the plain record
SAME: dict[str, Callable[[], xr.DataArray]] = {
    "plain": plain,
    "latitude descends": lambda: plain().isel(lat=slice(None, None, -1)),
    "other order of dims": lambda: plain().transpose("lon", "time", "lat"),
    "longitudes below 0": lambda: plain().assign_coords(lon=plain().lon - 360),
    "float32": lambda: plain().astype("float32"),
    "lazy": lambda: plain().chunk(time=5),
    "stamped at noon": lambda: _with_time(plain().time.values + np.timedelta64(12, "h")),
    "cftime": lambda: plain().assign_coords(
        time=xr.date_range("2000-01-01", periods=STEPS, use_cftime=True)
    ),
    "other names": lambda: plain().rename(lat="latitude", lon="longitude", time="valid_time"),
    "harmless attributes": lambda: plain().assign_attrs(
        _FillValue=np.nan, scale_factor=1.0, flag=b"bytes", valid_range=[0.0, 1e3]
    ),
    "auxiliary latitude": lambda: plain().assign_coords(
        lat_geodetic=("lat", plain().lat.values + 0.1, {"standard_name": "latitude"})
    ),
    "times in disorder": lambda: plain().isel(time=[3, 0, 2, 1, *range(4, STEPS)]),
    "pint": _pint,
    "pint with coordinates": lambda: _quantified(plain()),
    "pint of dask": lambda: _quantified(plain().chunk(time=5)),
    "dask of pint": lambda: _quantified(plain()).chunk(time=5),
}
AWKWARD: dict[str, Callable[[], xr.DataArray]] = {
    "no name": lambda: plain().rename(None),
    "slash in the name": lambda: plain().rename("a/b"),
    "no units": lambda: plain().drop_attrs(),
    "whole numbers": lambda: (plain() * 100).astype("uint8"),
    "booleans": lambda: plain() > 3,
    "constant": lambda: plain() * 0 + 3,
    "zeros": lambda: plain() * 0,
    "all NaN": lambda: plain() * np.nan,
    "land mask": lambda: plain().where(plain().lon > 43),
    "one value": lambda: plain().where((plain().lon == 43) & (plain().lat == 23)),
    "infinity": lambda: _set(np.inf),
    "negative": lambda: plain() - 100,
    "one step": lambda: plain(steps=1),
    "three steps": lambda: plain(steps=3),
    "no step": lambda: plain().isel(time=slice(0)),
    "no time": lambda: plain().isel(time=0, drop=True),
    "a day twice": lambda: _with_time(plain().time.values[[0, 0, *range(2, STEPS)]]),
    "no date for a step": lambda: _with_time([np.datetime64("NaT"), *plain().time.values[1:]]),
    "six hours": lambda: _with_time(pd.date_range("2000-01-01", periods=STEPS, freq="6h")),
    "a gap": lambda: _with_time(plain().time.values + np.timedelta64(9, "D") * (np.arange(16) > 7)),
    "360 days a year": lambda: plain().assign_coords(
        time=xr.date_range("2000-01-01", periods=STEPS, calendar="360_day", use_cftime=True)
    ),
    "undecoded times": lambda: _with_time(np.arange(STEPS), units="days since 2000-01-01"),
    "YYYYMMDD": lambda: _with_time(20000101 + np.arange(STEPS)),
    "undecoded under an odd name": lambda: _with_time(
        np.arange(STEPS), units="days since 2000-01-01"
    ).rename(time="t"),
    "dates beside the dimension": lambda: (
        plain().rename(time="t").assign_coords(t=np.arange(STEPS), date=("t", plain().time.values))
    ),
    "valid time beside reference": lambda: _with_time(
        plain().time.values, standard_name="forecast_reference_time"
    ).assign_coords(
        valid=("time", plain().time.values + np.timedelta64(2, "D"), {"standard_name": "time"})
    ),
    "two date axes": lambda: plain().expand_dims(start=plain().time.values[:1] - 864 * 10**11),
    "radians": lambda: _degrees(np.pi / 180, units="radian"),
    "metres": lambda: _degrees(1e5, units="m"),
    "beyond the pole": lambda: plain().assign_coords(lat=plain().lat + 70),
    "no longitude": lambda: plain().drop_vars("lon"),
    "one row": lambda: plain().isel(lat=[2]),
    "uneven latitudes": lambda: plain().assign_coords(lat=np.arange(NY) ** 1.5 + 20),
    "rotated": _rotated,
    "curvilinear": lambda: _curvilinear(False),
    "curvilinear with holes": lambda: _curvilinear(True),
    "fill value in attributes": lambda: _set(-9999.0).assign_attrs(_FillValue=-9999.0),
    "packed": lambda: (plain() * 100).astype("int16").assign_attrs(scale_factor=0.01),
    "1e30": lambda: _set(1e30),
    "-9999": lambda: _set(-9999.0),
    "beyond float32": lambda: plain() * 1e39,
    "offset of 1e8": lambda: plain() + 1e8,
    "time spans": lambda: plain().copy(data=(plain().values * 1e14).astype("timedelta64[ns]")),
    "complex": lambda: plain() + 1j,
    "texts": lambda: plain().astype(str),
    "objects": lambda: plain().astype(object),
    "another kind of array": lambda: plain().copy(data=Foreign(plain().values)),
    "no array": lambda: plain().values,
}
# no number can be got from these, or none of a score or a diagnostic of theirs
EMPTY = {
    *("all NaN", "constant", "zeros", "one value", "one step", "three steps", "no step"),
    *("no time", "one row", "booleans", "beyond float32"),
}

# documented: images with more missing cells than max_missing come out NaN
DOCUMENTED = {("skill.ralsd", "land mask")}

_NUMBERS = "of numbers below the labels"
_TABLE = "of a table of scores, not of records"
LEFT_OUT = {
    "Downscaler": "an estimator: fit, predict and the others are swept as functions",
    "DownscalerConfig": "takes no record",
    "predict": "needs a model; swept below",
    "predict_to_zarr": "needs a model and a disc; swept below",
    "load": "takes no record",
    "study.run": "reads files or the twin: see tests/study",
    "study.figure": "reads a folder that study.run wrote: see tests/study",
    "study.systems": "takes no record",
    "grids.with_bounds": "joins a variable and its Dataset for other functions; takes both",
    "grids.without_bounds": "undoes it, on what other functions return",
    "load_pretrained": "takes no record",
    "preset": "takes no record",
    "plot.coastlines": "takes no record",
    "plot.style": "takes no record",
    "publish": "takes no record",
    "reports.report": "the same function as report",
    "plot.rank_histogram": "draws a result of skill.rank_histogram, which is swept",
    "plot.reliability": "draws a result of skill.reliability, which is swept",
    "cordex.write_submission": "writes a file of a Dataset: see tests/io/test_cordex.py",
    "plot.spread_skill": "draws a result of skill.spread_skill, which is swept",
    "skill.intervariable_correlation": "of Datasets of several variables; swept below",
    "skill.describe": "of several records by name; swept below",
    "skill.per_day": "of several records by name; swept below",
    "skill.over_days": "of scores of days, such as skill.rmse gives",
    **dict.fromkeys(
        ("skill.format_table", "skill.left_out_note", "skill.to_latex", "skill.to_markdown"), _TABLE
    ),
    "patches.extract_array": _NUMBERS,
    "patches.stitch_array": _NUMBERS,
    "patches.stitch": "of patches, not of a record",
    "baselines.all": "every part of it is swept by itself",
    "grids.cell_centres": "of a grid (y, x) alone, not of a record",
    "grids.on_grid": "labels values, and takes no record of its own",
    **dict.fromkeys(
        (
            *("grids.cell_bounds", "grids.spacing", "grids.wrap_longitude", "grids.latitude_axis"),
            *("grids.longitude_axis", "grids.outside", "grids.check_coverage", "grids.cell_areas"),
            *("grids.has_width", "grids.distances", "labels.is_yyyymmdd", "splits.day_first"),
        ),
        _NUMBERS,
    ),
    "labels.from_array": "of an array and the labels that labels.to_array gave",
    "labels.auxiliary": "of a Dataset of one record",
    "baselines.place_in_year": "of a pandas index",
    "splits.check_split": "of a split and its windows",
    "splits.windows_around": "of rows of times that were checked",
    "splits.normalise_regions": "takes no record",
    "splits.resolve_seasons": "takes no record",
    "downscale.stitch": "of patches, not of a record",
    "downscale.predict": "one call of predict",
}
NO_RECORD = {
    "config": "options",
    "errors": "exceptions, and checks of options",
    "scaling": "of arrays below the labels",
    "windows": "of numbers of pixels",
    "datasets": "opens files and downloads: see tests/datasets",
    "methods": "names of methods",
}
RECORDS = {"da", "prediction", "coarse", "fine", "field", "fields_a", "source", "results", "grid"}
RECORDS |= {"a", "maps", "time"}
SECOND = {"truth", "other", "reference", "fields_b", "fine_train", "target", "b"}
OF_TIMES = {"match_times", "check_overlap", "check_steps"}
FIXED: dict[str, Any] = {
    "layout": LAYOUT,
    "time": None,
    "max_lag": 2,
    "max_distance": 300.0,
    "bins": 4,
    "pairs": 300,
    "bootstrap": 0,
    "null": False,
    "thresholds": [3.0],
    "realizations": 2,
    "neighbours": 3,
    "progress": False,
    "region": (40, 45, 20, 25),
    "lags": 2,
    "rows": [0],
    "before": 1,
    "after": 1,
    "shifts": 100,
    "days": 4,
    "average": "time",
    "what": "The record",
    "draws": 20,
}
# of these every fifth record is swept, another fifth for the next function
HEAVY = {
    *("compare", "structure", "table", "per_day", "similarity_table", "maps", "dressed", "ridge"),
    *("gaussian", "analogues", "bias_corrected", "quantile_mapped", "fit", "wasserstein"),
    "pointwise",
    *("plot_maps", "variogram_score", "energy_score", "kge", "nse", "fss", "events", "describe"),
    *("krige", "kriging", "lag_correlation", "distribution", "inspect"),
    *("protocol", "indices", "reliability", "twcrps", "crps_decomposition", "sal"),
    *("bias", "mae", "pearson_r2", "r2", "crps", "ralsd", "regrid", "regrid_static", "lag_curve"),
}
STEPS_OF = {
    "compare": 12,
    "protocol": 10,
    "fit_all": 12,
    "evidence": 16,
    "report": 16,
    "field_report": 8,
}  # of the heaviest


_TYPES = (type, types.GenericAlias)  # classes, and names of types


def _functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield every public function by its dotted name."""
    for name in xd.__all__:
        thing = getattr(xd, name)
        if not isinstance(thing, types.ModuleType):
            yield name, thing
            continue
        if name in NO_RECORD:
            continue
        own = getattr(thing, "__all__", None) or [
            key for key, f in vars(thing).items() if getattr(f, "__module__", "") == thing.__name__
        ]
        for key in own:
            f = getattr(thing, key)
            if callable(f) and not key.startswith("_") and not isinstance(f, _TYPES):
                yield f"{name}.{key}", f
    for room in ("downscale", "geostat"):
        kind = {"downscale": accessors.DownscaleAccessor, "geostat": accessors.GeostatAccessor}
        for key in dir(kind[room]):
            if not key.startswith("_"):
                place = room if room == "downscale" else "accessor"
                yield f"{place}.{key}", _method(room, key)


def _method(room: str, key: str) -> Callable[..., Any]:
    """Return a method of an accessor as a function of the record."""

    def call(da: xr.DataArray, **options: Any) -> Any:
        if not isinstance(da, xr.DataArray):
            raise XDownscaleError("only a DataArray has accessors")
        return getattr(getattr(da, room), key)(**options)

    kind = {"downscale": accessors.DownscaleAccessor, "geostat": accessors.GeostatAccessor}[room]
    rest = list(inspect.signature(getattr(kind, key)).parameters.values())[1:]
    first = inspect.Parameter("da", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    call.__signature__ = inspect.Signature([first, *rest])  # type: ignore[attr-defined]
    return call


FUNCTIONS = {name: f for name, f in _functions() if name not in LEFT_OUT}
# the same under an option that takes another way; the last word is the function's
VARIANTS: dict[str, Callable[..., Any]] = {
    "over space.nse": functools.partial(xd.skill.nse, over="space", reduce=False),
    "over space.kge": functools.partial(xd.skill.kge, over="space", reduce=False),
    "period.wasserstein": functools.partial(xd.geostat.wasserstein, normalise="period"),
    "period.similarity_table": functools.partial(xd.geostat.similarity_table, normalise="period"),
    "titled.maps": lambda da: xd.plot.maps(da, titles=["one"]),
    "with days.describe": lambda da: xd.skill.describe(
        {"it": da}, ["season"], n_days=True, buffer_days=2
    ),
    "forced.pointwise": lambda coarse, fine_train: xd.baselines.pointwise(
        coarse, fine_train, mode="teacher_forced"
    ),
}
SWEPT = FUNCTIONS | VARIANTS
DRESSED = {"preset": "dressed", "progress": False}


def _is_of_times(f: Callable[..., Any]) -> bool:
    """Tell whether a function takes times, not records."""
    first = next(iter(inspect.signature(f).parameters), "")
    return first == "time" or getattr(f, "__name__", "") in OF_TIMES


def _times(da: Any) -> Any:
    """Return the times of a record; the record itself where it has none."""
    return da["time"] if isinstance(da, xr.DataArray) and "time" in da.coords else da


def _arguments(f: Callable[..., Any], da: Any, good: xr.DataArray, which: int) -> dict[str, Any]:
    """Return the arguments of a function: the awkward record, and a plain one beside it."""
    given: dict[str, Any] = {}
    if _is_of_times(f):
        da, good = _times(da), _times(good)
    for name, parameter in inspect.signature(f).parameters.items():
        required = parameter.default is inspect.Parameter.empty
        if name in RECORDS and required and not given:
            given[name] = da if which == 0 else good
        elif name == "predictions":
            given[name] = {"it": da if which == 0 else good}
        elif name in SECOND or (name in ("fine", "coarse") and required):
            given[name] = good if which == 0 else da
        elif name in FIXED and (required or FIXED[name] is not None):
            given[name] = FIXED[name]
        elif name == "preset":
            known = inspect.signature(f).parameters
            given |= {key: value for key, value in DRESSED.items() if key in known}
    if "fine" in given and "time" in inspect.signature(f).parameters and "coarse" not in given:
        given["time"] = plain().time[4:6]
    return given


def _numbers(found: Any) -> np.ndarray:
    """Return the numbers of a result, whatever its kind."""
    if isinstance(found, xr.DataArray):
        numbers = found.dtype.kind in "fiub" and isinstance(found.data, np.ndarray)
        kept = found.values if numbers or found.chunks is not None else np.zeros(0)
        return np.asarray(kept, float).ravel()
    if isinstance(found, xr.Dataset):
        parts = [_numbers(v) for v in found.data_vars.values() if v.dtype.kind == "f"]
        return np.concatenate([*parts, np.zeros(0)])
    if isinstance(found, pd.DataFrame):
        return found.select_dtypes("number").to_numpy(float).ravel()
    if isinstance(found, dict):
        return np.concatenate([*(_numbers(v) for v in found.values()), np.zeros(0)])
    if isinstance(found, xd.skill.Assessment):
        return _numbers(found.indices)
    if isinstance(found, xd.Downscaler):
        return np.array([v for v in found.skill_.values() if isinstance(v, float)])
    return np.zeros(0)


def _call(f: Callable[..., Any], da: Any, which: int) -> tuple[str, np.ndarray]:
    """Call a function; return what is wrong, and the numbers that it returned."""
    good = plain(1)
    arguments = _arguments(f, da, good, which)
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("error")
            warnings.simplefilter("always", XDownscaleWarning)
            numbers = _numbers(f(**arguments))
        silent = not told or not np.isnan(numbers).all()
        return "", numbers if silent else np.zeros(0)
    except XDownscaleError as err:
        return "" if len(str(err)) > 20 else f"error without a word: {err!r}", np.zeros(0)
    except Exception as err:
        return f"{type(err).__name__}: {str(err)[:150]}", np.zeros(0)
    finally:
        plt.close("all")


def test_every_public_function_is_swept_or_left_out_for_a_reason():
    everything = dict(_functions())
    assert set(LEFT_OUT) <= set(everything)
    assert set(FUNCTIONS) == set(everything) - set(LEFT_OUT)
    assert all(len(reason) > 5 for reason in (LEFT_OUT | NO_RECORD).values())
    blind = [name for name, f in FUNCTIONS.items() if not _swept(f)]
    assert not blind, f"no record reaches {blind}: name their parameter in RECORDS, or LEFT_OUT"
    modules = {name for name in xd.__all__ if isinstance(getattr(xd, name), types.ModuleType)}
    assert set(NO_RECORD) <= modules
    rooms = {name.split(".")[0] for name in everything if "." in name}
    assert rooms == (modules - set(NO_RECORD)) | {"accessor", "downscale"}


def _swept(f: Callable[..., Any]) -> bool:
    """Tell whether the sweep gives a function the awkward record."""
    mark = plain(steps=2).rename("mark")
    other = plain(steps=2).rename("other")
    parts = list(_arguments(f, mark, other, 0).values())
    parts += [each for part in parts if isinstance(part, dict) for each in part.values()]
    marks = (mark, *((_times(mark),) if _is_of_times(f) else ()))
    same = [any(part is each or _alike(part, each) for each in marks) for part in parts]
    return any(same)


def _alike(part: Any, mark: xr.DataArray) -> bool:
    return isinstance(part, xr.DataArray) and part.name == mark.name and part.identical(mark)


@pytest.mark.parametrize("place", ["geostat", "skill", "downscale", "geostat accessor"])
def test_a_new_public_function_without_an_entry_fails(monkeypatch, place):
    def brand_new(numbers):
        """Take no record."""

    if place in ("geostat", "skill"):
        module = getattr(xd, place)
        monkeypatch.setattr(module, "brand_new", brand_new, raising=False)
        monkeypatch.setattr(module, "__all__", [*module.__all__, "brand_new"])
    else:
        kind = accessors.DownscaleAccessor if place == "downscale" else accessors.GeostatAccessor
        monkeypatch.setattr(kind, "brand_new", brand_new, raising=False)
    found = {name for name, _ in _functions()} - set(FUNCTIONS) - set(LEFT_OUT)
    assert [name.split(".")[1] for name in found] == ["brand_new"]
    with pytest.raises(AssertionError):
        test_every_public_function_is_swept_or_left_out_for_a_reason()
    assert not _swept(brand_new)


@pytest.mark.parametrize("name", SWEPT)
def test_no_foreign_exception_and_no_silent_nan(name):
    f = SWEPT[name]
    roles = 2 if set(inspect.signature(f).parameters) & SECOND else 1
    if name.startswith(("accessor.", "downscale.")):
        roles = 1
    wrong = []
    step = 5 if name.split(".")[-1] in HEAVY or name.startswith("accessor.") else 1
    step = STEPS_OF.get(name.split(".")[-1], step)
    start = list(SWEPT).index(name) % step
    for key, make in list((SAME | AWKWARD).items())[start::step]:
        for which in range(roles):
            problem, numbers = _call(f, make(), which)
            empty = numbers.size > 0 and np.isnan(numbers).all()
            allowed = key in EMPTY or (name, key) in DOCUMENTED
            if not problem and empty and not allowed:
                problem = "nothing but NaN, in silence"
            if problem:
                wrong.append(f"{key} ({('first', 'second')[which]} record): {problem}")
    assert not wrong, "\n".join(wrong)


STRICT = [
    *("skill.rmse", "skill.kge", "skill.crps", "geostat.distribution", "geostat.lag_rmse"),
    *("geostat.power_spectrum", "geostat.acf", "geostat.wasserstein", "baselines.climatology"),
    *("baselines.bias_corrected", "grids.area", "skill.table", "geostat.similarity_table"),
]


@pytest.mark.parametrize("name", STRICT)
def test_the_same_numbers_in_other_clothes_give_the_same_results(name):
    """Order and names of dims, orientation, calendars, chunks and stamps change no number."""
    f = FUNCTIONS[name]
    expected = np.sort(_call(f, plain(), 0)[1])
    assert expected.size
    for key, make in SAME.items():
        problem, numbers = _call(f, make(), 0)
        assert not problem, f"{key}: {problem}"
        if key == "cftime" and not numbers.size:
            continue  # another calendar than the record beside it: an error says so
        np.testing.assert_allclose(np.sort(numbers), expected, rtol=2e-3, atol=1e-6, err_msg=key)


def test_predict():
    """A model of a plain record predicts from it alone, or says what is wrong."""
    model = xd.fit(plain(steps=40), plain(1, steps=40), **DRESSED)
    wrong = []
    for key, make in (SAME | AWKWARD).items():
        da = make()
        problem, numbers = _call(lambda da: xd.predict(da, model), da, 0)
        if key in SAME and not problem and not np.isfinite(numbers).any():
            problem = "no number"
        if not problem and numbers.size and np.isnan(numbers).all() and key not in EMPTY:
            problem = "nothing but NaN, in silence"
        if problem:
            wrong.append(f"{key}: {problem}")
    assert not wrong, "\n".join(wrong)


WITHOUT_SQUARE = ("texts", "objects", "time spans", "another kind of array")


def _several(f: Callable[..., Any]) -> Callable[[Any, xr.DataArray], Any]:
    """Return a function of several records as one of an awkward record and a plain one."""
    return {
        "describe": lambda da, good: f({"it": da, "good": good}, ("season",)),
        "per_day": lambda da, good: f({"it": da, "good": good}, good),
        "intervariable_correlation": lambda da, good: f(_pair(da), _pair(good)),
    }[f.__name__]


def _pair(da: Any) -> Any:
    """Return a Dataset of a record and its square."""
    if not isinstance(da, xr.DataArray):
        return da
    return xr.Dataset({"u": da.rename("u"), "v": (da * da).rename("v")})


@pytest.mark.parametrize("name", ["describe", "per_day", "intervariable_correlation"])
def test_functions_of_several_records(name):
    f = _several(getattr(xd.skill, name))
    wrong = []
    for key, make in list((SAME | AWKWARD).items())[::2]:
        if name == "intervariable_correlation" and key in WITHOUT_SQUARE:
            continue
        da = make()
        problem, numbers = _call(lambda da: f(da, plain(1)), da, 0)
        empty = numbers.size > 0 and np.isnan(numbers).all()
        if not problem and empty and key not in EMPTY:
            problem = "nothing but NaN, in silence"
        if problem:
            wrong.append(f"{key}: {problem}")
    assert not wrong, "\n".join(wrong)


def test_predict_to_zarr(tmp_path):
    """A store of a record is written whole, or nothing is left there."""
    model = xd.fit(plain(steps=40), plain(1, steps=40), **DRESSED)
    wrong = []
    for number, (key, make) in enumerate(list((SAME | AWKWARD).items())[::3]):
        where = tmp_path / f"{number}.zarr"
        da = make()
        problem, numbers = _call(
            lambda da, where=where: xd.predict_to_zarr(model, da, where, progress=False).load(),
            da,
            0,
        )
        if not problem and numbers.size and np.isnan(numbers).all() and key not in EMPTY:
            problem = "nothing but NaN, in silence"
        left = [path.name for path in tmp_path.iterdir() if path != where]
        if problem or [name for name in left if not name[0].isdigit()]:
            wrong.append(f"{key}: {problem} {left}")
    assert not wrong, "\n".join(wrong)
