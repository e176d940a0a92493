"""The ESMF engine: its arguments with a stand-in for xesmf, its results where xesmf is there."""

from __future__ import annotations

import importlib.util
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from xdownscale.core.errors import GridError, MissingPackageError, OptionError, XDownscaleWarning
from xdownscale.regridding import regrid

LAT, LON = np.arange(35.0, 45.0, 1.5), np.arange(-9.0, 9.0, 2.0)
needs_xesmf = pytest.mark.skipif(
    importlib.util.find_spec("xesmf") is None, reason="xesmf is not installed (conda only)"
)


def record(lat=LAT, lon=LON) -> xr.DataArray:
    values = np.arange(2.0 * lat.size * lon.size, dtype="f4").reshape(2, lat.size, lon.size)
    return xr.DataArray(
        values,
        dims=("time", "lat", "lon"),
        coords={"time": [0, 1], "lat": lat, "lon": lon},
        name="tas",
        attrs={"units": "degC"},
    )


def fine() -> xr.DataArray:
    lat, lon = np.arange(36.0, 43.0, 0.5)[::-1], np.arange(-8.0, 6.0, 0.5)
    return xr.DataArray(np.zeros((lat.size, lon.size)), coords={"latitude": lat, "longitude": lon})


def curvilinear(da: xr.DataArray) -> xr.DataArray:
    lat, lon = np.meshgrid(da.lat.values, da.lon.values, indexing="ij")
    bare = da.drop_vars(["lat", "lon"]).rename(lat="y", lon="x")
    return bare.assign_coords(lat=(("y", "x"), lat), lon=(("y", "x"), lon))


@pytest.fixture
def calls(monkeypatch):
    """A stand-in for xesmf that notes what it is asked and returns the first value everywhere."""
    noted = []

    class Regridder:
        def __init__(self, source, target, method, **options):
            self.shape = target.sizes[target.lat.dims[0]], target.sizes[target.lon.dims[-1]]
            noted.append(
                SimpleNamespace(source=source, target=target, method=method, options=options)
            )

        def __call__(self, values, **options):
            noted[-1].values, noted[-1].applied = values, options
            return np.broadcast_to(values[..., :1, :1], (*values.shape[:-2], *self.shape)) * 1.0

    monkeypatch.setitem(sys.modules, "xesmf", SimpleNamespace(Regridder=Regridder))
    return noted


@pytest.mark.skipif(importlib.util.find_spec("xesmf") is not None, reason="xesmf is installed")
def test_without_xesmf():
    with pytest.raises(MissingPackageError, match=r"engine='xesmf' needs .*conda-forge xesmf"):
        regrid(record(), fine(), "bilinear", engine="xesmf")


def test_arguments_and_labels(calls):
    da = record(LAT[::-1], LON).transpose("lon", "time", "lat")
    found = regrid(da, fine(), "bilinear", engine="xesmf", min_valid=0.75)
    assert found.dims == ("longitude", "time", "latitude")
    assert found.dtype == np.float32
    assert found.attrs == {"units": "degC"}
    xr.testing.assert_identical(found.latitude, fine().latitude)
    (call,) = calls
    assert call.method == "bilinear"
    assert call.options == {"periodic": False, "unmapped_to_nan": True}
    assert call.applied == {"skipna": True, "na_thres": 0.25}
    assert call.target.lat.values[0] == fine().latitude.values[0]


def test_sorted_with_one_spare_row_on_each_side(calls):
    wrapped = record(LAT[::-1], LON % 360).sortby("lon")
    regrid(wrapped, fine(), "bilinear", engine="xesmf")
    (call,) = calls
    np.testing.assert_allclose(call.source.lat, np.append(np.append(33.5, LAT), 45.5))
    np.testing.assert_allclose(np.diff(call.source.lon), 2)
    assert call.values.shape == (2, LAT.size + 2, LON.size + 2)
    np.testing.assert_array_equal(call.values[:, 0], call.values[:, 1])
    np.testing.assert_array_equal(call.values[:, :, -1], call.values[:, :, -2])
    inner = record(LAT[::-1], LON).sortby("lat")
    np.testing.assert_array_equal(
        call.values[0, 1:-1, 1:-1], wrapped.sortby("lat").isel(time=0).sel(lon=LON % 360)
    )
    assert inner.lat[0] == call.source.lat[1]


