"""Arrays of pint: taken as their magnitudes with `units`, and made of what comes out."""

from __future__ import annotations

import subprocess
import sys
import warnings

import cf_units
import cf_xarray.units
import dask
import matplotlib as mpl
import numpy as np
import pandas as pd
import pint
import pint_xarray
import pytest
import xarray as xr

import xdownscale as xd
from records import TESTS, fast_config, make_pair
from xdownscale.core.quantities import as_plain, is_quantity, spelled
from xdownscale.core.units import same_units, units_of

mpl.use("agg")
UNITS = cf_xarray.units.units


def quantified(record):
    """Return a record with units on values, coordinates and indexes, as pint-xarray gives them."""
    assert pint_xarray.__name__ == "pint_xarray"
    return record.pint.quantify(unit_registry=UNITS)


def no_compute(*args, **kwargs):
    raise AssertionError("something was computed")


@pytest.fixture(scope="module")
def pair():
    coarse, fine = make_pair(days=60)
    for ds in (coarse, fine):
        ds["lat"].attrs = {"units": "degrees_north", "standard_name": "latitude"}
        ds["lon"].attrs = {"units": "degrees_east", "standard_name": "longitude"}
    return coarse, fine


@pytest.fixture(scope="module")
def model(pair):
    return _fitted(*pair)


def _fitted(coarse, fine):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
        preset = fast_config(sampling={"steps": 2})
        return xd.Downscaler(preset=preset, pairing="paired", progress=False).fit(coarse, fine)


