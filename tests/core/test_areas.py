"""Areas of cells: from CF bounds where there are any, else from midpoints; one answer for all."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xdownscale as xd
from xdownscale.core.errors import GridError


def grid(lat, lon, lat_bounds=None, lon_bounds=None, values=None, as_coords=True):
    coords = {"lat": ("lat", lat), "lon": ("lon", lon)}
    bounds = {}
    for name, edges in (("lat", lat_bounds), ("lon", lon_bounds)):
        if edges is not None:
            coords[name] = (*coords[name], {"bounds": f"{name}_bnds"})
            bounds[f"{name}_bnds"] = ((name, "bnds"), np.asarray(edges, float))
    ds = xr.Dataset(bounds, coords=coords)
    if as_coords:
        ds = ds.set_coords(list(bounds))
    return ds if values is None else ds.assign(v=(("lat", "lon"), values))


UNEVEN = ([2.0, 6.0, 10.0], [1.0, 3.0, 5.0, 7.0], [[0, 3], [3, 9], [9, 11]])


@pytest.mark.parametrize("as_coords", [True, False])
@pytest.mark.parametrize("upside_down", [True, False])
def test_conservative_means_within_the_bounds(as_coords, upside_down):
    values = np.repeat([[1.0], [2.0], [3.0]], 4, axis=1)
    source = grid(*UNEVEN, values=values, as_coords=as_coords)
    target = grid([1.5, 7.5], [2.0, 6.0], [[0, 3], [6, 9]])
    if upside_down:
        source = source.isel(lat=slice(None, None, -1))
        source["lat_bnds"] = source.lat_bnds.isel(bnds=slice(None, None, -1))
        target = target.isel(lat=slice(None, None, -1))
    found = xd.regrid(source, target, "conservative").v.sortby("lat")
    np.testing.assert_allclose(found, [[1, 1], [2, 2]])
    plain = xd.regrid(source.v, target.drop_vars("lat_bnds"), "conservative")
    assert not np.allclose(plain.sortby("lat"), found)


def test_source_cells_that_do_not_meet():
    source = grid([1.0, 3.0], [1.0, 3.0], [[0.5, 1.5], [2, 4]], values=np.array([[0.0, 0], [6, 6]]))
    target = grid([2.0], [2.0], [[0.5, 2.5]], [[1.0, 3.0]])
    found = xd.regrid(source, target, "conservative").v.item()
    parts = [np.diff(np.sin(np.radians(e)))[0] for e in ([0.5, 1.5], [2.0, 2.5])]
    assert found == pytest.approx(6 * parts[1] / sum(parts))


def test_areas_of_bounds():
    area = xd.grids.area(grid(*UNEVEN))
    heights = np.diff(np.sin(np.radians([0.0, 3, 9, 11])))
    np.testing.assert_allclose(area[:, 0] / area[0, 0], heights / heights[0])
    one_row = grid([5.0], [0.0, 90.0, 180.0, 270.0], [[-90, 90]])
    assert float(xd.grids.area(one_row, "sr").sum()) == pytest.approx(4 * np.pi)
    one_cell = grid([0.0], [180.0], [[-90, 90]], [[0, 360]])
    assert xd.grids.area(one_cell, "sr").item() == pytest.approx(4 * np.pi)


@pytest.mark.parametrize("start", [0.0, -180.0, 90.0])
def test_bounds_across_greenwich(start):
    lon = np.arange(0.0, 360.0, 10.0)
    edges = np.stack([lon - 5, lon + 5], axis=-1)
    turned = start + np.mod(lon - start, 360.0)
    order = np.argsort(turned)
    given = np.mod(edges[order], 360.0)  # 355 to 5 at Greenwich
    ds = grid([-1.0, 1.0], turned[order], None, given)
    np.testing.assert_allclose(xd.grids.area(ds), xd.grids.area(ds.drop_vars("lon_bnds")))


def test_bounds_that_are_midpoints_change_nothing():
    lat = np.arange(-89.0, 90.0, 2.0)
    lon = np.arange(0.0, 360.0, 2.5)
    values = np.random.default_rng(0).random((lat.size, lon.size))
    bounds = [np.stack([x - w / 2, x + w / 2], axis=-1) for x, w in ((lat, 2.0), (lon, 2.5))]
    target = grid(np.arange(-85.0, 90, 10), np.arange(-180.0, 180, 10))
    found = [
        xd.regrid(ds, target, "conservative").v
        for ds in (grid(lat, lon, *bounds, values=values), grid(lat, lon, values=values))
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_bounds_that_do_not_hold_their_cell():
    wrong = grid([2.0, 6.0], [1.0, 3.0], [[0, 3], [0, 0]])
    with pytest.raises(GridError, match=r"1 latitudes whose bounds do not hold them.*at 6"):
        xd.grids.area(wrong)
