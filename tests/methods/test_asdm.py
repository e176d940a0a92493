"""Method "asdm": what it learns, both modes, a transferred encoder, files, stores, resuming."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import xdownscale as xd
from records import make_pair, small_arrays
from xdownscale import methods
from xdownscale.core.errors import DataError, ModelMismatchError, OptionError
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.sampling.request import Conditions, SampleRequest
from xdownscale.models.training.run import TrainingRun

SIZES = Sizes(drivers=1, window=3, lags=2, own=(0,), fine_lags=2, static=2, calendar=3)
DAY = np.timedelta64(1, "D")


def small(**sections):
    """Return preset `asdm` for the arrays of `small_arrays`."""
    training = {"epochs": 3, "pretrain_epochs": 2} | sections.pop("training", {})
    data = {"lags": 2} | sections.pop("data", {})
    network = {"encoder_channels": (8, 8), "dropout": 0.2} | sections.pop("network", {})
    return xd.preset("asdm", training=training, data=data, network=network, **sections)


def train(arrays, config, **options):
    options = {"seed": 3, "device": "cpu"} | options
    return methods.find("asdm").train(arrays, TrainingRun(config=config, **options))


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


# arrays: training and sampling


@pytest.mark.parametrize("encoder", ["none", "frozen"])
def test_a_training_that_was_stopped_goes_on_to_the_same_weights(arrays, tmp_path, encoder):
    config = small(network={"encoder": encoder})
    whole = train(arrays, config)

    class Stop(Exception):
        pass

    from xdownscale.models.training import checkpoint

    save, count = checkpoint.Checkpoints.save, []

    def stopping(self, *args, **kwargs):
        save(self, *args, **kwargs)
        count.append(1)
        if len(count) == 3:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint.Checkpoints, "save", stopping)
        with pytest.raises(Stop):
            train(arrays, config, checkpoint_dir=tmp_path)
    resumed = train(arrays, config, checkpoint_dir=tmp_path)
    assert_same(resumed.state, whole.state)
    stages = ["pretrain"] * 2 * (encoder != "none") + ["pixels"] * 3
    assert resumed.history["stage"].tolist() == whole.history["stage"].tolist() == stages


def test_the_seed_decides(arrays):
    one, same, other = (train(arrays, small(), seed=s).state for s in (1, 1, 2))
    assert_same(one, same)
    assert not np.array_equal(one["net.head.weight"], other["net.head.weight"])


def test_training_leaves_a_frozen_encoder_alone(arrays):
    config = small(network={"encoder": "frozen"})
    first = train(arrays, config, seed=1).state
    second = train(arrays, config, seed=2, encoder=first)
    assert set(second.history["stage"]) == {"pixels"}
    mine = {name: w for name, w in first.items() if name.startswith("encoder.")}
    assert mine
    assert_same(mine, {n: w for n, w in second.state.items() if n.startswith("encoder.")})


def test_no_time_step_to_train_on_is_refused(arrays):
    empty = dataclasses.replace(arrays, train_targets=arrays.train_targets[:0])
    with pytest.raises(DataError, match="No time step to train on: train_targets has none"):
        train(empty, small())


def request_of(arrays, rows, config, realizations=(0,), **changes):
    from xdownscale.models.training.data import conditions_of

    given = dataclasses.replace(conditions_of(arrays, np.asarray(rows)), **changes)
    return SampleRequest(
        conditions=given,
        config=config,
        realizations=realizations,
        seed=0,
        step=86400,
        device="cpu",
        corner=(0, 0),
        domain=arrays.shape,
        stitching="whole",
    )


def test_a_field_does_not_depend_on_what_else_is_asked(arrays):
    """Bit for bit, in any company and as any realization."""
    config = small(network={"encoder": "frozen"}, options={"target_day": True})
    sampler = methods.find("asdm").load(train(arrays, config).state, config, SIZES, "cpu")
    several = sampler.sample(request_of(arrays, [5, 9, 7], config, realizations=(0, 4)))
    assert several.shape == (2, 3, 1, *arrays.shape)
    np.testing.assert_array_equal(several[0], several[1])
    alone = sampler.sample(request_of(arrays, [9], config))
    np.testing.assert_array_equal(alone[0, 0], several[0, 1])
    members = sampler.sample(request_of(arrays, [9, 9], config, members=np.array([3, 8])))
    np.testing.assert_array_equal(members[0], several[:, 1])


def test_a_missing_lagged_pixel_takes_the_driver_of_its_time_step(arrays):
    config = small()
    sampler = methods.find("asdm").load(train(arrays, config).state, config, SIZES, "cpu")
    plain = request_of(arrays, [6], config).conditions
    holed, filled = plain.fine_lags.copy(), plain.fine_lags.copy()
    holed[0, :, 0, 3, 4] = np.nan
    filled[0, :, 0, 3, 4] = plain.window[0, 1:, 0, 3, 4]
    found = [
        sampler.sample(request_of(arrays, [6], config, fine_lags=lags)) for lags in (holed, filled)
    ]
    np.testing.assert_array_equal(*found)
    assert np.isfinite(found[0]).all()


def test_conditions_of_other_channels_are_refused(arrays):
    config = small()
    sampler = methods.find("asdm").load(train(arrays, config).state, config, SIZES, "cpu")
    given = request_of(arrays, [6], config).conditions
    assert isinstance(given, Conditions)
    for changes in (
        {"static": given.static[:1]},
        {"fine_lags": given.fine_lags[:, :1]},
        {"window": given.window[:, :2]},
    ):
        with pytest.raises(ModelMismatchError, match=r"The conditions have .* these networks take"):
            sampler.sample(request_of(arrays, [6], config, **changes))


# options


def test_the_options_are_checked():
    with pytest.raises(OptionError, match=r"driver_skip adds the driver.*give target_day=True too"):
        xd.preset("asdm", options={"driver_skip": True})
    for widths in ((), (8, 0), (8, 1.5), (True,)):
        with pytest.raises(OptionError, match=r"widths is .*one number of channels or more"):
            xd.preset("asdm", options={"widths": widths})
    with pytest.raises(OptionError, match=r"Sampler 'ddim' does not suit method 'asdm'.*'mean'"):
        xd.preset("asdm", sampling={"sampler": "ddim"})
    with pytest.raises(OptionError, match=r"'asdm' does not use data\.patch_size"):
        xd.preset("asdm", data={"patch_size": 8})
    assert xd.preset("asdm").options.target_day is False


# labels: records whose best prediction is known


def record(days=260):
    """Return a fine record made of its last field and the coarse one, which is known to 0.6."""
    rng = np.random.default_rng(0)
    time = pd.date_range("2000-01-01", periods=days)
    grid = {"lat": np.arange(0.5, 8), "lon": np.arange(0.5, 8)}
    weather = rng.normal(size=(days, 4, 4))
    for day in range(1, days):
        weather[day] = 0.6 * weather[day - 1] + 0.8 * weather[day]
    driver = weather.repeat(2, 1).repeat(2, 2)
    values = np.zeros((days, 8, 8))
    values[0] = driver[0]
    for day in range(1, days):
        values[day] = 0.7 * values[day - 1] + 0.5 * driver[day]
    fine = xr.DataArray(values, {"time": time, **grid}, name="t", attrs={"units": "K"})
    edges = {"lat": [1.0, 3.0, 5.0, 7.0], "lon": [1.0, 3.0, 5.0, 7.0]}
    coarse = xr.DataArray(weather, {"time": time, **edges}, name="t", attrs={"units": "K"})
    return coarse, fine


def fit(coarse, fine, **sections):
    data = {"extrapolate": "nearest", "regrid": "nearest"}
    training = {"epochs": 15, "batch_days": 4, "learning_rate": 5e-3, "patience": 15}
    training |= sections.pop("training", {})
    config = xd.preset("asdm", data=data, training=training, **sections)
    return coarse.downscale.fit(fine, preset=config, seed=1, progress=False)


@pytest.fixture(scope="module")
def learned():
    torch.set_num_threads(1)
    coarse, fine = record()
    with_day = fit(coarse, fine, options={"target_day": True})
    return coarse, fine, with_day


def test_it_learns_a_linear_recursion(learned):
    """The fine field is 0.7 of yesterday's and 0.5 of today's coarse field: r2 near 1."""
    coarse, fine, model = learned
    days = model.days("test")
    found = coarse.downscale.predict(model, time=days, mode="teacher_forced", history=fine)
    error = found - fine.sel(time=days)
    assert float((error**2).mean() / fine.sel(time=days).var()) < 0.03


def test_without_the_day_it_cannot_know_the_weather_of_the_day(learned):
    """Of the driver only 0.6 of yesterday's is known: the error is that of the innovation."""
    coarse, fine, _ = learned
    model = fit(coarse, fine)
    days = model.days("test")
    found = coarse.downscale.predict(model, time=days, mode="teacher_forced", history=fine)
    error = float(((found - fine.sel(time=days)) ** 2).mean())
    innovation = coarse.sel(time=days).values - 0.6 * coarse.sel(time=days - DAY).values
    floor = 0.25 * float((innovation**2).mean())
    assert 0.9 * floor < error < 1.3 * floor


