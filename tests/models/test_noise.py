from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from xdownscale.models import noise

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
