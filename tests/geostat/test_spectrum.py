"""Power spectra: Parseval, plane waves, white noise; what grids and gaps get."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xdownscale.core.errors import GridError, OptionError
from xdownscale.core.grids import distances
from xdownscale.core.spectra import detrend
from xdownscale.geostat import power_spectrum


def field(values, latitude=0.0, step=0.1, **attrs):
    days, ny, nx = values.shape
    coords = {
        "time": pd.date_range("2000", periods=days),
        "lat": latitude + step * (np.arange(ny) - ny / 2 + 0.5),
        "lon": 20 + step * np.arange(nx),
    }
    return xr.DataArray(values, coords=coords, attrs=attrs, name="dust")


def noise(days=4, shape=(30, 44), seed=0):
    return field(np.random.default_rng(seed).normal(size=(days, *shape)), units="K")


# closed forms


@pytest.mark.parametrize("window", ["none", "hann"])
def test_parseval(window):
    da = noise() + 0.3 * np.arange(44) + 5
    found = power_spectrum(da, average=None, window=window)
    for day in range(4):
        flat = detrend(da.values[day], np.ones((30, 44), bool))
        if window == "none":
            told = flat.var()
        else:
            taper = np.outer(*(np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in (30, 44)))
            flat = flat - (taper * flat).sum() / taper.sum()
            told = ((taper * flat) ** 2).mean() / (taper**2).mean()
        assert found.variance[day].sum().item() == pytest.approx(told, rel=1e-12)
    # every mode but the mean lies in one ring, and power times its area is the variance
    assert found.mode_count.sum().item() == 30 * 44 - 1
    dy = distances(-0.05, 0.0, 0.05, 0.0).item() * 30
    dx = distances(0.0, 0.0, 0.0, 0.1).item() * 44
    area = found.mode_count / (dy * dx)
    np.testing.assert_allclose(
        (found.power * area).sum("wavelength"), found.variance.sum("wavelength")
    )


@pytest.mark.parametrize(("latitude", "angle"), [(0, 0), (60, 0), (60, 90), (45, 30)])
def test_a_plane_wave_peaks_at_its_wavelength(latitude, angle):
    da = noise(1, (96, 128))
    da = field(da.values, latitude=latitude)
    north = (da.lat - latitude) * distances(latitude - 0.5, 0.0, latitude + 0.5, 0.0).item()
    east = (da.lon - 20) * distances(latitude, 0.0, latitude, 1.0).item()
    along = np.cos(np.deg2rad(angle)) * east + np.sin(np.deg2rad(angle)) * north
    wave = np.cos(2 * np.pi * along / 80.0).expand_dims(time=da.time).transpose(*da.dims)
    found = power_spectrum(0.01 * da + wave)
    peak = found.variance.idxmax("wavelength").item()
    ring = found.wavenumber.diff("wavelength").max().item()
    assert abs(1 / peak - 1 / 80) < 0.75 * ring
    near = np.abs(found.wavenumber - 1 / 80) < 3 * ring
    assert (found.variance.where(near).sum() / found.variance.sum()).item() > 0.95
    assert found.variance.sum().item() == pytest.approx(0.5, rel=0.1)


def test_white_noise_is_flat():
    found = power_spectrum(noise(200))
    cell = distances(-0.05, 0.0, 0.05, 0.0).item() * distances(0.0, 0.0, 0.0, 0.1).item()
    inner = found.power.isel(wavelength=slice(2, None)).where(found.mode_count > 8, drop=True)
    np.testing.assert_allclose(inner, cell, rtol=0.1)
    assert found.day_count == 200


def test_a_plane_leaves_nothing():
    da = field(np.ones((1, 20, 20)))
    plane = da * (3 + 2 * da.lat - da.lon)
    assert power_spectrum(plane.transpose(*da.dims)).variance.sum() < 1e-20


# gaps


def test_a_masked_corner_keeps_the_level_of_white_noise():
    da = noise(100)
    masked = da.where((da.lat > -0.8) | (da.lon > 21))
    share = np.isnan(masked).mean().item()
    assert 0.03 < share < 0.2
    whole, gappy = power_spectrum(da), power_spectrum(masked)
    assert gappy.variance.sum().item() == pytest.approx(whole.variance.sum().item(), rel=0.03)
    assert gappy.day_count == 100
    refused = power_spectrum(masked, max_missing=0)
    assert refused.day_count == 0
    assert np.isnan(refused.power).all()


def test_days_with_too_many_gaps_are_left_out():
    da = noise()
    broken = da.copy()
    broken[1, :20] = np.nan
    broken[2] = np.nan
    found = power_spectrum(broken)
    assert found.day_count == 2
    xr.testing.assert_allclose(found.power, power_spectrum(da[[0, 3]]).power)
    days = power_spectrum(broken, average=None)
    assert np.isnan(days.power).all("wavelength").values.tolist() == [False, True, True, False]


# properties


@settings(max_examples=15)
@given(
    time=st.integers(1, 4),
    lat=st.integers(3, 30),
    south_last=st.booleans(),
    shift=st.sampled_from([0.0, -22.0, 338.0]),
)
def test_chunks_order_and_longitudes_do_not_matter(time, lat, south_last, shift):
    da = noise()
    told = power_spectrum(da)
    turned = da.chunk(time=time, lat=lat).transpose("lon", "lat", "time")
    turned = turned.assign_coords(lon=(turned.lon + shift) % 360)
    turned = turned[:, ::-1] if south_last else turned
    if shift:  # Greenwich lies within: sorted longitudes tear the domain apart
        turned = turned.sortby("lon")
        assert np.diff(turned.lon).max() > 300
    computes = []

    def scheduler(graph, keys, **kwargs):
        computes.append(1)
        return dask.get(graph, keys, **kwargs)

    with dask.config.set(scheduler=scheduler):
        lazy = power_spectrum(turned)
        assert not computes
        np.testing.assert_allclose(lazy.power, told.power, rtol=1e-6)
    np.testing.assert_allclose(lazy.wavelength, told.wavelength, rtol=1e-9)


def test_labels():
    da = noise()
    copy = da.copy()
    found = power_spectrum(da)
    assert found.power.dims == ("wavelength",)
    assert found.power.attrs["units"] == "(K)2 km2"
    assert found.variance.attrs["units"] == "(K)2"
    assert found.wavelength.attrs["units"] == "km"
    assert (np.diff(found.wavelength) < 0).all()
    assert found.complete.values[:14].all()
    assert not found.complete.values[-1]
    xr.testing.assert_identical(da, copy)
    assert power_spectrum(da[0]).power.dims == ("wavelength",)


# bad input


def test_bad_input():
    da = noise()
    with pytest.raises(GridError, match="The grid has 7 latitudes; a spectrum needs 8"):
        power_spectrum(da[:, :7])
    with pytest.raises(
        GridError, match=r"The longitudes are not evenly spaced: steps from 0\.1 to 0\.2"
    ):
        power_spectrum(da.isel(lon=[0, 1, 2, *range(4, 20)]))
    ring = field(np.zeros((1, 10, 37)), step=10.0).assign_coords(lat=np.arange(10.0))
    with pytest.raises(GridError, match="stands there twice"):
        power_spectrum(ring)
    with pytest.raises(GridError, match="No longitude found"):
        power_spectrum(da.rename(lon="x"))
    with pytest.raises(OptionError, match=r"Unknown average.*Did you mean 'time'"):
        power_spectrum(da, average="tim")
    with pytest.raises(OptionError, match=r"Unknown window: 'han'.*Did you mean 'hann'"):
        power_spectrum(da, window="han")
    with pytest.raises(OptionError, match="max_missing is 1; give a share"):
        power_spectrum(da, max_missing=1)


def test_a_spectrum_that_cannot_be_made_says_why():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 16, 20))
    values[0, :, :8], values[1, :, :9] = np.nan, np.nan
    lat, lon = np.arange(16) * 0.5, np.arange(20) * 0.5
    da = xr.DataArray(values, coords={"lat": lat, "lon": lon}, dims=("time", "lat", "lon"))
    da = da.assign_coords(time=np.array(["2000-01-01", "2000-01-02"], "M8[ns]"))
    for record in (da, da.chunk(time=1)):
        found = power_spectrum(record).compute()
        assert np.isnan(found.power).all()
        assert found.missing.item() == pytest.approx(0.4)
        said = found.message.item()
        assert said.startswith(
            "no spectrum: 40% of the cells are missing, more than max_missing=0.2"
        )
        daily = power_spectrum(record, average=None).compute()
        assert daily.message.dims == ("time",)
        assert "45%" in daily.message.values[1]
    whole = power_spectrum(da, max_missing=0.42)
    assert whole.message.item() == ""
    assert whole.day_count.item() == 1
    assert np.isfinite(whole.power).all()
    status = da.geostat.compare(da, transform=None, max_lag=1).status
    assert status.sel(diagnostic="power_spectrum", field="this").item() == said


@pytest.mark.parametrize(
    ("gaps", "most", "said"),
    [
        (30, 0.3, ""),  # shares on the limit, whichever way they are rounded
        (70, 0.7, ""),
        (31, 0.3, "no spectrum: 31% of the cells"),
        (97, 0.98, "no spectrum: fewer than 4 cells have values"),
        (100, 0.98, "no spectrum: 100% of the cells"),
    ],
)
def test_there_is_a_message_where_and_only_where_there_is_no_spectrum(gaps, most, said):
    rng = np.random.default_rng(0)
    values = rng.normal(size=100)
    values[rng.permutation(100)[:gaps]] = np.nan
    axis = np.arange(10.0)
    da = xr.DataArray(values.reshape(10, 10), {"lat": axis, "lon": axis})
    for record in (da, da.chunk(lat=5)):
        found = power_spectrum(record, max_missing=most).compute()
        assert found.message.item().startswith(said)
        assert np.isfinite(found.power).all() == (found.message.item() == "") == (said == "")


def test_the_comment_knows_latitudes_between_the_edges():
    lat, lon = np.linspace(-30, 70, 21), np.arange(20.0)
    da = xr.DataArray(np.random.default_rng(0).normal(size=(21, 20)), {"lat": lat, "lon": lon})
    middle = np.cos(np.deg2rad(20))
    assert (
        f"{np.cos(np.deg2rad(70)) / middle:.2f} to {1 / middle:.2f} times"
        in power_spectrum(da).attrs["comment"]
    )


@pytest.mark.parametrize(("south", "speaks"), [(0.0, False), (40.0, True), (70.0, True)])
def test_tall_domains_are_commented_on(south, speaks):
    lat, lon = south + np.arange(20.0), np.arange(20.0)
    da = xr.DataArray(np.random.default_rng(0).normal(size=(20, 20)), {"lat": lat, "lon": lon})
    comment = power_spectrum(da).attrs.get("comment", "")
    assert bool(comment) is speaks
    if speaks:
        middle = np.cos(np.deg2rad(south + 9.5))
        assert f"{np.cos(np.deg2rad(south + 19)) / middle:.2f} to" in comment