def test_both_modes_agree_on_the_first_day_and_then_part(learned):
    coarse, fine, model = learned
    days = model.days("test")[:6]
    past = fine.sel(time=slice(None, days.values[0] - DAY))
    forced = coarse.downscale.predict(model, time=days, mode="teacher_forced", history=fine)
    free = coarse.downscale.predict(model, time=days, history=past)
    np.testing.assert_array_equal(forced.isel(time=0), free.isel(time=0))
    assert not np.allclose(forced.isel(time=3), free.isel(time=3), atol=1e-4)
    # a free run is what teacher forcing gives where its own fields are the truth
    own = xr.concat([past.astype("float32"), free.isel(realization=0, drop=True)], "time")
    again = coarse.downscale.predict(model, time=days, mode="teacher_forced", history=own)
    np.testing.assert_allclose(again, free, atol=1e-6)


def test_files_and_stores_hold_the_same_fields(learned, tmp_path):
    coarse, fine, model = learned
    model.save(tmp_path / "model.xd")
    again = xd.load(tmp_path / "model.xd")
    assert again.config_ == model.config_
    options = {"time": model.days("test")[:8], "history": fine}
    fields = coarse.downscale.predict(model, **options)
    xr.testing.assert_identical(coarse.downscale.predict(again, **options), fields)
    stored = xd.predict_to_zarr(
        model, coarse, tmp_path / "maps.zarr", chunks=3, progress=False, **options
    )
    np.testing.assert_array_equal(stored.t.values, fields.values)
    lazy = coarse.downscale.predict(model, chunks={"time": 4}, mode="teacher_forced", **options)
    forced = coarse.downscale.predict(model, mode="teacher_forced", **options)
    np.testing.assert_array_equal(lazy.values, forced.values)


