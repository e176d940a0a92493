"""Seams: none in smooth fields, plain ones where patches were drawn apart."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter

from xdownscale.core.errors import GridError
from xdownscale.geostat import seams
from xdownscale.patches import PatchLayout, stitch_array

SHAPE = (48, 60)


def smooth(seed=0, days=12, shape=SHAPE):
    noise = np.random.default_rng(seed).normal(size=(days, *shape))
    return gaussian_filter(noise, (0, 3, 3), mode="wrap")


def labelled(values, first="time"):
    days = pd.date_range("2000", periods=len(values)) if first == "time" else range(len(values))
    coords = {first: days, "lat": np.arange(48) * 0.1, "lon": np.arange(60) * 0.1}
    return xr.DataArray(values, coords=coords)


def stitched(layout, days=12):
    """Every patch drawn on its own."""
    values = np.random.default_rng(5).normal(
        size=(days, layout.n_patches, layout.size, layout.size)
    )
    return stitch_array(gaussian_filter(values, (0, 0, 3, 3)), layout)


LAYOUTS = [
    PatchLayout(shape=SHAPE, size=12, stride=12, halo=0),
    PatchLayout(shape=SHAPE, size=12, stride=8, halo=2),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_smooth_field_has_no_seam(layout):
    z = []
    for seed in range(20):
        found = seams(labelled(smooth(seed)), layout)
        z += [(found[f"{k}_ratio"] - 1) / found[f"{k}_error"] for k in ("gradient", "variance")]
    assert np.mean(np.abs(z) < 3) > 0.9
    assert np.abs(np.mean(z)) < 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_independent_patches_show_seams(layout):
    found = seams(labelled(stitched(layout)), layout)
    assert found.gradient_ratio > 2
    assert found.gradient_ratio - 5 * found.gradient_error > 1


def test_noise_averaged_in_narrow_overlaps_lowers_the_variance_there():
    layout = PatchLayout(shape=SHAPE, size=16, stride=12, halo=1, taper="uniform")
    values = np.random.default_rng(5).normal(size=(200, layout.n_patches, 16, 16))
    found = seams(labelled(stitch_array(values, layout)), layout)
    assert found.variance_ratio + 3 * found.variance_error < 1


def test_by_hand():
    layout = PatchLayout(shape=(4, 6), size=3, stride=3, halo=0)
    assert layout.corners[0].tolist() == [0, 1]
    # along x one border, between columns 2 and 3; along y borders before and behind row 1 and 3
    column = np.array([0.0, 1, 3, 10, 11, 14])
    row = np.array([0.0, 2, 3, 7])
    da = xr.DataArray(row[:, None] + column, coords={"lat": [0.0, 1, 2, 3], "lon": np.arange(6.0)})
    found = seams(da, layout)
    # steps along x 1 2 | 7 | 1 3: 7 against 1.75; along y 2 | 1 | 4 with borders 1 and 3
    on = np.array([2 / 1, 4 / 1, 7 / 1.75])
    ratio = on.sum() / 3
    error = np.sqrt(((on - ratio) ** 2).sum() / 6)
    assert found.border_count.item() == 3
    assert found.gradient_ratio.item() == pytest.approx(ratio)
    assert found.gradient_error.item() == pytest.approx(error)
    assert np.isnan(found.variance_ratio)  # one image has no variance over time


def test_the_variance_is_that_of_realizations_where_there_are_some():
    layout = LAYOUTS[0]
    weather = 50 * np.random.default_rng(3).normal(size=(12, 1, 1)) * np.arange(60)
    drawn = np.stack([stitched(layout), smooth(2), smooth(3)])
    over_both = labelled(drawn[0]).expand_dims(realization=3).copy(data=drawn + weather)
    told = seams(over_both - weather, layout)
    np.testing.assert_allclose(seams(over_both, layout).variance_ratio, told.variance_ratio)
    alone = seams(labelled(drawn[:, 0], "realization"), layout)
    assert np.isfinite(alone.variance_ratio)


def test_lazy_and_the_same_for_any_chunks_order_and_orientation():
    layout = LAYOUTS[1]
    da = labelled(stitched(layout))
    da = da.where(np.random.default_rng(0).random(da.shape) > 0.1)
    da[:, 7] = np.nan
    told = seams(da, layout)
    computes = []

    def scheduler(graph, keys, **kwargs):
        computes.append(1)
        return dask.get(graph, keys, **kwargs)

    with dask.config.set(scheduler=scheduler):
        for chunks in ({"time": 1}, {"time": 5, "lat": 7, "lon": 11}):
            lazy = seams(da.chunk(chunks).transpose("lon", "time", "lat"), layout)
            assert not computes
            xr.testing.assert_allclose(lazy.compute(), told, rtol=1e-9)
            computes.clear()


def test_layouts_that_tell_nothing():
    da = labelled(smooth())
    with pytest.raises(GridError, match="rows and columns, the layout is for"):
        seams(da[:, 1:], LAYOUTS[0])
    square = da[:, :48, :48]
    with pytest.raises(GridError, match="one patch that covers the image"):
        seams(square, PatchLayout(shape=(48, 48), size=48, stride=1, halo=0))
    with pytest.raises(GridError, match="Every line between pixels is a patch border"):
        seams(da, PatchLayout(shape=SHAPE, size=8, stride=1, halo=0))
    with pytest.raises(GridError, match="No latitude found"):
        seams(da.rename(lat="y"), LAYOUTS[0])
