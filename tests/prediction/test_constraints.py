"""Constraints hold to rounding, and change no more than they must."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xdownscale.config import CONSISTENT, CONSTRAINTS
from xdownscale.core.errors import DataError, OptionError
from xdownscale.prediction.constraints import Cells, apply


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


@pytest.mark.parametrize("kind", CONSTRAINTS)
def test_every_field_is_corrected_for_itself(kind):
    rng, lattice = np.random.default_rng(3), cells()
    fields = rng.normal(1, 1, size=(2, 3, 12, 16)).astype(np.float32)
    fields[1, 2, :5, :5] = np.nan
    coarse, before = rng.lognormal(size=(3, 3, 4)), fields.copy()
    found = apply(fields, coarse, lattice, kind)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(fields, before)
    for member, day in np.ndindex(2, 3):
        alone = apply(fields[member, day], coarse[day], lattice, kind)
        np.testing.assert_array_equal(alone, found[member, day])


def test_cells_without_a_factor_stay():
    lattice = cells()
    fields, coarse = np.zeros((1, 12, 16)), np.ones((1, 3, 4))
    fields[0, :4, :4] = -1.0
    np.testing.assert_array_equal(apply(fields, coarse, lattice, "multiplicative"), fields)
    dry = apply(np.ones((1, 12, 16)), 0 * coarse, lattice, "multiplicative")
    np.testing.assert_array_equal(dry, 0.0)


def test_softmax_by_hand():
    lattice = Cells(np.zeros((1, 2), int), np.ones((1, 2)), np.array([2.0]))
    found = apply(np.array([[0.0, 4 * np.log(3.0)]]), np.array([[4.0]]), lattice, "softmax")
    np.testing.assert_allclose(found, [[2.0, 6.0]])


@pytest.mark.parametrize("unit", [1e-9, 1e6])
@pytest.mark.parametrize("kind", CONSTRAINTS)
def test_units_do_not_matter(kind, unit):
    rng, lattice = np.random.default_rng(4), cells()
    fields, coarse = rng.lognormal(size=(2, 12, 16)), rng.lognormal(size=(2, 3, 4))
    found = apply(unit * fields, unit * coarse, lattice, kind)
    np.testing.assert_allclose(found, unit * apply(fields, coarse, lattice, kind), rtol=1e-9)


def test_softmax_is_a_shift_where_deviations_are_small():
    rng, lattice = np.random.default_rng(5), cells()
    fields, coarse = 290 + rng.normal(size=(1, 12, 16)), 291 + rng.normal(size=(1, 3, 4))
    soft, shifted = (apply(fields, coarse, lattice, k) for k in ("softmax", "additive"))
    np.testing.assert_allclose(soft, shifted, atol=0.05)


def test_softmax_of_a_cell_without_rain_is_dry():
    found = apply(np.ones((1, 12, 16)), np.zeros((1, 3, 4)), cells(), "softmax")
    np.testing.assert_array_equal(found, 0.0)


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
    with pytest.raises(DataError, match=r"has 12 cells and 5 days, and the coarse field 6 and 5"):
        apply(np.ones((5, 12, 16)), np.ones((5, 2, 3)), lattice, "additive")
    with pytest.raises(DataError, match=r"has 12 cells and 4 days, and the coarse field 12 and 5"):
        apply(np.ones((2, 4, 12, 16)), np.ones((5, 3, 4)), lattice, "additive")