def test_the_repr_says_what_is_seen(learned):
    said = repr(learned[2])
    assert "pixel network of 64-32-16-8-16-32-64 channels, encoder none, 1 lags" in said
    assert "driver of the day seen" in said


def test_groups_masks_and_a_taken_encoder():
    """Seasons and regions, always-missing cells, and an encoder of another model (ASDMTE)."""
    coarse, fine = (each["t"] for each in make_pair(80))
    land = fine.where(fine.lon > 1)
    regions = {"south": (0, 10, 0, 6), "north": (0, 10, 6, 12)}
    network = {"encoder": "frozen", "encoder_channels": (8, 8)}
    config = xd.preset(
        "asdm",
        data={"extrapolate": "nearest"},
        network=network,
        training={"epochs": 1, "pretrain_epochs": 1, "batch_days": 8},
    )
    model = coarse.downscale.fit(land, preset=config, regions=regions, progress=False)
    days = land.time[-12:]
    maps = coarse.downscale.predict(model, time=days, mode="teacher_forced", history=land)
    assert np.array_equal(np.isnan(maps[0]), np.isnan(land.sel(time=days)))
    alone = coarse.downscale.fit(land, preset=config, progress=False, encoder=None)
    taken = coarse.downscale.fit(land, preset=config, progress=False, encoder=alone, seed=9)
    for name, weights in alone.models_["all"].state.items():
        if name.startswith("encoder."):
            np.testing.assert_array_equal(taken.models_["all"].state[name], weights)
    assert "taken over from" in repr(taken)
    assert set(taken.history_["stage"].values.ravel()) == {"pixels"}


def test_two_variables_are_refused():
    coarse, fine = make_pair(60, names=("t", "u"))
    config = xd.preset("asdm", data={"extrapolate": "nearest"})
    with pytest.raises(OptionError, match="'asdm' learns one fine variable from the same"):
        coarse.downscale.fit(fine, preset=config, progress=False)


def test_small_arrays_are_those_of_the_sizes():
    assert small_arrays().sizes == SIZES
