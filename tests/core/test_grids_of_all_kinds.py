"""Questions about grids, asked of projected and curvilinear ones."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xdownscale as xd
from projected import curvilinear, lambert, regular, rotated
from xdownscale.core.cells import cells_of
from xdownscale.core.errors import GridError
from xdownscale.core.grids import (
    area,
    cell_weights,
    describe_grid,
    fingerprint,
    match_cells,
    same_grid,
    uncovered,
    with_positions,
)


def own(ds) -> xr.DataArray:
    """Return the field with its grid mapping."""
    return ds.set_coords([n for n in ("crs", "pole") if n in ds]).t


@pytest.mark.parametrize("make", [lambert, rotated, lambda: curvilinear(lambert())])
def test_areas_and_weights(make):
    ds = make()
    found = area(ds)
    np.testing.assert_allclose(found, cells_of(ds).areas())
    assert found.dims == ds.t.dims[1:]
    assert found.attrs["units"] == "km2"
    assert set(found.coords) <= set(ds.coords)
    turned = cell_weights(own(ds).transpose(..., ds.t.dims[1])).transpose(*found.dims)
    expected = np.cos(np.deg2rad(ds.lat)) if "lat" in ds else found  # edges that are not known
    np.testing.assert_allclose(turned, expected)
    np.testing.assert_allclose(area(ds, "sr") * 6371.0071809**2, found, rtol=1e-12)


def test_uncovered_cells():
    coarse = lambert(6, 6, 100e3)
    fine = lambert(20, 20, 40e3)
    y, x = fine.y.values, fine.x.values
    expected = (np.abs(y + 50e3) > 300e3)[:, None] | (np.abs(x + 50e3) > 300e3)[None]
    np.testing.assert_array_equal(uncovered(coarse, fine), expected)
    found = uncovered(curvilinear(coarse), fine)
    np.testing.assert_array_equal(found, expected)
    assert set(found.coords) == {"y", "x"}
    assert not uncovered(coarse, regular([38.0, 39.0], [-98.0, -97.0])).any()
    assert uncovered(regular(np.arange(38.0, 40), np.arange(-99.0, -95)), fine).any()


def test_same_cells():
    ds = lambert()
    assert same_grid(ds, with_positions(ds).drop_vars(["y", "x"]))
    assert same_grid(ds, curvilinear(ds))
    assert not same_grid(ds, lambert(step=50.5e3))
    rows, columns = match_cells(ds.isel(y=slice(None, None, -1)), ds)
    np.testing.assert_array_equal(rows, np.arange(14)[::-1])
    np.testing.assert_array_equal(columns, np.arange(18))


def test_descriptions():
    assert fingerprint(lambert())["y"] == {
        "first": -350000.0,
        "last": 300000.0,
        "size": 14,
        "spacing": 50000.0,
    }
    text = describe_grid(rotated())
    assert text.startswith("12 values of rlat from -2.64 to 2.2 by 0.44, 16 values of rlon")
    plane = describe_grid(curvilinear(lambert()))
    assert plane.startswith("14 latitudes from 35.2")
    turned = curvilinear(lambert())
    jump = turned.assign_coords(lon=(turned.lon + 277.5) % 360)
    assert fingerprint(jump)["longitude"]["last"] > 180  # on across the dateline


@pytest.mark.parametrize("unit", ["m", "km"])
def test_spectra_are_in_kilometres_of_the_projection(unit):
    n, step = 32, 20e3
    wave = np.cos(2 * np.pi * np.arange(n) / 8)  # 160 km
    ds = lambert(n, n, step, values=np.broadcast_to(wave, (n, n)).copy(), unit=unit)
    found = own(ds).geostat.power_spectrum(average=None)
    assert found.variance.idxmax("wavelength").item() == pytest.approx(160, rel=0.02)
    whole = ds.geostat.power_spectrum(average=None)
    assert whole.variance.isel(variable=0).idxmax("wavelength").item() == pytest.approx(
        160, rel=0.02
    )
    assert "comment" not in found.attrs
    turned = rotated(n, n, 0.1, values=np.broadcast_to(wave, (n, n)).copy())
    found = own(turned).geostat.power_spectrum(average=None)
    assert found.variance.idxmax("wavelength").item() == pytest.approx(89, rel=0.03)
    uneven = ds.isel(y=[*range(20), *range(21, 32)])
    with pytest.raises(GridError, match=r"y coordinates are not evenly spaced: steps from"):
        own(uneven).geostat.power_spectrum(average=None)
    with pytest.raises(GridError, match=r"two-dimensional latitude.*xdownscale\.regrid"):
        curvilinear(lambert(n, n)).t.geostat.power_spectrum(average=None)


def test_diagnostics_of_projected_fields_need_no_positions():
    ds = lambert(20, 20)
    whole = ds.geostat.semivariogram(average=None, max_distance=400, bins=4)
    plane = curvilinear(ds).geostat.semivariogram(average=None, max_distance=400, bins=4)
    np.testing.assert_allclose(whole.semivariance, plane.semivariance)
    assert "crs" not in whole.coords
    alone = own(ds).geostat.semivariogram(average=None, max_distance=400, bins=4)
    np.testing.assert_allclose(alone.semivariance, plane.semivariance.isel(variable=0))


def test_patches_have_positions():
    ds = lambert(12, 12)
    layout = xd.windows.PatchLayout(shape=(12, 12), size=4, stride=4, halo=0)
    cut = xd.patches.extract(own(ds), layout)
    lat = with_positions(ds).lat.values
    np.testing.assert_allclose(cut.lat.isel(patch=0), lat[:4, :4])
    back = xd.patches.stitch(cut, layout)
    np.testing.assert_array_equal(back.transpose(*ds.t.dims), ds.t)


def test_without_a_mapping_the_remedy_is_named():
    with pytest.raises(GridError, match=r"names the grid mapping 'crs'.*give the Dataset"):
        area(lambert().t)
    plain = lambert().t.drop_attrs()
    with pytest.raises(GridError, match=r"No latitude found.*grids\.with_positions"):
        area(plain)
