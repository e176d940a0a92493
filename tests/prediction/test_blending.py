"""Regions that meet make one map: weights add up to one, and no seam is left."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xdownscale as xd
from records import fitted_of, make_blocks
from xdownscale.fitting.groups import fading
from xdownscale.prediction.blending import Blend


@pytest.mark.parametrize("reach", [0, 1, 4, 8])
def test_weights_of_two_regions_add_up_to_one(reach):
    west = np.zeros((30, 40), bool)
    west[:, :17] = True
    weights = fading(west, reach), fading(~west, reach)
    np.testing.assert_allclose(weights[0] + weights[1], 1, atol=1e-6)
    assert (weights[0][west] >= 0.5).all()
    assert (weights[0][~west] < 0.5).all()
    assert (weights[0][:, : 17 - reach] == 1).all()
    assert (weights[0][:, 17 + reach :] == 0).all()


def test_a_region_that_is_everything_has_no_border():
    assert (fading(np.ones((5, 6), bool), 3) == 1).all()


def test_the_images_edge_is_no_border():
    corner = np.zeros((20, 20), bool)
    corner[:8, :8] = True
    weight = fading(corner, 2)
    assert (weight[:5, :5] == 1).all()


@pytest.fixture(scope="module")
def pair():
    return make_blocks(70, 6, slice(5, 60))


@pytest.fixture(scope="module")
def model(pair):
    config = xd.preset(
        "fast",
        network={"channels": (8, 8), "encoder_channels": (8, 8)},
        training={"epochs": 1, "pretrain_epochs": 1, "mean_epochs": 1},
        data={"extrapolate": "nearest", "crop": 16, "blend": 4, "transform": "identity"},
    )
    regions = {"west": (0, 6, 0, 12), "east": (6, 12, 0, 10)}
    return pair[0].downscale.fit(pair[1], preset=config, regions=regions, progress=False)


def test_where_models_meet_there_is_no_seam(pair, model):
    coarse, fine = pair
    days = model.days("test", "west")
    maps = coarse.downscale.predict(model, time=days, realizations=2)[0]
    inside = (fine.lat < 10) | (fine.lon < 6)
    assert (np.isfinite(maps) == inside).all()
    # give one of them a shift: a cliff without blending, a slope with it
    east = model.models_["east"]
    bias = next(name for name in east.state if name.endswith("regressions.0.head.bias"))
    kept = east.state[bias].copy()
    other = bias.replace("regressions.0", "regressions.1")
    try:
        east.state[bias], east.state[other] = kept + 8, east.state[other] + 8
        moved = coarse.downscale.predict(model, time=days)[0]
    finally:
        east.state[bias], east.state[other] = kept, east.state[other] - 8
    slope = np.abs((moved - maps).mean("time").isel(lat=slice(0, 16)).diff("lon")).mean("lat")
    assert (moved - maps).isel(lon=-1, lat=slice(0, 16)).mean() > 6
    assert slope.max() < 3


def test_fields_of_one_kind_are_left_as_they_are(model):
    blend = Blend(fitted_of(model))
    total = np.zeros((24, 24))
    for name, models in fitted_of(model).by_region().items():
        window = next(iter(models.values())).group.window
        total[window] += blend.weights[name]
    covered = total > 0
    np.testing.assert_allclose(total[covered], 1, atol=1e-6)
    out = np.full((1, 2, 1, 24, 24), np.nan, np.float32)
    for name, models in fitted_of(model).by_region().items():
        window = next(iter(models.values())).group.window
        part = out[(..., *window)]
        fields = np.full((1, 2, *part.shape[2:]), 3.0, np.float32)
        blend.add(part, np.array([0, 1]), fields, blend.weights[name][None])
    blend.finish(out)
    np.testing.assert_allclose(out[0, 0, 0][covered], 3.0, atol=1e-5)
    assert np.isnan(out[0, 0, 0][~covered]).all()


def test_blended_models_are_saved(pair, model, tmp_path):
    coarse, _ = pair
    model.save(tmp_path / "b.xd")
    days = model.days("test", "west")[:2]
    ours, theirs = (
        coarse.downscale.predict(m, time=days) for m in (model, xd.load(tmp_path / "b.xd"))
    )
    xr.testing.assert_identical(ours, theirs)
