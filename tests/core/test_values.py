"""Values that are not what they seem: refused by every function that would count them."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xdownscale as xd
from records import random_field
from xdownscale.core.errors import DataError, GridError, TimeAxisError
from xdownscale.core.values import as_floats, check_values

FIELD = random_field(40, shape=(10, 12))
LAYOUT = xd.patches.PatchLayout((10, 12), 5, 5, 0)

CALLS: dict[str, Callable[[xr.DataArray], Any]] = {
    "rmse": lambda da: xd.skill.rmse(da, FIELD),
    "truth": lambda da: xd.skill.crps(FIELD, da),
    "table": lambda da: xd.skill.table({"it": da}, FIELD),
    "kge": lambda da: xd.skill.kge(da, FIELD),
    "describe": lambda da: xd.skill.describe({"it": da}),
    "spectrum": lambda da: da.geostat.power_spectrum(),
    "semivariogram": lambda da: da.geostat.semivariogram(bins=5, pairs=500),
    "acf": lambda da: da.geostat.acf(max_lag=3),
    "lag_rmse": lambda da: da.geostat.lag_rmse(max_lag=3),
    "distribution": lambda da: da.geostat.distribution(),
    "structure": lambda da: da.geostat.structure(),
    "seams": lambda da: da.geostat.seams(LAYOUT),
    "wasserstein": lambda da: FIELD.geostat.wasserstein(da),
    "compare": lambda da: FIELD.geostat.compare(da),
    "of a Dataset": lambda da: da.to_dataset(name="x").geostat.distribution(),
    "climatology": lambda da: xd.baselines.climatology(da, da.time),
    "persistence": lambda da: xd.baselines.persistence(da),
    "interpolate": lambda da: xd.baselines.interpolate(da, FIELD[0]),
    "ridge": lambda da: xd.baselines.ridge(da, FIELD, FIELD.time[:3]),
    "regrid": lambda da: xd.regrid(da, FIELD[0]),
    "fit": lambda da: xd.fit(da, FIELD, preset="dressed", progress=False),
    "the fine record": lambda da: xd.fit(FIELD, da, preset="dressed", progress=False),
    "static": lambda da: xd.fit(FIELD, FIELD, static=da[0], preset="dressed", progress=False),
    "scaling": lambda da: xd.scaling.fit_scaling(da.values) if da.dtype.kind == "m" else _no(),
}


def _no() -> None:
    raise DataError("packed: an array has no attributes")


def spans() -> xr.DataArray:
    return FIELD.copy(data=(FIELD.values * 864e11).astype("timedelta64[ns]"))


def with_fill() -> xr.DataArray:
    values = FIELD.values.copy()
    values[:, :3, :3] = -9999.0
    return FIELD.copy(data=values).assign_attrs(_FillValue=-9999.0)


def packed() -> xr.DataArray:
    values = (FIELD.values * 100).astype("int16")
    return FIELD.copy(data=values).assign_attrs(scale_factor=0.01, add_offset=0.0)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("make", "match"),
    [
        (spans, r"timedelta64\[ns\]; xarray decodes numbers with units of days"),
        (with_fill, "of .* values equal to its attribute _FillValue|packed"),
        (packed, "scale_factor=0.01: its values are packed|packed"),
    ],
)
def test_every_function_refuses_what_is_not_decoded(call, make, match):
    with pytest.raises(DataError, match=match):
        CALLS[call](make())


@pytest.mark.parametrize(
    ("attrs", "values"),
    [
        ({"missing_value": [-1.0, 1e20]}, [1.0, 1e20]),
        ({"_FillValue": np.int16(-32768)}, np.array([5, -32768], "int16")),
        ({"_FillValue": 1e20}, np.array([5, 1e20], "float32")),  # rounded alike
        ({"_Unsigned": "true"}, np.array([5, -1], "int8")),
        ({"add_offset": 273.15}, [1.0, 2.0]),
        ({"scale_factor": np.array([2.0])}, [1.0, 2.0]),
    ],
)
def test_attributes_that_say_not_decoded(attrs, values):
    with pytest.raises(DataError, match="Decode the record first"):
        check_values(xr.DataArray(values, dims="x", attrs=attrs))


@pytest.mark.parametrize(
    ("attrs", "values"),
    [
        ({"_FillValue": np.nan}, [1.0, np.nan]),
        ({"scale_factor": 1.0, "add_offset": 0.0}, [1.0, 2.0]),
        ({"_FillValue": -9999.0}, [1.0, np.nan]),  # masked by hand, the attribute stayed
        ({"missing_value": "none"}, [1.0, 2.0]),
        ({"_FillValue": np.int64(-(2**40))}, np.array([5, 6], "int16")),
        ({"fmissing_value": 1e15, "vmax": 1e15}, [1.0, 2.0]),  # as MERRA-2 keeps them
    ],
)
def test_attributes_that_change_nothing(attrs, values):
    check_values(xr.DataArray(values, dims="x", attrs=attrs))


def test_lazy_values_with_a_fill_value_are_not_trusted():
    da = xr.DataArray([1.0, 2.0], dims="x", attrs={"_FillValue": 1e20}).chunk()
    with pytest.raises(DataError, match=r"not read yet and bears its attribute _FillValue=1e\+20"):
        check_values(da)


@pytest.mark.parametrize(
    "values", [np.array(["a"]), np.array([1 + 1j]), np.array([None]), np.array(["2000"], "M8[ns]")]
)
def test_values_that_are_no_numbers(values):
    with pytest.raises(DataError, match="give real numbers"):
        check_values(xr.DataArray(values, dims="x"))


def test_every_caller_takes_the_array_that_was_checked():
    """An array of pint comes back as another one: a caller that goes on with its own counts it."""
    lost = []
    for path in Path(xd.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                called = ast.unparse(node.value.func).rpartition(".")[2]
                arguments = [ast.unparse(each) for each in node.value.args]
                if called in ("check_values", "check_some") and "fitted" not in arguments:
                    lost.append(f"{path.name}:{node.lineno}")
    assert not lost


def integers(kind: str) -> xr.DataArray:
    low = -90 if kind.startswith("int") else 0
    values = np.random.default_rng(1).integers(low, low + 180, (40, 10, 12))
    return FIELD.copy(data=values.astype(kind))


NUMBERS: dict[str, Callable[[xr.DataArray], Any]] = {
    "spectrum": lambda da: da.geostat.power_spectrum().variance,
    "semivariogram": lambda da: da.geostat.semivariogram(bins=5, pairs=500).semivariance,
    "acf": lambda da: da.geostat.acf(max_lag=3),
    "pacf": lambda da: da.geostat.pacf(max_lag=3),
    "lag_rmse": lambda da: da.geostat.lag_rmse(max_lag=3)["mean"],
    "lag_r2": lambda da: da.geostat.lag_r2(max_lag=3)["mean"],
    "distribution": lambda da: da.geostat.distribution().value,
    "moments": lambda da: da.geostat.distribution().skewness,
    "structure": lambda da: da.geostat.structure(null=False).drop_vars("message").to_dataarray(),
    "seams": lambda da: da.geostat.seams(LAYOUT).gradient_ratio,
    "seam variance": lambda da: da.geostat.seams(LAYOUT).variance_ratio,
    "wasserstein": lambda da: (
        da.geostat.wasserstein(FIELD, "pooled", transform=None, normalise=False).wasserstein
    ),
    "rmse": lambda da: xd.skill.rmse(da, da[::-1].assign_coords(time=da.time)),
    "bias": lambda da: xd.skill.bias(da, da[::-1].assign_coords(time=da.time)),
    "nse": lambda da: xd.skill.nse(da, FIELD),
    "fss": lambda da: xd.skill.fss(da, FIELD, thresholds=[1.0], windows=[3]).to_dataarray(),
    "describe": lambda da: xd.skill.describe({"it": da}, by=()).to_xarray().to_dataarray(),
    "climatology": lambda da: xd.baselines.climatology(da, da.time[:3]),
    "persistence": lambda da: xd.baselines.persistence(da).isel(time=slice(1, None)),
    "regrid": lambda da: xd.regrid(da, FIELD[0, 2:6, 2:6], "bilinear"),
    "region": lambda da: xd.skill.rmse(da, FIELD, weights=True),
}


@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint64", "int8", "int16", "float16"])
@pytest.mark.parametrize("name", NUMBERS)
def test_small_and_unsigned_integers_are_the_same_floats(name, kind):
    """Differences of unsigned integers wrap round; sums of float16 overflow at 65504."""
    da = integers(kind)
    found = NUMBERS[name](da)
    expected = NUMBERS[name](da.astype(float))
    rough = 1e-5 if name == "climatology" else 1e-9
    np.testing.assert_allclose(found.values, expected.values, rtol=rough, atol=rough)


def test_as_floats_keeps_floats():
    da = xr.DataArray(np.ones(3, np.float32), dims="x")
    assert as_floats(da) is da
    assert as_floats(da.astype("float16")).dtype == np.float64


class TestCoordinates:
    """Latitude and longitude that are no degrees, or not the true ones."""

    LAT, LON = np.arange(10) / 2 + 20.0, np.arange(12) / 2 + 40.0

    def grid(self, units: str, factor: float = 1.0) -> xr.DataArray:
        lat = ("lat", self.LAT * factor, {"units": units, "standard_name": "latitude"})
        lon = ("lon", self.LON * factor, {"units": units, "standard_name": "longitude"})
        return xr.DataArray(np.ones((10, 12)), dims=("lat", "lon"), coords={"lat": lat, "lon": lon})

    @pytest.mark.parametrize("units", ["radian", "radians", "rad"])
    @pytest.mark.parametrize(
        "function",
        [
            xd.grids.area,
            xd.geostat.semivariogram,
            xd.geostat.power_spectrum,
            lambda da: xd.regrid(da, da),
            lambda da: xd.skill.rmse(da, da),
        ],
    )
    def test_radians(self, units, function):
        with pytest.raises(GridError, match=r"'lat' is in 'rad.*np.rad2deg\(da\['lat'\]\)"):
            function(self.grid(units, np.pi / 180))

    @pytest.mark.parametrize("units", ["m", "km", "degrees_west", "1", "furlong per gibberish"])
    def test_other_units(self, units):
        with pytest.raises(GridError, match=r"not in degrees\. Convert it"):
            xd.grids.area(self.grid(units))

    @pytest.mark.parametrize("units", ["degrees", "degree_north", "deg", "Degrees_North", "°", ""])
    def test_spellings_of_degrees(self, units):
        expected = xd.grids.area(self.grid("degrees_north"))
        xr.testing.assert_equal(
            xd.grids.area(self.grid(units)).reset_coords(drop=True),
            expected.reset_coords(drop=True),
        )

    def rotated(self, named: bool, true_names: tuple[str, str]) -> xr.DataArray:
        r = np.linspace(-5, 5, 12)
        lat, lon = np.meshgrid(r + 50, r * 1.5 + 10, indexing="ij")
        north, east = {"units": "degrees_north"}, {"units": "degrees_east"}
        grid = ({"standard_name": "grid_latitude"}, {"standard_name": "grid_longitude"})
        coords = {
            "rlat": ("rlat", r, north | (grid[0] if named else {})),
            "rlon": ("rlon", r, east | (grid[1] if named else {})),
            true_names[0]: (("rlat", "rlon"), lat, north | {"standard_name": "latitude"}),
            true_names[1]: (("rlat", "rlon"), lon, east | {"standard_name": "longitude"}),
        }
        return xr.DataArray(np.zeros((12, 12)), dims=("rlat", "rlon"), coords=coords)

    @pytest.mark.parametrize("named", [True, False])
    @pytest.mark.parametrize("names", [("lat", "lon"), ("lat2d", "lon2d"), ("glat", "glamt")])
    def test_rotated_coordinates_are_no_degrees_north(self, named, names):
        da = self.rotated(named, names)
        axes = xd.labels.find_axes(da)
        assert (axes.latitude, axes.longitude) == names
        centres = xd.grids.centres(da)
        np.testing.assert_array_equal(centres[0], da[names[0]].values)

    def test_rotated_coordinates_alone_are_refused(self):
        da = self.rotated(True, ("lat", "lon")).drop_vars(["lat", "lon"])
        with pytest.raises(GridError, match="No latitude found"):
            xd.grids.area(da)

    def test_the_dimension_is_taken_where_both_are_true(self):
        da = self.grid("degrees_north")
        da = da.assign_coords(lat_geocentric=("lat", self.LAT - 0.1, {"units": "degrees_north"}))
        assert xd.labels.find_axes(da).latitude == "lat"


class TestTimes:
    """Time axes that are no dates, and records with two of them."""

    def record(self, **coords: Any) -> xr.DataArray:
        return random_field(6).assign_coords(coords)

    def two_dims(self, *names: str | None) -> xr.DataArray:
        base = random_field(4)
        start = base.time.values - np.timedelta64(2, "D")
        da = base.rename(time="valid").expand_dims(start=start[:1])
        for dim, name in zip(("start", "valid"), names, strict=True):
            if name:
                da[dim].attrs["standard_name"] = name
        return da

    def test_standard_name_decides_between_two_date_axes(self):
        assert xd.labels.find_time(self.two_dims("forecast_reference_time", "time")) == "valid"
        assert xd.labels.find_time(self.two_dims(None, "time")) == "valid"
        assert xd.labels.find_time(self.two_dims("time", None)) == "start"
        assert xd.labels.find_time(self.two_dims("forecast_reference_time", None)) == "valid"
        assert xd.labels.find_time(self.two_dims(None, None).rename(valid="time")) == "time"

    def test_two_date_axes_without_a_word(self):
        with pytest.raises(TimeAxisError, match=r"'start' and 'valid' with dates\. Say which"):
            xd.geostat.acf(self.two_dims(None, None), 1)

    def test_valid_time_beside_the_reference_time(self):
        da = self.record(
            valid_time=("time", pd.date_range("2000-01-03", periods=6), {"standard_name": "time"})
        )
        da.time.attrs["standard_name"] = "forecast_reference_time"
        truth = random_field(9)
        with pytest.raises(TimeAxisError, match=r"swap_dims\({'time': 'valid_time'}\)"):
            xd.skill.rmse(da, truth)
        turned = da.swap_dims(time="valid_time").drop_vars("time").rename(valid_time="time")
        expected = random_field(6).assign_coords(time=truth.time[2:8])
        xr.testing.assert_equal(xd.skill.rmse(turned, truth), xd.skill.rmse(expected, truth))

    @pytest.mark.parametrize(
        ("values", "attrs", "hint"),
        [
            ([20000101 + k for k in range(6)], {}, "%Y%m%d"),
            (np.arange(6), {"units": "days since 2000-01-01"}, "decode_cf"),
            (np.arange(6.0), {"units": "hours since 1900-01-01"}, "decode_cf"),
        ],
    )
    @pytest.mark.parametrize("name", ["time", "t", "ymd"])
    def test_undecoded_times(self, name, values, attrs, hint):
        """Under an odd name they would be taken for members, and compared by position."""
        da = random_field(6).drop_vars("time").rename(time=name)
        da = da.assign_coords({name: (name, values, attrs)})
        for function in (
            lambda: xd.skill.rmse(da, da),
            lambda: xd.skill.rmse(da, random_field(6)),
            lambda: da.geostat.wasserstein(da),
            lambda: da.geostat.acf(max_lag=2),
            lambda: xd.baselines.climatology(da, da[name]),
            lambda: xd.fit(da, da, progress=False),
        ):
            with pytest.raises(TimeAxisError, match=f"are no dates.*{hint}"):
                function()

    def test_times_asked_for_as_numbers(self):
        da = random_field(6)
        for wanted in ([20000101], [0.5], ["no date"]):
            with pytest.raises(TimeAxisError, match="dates"):
                xd.baselines.climatology(da, wanted)
        texts = xd.baselines.climatology(da, ["2000-01-02"])
        xr.testing.assert_equal(texts, xd.baselines.climatology(da, da.time[1:2]))
