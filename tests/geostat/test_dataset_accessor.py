"""Diagnostics of a Dataset are those of its variables, side by side along ``variable``."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xdownscale import geostat, plot
from xdownscale.core.errors import DataError, GridError, TimeAxisError
from xdownscale.patches import PatchLayout

mpl.use("agg")
SHAPE = (24, 28)
LAYOUT = PatchLayout(shape=SHAPE, size=12, stride=8, halo=2)
METHODS = {
    "semivariogram": {"max_distance": 200, "bins": 6, "bootstrap": 10},
    "acf": {"max_lag": 3},
    "pacf": {"max_lag": 3},
    "lag_rmse": {"max_lag": 2},
    "lag_r2": {"max_lag": 2},
    "power_spectrum": {},
    "structure": {"distances": (1, 2)},
    "seams": {"layout": LAYOUT},
    "distribution": {"thresholds": [1.0]},
}
PAIRS = {
    "wasserstein": {},
    "compare": {"max_distance": 200, "max_lag": 2},
}


def field(seed, units=None, days=40, shape=SHAPE, step=0.1):
    rng = np.random.default_rng(seed)
    values = np.exp(rng.standard_normal((days, *shape)).cumsum(axis=0) / 10)
    coords = {
        "time": pd.date_range("2001-01-01", periods=days),
        "lat": 10 + step * np.arange(shape[0]),
        "lon": 20 + step * np.arange(shape[1]),
    }
    return xr.DataArray(values, coords=coords, attrs={"units": units} if units else {})


@pytest.fixture
def ds():
    return xr.Dataset(
        {
            "dust": field(0, "1"),
            "t2m": field(1, "K"),
            "index": ("time", np.arange(40.0)),
            "crs": 0,
        }
    )


@pytest.mark.parametrize(("method", "options"), METHODS.items(), ids=METHODS)
def test_equals_the_results_of_its_variables(ds, method, options):
    found = getattr(ds.geostat, method)(**options)
    assert found["variable"].values.tolist() == ["dust", "t2m"]
    assert found.units.values.tolist() == ["1", "K"]
    for name in ("dust", "t2m"):
        alone = getattr(ds[name].geostat, method)(**options)
        same(found.sel(variable=name), alone)


@pytest.mark.parametrize(("method", "options"), PAIRS.items(), ids=PAIRS)
def test_second_records_are_taken_by_name_or_shared(ds, method, options):
    other = xr.Dataset({"t2m": field(2, "K"), "dust": field(3, "1"), "more": field(4)})
    reference = other["dust"].drop_attrs()
    found = getattr(ds.geostat, method)(other, **options)
    shared = getattr(ds.geostat, method)(reference, **options)
    for name in ("dust", "t2m"):
        same(found.sel(variable=name), getattr(geostat, method)(ds[name], other[name], **options))
        same(shared.sel(variable=name), getattr(geostat, method)(ds[name], reference, **options))


def test_pairing_and_patch_size_of_several_variables(ds):
    coarse = ds[["dust", "t2m"]].coarsen(lat=4, lon=4).mean()
    pairing = coarse.geostat.diagnose_pairing(ds, shifts=100)
    assert pairing.paired.to_series().to_dict() == {"dust": True, "t2m": True}
    alone = geostat.diagnose_pairing(coarse.dust, fine=ds.dust, shifts=100)
    same(pairing.sel(variable="dust"), alone)
    patch = ds.geostat.advise_patch(days=4, factor=4)
    same(patch.sel(variable="t2m"), geostat.advise_patch(ds.t2m, days=4, factor=4))
    with_coarse = ds.geostat.advise_patch(coarse, days=4)
    same(with_coarse.sel(variable="t2m"), geostat.advise_patch(ds.t2m, coarse.t2m, days=4))


def test_function_and_accessor_are_one_and_keywords_work(ds):
    found = geostat.acf(da=ds, max_lag=2)
    xr.testing.assert_identical(found, ds.geostat.acf(max_lag=2))
    xr.testing.assert_identical(geostat.acf(da=ds.dust, max_lag=2), geostat.acf(ds.dust, 2))


def test_attributes_that_agree_are_kept_and_others_are_not(ds):
    found = ds.geostat.distribution()
    assert "units" not in found["mean"].attrs
    assert found["mean"].attrs["long_name"] == "mean"
    ds.dust.attrs["units"] = "K"
    assert ds.geostat.distribution()["mean"].attrs["units"] == "K"


def test_the_dataset_is_left_as_it_was_and_laziness_is_kept(ds):
    lazy = ds.chunk(time=10)
    before = lazy.copy(deep=True)
    for method, options in METHODS.items():
        found = getattr(lazy.geostat, method)(**options)
        assert any(v.chunks for v in found.variables.values()), method
        values = getattr(ds.geostat, method)(**options)
        xr.testing.assert_allclose(found.compute(), values)
    xr.testing.assert_identical(lazy, before)


def test_different_grids_join_their_wavelengths(ds):
    ds = xr.Dataset(
        {
            "fine": ds.dust,
            "coarse": ds.dust.coarsen(lat=2, lon=2).mean().rename(lat="lat_c", lon="lon_c"),
        }
    )
    found = ds.geostat.power_spectrum()
    assert found.complete.dtype == bool
    assert found.mode_count.dtype.kind == "i"
    for name in ds.data_vars:
        alone = ds[name].geostat.power_spectrum()
        here = found.sel(variable=name, wavelength=alone.wavelength)
        np.testing.assert_array_equal(here.power, alone.power)
        beside = found.power.sel(variable=name).drop_sel(wavelength=alone.wavelength)
        assert np.isnan(beside).all()


def test_variables_without_time_have_no_curve_over_time(ds):
    ds["elevation"] = ds.dust.isel(time=0, drop=True)
    assert ds.geostat.acf(max_lag=2)["variable"].values.tolist() == ["dust", "t2m"]
    structure = ds.geostat.semivariogram(max_distance=200, bins=6)
    assert structure["variable"].values.tolist() == ["dust", "t2m", "elevation"]
    assert np.isnan(structure.lower.sel(variable="elevation")).all()
    with pytest.raises(TimeAxisError, match=r"None of the variables \['elevation'\] has a time"):
        ds[["elevation"]].geostat.acf()


def test_bounds_of_coordinates_are_no_fields():
    y, x = np.meshgrid(np.arange(12.0), np.arange(12.0), indexing="ij")
    coords = {"lat": (("y", "x"), y / 9, {"bounds": "lat_bnds"}), "lon": (("y", "x"), x / 9)}
    ds = xr.Dataset({"t": (("y", "x"), y)}, coords=coords)
    ds["lat_bnds"] = (("y", "x", "vertex"), np.stack([y] * 4, axis=-1))
    assert ds.geostat.distribution()["variable"].values.tolist() == ["t"]


def test_a_dataset_without_a_field_is_refused(ds):
    with pytest.raises(GridError, match=r"None of the variables \['index', 'crs'\] has latitude"):
        ds[["index", "crs"]].geostat.semivariogram()


def test_results_of_other_dimensions_are_refused(ds):
    ds["elevation"] = ds.dust.isel(time=0, drop=True)
    with pytest.raises(GridError, match=r"'elevation' has the dimensions .* Select variables"):
        ds.geostat.power_spectrum(average=None)


def test_errors_name_the_variable(ds):
    ds["t2m"] = ds.t2m - 5
    with pytest.raises(DataError) as caught:
        ds.geostat.wasserstein(field(2), transform="log10")
    assert caught.value.__notes__ == ["This was found in the variable 't2m' of the Dataset."]


def test_second_records_that_do_not_fit_are_refused(ds):
    with pytest.raises(DataError, match=r"other has no variable 't2m' .* it has \['dust'\]"):
        ds.geostat.wasserstein(ds[["dust"]])
    with pytest.raises(DataError, match="da is a DataArray and another argument is a Dataset"):
        ds.dust.geostat.wasserstein(ds)


@pytest.mark.parametrize("method", ["semivariogram", "acf", "power_spectrum"])
def test_maps_over_a_tree(ds, method):
    later = ds.isel(time=slice(5, None))
    tree = xr.DataTree.from_dict({"/run": ds, "/other/later": later})
    function = getattr(geostat, method)
    found = xr.map_over_datasets(function, tree)
    xr.testing.assert_identical(found["run"].to_dataset(), function(ds))
    xr.testing.assert_identical(found["other/later"].to_dataset(), function(later))


def test_maps_over_two_trees(ds):
    short = ds.isel(time=slice(10))
    tree = xr.DataTree.from_dict({"/a": ds, "/b": short})
    other = xr.DataTree.from_dict({"/a": ds + 1, "/b": short + 1})
    found = xr.map_over_datasets(geostat.wasserstein, tree, other)
    xr.testing.assert_identical(found["b"].to_dataset(), geostat.wasserstein(short, short + 1))


def test_a_dataset_without_variables_has_no_result(ds):
    assert not ds[[]].geostat.distribution().variables


UNITS = {  # that differ are in the legend: of dust and elevation, and of t2m
    "semivariogram": ("", " [K$^{2}$]"),
    "power_spectrum": (" [km$^{2}$]", " [K$^{2}$ km$^{2}$]"),
}


@pytest.mark.parametrize("name", ["semivariogram", "acf", "pacf", "lag_curve", "power_spectrum"])
def test_figures_have_a_curve_for_each_variable(ds, name):
    ds["elevation"] = ds.dust.isel(time=0, drop=True)
    over_time = name in ("acf", "pacf", "lag_curve")
    plain, kelvin = UNITS.get(name, ("", ""))
    both = [f"dust{plain}", f"t2m{kelvin}"]
    listed = both + ([] if over_time else [f"elevation{plain}"])
    ax = getattr(ds.geostat, f"plot_{name}")()
    assert curve_names(ax) == listed
    by_name = getattr(plot, name)({"run": ds[["dust", "t2m"]]})
    assert curve_names(by_name) == [f"run, {each}" for each in both]
    method = "lag_r2" if name == "lag_curve" else name
    result = getattr(ds[["dust", "t2m"]].geostat, method)()
    drawn = getattr(plot, name)(result)
    assert curve_names(drawn) == ["dust", "t2m"]


def curve_names(ax) -> list[str]:
    """Return what the legend says, without its bands."""
    said = [text.get_text() for text in ax.get_legend().get_texts()]
    return [name for name in said if "band" not in name and "%" not in name]


def test_an_axis_says_that_units_differ(ds):
    result = ds.geostat.semivariogram(**METHODS["semivariogram"])
    assert plot.semivariogram(result).get_ylabel() == "semivariance [various]"
    ds.t2m.attrs["units"] = ds.dust.attrs["units"] = "K"
    result = ds.geostat.semivariogram(**METHODS["semivariogram"])
    assert plot.semivariogram(result).get_ylabel() == "semivariance [K$^{2}$]"


def same(found, alone):
    """Hold one variable's part of a result against the result of that variable alone."""
    alone = alone.to_dataset() if isinstance(alone, xr.DataArray) else alone
    part = found.drop_vars(["variable", "units"])
    missing = set(part.data_vars) - set(alone.data_vars)
    assert all(np.isnan(part[name]).all() for name in missing)
    xr.testing.assert_equal(part.drop_vars(missing), alone)
