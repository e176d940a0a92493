"""Area-to-point kriging: point kriging of two libraries, closed forms, simulated truth."""

from __future__ import annotations

import dataclasses

import gstools
import numpy as np
import pytest
import skgstat
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from xdownscale.models.statistical.kriging import (
    Blocks,
    coefficients,
    deconvolve,
    solve,
    with_trend,
)
from xdownscale.models.statistical.variogram import Curve, Variogram, chords, measure

EXPONENTIAL = Variogram(effective_range=60.0, psill=2.0, nugget=0.3)
VARIOGRAMS = (
    EXPONENTIAL,
    Variogram(model="spherical", effective_range=80.0, psill=1.5),
    Variogram(model="gaussian", effective_range=50.0, psill=1.0, nugget=0.1),
    Variogram(model="matern", effective_range=70.0, psill=1.0, smoothness=1.3),
)


def plane(ny: int, nx: int, step: float = 10.0) -> np.ndarray:
    """Return points of a flat grid, km."""
    y, x = np.meshgrid(step * np.arange(ny), step * np.arange(nx), indexing="ij")
    return np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1)


def tiles(ny: int = 12, nx: int = 16, side: int = 4, shift: float = 0.0) -> Blocks:
    """Return square coarse cells; with a shift their borders cut through fine cells."""
    sides = []
    for count in (ny, nx):
        lower = side * np.arange(count // side) + shift
        cells = np.arange(count) - np.zeros(1)
        low = np.maximum(lower[:, None], cells[None])
        high = np.minimum(lower[:, None] + side, cells[None] + 1)
        share = np.clip(high - low, 0, None)
        sides.append(sparse.csr_array(share / share.sum(1, keepdims=True)))
    averages = sparse.csr_array(sparse.kron(*sides))
    return Blocks(plane(ny, nx), averages, ny * nx, np.arange(averages.shape[0]))


def scattered(count: int = 15, targets: int = 40) -> Blocks:
    """Return coarse cells that are points, among the points that are predicted."""
    rng = np.random.default_rng(2)
    flat = rng.uniform(0, 100, (targets, 2))
    points = np.concatenate([flat, np.zeros((targets, 1))], axis=1)
    averages = sparse.csr_array(sparse.eye_array(targets, format="csr")[:count])
    return Blocks(points, averages, targets, np.arange(count))


def covariance(variogram: Variogram, points: np.ndarray) -> np.ndarray:
    """Return the covariance of all points, written out."""
    h = np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))
    return variogram.covariance(h) + variogram.nugget * np.eye(len(points))


