"""Coarse cells as averages over fine cells: areas, positions, any orientation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import xarray as xr

import xdownscale as xd
from xdownscale.core.errors import GridError
from xdownscale.core.grids import distances
from xdownscale.models.statistical.kriging import chords, solve
from xdownscale.models.statistical.variogram import Variogram
from xdownscale.preprocessing.block_averages import coarse_blocks, positions


def grid(lat, lon):
    return xr.DataArray(
        np.zeros((len(lat), len(lon)), np.float32),
        coords={"lat": np.asarray(lat, float), "lon": np.asarray(lon, float)},
        dims=("lat", "lon"),
    )


EAST = np.r_[np.arange(356.25, 360, 0.5), np.arange(0.25, 4, 0.5)]
PAIRS = {
    "nested": (
        grid([41, 43, 45], [1, 3, 5, 7]),
        grid(np.arange(40.25, 46, 0.5), np.arange(0.25, 8, 0.5)),
    ),
    "cut": (
        grid([41, 43, 45], [1, 3, 5, 7]),
        grid(np.arange(40.1, 46, 0.7), np.arange(0.2, 8, 0.7)),
    ),
    "greenwich": (grid([41, 43], [357, 359, 1, 3]), grid(np.arange(40.25, 44, 0.5), EAST)),
    "convention": (
        grid([41, 43], [357, 359]),
        grid(np.arange(40.25, 44, 0.5), np.arange(-3.75, 0, 0.5)),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_averages_are_those_of_conservative_regridding(name):
    coarse, fine = PAIRS[name]
    values = np.random.default_rng(0).normal(size=fine.shape)
    blocks = coarse_blocks(coarse, fine)
    assert blocks.fine == fine.size
    np.testing.assert_allclose(blocks.averages.sum(axis=1), 1)
    inside = blocks.cells[blocks.covered]
    means = blocks.averages[:, : blocks.fine] @ values.ravel()
    expected = xd.regrid(fine.copy(data=values), coarse, "conservative").values.ravel()
    assert inside.size > 0
    np.testing.assert_allclose(means[blocks.covered], expected[inside], atol=1e-12)


def test_straight_lines_are_geodesics_within_a_thousandth():
    rng = np.random.default_rng(0)
    lat = rng.uniform(-85, 85, 50)
    lon = rng.uniform(-180, 180, 50)
    for away in (0.5, 5.0):
        other = np.clip(lat + away, -90, 90)
        there = lon + away
        straight = np.diag(chords(positions(lat, lon), positions(other, there)))
        geodesic = distances(lat, lon, other, there)
        assert (straight <= geodesic * (1 + 1e-9)).all()
        np.testing.assert_allclose(straight, geodesic, rtol=1e-3)


def test_a_coarse_grid_beyond_the_fine_one_is_filled_with_cells_of_its_spacing():
    coarse = grid(np.arange(31, 60, 2), np.arange(-9, 20, 2))
    fine = grid(np.arange(40.25, 46, 0.5), np.arange(0.25, 8, 0.5))
    blocks = coarse_blocks(coarse, fine)
    rows = np.unique(blocks.cells // 15)
    assert coarse.lat.values[rows].tolist() == [37, 39, 41, 43, 45, 47, 49]
    assert blocks.covered.sum() == 12
    beyond = blocks.averages[~blocks.covered]
    assert beyond[:, : blocks.fine].nnz == 0
    assert (np.diff(beyond.indptr) == 16).all()


@pytest.mark.parametrize("model", ["exponential", "spherical"])
@pytest.mark.parametrize("neighbours", [None, 6])
@pytest.mark.parametrize("name", ["nested", "cut"])
def test_equal_rows_give_what_all_pairs_of_points_give(name, neighbours, model):
    blocks = coarse_blocks(*PAIRS[name])
    variogram = Variogram(model=model, effective_range=300.0, psill=1.0, nugget=0.2)
    fast = solve(blocks, variogram, neighbours)
    plain = solve(dataclasses.replace(blocks, lattice=None), variogram, neighbours)
    assert blocks.lattice is not None
    np.testing.assert_allclose(fast.variance, plain.variance, atol=1e-7)
    fields = np.random.default_rng(0).normal(size=(2, len(blocks.cells)))
    np.testing.assert_allclose(fast.apply(fields), plain.apply(fields), atol=1e-6)


def test_unequal_longitudes_have_no_lattice():
    coarse, fine = PAIRS["nested"]
    bent = fine.assign_coords(lon=fine.lon + 0.05 * np.sin(fine.lon))
    assert coarse_blocks(coarse, bent).lattice is None


def test_a_meridian_that_stands_twice_counts_once():
    coarse = grid([-45, 45], [45, 135, 225, 315])
    fine = grid(np.arange(-67.5, 90, 45), np.arange(0, 361, 30))
    blocks = coarse_blocks(coarse, fine, "nearest")
    once = coarse_blocks(coarse, fine.isel(lon=slice(-1)), "nearest")
    np.testing.assert_allclose(blocks.averages.sum(axis=1), 1)
    variogram = Variogram(effective_range=9000.0, psill=1.0)
    field = np.random.default_rng(0).normal(size=(1, 8))
    twice = solve(blocks, variogram).apply(field).reshape(4, 13)
    np.testing.assert_allclose(twice[:, :12].ravel(), solve(once, variogram).apply(field)[0])
    np.testing.assert_allclose(twice[:, 12], twice[:, 0])


def test_cells_of_a_curvilinear_grid_are_means_of_the_nearest():
    y, x = np.meshgrid(np.arange(8.0), np.arange(12.0), indexing="ij")

    def turned(step):
        rows, columns = y[::step, ::step], x[::step, ::step]
        shift = (step - 1) / 2
        lat = 50 + 0.3 * (rows + shift) + 0.05 * (columns + shift)
        lon = 5 + 0.4 * (columns + shift) - 0.05 * (rows + shift)
        coords = {"lat": (("y", "x"), lat), "lon": (("y", "x"), lon)}
        return xr.DataArray(np.zeros(lat.shape), coords=coords, dims=("y", "x"))

    coarse, fine = turned(4), turned(1)
    blocks = coarse_blocks(coarse, fine)
    assert blocks.lattice is None
    number = (y // 4 * 3 + x // 4).astype(int).ravel()
    np.testing.assert_array_equal(blocks.averages.toarray(), (number == np.arange(6)[:, None]) / 16)
    np.testing.assert_array_equal(blocks.home, number)
    with pytest.raises(GridError, match="fine cells lie outside the coarse grid"):
        coarse_blocks(coarse.isel(x=slice(0, 1), y=slice(0, 2)), fine)
    holed = fine.assign_coords(lat=fine.lat.where(fine.lat > 51))
    with pytest.raises(GridError, match="fine grid has cells without latitude"):
        coarse_blocks(coarse, holed)


def test_what_is_outside_and_what_has_no_size_is_refused():
    coarse, fine = PAIRS["nested"]
    with pytest.raises(GridError, match="reaches outside the source grid"):
        coarse_blocks(coarse.isel(lat=slice(2)), fine)
    with pytest.raises(GridError, match="two rows and two columns"):
        coarse_blocks(coarse.isel(lat=slice(1)), fine.isel(lat=slice(1)), "nearest")
    shifted = coarse_blocks(coarse.isel(lon=slice(0, 3)), fine, "nearest")
    assert (shifted.home.reshape(fine.shape)[:, -1] % 3 == 2).all()
