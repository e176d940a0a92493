"""Polygons of countries as regions: masks of regionmask go into fit and into scores."""

from __future__ import annotations

import numpy as np
import pytest
import regionmask
import xarray as xr

from xdownscale.core.errors import GridError
from xdownscale.splits import region_mask

WEST = [(40, 10), (45, 10), (45, 14), (50, 18), (40, 18)]  # a border that runs slantwise
EAST = [(45, 10), (50, 10), (50, 18), (45, 14)]


@pytest.fixture(scope="module")
def countries():
    return regionmask.Regions([WEST, EAST], names=["West", "East"], abbrevs=["W", "E"])


@pytest.fixture(scope="module")
def grid():
    lat, lon = np.arange(8.5, 20), np.arange(38.5, 52)
    return xr.DataArray(np.zeros((12, 14)), {"lat": lat, "lon": lon}, dims=("lat", "lon"))


def masks(countries, grid):
    found = countries.mask_3D(grid)
    return {str(name): mask for name, mask in zip(found.names.values, found, strict=True)}


def test_a_mask_is_a_region(countries, grid):
    """Cell centres in the polygon, counted by hand."""
    regions = masks(countries, grid)
    inside = region_mask(grid, regions["East"])
    below = [5, 5, 5, 5]  # the rows 10.5 to 13.5
    above = [5 - n for n in (1, 2, 3, 4)]  # the border's corner cuts one cell more in each row
    assert inside.sum("lon").values.tolist()[2:6] == below
    assert inside.sum("lon").values.tolist()[6:10] == above
    together = inside.astype(int) + region_mask(grid, regions["West"])
    assert together.max() == 1
    assert together.sum() == 10 * 8


@pytest.mark.parametrize("change", ["north-up", "from-0-to-360", "lon-first"])
def test_a_mask_follows_the_grid(change, countries, grid):
    there = {
        "north-up": grid[::-1],
        "from-0-to-360": grid.assign_coords(lon=grid.lon + 360),
        "lon-first": grid.T,
    }[change]
    mask = masks(countries, grid)["West"]
    assert region_mask(there, mask).sum() == region_mask(grid, mask).sum()


def test_a_mask_of_another_grid_is_refused(countries, grid):
    mask = masks(countries, grid)["West"]
    with pytest.raises(GridError, match="is not on the grid"):
        region_mask(grid[:, 1:], mask)


@pytest.mark.slow
def test_fit_takes_the_masks(coarse, fine, tiny_config, countries):
    model = coarse.downscale.fit(
        fine, preset=tiny_config, regions=masks(countries, fine[0]), progress=False
    )
    assert sorted(model.models_) == ["East", "West"]
    day = fine.time[[10]]
    maps = coarse.downscale.predict(model, time=day, mode="teacher_forced", history=fine)
    inside = countries.mask_3D(fine[0]).any("region").values
    assert np.isnan(maps.values[..., ~inside]).all()
    assert np.isfinite(maps.values[..., inside]).all()