def test_a_globe_is_periodic_and_needs_no_spare_columns(calls):
    lat, lon = np.arange(-90.0, 91, 10), np.arange(0.0, 360, 10)
    regrid(record(lat, lon), fine(), "nearest", engine="xesmf", extrapolate="nearest")
    (call,) = calls
    assert call.method == "nearest_s2d"
    assert call.options["periodic"] is True
    assert "extrap_method" not in call.options
    assert call.values.shape == (2, 19, 36)


def test_extrapolation_is_asked_for(calls):
    regrid(record()[:, :3], fine(), "bilinear", engine="xesmf", extrapolate="nearest")
    assert calls[0].options["extrap_method"] == "nearest_s2d"
    with pytest.raises(GridError, match="half-cell margin"):
        regrid(record()[:, :3], fine(), "bilinear", engine="xesmf")


def test_bicubic_is_patch_and_says_so(calls):
    with pytest.warns(XDownscaleWarning, match="ESMF has no bicubic interpolation: its 'patch'"):
        regrid(record(), fine(), engine="xesmf")
    assert calls[0].method == "patch"


def test_conservative_gets_edges_and_no_spares(calls):
    regrid(record(), fine(), "conservative", engine="xesmf")
    (call,) = calls
    assert call.method == "conservative_normed"
    assert call.values.shape[1:] == (LAT.size, LON.size)
    np.testing.assert_allclose(call.source.lat_b, np.append(LAT - 0.75, LAT[-1] + 0.75))
    assert call.target.lat_b.values[0] == fine().latitude.values[0] + 0.25
    assert call.target.sizes["lon_b"] == fine().sizes["longitude"] + 1


def test_curvilinear_grids_on_both_sides(calls):
    da = curvilinear(record())
    found = regrid(da, fine(), "bilinear", engine="xesmf")
    assert found.dims == ("time", "latitude", "longitude")
    assert set(found.coords) == {"time", "latitude", "longitude"}
    assert calls[0].source.lat.dims == ("y", "x")
    back = regrid(record(), da, "bilinear", engine="xesmf")
    assert back.dims == ("time", "y", "x")
    xr.testing.assert_identical(back.lat, da.lat)
    assert calls[1].target.lon.shape == (LAT.size, LON.size)


def test_lazy_input_is_handed_over_lazy(calls, monkeypatch):
    fake = sys.modules["xesmf"].Regridder
    monkeypatch.setattr(
        fake, "__call__", lambda self, values, **_: calls.append(values) or values[..., :9, :1]
    )
    target = fine()[:, :1]
    regrid(record().chunk(time=1, lat=2), target[:9], "bilinear", engine="xesmf")
    assert calls[-1].chunks[0] == (1, 1)


def test_refusals(calls):
    with pytest.raises(OptionError, match="cannot extrapolate a conservative mean"):
        regrid(record(), fine(), "conservative", engine="xesmf", extrapolate="nearest")
    with pytest.raises(GridError, match=r"needs the corners of cells, and the source grid"):
        regrid(curvilinear(record()), fine(), "conservative", engine="xesmf")
    with pytest.raises(GridError, match=r"in the source grid here; it has 1 and 9"):
        regrid(record()[:, :1], fine(), "bilinear", engine="xesmf", extrapolate="nearest")
    with pytest.raises(GridError, match=r"in the target grid here; it has 1 and 28"):
        regrid(record(), fine()[:1], "conservative", engine="xesmf")
    assert not calls


@needs_xesmf
@pytest.mark.parametrize("method", ["bilinear", "nearest", "conservative"])
def test_both_engines_agree(method):
    da = record()
    found = regrid(da, fine(), method, engine="xesmf")
    expected = regrid(da, fine(), method)
    spread = float(expected.std())
    np.testing.assert_allclose(found.values, expected.values, atol=2e-2 * spread)