def simulated(variogram: Variogram, points: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Return fields (count, points) by the Cholesky factor of their covariance."""
    factor = np.linalg.cholesky(covariance(variogram, points) + 1e-10 * np.eye(len(points)))
    return np.random.default_rng(seed).normal(size=(count, len(points))) @ factor.T


# where coarse cells are points


@pytest.mark.parametrize("variogram", VARIOGRAMS[:3], ids=lambda v: v.model)
def test_it_is_the_point_kriging_of_gstools(variogram):
    blocks = scattered()
    known = np.random.default_rng(0).normal(size=15)
    forms = {"exponential": gstools.Exponential, "spherical": gstools.Spherical}
    scale = {"exponential": 3.0, "spherical": 1.0, "gaussian": np.sqrt(3)}[variogram.model]
    model = forms.get(variogram.model, gstools.Gaussian)(
        dim=2,
        var=variogram.psill,
        nugget=variogram.nugget,
        len_scale=variogram.effective_range / scale,
        rescale=1.0,
    )
    places = blocks.points[:15, :2].T
    theirs = gstools.krige.Ordinary(model, places, known, exact=True)
    estimate, variance = theirs(blocks.points[15:, :2].T)

    found = solve(blocks, variogram)

    np.testing.assert_allclose(found.apply(known[None])[0, 15:], estimate, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.variance[15:], variance, rtol=1e-6)


def test_it_is_the_point_kriging_of_scikit_gstat():
    blocks = scattered()
    variogram = Variogram(model="spherical", effective_range=150.0, psill=1.5)
    known = np.random.default_rng(0).normal(size=15)
    theirs = skgstat.Variogram(
        blocks.points[:15, :2],
        known,
        model="spherical",
        n_lags=6,
        fit_method="manual",
        fit_range=150.0,  # it looks no further
        fit_sill=1.5,
    )
    kriging = skgstat.OrdinaryKriging(theirs, min_points=15, max_points=15, mode="exact")
    estimate = kriging.transform(*blocks.points[15:, :2].T)

    found = solve(blocks, variogram)

    np.testing.assert_allclose(found.apply(known[None])[0, 15:], estimate, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.variance[15:], kriging.sigma, rtol=1e-6)


def test_known_points_are_interpolated_without_error():
    found = solve(scattered(), EXPONENTIAL)
    np.testing.assert_allclose(found.matrix[:15], np.eye(15), atol=1e-9)
    np.testing.assert_allclose(found.variance[:15], 0, atol=1e-9)


# where they are averages


@pytest.mark.parametrize("variogram", VARIOGRAMS, ids=lambda v: v.model)
def test_weights_are_those_of_the_system_written_out(variogram):
    blocks = tiles(8, 8)
    inside = blocks.averages.toarray()
    towards = covariance(variogram, blocks.points) @ inside.T
    system = np.ones((5, 5))
    system[:4, :4] = inside @ towards
    system[4, 4] = 0
    right = np.vstack([towards.T, np.ones(64)])
    solved = np.linalg.inv(system) @ right
    found = solve(blocks, variogram)
    np.testing.assert_allclose(found.matrix, solved[:4].T, atol=1e-7)
    variance = variogram.sill - (solved * right).sum(0)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-6)


@pytest.mark.parametrize("variogram", VARIOGRAMS, ids=lambda v: v.model)
@pytest.mark.parametrize("neighbours", [None, 5])
def test_the_error_has_the_kriging_variance(variogram, neighbours):
    """12,000 fields with the known covariance: within 5 % at each cell, 1 % on average."""
    blocks = tiles()
    truth = simulated(variogram, blocks.points, 12_000)
    found = solve(blocks, variogram, neighbours)
    error = truth - found.apply(truth @ blocks.averages.toarray().T)
    ratio = error.var(0) / found.variance
    assert 0.95 < ratio.min() < ratio.max() < 1.05
    assert ratio.mean() == pytest.approx(1, abs=0.01)
    assert abs(error.mean(0)).max() < 0.05


sizes = st.integers(2, 4)


@settings(max_examples=25, deadline=None)
@given(
    rows=sizes,
    columns=sizes,
    side=st.integers(1, 4),
    shift=st.sampled_from([0.0, 0.25, 0.5]),
    variogram=st.sampled_from(VARIOGRAMS),
    neighbours=st.sampled_from([None, 1, 3, 6]),
)
def test_averages_are_kept_and_weights_sum_to_one(
    rows, columns, side, shift, variogram, neighbours
):
    """Coarse cells that meet within fine cells too, whatever the neighbourhood."""
    blocks = tiles(rows * side + 1, columns * side + 1, side, shift)
    found = solve(blocks, variogram, neighbours)
    coarse = np.random.default_rng(0).normal(size=(3, len(blocks.cells)))
    fine = found.apply(coarse)
    assert abs(fine @ blocks.averages.toarray().T - coarse).max() < 1e-6
    assert abs(found.apply(np.ones((1, coarse.shape[1]))) - 1).max() < 1e-6
    assert (found.variance >= 0).all()


def test_all_neighbours_are_the_global_solution_and_fewer_know_less():
    blocks = tiles()
    whole = solve(blocks, EXPONENTIAL)
    near = solve(blocks, EXPONENTIAL, 11)
    assert near.variance.min() > 0
    assert (near.variance >= whole.variance - 1e-9).all()
    assert near.variance == pytest.approx(whole.variance, rel=0.05)
    np.testing.assert_array_equal(solve(blocks, EXPONENTIAL, 99).matrix, whole.matrix)


def test_a_field_does_not_depend_on_those_beside_it():
    found = solve(tiles(), EXPONENTIAL)
    coarse = np.random.default_rng(0).normal(size=(6, 12))
    whole = found.apply(coarse)
    np.testing.assert_array_equal(found.apply(coarse[[4, 1]]), whole[[4, 1]])


def test_a_pure_nugget_gives_coarse_values_and_its_variance_less_that_of_a_mean():
    blocks = tiles(8, 8)
    found = solve(blocks, Variogram(effective_range=1e-3, psill=1e-9, nugget=1.0))
    np.testing.assert_allclose(found.matrix, blocks.averages.toarray().T * 16, atol=1e-6)
    np.testing.assert_allclose(found.variance, 1 - 1 / 16, atol=1e-6)


# missing coarse cells


def test_a_missing_cell_is_left_out_of_the_system():
    blocks = tiles()
    found = solve(blocks, EXPONENTIAL)
    coarse = np.random.default_rng(0).normal(size=(4, 12))
    coarse[1:3, [2, 7]] = np.nan
    coarse[3, 0] = np.nan
    fine = found.apply(found.filled(coarse))
    for rows, lost in (([0], []), ([1, 2], [2, 7]), ([3], [0])):
        there = np.setdiff1d(np.arange(12), lost)
        part = Blocks(blocks.points, blocks.averages[there], blocks.fine, there)
        expected = solve(part, EXPONENTIAL).apply(coarse[rows][:, there])
        np.testing.assert_allclose(fine[rows], expected, atol=1e-8)


def test_a_cell_without_neighbours_stays_missing():
    found = solve(tiles(), EXPONENTIAL, 3)
    coarse = np.full((1, 12), np.nan)
    coarse[0, 5] = 1.0
    filled = found.filled(coarse)[0]
    near = (found.neighbours == 5).any(1)
    assert 1 < near.sum() < 12
    np.testing.assert_allclose(filled[near], 1.0)
    assert np.isnan(filled[~near]).all()


# trend


def test_a_trend_of_the_covariates_is_found_again():
    """Fine fields that are a constant and a multiple of a covariate, both unknown."""
    blocks = tiles()
    rng = np.random.default_rng(1)
    height = rng.normal(size=(len(blocks.points), 1))
    truth = np.array([5.0, -2.0])[:, None] + np.array([3.0, 0.5])[:, None] * height[:, 0]
    coarse = truth @ blocks.averages.toarray().T
    found = with_trend(solve(blocks, EXPONENTIAL), blocks, height)
    np.testing.assert_allclose(found.apply(coarse), truth, atol=1e-7)
    known = with_trend(solve(blocks, EXPONENTIAL), blocks, height, np.array([3.0]))
    np.testing.assert_allclose(known.apply(coarse[:1]), truth[:1], atol=1e-7)
    other = rng.normal(size=(2, 12))
    for weights in (found, known):
        means = weights.apply(other) @ blocks.averages.toarray().T
        np.testing.assert_allclose(means, other, atol=1e-9)


def test_coefficients_are_those_of_numpy():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 2))
    y = rng.normal(size=50)
    y[3] = np.nan
    good = np.isfinite(y)
    columns = np.column_stack([np.ones(49), x[good]])
    expected = np.linalg.lstsq(columns, y[good], rcond=None)[0][1:]
    np.testing.assert_allclose(coefficients(y, x), expected)


# variogram of the points from that of the averages


@pytest.mark.parametrize("variogram", VARIOGRAMS[:3], ids=lambda v: v.model)
def test_a_variogram_is_deconvolved(variogram):
    """The semivariance of averages, written out, gives the variogram of the points back."""
    smooth = dataclasses.replace(variogram, nugget=0.0)
    blocks = tiles(40, 40)
    inside = blocks.averages.toarray()
    own = inside @ covariance(smooth, blocks.points) @ inside.T
    gamma = (np.diag(own)[:, None] + np.diag(own)[None]) / 2 - own
    apart = chords(blocks.centres, blocks.centres)
    h = np.unique(apart.round(6))[1:16]
    curve = Curve(h, np.array([gamma[abs(apart - each) < 1e-5].mean() for each in h]), h * 0 + 1)
    found = deconvolve(blocks, curve, variogram.model)
    assert found.effective_range == pytest.approx(smooth.effective_range, rel=0.1)
    assert found.psill == pytest.approx(smooth.psill, rel=0.05)
    plain = Curve(curve.distance, curve.semivariance, curve.count)
    assert plain.semivariance.max() < 0.9 * smooth.psill  # averages vary less than points


def test_semivariance_is_that_of_all_pairs_written_out():
    points = plane(9, 8)
    fields = np.random.default_rng(0).normal(size=(3, 72))
    fields[0, 5] = np.nan
    curve = measure(points, fields, 50.0, bins=5)
    h = chords(points, points)
    half = (fields[:, :, None] - fields[:, None, :]) ** 2 / 2
    upper = np.triu(np.ones((72, 72), bool), 1)
    for k in range(5):
        pairs = upper & (h > 0) & (h <= 50) & (np.minimum(h // 10, 4) == k)
        if pairs.any():
            assert curve.semivariance[k] == pytest.approx(np.nanmean(half[:, pairs]))
            assert curve.count[k] == np.isfinite(half[:, pairs]).sum()
