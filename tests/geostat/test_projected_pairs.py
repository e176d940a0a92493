"""Diagnostics of two records on projected and curvilinear grids."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter

import xdownscale as xd
import xdownscale.core.alignment
from projected import on_plane, regular
from records import make_pair

KINDS = ("lambert", "rotated", "curvilinear")


def located(ds):
    """Return a variable with its grid mapping, as users keep it."""
    mapping = [n for n in ("crs", "pole") if n in ds]
    return ds.set_coords(mapping).t


@pytest.mark.parametrize("kind", KINDS)
def test_paired_records_are_told_from_others(kind):
    coarse, fine = (located(on_plane(ds, kind)) for ds in make_pair(150))
    assert xd.geostat.diagnose_pairing(coarse, fine, shifts=100).paired.item()
    shifted = coarse.assign_coords(time=np.roll(coarse.time.values, 60)).sortby("time")
    assert not xd.geostat.diagnose_pairing(shifted, fine, shifts=100).paired.item()


def test_records_on_grids_of_two_kinds_are_paired():
    coarse, fine = (located(on_plane(ds, "lambert")) for ds in make_pair(150))
    lat, lon = positions(fine)
    grid = regular(
        np.arange(lat.min() - 0.2, lat.max() + 0.5, 0.4),
        np.arange(lon.min() - 0.2, lon.max() + 0.5, 0.4),
    )
    moved = xd.regrid(coarse, grid, "bilinear", extrapolate="nearest")
    assert xd.geostat.diagnose_pairing(moved, fine, shifts=100).paired.item()


def positions(da):
    from xdownscale.core.cells import cells_of

    return cells_of(da).positions


@pytest.mark.parametrize("kind", KINDS)
def test_the_common_area_of_two_grids(kind):
    """Of a tilted grid the corners lie outside: they are left out, and nothing else is."""
    fine = located(on_plane(make_pair(10)[1], kind))
    lat, lon = positions(fine)
    inner = regular(
        np.linspace(lat.mean() - 0.5, lat.mean() + 0.5, 9),
        np.linspace(lon.mean() - 0.5, lon.mean() + 0.5, 9),
    )
    other = xd.regrid(fine, inner, "nearest")
    one, two = xd.core.alignment.bring_together(fine, other)
    half = 0.5 + 0.0625
    inside = (np.abs(lat - lat.mean()) < half) & (np.abs(lon - lon.mean()) < half)
    assert int(one.isel(time=0).notnull().sum()) == inside.sum()
    assert two.notnull().all()
    found = xd.geostat.wasserstein(fine, other, "pooled", normalise=False)
    assert np.isfinite(found.wasserstein)


def test_a_patch_size_on_a_plane_is_that_on_its_twin_in_degrees():
    """The pixels are the same, and as large in km at the equator."""
    rough = np.random.default_rng(0).normal(size=(6, 48, 56))
    values = gaussian_filter(rough, (0, 1.5, 1.5))
    axes = {"lat": 0.25 * (np.arange(48) - 23.5), "lon": 0.25 * (np.arange(56) - 27.5)}
    time = xr.date_range("2000-01-01", periods=6)
    flat = xr.DataArray(values, coords={"time": time, **axes}, name="t")
    step = np.radians(0.25) * 6371008.8
    plane = flat.drop_vars(["lat", "lon"]).rename(lat="y", lon="x")
    plane = plane.assign_coords(
        y=("y", (np.arange(48) - 23.5) * step, {"units": "m"}),
        x=("x", (np.arange(56) - 27.5) * step, {"units": "m"}),
    ).assign_attrs({"proj:proj4": "+proj=eqc +R=6371008.8", "crs": "+proj=eqc +R=6371008.8"})
    one = xd.geostat.advise_patch(flat, days=4)
    other = xd.geostat.advise_patch(plane, days=4)
    assert other.patch_size == one.patch_size
    assert other.pixel_km.item() == pytest.approx(one.pixel_km.item(), rel=0.005)
    assert other.range_km.item() == pytest.approx(one.range_km.item(), rel=0.02)


def test_a_score_borrows_the_projection_that_the_truth_lost():
    """`ds.t` leaves its grid mapping in the Dataset; a prediction has it still."""
    _, fine = (on_plane(ds, "lambert") for ds in make_pair(10))
    truth = fine.t
    prediction = located(fine) + 1.0
    prediction.attrs = truth.attrs
    assert xd.skill.rmse(prediction, truth).values == pytest.approx(1.0)
    assert isinstance(xd.skill.rmse(prediction, truth), xr.DataArray)
