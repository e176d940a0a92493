"""Stitching of arrays: analytic fields, random order, and exact Gaussian denoisers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from xdownscale.core.errors import DataError, GridError
from xdownscale.patches import PatchLayout, Stitcher, extract_array, stitch_array
from xdownscale.patches import layout as layout_module


@st.composite
def layouts(draw, biggest=36):
    size = draw(st.integers(1, 12))
    halo = draw(st.integers(0, (size - 1) // 2))
    stride = draw(st.integers(1, size - 2 * halo))
    shape = tuple(draw(st.integers(size, biggest)) for _ in range(2))
    name = draw(st.sampled_from(["hann", "triangle", "uniform", "nearest"]))
    return PatchLayout(shape=shape, size=size, stride=stride, halo=halo, taper=name)


def test_extract_equals_plain_slicing(rng):
    layout = PatchLayout(shape=(21, 19), size=8, stride=3, halo=1)
    image = rng.normal(size=(2, 21, 19))
    patches = extract_array(image, layout)
    assert patches.shape == (2, layout.n_patches, 8, 8)
    for k, (y, x) in enumerate(layout.positions):
        np.testing.assert_array_equal(patches[:, k], image[:, y : y + 8, x : x + 8])
    np.testing.assert_array_equal(extract_array(image, layout, [5, 2]), patches[:, [5, 2]])


def test_extract_returns_a_copy():
    image = np.zeros((4, 4))
    extract_array(image, PatchLayout(shape=(4, 4), size=2, stride=1, halo=0))[:] = 1
    assert image.max() == 0


@given(layouts(), st.floats(0.01, 1e3))
def test_a_constant_comes_back(layout, value):
    patches = np.full((layout.n_patches, layout.size, layout.size), value, np.float64)
    np.testing.assert_allclose(stitch_array(patches, layout), value, rtol=1e-12)
    np.testing.assert_allclose(stitch_array(patches.astype("f4"), layout), value, rtol=1e-6)


@given(layouts(), st.floats(-2, 2), st.floats(-2, 2))
def test_a_plane_comes_back(layout, slope_y, slope_x):
    y, x = np.indices(layout.shape)
    plane = (1 + slope_y * y + slope_x * x).astype(np.float32)
    stitched = stitch_array(extract_array(plane, layout), layout)
    assert stitched.dtype == np.float32
    np.testing.assert_allclose(stitched, plane, rtol=1e-6, atol=1e-5)


@given(layouts(), st.integers(0, 2**31), st.integers(1, 50))
def test_batches_and_order_do_not_matter(layout, seed, batch):
    rng = np.random.default_rng(seed)
    patches = rng.normal(size=(2, layout.n_patches, layout.size, layout.size)).astype(np.float32)
    order = rng.permutation(layout.n_patches)
    stitcher = Stitcher(layout, (2,), np.float32)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        stitcher.add(chosen, patches[:, chosen])
    np.testing.assert_allclose(
        stitcher.result(), stitch_array(patches, layout), rtol=2e-7, atol=1e-7
    )


def test_weighted_mean_by_brute_force(rng):
    layout = PatchLayout(shape=(23, 17), size=9, stride=4, halo=2)
    patches = rng.normal(size=(layout.n_patches, 9, 9))
    total, weight = np.zeros(layout.shape), np.zeros(layout.shape)
    for (y, x), values in zip(layout.positions, patches, strict=True):
        top, bottom = 0 if y == 0 else 2, 9 if y == 14 else 7
        left, right = 0 if x == 0 else 2, 9 if x == 8 else 7
        angles = [np.pi * (np.arange(n) + 0.5) / n for n in (bottom - top, right - left)]
        taper = np.outer(np.sin(angles[0]) ** 2, np.sin(angles[1]) ** 2)
        core = (slice(y + top, y + bottom), slice(x + left, x + right))
        total[core] += taper * values[top:bottom, left:right]
        weight[core] += taper
    np.testing.assert_allclose(stitch_array(patches, layout), total / weight, rtol=1e-12)
    np.testing.assert_allclose(layout.weight_sum, weight, rtol=1e-12)


def test_more_patches_than_are_weighted_at_once(rng):
    image = rng.normal(size=(50, 50))
    layout = PatchLayout(shape=(50, 50), size=6, stride=1, halo=1)
    assert layout.n_patches > 2000
    np.testing.assert_allclose(stitch_array(extract_array(image, layout), layout), image)


def test_what_stands_in_a_halo_is_not_looked_at():
    layout = PatchLayout(shape=(12, 12), size=8, stride=2, halo=2)
    patches = np.where(layout.weights() > 0, 3.0, np.nan)
    assert np.isnan(patches).any()
    np.testing.assert_allclose(stitch_array(patches, layout), 3.0, rtol=1e-12)


def test_types(rng):
    layout = PatchLayout(shape=(8, 8), size=4, stride=2, halo=1)
    numbers = rng.integers(0, 9, size=(8, 8))
    stitched = stitch_array(extract_array(numbers, layout), layout)
    assert stitched.dtype == np.float64
    np.testing.assert_allclose(stitched, numbers, rtol=1e-12)
    with pytest.raises(DataError, match="Patches of type complex128 cannot be averaged"):
        stitch_array(extract_array(numbers.astype(complex), layout), layout)


# Independent noise: what facts.md section 1 measures. The figures there are those of the paper's
# window 0.5 (1 - cos(2 pi k / (N - 1))) over the core; the half-sample window keeps a little less.


def variance_left(layout):
    """Variance of a pixel in the middle when every patch draws its own unit noise."""
    left = np.zeros(layout.shape)
    for (y, x), weights in zip(layout.positions, layout.weights(), strict=True):
        left[y : y + layout.size, x : x + layout.size] += weights**2
    # mean over one period of the stride, far from the border
    middle = slice(30, 34)
    return left[middle, middle].mean()


@pytest.mark.parametrize(("halo", "left"), [(0, 0.040), (2, 0.074), (4, 0.184)])
def test_independent_noise_is_destroyed_as_measured(halo, left, monkeypatch):
    def papers_window(name, n):
        angle = 2 * np.pi * np.arange(n) / max(n - 1, 1)
        return 0.5 * (1 - np.cos(angle)) + 1e-12

    monkeypatch.setattr(layout_module, "taper", papers_window)
    layout = PatchLayout(shape=(64, 64), size=16, stride=2, halo=halo)
    assert variance_left(layout) == pytest.approx(left, abs=0.0006)


@pytest.mark.parametrize("halo", [0, 2, 4])
def test_independent_noise_under_the_half_sample_window(halo):
    # sum w^2 / (sum w)^2 of N / 2 samples of sin^2 is (3 N / 16) / (N / 4)^2 = 3 / N, per axis
    layout = PatchLayout(shape=(64, 64), size=16, stride=2, halo=halo)
    assert variance_left(layout) == pytest.approx((3 / (16 - 2 * halo)) ** 2, rel=1e-10)


def test_independent_noise_drawn(rng):
    layout = PatchLayout(shape=(40, 40), size=16, stride=2, halo=4)
    drawn = stitch_array(rng.normal(size=(60, layout.n_patches, 16, 16)), layout)
    assert drawn[:, 14:26, 14:26].var() == pytest.approx((3 / 8) ** 2, rel=0.1)


def exact_denoiser(size, length=1.0):
    """Noise to field: symmetric root of an exponential covariance on size x size pixels.

    This is where the probability flow of a Gaussian leads, so it is the exact sampler.
    """
    y, x = (part.ravel() for part in np.indices((size, size)))
    distance = np.hypot(y[:, None] - y, x[:, None] - x)
    return np.real(sqrtm(np.exp(-distance / length) + 1e-9 * np.eye(size * size)))


def exact_statistics(response, n):
    """Variance and lag-1 semivariance along x of a field that is linear in unit noise."""
    maps = response.reshape(-1, n, n)  # (noise pixel, y, x)
    step = maps[:, :, 1:] - maps[:, :, :-1]
    return (maps**2).sum(axis=0), 0.5 * (step**2).sum(axis=0)


def test_shared_noise_keeps_variance_and_semivariance_in_overlaps():
    n, layout = 24, PatchLayout(shape=(24, 24), size=16, stride=4, halo=4)
    root = exact_denoiser(16)
    noise = np.eye(n * n).reshape(-1, n, n)  # one unit of noise at each pixel in turn
    cropped = extract_array(noise, layout)
    drawn = (cropped.reshape(*cropped.shape[:-2], -1) @ root).reshape(cropped.shape)
    variance, semivariance = exact_statistics(stitch_array(drawn, layout), n)
    truth = 1 - np.exp(-1.0)
    overlaps = layout.weights()
    alone = stitch_array(np.isclose(overlaps, 1.0).astype(float), layout) > 0.999
    assert alone.any()
    assert not alone.all()
    np.testing.assert_allclose(variance, 1.0, atol=0.02)
    np.testing.assert_allclose(semivariance, truth, atol=0.02 * truth)
    assert variance[~alone].mean() == pytest.approx(variance[alone].mean(), rel=0.01)


def test_independent_noise_loses_semivariance_in_overlaps():
    layout = PatchLayout(shape=(24, 24), size=16, stride=2, halo=4)
    root = exact_denoiser(16)
    total = np.zeros((24, 24))
    for (y, x), weights in zip(layout.positions, layout.weights(), strict=True):
        total[y : y + 16, x : x + 16] += weights**2 * (root**2).sum(axis=0).reshape(16, 16)
    assert total[11:13, 11:13].max() < 0.5


@pytest.mark.parametrize("wrong", [(15, 16), (16, 15)])
def test_image_of_another_shape(wrong):
    with pytest.raises(GridError, match=r"layout is for \(16, 16\); make the layout with shape="):
        extract_array(np.zeros(wrong), PatchLayout(shape=(16, 16)))


def test_patches_of_another_shape():
    stitcher = Stitcher(PatchLayout(shape=(16, 16)), (2,))
    with pytest.raises(GridError, match=r"shape \(1, 16, 16\) were given.*\(2, 1, 16, 16\)"):
        stitcher.add([0], np.zeros((1, 16, 16)))


def test_a_patch_added_twice_leaves_the_sum_as_it_was():
    layout = PatchLayout(shape=(4, 6), size=4, stride=2, halo=1)
    stitcher = Stitcher(layout, (), np.float64)
    ones = np.ones((2, 4, 4))
    with pytest.raises(GridError, match="Patch 1 was added twice"):
        stitcher.add([1, 1], ones)
    stitcher.add([0, 1], ones)
    with pytest.raises(GridError, match="Patch 0 was added twice"):
        stitcher.add([0], ones[:1])
    np.testing.assert_allclose(stitcher.result(), 1.0)


def test_a_missing_patch():
    stitcher = Stitcher(PatchLayout(shape=(4, 6), size=4, stride=2, halo=1))
    stitcher.add([0], np.ones((1, 4, 4)))
    with pytest.raises(GridError, match=r"1 of 2 patches were not added .the first is patch 1"):
        stitcher.result()


def test_a_patch_that_does_not_exist():
    stitcher = Stitcher(PatchLayout(shape=(4, 6), size=4, stride=2, halo=1))
    with pytest.raises(GridError, match="this layout has the patches 0 to 1"):
        stitcher.add([2], np.ones((1, 4, 4)))