def _maps(coarse, model, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
        return coarse.downscale.predict(model, realizations=2, seed=3, **options)


class TestIn:
    """One call of quantified records gives what the same call of plain ones gives."""

    def test_regrid(self, pair):
        coarse, fine = pair
        expected = xd.regrid(coarse, fine)
        for ds in (quantified(coarse), quantified(coarse).chunk(time=7)):
            xr.testing.assert_identical(xd.regrid(ds, quantified(fine)).compute(), expected)
        found = quantified(coarse.t).downscale.regrid(fine)
        xr.testing.assert_identical(found, expected.t)
        assert found.attrs["units"] == "K"

    def test_a_record_is_left_as_it_was(self, pair):
        for ds in (quantified(pair[0]), pair[0].copy(deep=True)):
            before = ds.copy(deep=True)
            variables = {name: da.variable._data for name, da in ds.data_vars.items()}
            xd.regrid(ds, pair[1])
            ds.geostat.acf(max_lag=2)
            xr.testing.assert_identical(ds, before)
            assert all(ds[name].variable._data is data for name, data in variables.items())

    def test_fit_and_predict(self, pair, model):
        coarse, fine = pair
        days = coarse.isel(time=slice(12))
        expected = _maps(days, model)
        other = _fitted(quantified(coarse), quantified(fine))
        xr.testing.assert_identical(_maps(quantified(days), other), expected)
        assert expected.attrs["units"] == "K"

    def test_fit_of_static_fields_and_history(self, pair):
        coarse, fine = pair
        height = fine.t[0].drop_vars("time").rename("height").assign_attrs(units="m")
        options = {"preset": "dressed", "progress": False}
        expected = xd.fit(coarse, fine, static=height, **options)
        found = xd.fit(quantified(coarse), quantified(fine), static=quantified(height), **options)
        days = coarse.isel(time=slice(3))
        xr.testing.assert_identical(xd.predict(days, found), xd.predict(days, expected))

    def test_predictions_of_lazy_quantities_stay_lazy(self, pair, model):
        days = pair[0].isel(time=slice(12))
        expected = _maps(days, model)
        for lazy in (quantified(days.chunk(time=4)), quantified(days).chunk(time=4)):
            with dask.config.set(scheduler=no_compute):
                maps = _maps(lazy, model, chunks=6)
            assert maps.chunks is not None
            np.testing.assert_array_equal(maps, expected)

    def test_semivariogram(self, pair):
        fine = pair[1].isel(time=slice(5))
        options = {"bins": 6, "pairs": 500, "bootstrap": 0}
        expected = fine.geostat.semivariogram(**options)
        xr.testing.assert_identical(quantified(fine).geostat.semivariogram(**options), expected)
        assert expected.units == "K"
        expected = fine.t.geostat.semivariogram(**options)
        xr.testing.assert_identical(quantified(fine.t).geostat.semivariogram(**options), expected)

    @pytest.mark.parametrize("weights", [False, True])
    def test_rmse(self, pair, weights):
        truth = pair[1].t
        other = (truth + 1).assign_attrs(units="K")
        expected = xd.skill.rmse(other, truth, weights=weights)
        for one, two in ((quantified(other), truth), (other, quantified(truth))):
            xr.testing.assert_identical(xd.skill.rmse(one, two, weights=weights), expected)
        lazy = quantified(truth.chunk(time=20))
        with dask.config.set(scheduler=no_compute):
            found = xd.skill.rmse(quantified(other), lazy, weights=weights)
        xr.testing.assert_allclose(found.compute(), expected)

    def test_weights_and_regions(self, pair):
        truth = pair[1].t
        area = xd.grids.area(truth).assign_attrs(units="km2")
        expected = xd.skill.rmse(truth + 1, truth, weights=area)
        found = xd.skill.rmse(truth + 1, truth, weights=quantified(area))
        xr.testing.assert_identical(found, expected)
        mask = (truth[0] > 0).astype(float).assign_attrs(units="1").drop_vars("time")
        expected = xd.splits.region_mask(truth, mask)
        xr.testing.assert_identical(xd.splits.region_mask(truth, quantified(mask)), expected)
        assert 0 < expected.sum() < expected.size

    def test_maps(self, pair):
        truth = pair[1].t
        expected = xd.plot.maps(truth, truth=truth, coarse=pair[0].t)
        found = xd.plot.maps(*map(quantified, (truth, truth, pair[0].t)))
        for one, other in zip(found, expected, strict=True):
            assert one.get_title(loc="left") == other.get_title(loc="left")
            drawn = [ax.collections[0].get_array() for ax in (one, other)]
            np.testing.assert_array_equal(*drawn)
        labels = [bar.get_ylabel() for bar in found[0].figure.axes if "K" in bar.get_ylabel()]
        assert labels
        mpl.pyplot.close("all")

    def test_a_grid_in_radians_is_refused_as_such(self, pair):
        da = pair[0].t
        turned = {n: (n, np.deg2rad(da[n].values), {"units": "radian"}) for n in ("lat", "lon")}
        with pytest.raises(xd.errors.GridError, match=r"'lat' is in 'rad'"):
            quantified(da.assign_coords(turned)).geostat.acf(2)


class TestUnits:
    def test_kelvin_against_degrees_celsius_is_refused(self, pair):
        truth = quantified(pair[1].t)
        celsius = truth.pint.to("degC")
        expected = (pair[1].t - 273.15).assign_attrs(units="degC")
        for one in (celsius, expected):
            with pytest.raises(xd.errors.DataError, match=r"is in 'deg.*and the truth in 'K'"):
                xd.skill.rmse(one, truth)
        with pytest.raises(xd.errors.DataError, match=r"'K'.*degC"):
            xd.fit(quantified(pair[0]), expected.to_dataset(), preset="dressed", progress=False)
        back = xd.skill.rmse(celsius.pint.to("K"), truth)
        np.testing.assert_allclose(back, 0, atol=1e-12)

    def test_rain_is_converted_as_a_plain_array_is(self):
        days = pd.date_range("2000-01-01", periods=40)
        values = np.random.default_rng(0).gamma(0.3, 9.0, (40, 3, 3))
        grid = {"time": days, "lat": np.arange(3.0), "lon": np.arange(3.0)}
        rain = xr.DataArray(values, coords=grid, name="pr", attrs={"units": "mm day-1"})
        expected = xd.skill.indices(rain, ["R01", "SDII"])
        found = xd.skill.indices(quantified(rain).pint.to("mm / hour"), ["R01", "SDII"])
        xr.testing.assert_allclose(found, expected)

    def test_the_unit_of_pint_counts_where_an_attribute_says_another(self):
        values = pint.UnitRegistry().Quantity(np.ones(2), "km")
        found = as_plain(xr.DataArray(values, dims="x", attrs={"units": "m", "source": "a"}))
        assert found.attrs == {"units": "km", "source": "a"}

    @pytest.mark.parametrize(
        "text",
        [
            *("K", "degC", "kg m-2 s-1", "hPa", "mm/day", "percent", "degrees_north", "g/kg"),
            *("W/m2", "radian", "ug/m3", "degree", "m/s", "year", "knot", "1/m", "m2 s-2", "day"),
        ],
    )
    def test_units_are_spelled_so_that_udunits_and_this_library_know_them(self, text):
        found = spelled(UNITS.Quantity(1.0, text))
        assert cf_units.Unit(found) == cf_units.Unit(cf_units_spelling(text))
        assert same_units(found, text)
        assert found.isascii()

    @pytest.mark.parametrize("text", ["kg/m**2/s", "degC", "year", "degree", "knot", "m**2/s**2"])
    def test_units_of_a_registry_of_pint_alone(self, text):
        found = spelled(pint.UnitRegistry().Quantity(1.0, text))
        assert cf_units.Unit(found) == cf_units.Unit(cf_units_spelling(text))
        assert same_units(found, text)

    def test_units_of_nothing_and_of_differences(self):
        quantity = pint.UnitRegistry().Quantity
        assert spelled(quantity(1.0)) == "1"
        assert spelled(quantity(1.0, "delta_degC")) == "K"
        assert units_of(xr.DataArray(quantity(np.ones(1), "m/s"), dims="x")) == "m s-1"


def cf_units_spelling(text):
    return {"mm/day": "mm day-1", "degC": "degree_Celsius"}.get(text, text.replace("**", "^"))


class TestPlain:
    """What `as_plain` does, which is the one place where arrays of pint are looked at."""

    def test_a_record_without_pint_is_itself(self, pair):
        for record in (pair[0], pair[0].t, pair[0].chunk(time=3)):
            assert as_plain(record) is record

    def test_is_what_pint_xarray_does(self, pair):
        for record in (pair[0], pair[0].t):
            found = as_plain(quantified(record))
            xr.testing.assert_identical(found, quantified(record).pint.dequantify(format="~cf"))
            assert found.xindexes["lat"].equals(record.xindexes["lat"])
            assert not any(is_quantity(each.variable._data) for each in found.coords.values())

    def test_shares_memory_and_stays_lazy(self, pair):
        da = quantified(pair[0].t)
        assert np.shares_memory(as_plain(da).data, da.data.magnitude)
        lazy = [quantified(pair[0].t.chunk(time=5)), da.chunk(time=5)]
        with dask.config.set(scheduler=no_compute):
            found = [as_plain(each) for each in lazy]
        for each in found:
            assert each.chunks[0][0] == 5
            assert type(each.data._meta) is np.ndarray
            xr.testing.assert_identical(each.compute(), as_plain(da))

    def test_two_dimensional_positions(self, pair):
        da = pair[0].t.rename(lat="y", lon="x")
        lat, lon = xr.broadcast(da.y, da.x)
        curved = da.drop_vars(["y", "x"]).assign_coords(lat=lat.variable, lon=lon.variable)
        curved.lat.attrs["units"] = "degrees_north"
        curved.lon.attrs["units"] = "degrees_east"
        expected = xd.regrid(curved, pair[1], extrapolate="nearest")
        found = xd.regrid(quantified(curved), quantified(pair[1]), extrapolate="nearest")
        xr.testing.assert_identical(found, expected)


class TestOut:
    def test_maps_are_quantified(self, pair, model):
        maps = _maps(pair[0].isel(time=slice(6)), model)
        assert not is_quantity(maps.data)
        found = quantified(maps)
        assert found.pint.units == UNITS.Unit("K")
        np.testing.assert_array_equal(found.data.magnitude, maps.values)
        np.testing.assert_allclose(found.pint.to("degC").data.magnitude, maps - 273.15, rtol=1e-5)
        assert found.lat.pint.units == UNITS.Unit("degrees_north")
        xr.testing.assert_equal(as_plain(found), maps)

    def test_regridded_fields_are_quantified(self, pair):
        fields = xd.regrid(pair[0].t, pair[1])
        found = quantified(fields)
        assert found.pint.units == UNITS.Unit("K")
        xr.testing.assert_equal(as_plain(found), fields)

    def test_the_way_of_the_page(self):
        """The import of cf_xarray's units is enough; a registry of pint alone is not."""
        code = (
            "import numpy as np, pint_xarray, xarray as xr, xdownscale as xd\n"
            "lat = ('lat', np.arange(3.0), {'units': 'degrees_north'})\n"
            "lon = ('lon', np.arange(3.0), {'units': 'degrees_east'})\n"
            "da = xr.DataArray(np.ones((3, 3)), {'lat': lat, 'lon': lon}, ('lat', 'lon'))\n"
            "fields = xd.regrid(da.assign_attrs(units='kg m-2'), da)\n"
            "try:\n"
            "    fields.pint.quantify()\n"
            "except Exception:\n"
            "    print('refused')\n"
            "import cf_xarray.units\n"
            "print(fields.pint.quantify().pint.to('g m-2').data.magnitude.max())\n"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code], cwd=TESTS.parent, capture_output=True, text=True
        )
        assert ran.stdout.split() == ["refused", "1000.0"], ran.stderr
