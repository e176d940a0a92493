"""Constraints hold to rounding, and change no more than they must."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xdownscale.constraints import CONSISTENT, Cells, apply
from xdownscale.errors import DataError, OptionError


def cells(shape=(3, 4), factor=4, seed=0):
    number = np.arange(shape[0] * shape[1]).reshape(shape)
    number = number.repeat(factor, 0).repeat(factor, 1)
    weights = np.random.default_rng(seed).uniform(0.5, 1.5, number.shape)
    return Cells(number, weights, np.bincount(number.ravel(), weights.ravel()))


def means(fields, given):
    flat = fields.reshape(-1, given.number.size)
    w, n = given.weights.ravel(), given.number.ravel()
    return np.stack([np.bincount(n, w * f) / np.bincount(n, w) for f in flat])


@given(st.sampled_from(CONSISTENT), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_means_over_cells_are_the_coarse_values(kind, seed):
    rng, lattice = np.random.default_rng(seed), cells(seed=seed)
    fields = rng.lognormal(size=(2, 5, 12, 16))
    coarse = rng.lognormal(size=(5, 3, 4))
    found = apply(fields, coarse, lattice, kind)
    expected = np.broadcast_to(coarse.reshape(5, 12), (2, 5, 12)).reshape(-1, 12)
    np.testing.assert_allclose(means(found, lattice), expected, rtol=1e-10)
    again = apply(found, coarse, lattice, kind if kind != "softmax" else "additive")
    np.testing.assert_allclose(again, found, rtol=1e-10, atol=1e-12)
    if kind != "additive":
        assert (found >= 0).all()


@pytest.mark.parametrize("kind", CONSISTENT)
def test_order_within_a_cell_is_kept(kind):
    rng, lattice = np.random.default_rng(0), cells()
    fields, coarse = rng.lognormal(size=(1, 12, 16)), rng.lognormal(size=(1, 3, 4))
    found = apply(fields, coarse, lattice, kind)
    for k in range(12):
        inside = lattice.number == k
        order = np.argsort(fields[0][inside])
        assert (np.diff(found[0][inside][order]) >= 0).all()


def test_nonnegative_takes_away_what_is_below_zero_alone():
    fields = np.array([[[-1.0, 0.0, 2.0, np.nan]]])
    lattice = Cells(np.zeros((1, 4), int), np.ones((1, 4)), np.array([4.0]))
    found = apply(fields, np.zeros((1, 1, 1)), lattice, "nonnegative")
    np.testing.assert_array_equal(found, [[[0.0, 0.0, 2.0, np.nan]]])


@pytest.mark.parametrize("kind", CONSISTENT)
def test_cells_that_cannot_be_judged_stay(kind):
    rng, lattice = np.random.default_rng(1), cells()
    fields, coarse = rng.lognormal(size=(1, 12, 16)), rng.lognormal(size=(1, 3, 4))
    coarse[0, 0, 0] = np.nan
    fields[0, 4:8, 4:8][rng.random((4, 4)) < 0.8] = np.nan  # most of a cell
    fields[0, 8, 8] = np.nan  # a little of another
    outside = Cells(np.where(lattice.number == 11, -1, lattice.number), *lattice[1:])
    found = apply(fields, coarse, outside, kind)
    for k in (0, 5, 11):
        inside = lattice.number == k
        np.testing.assert_array_equal(found[0][inside], fields[0][inside])
    inside = (lattice.number == 10) & np.isfinite(fields[0])
    assert np.average(found[0][inside], weights=lattice.weights[inside]) == pytest.approx(
        coarse.ravel()[10]
    )
    assert np.isnan(found[0, 8, 8])


def test_large_values_do_not_overflow():
    lattice = cells()
    fields = np.random.default_rng(2).normal(300.0, 400.0, size=(1, 12, 16))
    found = apply(fields, np.full((1, 3, 4), 280.0), lattice, "softmax")
    np.testing.assert_allclose(means(found, lattice), 280.0)


def test_what_is_refused():
    lattice = cells()
    with pytest.raises(OptionError, match=r"'additve'.*'additive'"):
        apply(np.ones((1, 12, 16)), np.ones((1, 3, 4)), lattice, "additve")
    with pytest.raises(DataError, match="needs coarse values of 0 or more, and the least is -1"):
        apply(np.ones((1, 12, 16)), -np.ones((1, 3, 4)), lattice, "multiplicative")
