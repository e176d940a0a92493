"""Networks on a record with many zeros."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import xdownscale as xd
from records import make_pair
from xdownscale.core.errors import XDownscaleWarning


@pytest.fixture(scope="module")
def trained():
    coarse, fine = make_pair(160)
    latent = fine.t - fine.t.mean()
    rain = (8 * (latent / latent.std() - 0.4).clip(min=0) ** 2).rename("rain")
    driver = coarse.t - coarse.t.mean()
    wet = (8 * (driver / driver.std()).clip(min=0) ** 2).rename("rain")
    config = xd.preset(
        "fast",
        network={"channels": (8, 8), "encoder": "none"},
        data={"crop": 16, "transform": "sqrt"},
        training={"epochs": 3, "mean_epochs": 3},
        sampling={"steps": 4},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)  # short record
        model = wet.downscale.fit(rain, preset=config, device="cpu", progress=False)
    return wet, rain, model


def test_generated_rain_is_as_often_dry_as_on_validation_days(trained, tmp_path):
    wet, rain, model = trained
    part = model.models_["all"].split
    times = part.time[part["part"].values == "validation"]
    maps = wet.downscale.predict(model, time=times, realizations=4, seed=5)
    truth = rain.sel(time=times)
    assert float(maps.min()) == 0
    assert float((maps > 0).mean() / (truth > 0).mean()) == pytest.approx(1, abs=0.15)
    scaling = model.models_["all"].scaling
    assert not bool(((maps > 0) & (maps < scaling.threshold)).any())
    assert float(maps.max()) <= scaling.cap
    model.save(tmp_path / "rain.xd")
    again = wet.downscale.predict(xd.load(tmp_path / "rain.xd"), time=times, realizations=4, seed=5)
    np.testing.assert_array_equal(again.values, maps.values)


def test_the_map_of_other_models_is_empty(trained):
    coarse, fine = make_pair(80)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)
        model = coarse.t.downscale.fit(
            fine.t,
            preset=trained[2].config_,
            transform="identity",
            progress=False,
        )
    assert not any(name.startswith("marginal") for name in model.models_["all"].state)
    assert any(name.startswith("marginal") for name in trained[2].models_["all"].state)
