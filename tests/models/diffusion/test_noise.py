from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from xdownscale.core.errors import OptionError
from xdownscale.models.diffusion import noise

keys = st.integers(-(2**62), 2**62)


@given(keys, keys, keys, keys)
def test_a_field_is_a_pure_function_of_its_key(seed, realization, day, step):
    np.random.seed(0)  # noqa: NPY002
    first = noise.field(seed, realization, day, step, (3, 4))
    np.random.random()  # noqa: NPY002
    assert np.array_equal(first, noise.field(seed, realization, day, step, (3, 4)))
    assert first.dtype == np.float32


def test_every_part_of_the_key_counts():
    base = (0, 1, -2, 3)
    tried = [base] + [
        tuple(v + (2**32 if wide else 1) * (i == k) for k, v in enumerate(base))
        for i, wide in itertools.product(range(4), (False, True))
    ]
    fields = [noise.field(*key, (8,)) for key in tried]
    fields += [noise.field(*base, (8,), patch=p) for p in (0, 1)]
    for a, b in itertools.combinations(fields, 2):
        assert abs(float(np.corrcoef(a, b)[0, 1])) < 0.99


def test_the_order_of_the_key_counts():
    assert noise.derive(1, 2) != noise.derive(2, 1)
    assert noise.derive(1, 0) != noise.derive(0, 1)


def test_a_field_is_standard_normal():
    field = noise.field(7, 0, -400, 5, (200, 200)).ravel()
    assert stats.kstest(field, "norm").pvalue > 0.01


def test_fields_of_neighbouring_keys_are_independent():
    a, b = (noise.field(7, 0, day, 0, (200, 200)).ravel() for day in (10, 11))
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(a.size)


@given(st.integers(0, 10**9), st.integers(0, 5), st.sampled_from([0.0, 0.5, 0.9]))
@settings(max_examples=25)
def test_correlated_noise_does_not_depend_on_what_was_drawn_before(seed, realization, rho):
    days = [86400 * k for k in range(6)]

    def drawn(order):
        noise._CACHE = noise._Cache(noise._CACHED)
        return {
            d: noise.correlated_field(seed, realization, d, (5, 7), rho=rho, step=86400)
            for d in order
        }

    forth, back, alone = drawn(days), drawn(days[::-1]), drawn(days[3:4])
    for day in days:
        assert np.array_equal(forth[day], back[day])
    assert np.array_equal(forth[days[3]], alone[days[3]])


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, 0.98])
def test_correlated_noise_is_an_autoregression(rho):
    fields = np.stack(
        [noise.correlated_field(3, 1, 10 * k, (60, 70), rho=rho, step=10) for k in range(12)]
    )
    assert fields.var() == pytest.approx(1, abs=0.03)
    for lag in (1, 2, 5):
        found = np.mean(fields[lag:] * fields[:-lag])
        assert found == pytest.approx(rho**lag, abs=0.03)
    # white in space
    assert abs(np.mean(fields[..., 1:] * fields[..., :-1])) < 0.02


def weights_of(days, rho, monkeypatch):
    """Latent fields whose innovations are unit vectors: what each day makes of each of them."""
    places: dict[int, int] = {}

    def unit(seed, realization, day, shape):
        out = np.zeros(shape, np.float32)
        out[0, places.setdefault(day, len(places))] = 1
        return out

    monkeypatch.setattr(noise, "_innovation", unit)
    return [
        noise.correlated_field(0, 0, day, (1, 400), rho=rho, step=10)[0] for day in days
    ], places


@pytest.mark.parametrize("rho", [0.02, 0.5, 0.8, 0.95, 0.98])
def test_correlated_noise_has_the_covariance_of_an_autoregression(rho, monkeypatch):
    # exact, not sampled: the covariance of two days is the product of their weights
    days = [10 * k + 3 for k in range(-70, 200)]
    weights, _ = weights_of(days, rho, monkeypatch)
    weights = np.array(weights, np.float64)
    apart = np.abs(np.subtract.outer(np.arange(len(days)), np.arange(len(days))))
    np.testing.assert_allclose(weights @ weights.T, rho**apart, atol=1.1e-3)
    np.testing.assert_allclose(np.square(weights).sum(1), 1, atol=1e-4)


@given(st.floats(0.01, 0.98), st.integers(-(10**9), 10**9))
def test_any_day_costs_few_innovations(rho, day):
    with pytest.MonkeyPatch.context() as patch:
        (weights,), places = weights_of([day], rho, patch)
    assert len(places) <= 13
    assert np.square(weights).sum() == pytest.approx(1, abs=1e-4)


def test_consecutive_days_cost_one_new_field_each(monkeypatch):
    drawn, draw = [], noise.field
    monkeypatch.setattr(noise, "_CACHE", noise._Cache(40 * 64 * 4))  # bytes of 40 such fields
    monkeypatch.setattr(noise, "field", lambda *key: drawn.append(key) or draw(*key))
    for day in range(1000):
        noise.correlated_field(0, 0, day, (8, 8), rho=0.95, step=1)
    assert 1000 <= len(drawn) < 1100
    assert len(set(drawn)) == len(drawn)


def test_many_threads_draw_the_same(monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setattr(noise, "_CACHE", noise._Cache(5 * 36 * 4))

    def draw(day):
        return noise.correlated_field(0, 0, day, (6, 6), rho=0.9, step=1)

    alone = [draw(day) for day in range(60)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(draw, [*range(60)] * 5))
    np.testing.assert_array_equal(together, alone * 5)
    size = sum(kept.nbytes for kept in noise._CACHE._fields.values())
    assert noise._CACHE._size == size <= 5 * 36 * 4


@pytest.mark.parametrize("rho", [-0.1, 1.0, float("nan")])
def test_a_memory_outside_its_range_is_refused(rho):
    with pytest.raises(OptionError, match="must be 0 or more, and below 1"):
        noise.correlated_field(0, 0, 0, (4, 4), rho=rho, step=1)


def test_realizations_seeds_channels_and_steps_off_the_rhythm_are_independent():
    base = noise.correlated_field(0, 0, 100, (80, 80), rho=0.5, step=10)
    others = [
        noise.correlated_field(1, 0, 100, (80, 80), rho=0.5, step=10),
        noise.correlated_field(0, 1, 100, (80, 80), rho=0.5, step=10),
        noise.correlated_field(0, 0, 105, (80, 80), rho=0.5, step=10),
        noise.correlated_field(0, 0, 100, (80, 80), rho=0.5, step=10, channel=1),
    ]
    for other in others:
        assert abs(np.mean(base * other)) < 0.05


def test_what_is_kept_is_bounded_and_not_to_be_written_into():
    cache = noise._Cache(100.0)
    for key in range(10):
        cache.put((key,), np.zeros(10, np.float32))
    assert cache._size <= 100
    assert cache.get((9,)) is not None
    assert cache.get((0,)) is None
    kept = noise.correlated_field(0, 0, 0, (4, 4), rho=0.0, step=1)
    with pytest.raises(ValueError, match="read-only"):
        kept += 1
