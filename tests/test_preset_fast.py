"""Preset `fast`, labelled: what comes out depends on nothing but what it should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import xdownscale as xd
from records import fast_config, fitted_of, make_pair
from xdownscale.core.errors import (
    DataError,
    ModelMismatchError,
    OptionError,
    TimeAxisError,
    XDownscaleWarning,
)


@pytest.fixture(scope="module")
def pair():
    coarse, fine = make_pair()
    return coarse.t, fine.t


@pytest.fixture(scope="module")
def model(pair):
    return pair[0].downscale.fit(pair[1], preset=fast_config(), progress=False)


def test_maps_are_labelled_as_the_fine_record(pair, model):
    coarse, fine = pair
    days = model.days("test")
    maps = coarse.downscale.predict(model, time=days, realizations=3, seed=1)
    assert maps.dims == ("realization", "time", "lat", "lon")
    assert maps.name == "t"
    assert maps.attrs["units"] == "K"
    assert "parallel prediction, seed 1" in maps.attrs["history"]
    np.testing.assert_array_equal(maps.lat, fine.lat)
    assert np.isfinite(maps).all()
    turned = coarse.isel(lat=slice(None, None, -1)).transpose("lon", "time", "lat").chunk(time=7)
    again = turned.downscale.predict(model, time=days, realizations=3, seed=1)
    np.testing.assert_allclose(again, maps, atol=1e-4)


def test_any_slice_in_any_order_gives_the_same_fields(pair, model):
    coarse, _ = pair
    whole = coarse.downscale.predict(model, realizations=2, seed=5)
    few = whole.time[[3, 11, 12, 30]]
    part = coarse.downscale.predict(model, time=few, realizations=2, seed=5)
    np.testing.assert_allclose(part, whole.sel(time=few), atol=1e-4)
    shorter = coarse.isel(time=slice(5, 25)).downscale.predict(model, time=few[1:2], seed=5)
    np.testing.assert_allclose(shorter[0], whole.sel(time=few[1:2])[0], atol=1e-4)
    other = coarse.downscale.predict(model, time=few, realizations=2, seed=6)
    assert not np.allclose(other, part)


def test_saved_models_draw_the_same(pair, model, tmp_path):
    coarse, _ = pair
    model.save(tmp_path / "m.xd")
    again = xd.load(tmp_path / "m.xd")
    days = model.days("test")
    ours, theirs = (coarse.downscale.predict(m, time=days, seed=2) for m in (model, again))
    xr.testing.assert_identical(ours, theirs)
    assert repr(again) == repr(model)


def test_the_same_seed_learns_the_same(pair, model):
    again = pair[0].downscale.fit(pair[1], preset=fast_config(), progress=False)
    for name, weights in model.models_["all"].state.items():
        np.testing.assert_array_equal(again.models_["all"].state[name], weights)


@pytest.mark.parametrize("method", ["crps", "unet"])
def test_other_methods(method, pair):
    coarse, fine = pair
    model = coarse.downscale.fit(fine, preset=fast_config(method=method), progress=False)
    days = model.days("test")
    maps = coarse.downscale.predict(model, time=days, realizations=1 if method == "unet" else 2)
    assert np.isfinite(maps).all()
    if method == "unet":
        with pytest.raises(OptionError, match="realizations is 2, but this model gives the cond"):
            coarse.downscale.predict(model, realizations=2)
    else:
        assert (maps.std("realization") > 0).all()


def test_the_mean_alone(pair, model):
    coarse, _ = pair
    mean = coarse.downscale.predict(model.with_sampling(sampler="mean"), time=model.days("test"))
    drawn = coarse.downscale.predict(model, time=model.days("test"), realizations=24)
    apart = drawn.mean("realization") - mean.isel(realization=0)
    assert abs(apart).mean() < 0.5 * drawn.std("realization").mean()


def test_stitching(pair, model):
    coarse, _ = pair
    other = model.with_sampling(size=16, stride=4, halo=4, steps=2)
    whole, patches, fused = (
        coarse.downscale.predict(other, time=model.days("test")[:1], stitching=s)
        for s in ("whole", "patches", "multidiffusion")
    )
    for pieces in (patches, fused):
        assert np.corrcoef(pieces.values.ravel(), whole.values.ravel())[0, 1] > 0.9
        assert not np.array_equal(pieces, whole)


def test_a_window_that_leaves_the_record(pair, model):
    """Refused where networks were not trained with missing ends, as those of older files."""
    coarse, _ = pair
    refusing = model.with_sampling()
    fitted = fitted_of(refusing)
    config = fitted.config.override(data={"missing_ends": 0.0})
    refusing._fitted = replace(fitted, config=config)
    with pytest.raises(TimeAxisError, match=r"1 of the days asked for, the first 2000-01-02"):
        coarse.downscale.predict(refusing, time="2000-01-02")
    with pytest.raises(TimeAxisError, match="No day can be generated"):
        coarse.isel(time=slice(4)).downscale.predict(refusing)
    every = coarse.downscale.predict(refusing)
    assert every.sizes["time"] == coarse.sizes["time"] - 3 - 2


def test_modes_and_counts_that_do_not_suit(pair, model):
    coarse, _ = pair
    with pytest.raises(OptionError, match="knows no mode 'teacher_forced'"):
        coarse.downscale.predict(model, mode="teacher_forced")
    with pytest.raises(OptionError, match="realizations is 0"):
        coarse.downscale.predict(model, realizations=0)
    # before anything is drawn, lazily or not
    with pytest.raises(OptionError, match="tile is 16, less than twice the halo of"):
        coarse.chunk(time=10).downscale.predict(model.with_sampling(tile=16))
    odd = model.with_sampling(size=18)
    with pytest.raises(OptionError, match="size is 18, and the network halves its patches"):
        coarse.chunk(time=10).downscale.predict(odd, stitching="patches")


def test_a_coarse_gap_is_stood_in_for(pair, model):
    coarse, _ = pair
    days = model.days("test")
    holed = coarse.where(coarse.time != days[2])
    with pytest.warns(XDownscaleWarning, match="1 of"):
        maps = holed.downscale.predict(model, time=days)
    assert np.isnan(maps.isel(time=2)).all()
    assert np.isfinite(maps.isel(time=3)).all()


# days drawn one after another


@pytest.fixture(scope="module")
def chained(pair):
    return pair[0].downscale.fit(pair[1], preset=fast_config(data={"fine_lags": 2}), progress=False)


def test_a_model_of_fine_lags_runs_on_its_own(pair, chained):
    coarse, _ = pair
    days = coarse.time[105:108]  # behind the fine record, which ends with day 99
    maps = coarse.downscale.predict(chained, time=days, realizations=2, seed=3)
    assert np.isfinite(maps).all()
    assert (maps.std("realization") > 0).all()
    longer = coarse.downscale.predict(chained, time=coarse.time[100:108], realizations=2, seed=3)
    np.testing.assert_allclose(maps, longer.sel(time=days), atol=1e-5)
    alone = coarse.downscale.predict(chained, time=days, seed=3)
    np.testing.assert_allclose(alone[0], maps[0], atol=1e-4)


def test_a_run_goes_on_from_its_own_last_days(pair, chained):
    coarse, _ = pair
    whole = coarse.downscale.predict(chained, time=coarse.time[100:108], seed=3)
    past = whole[0].isel(time=slice(0, 4))
    rest = coarse.downscale.predict(chained, time=coarse.time[104:108], history=past, seed=3)
    np.testing.assert_allclose(rest, whole.isel(time=slice(4, None)), atol=1e-5)


def test_true_lags_make_better_days(pair, chained, tmp_path):
    coarse, fine = pair
    days = chained.days("test")
    forced = coarse.downscale.predict(chained, time=days, mode="teacher_forced", history=fine)
    assert np.isfinite(forced).all()
    chained.save(tmp_path / "c.xd")
    again = coarse.downscale.predict(
        xd.load(tmp_path / "c.xd"), time=days, mode="teacher_forced", history=fine
    )
    xr.testing.assert_identical(again, forced)


def test_what_fine_lags_cannot_do(pair, chained, several):
    coarse, _ = pair
    with pytest.raises(OptionError, match="sees 2 fine lags, and knows no mode 'parallel'"):
        coarse.downscale.predict(chained, mode="parallel")
    with pytest.raises(OptionError, match="fine_lags is 4 and lags 3"):
        fast_config(data={"fine_lags": 4})
    with pytest.raises(OptionError, match="there are 2 fine variables"):
        several[0].downscale.fit(several[1], preset=fast_config(data={"fine_lags": 1}))
    with pytest.warns(XDownscaleWarning, match="start cold"):
        coarse.downscale.predict(chained, time=coarse.time[5:7])


def test_a_run_that_leaves_the_coarse_record_is_stopped(pair, chained):
    from xdownscale.core.errors import DriftError

    coarse, _ = pair
    state = chained.models_["all"].state
    kept = state["drift.level"].copy()
    state["drift.level"] = kept + 100 * state["drift.spread"]
    try:
        with pytest.raises(DriftError, match="has drifted away from the coarse record"):
            coarse.downscale.predict(chained, time=coarse.time[100:108])
    finally:
        state["drift.level"] = kept


# several variables


@pytest.fixture(scope="module")
def several():
    coarse, fine = make_pair(names=("u", "v"))
    return coarse.assign(w=3 * coarse.u.rename("w") + 7), fine


@pytest.fixture(scope="module")
def winds(several):
    coarse, fine = several
    return coarse.downscale.fit(fine, preset=fast_config(), progress=False)


def test_several_targets_come_as_a_dataset(several, winds):
    coarse, fine = several
    days = winds.days("test")
    maps = coarse.downscale.predict(winds, time=days, realizations=2)
    mean = coarse.downscale.predict(winds.with_sampling(sampler="mean"), time=days)
    assert list(maps.data_vars) == ["u", "v"]
    assert maps.u.dims == ("realization", "time", "lat", "lon")
    for name in maps:
        found, true = mean[name][0], fine[name].sel(time=days)
        assert np.isfinite(maps[name]).all()
        assert np.corrcoef(found.values.ravel(), true.values.ravel())[0, 1] > 0.7
    assert "u [K], v [K]" in repr(winds)
    assert "u, v, w" in repr(winds)


def test_the_order_of_drivers_does_not_matter(several, winds):
    coarse, _ = several
    days = winds.days("test")[:2]
    turned = coarse[["w", "v", "u"]].downscale.predict(winds, time=days)
    xr.testing.assert_identical(turned, coarse.downscale.predict(winds, time=days))


def test_drivers_that_are_missing_at_prediction(several, winds, tmp_path):
    coarse, _ = several
    with pytest.raises(ModelMismatchError, match="lacks 'w', which the model was fitted with"):
        coarse[["u", "v"]].downscale.predict(winds)
    winds.save(tmp_path / "w.xd")
    days = winds.days("test")[:1]
    again = coarse.downscale.predict(xd.load(tmp_path / "w.xd"), time=days)
    xr.testing.assert_identical(again, coarse.downscale.predict(winds, time=days))


def test_whose_driver_is_whose(several):
    coarse, fine = several
    with pytest.raises(DataError, match=r"not clear which coarse variable is 'a'.*drivers=\{'a'"):
        coarse.downscale.fit(fine.u.rename("a"), preset=fast_config())
    with pytest.raises(DataError, match="drivers= names 'x', which is no coarse variable"):
        coarse.downscale.fit(fine.u.rename("a"), preset=fast_config(), drivers={"a": "x"})
    model = coarse.downscale.fit(
        fine.u.rename("a"), preset=fast_config(), drivers={"a": "u"}, progress=False
    )
    maps = coarse.downscale.predict(model, time=model.days("test")[:1])
    assert maps.name == "a"
    with pytest.raises(OptionError, match="learns one fine variable from the same coarse one"):
        coarse.downscale.fit(fine, preset="paper")


def test_a_target_without_a_driver_of_its_own(several):
    coarse, fine = several
    model = coarse[["u", "v"]].downscale.fit(
        fine.u.rename("a"), preset=fast_config(), drivers={"a": None}, progress=False
    )
    maps = coarse[["u", "v"]].downscale.predict(model, time=model.days("test"))
    assert np.isfinite(maps).all()
    assert "not tested: the first target has no coarse variable" in repr(model)


def test_each_variable_has_its_transform(several):
    coarse, fine = several
    positive = np.exp(fine.u / 3).rename("p").assign_attrs(units="mm")
    both = xr.Dataset({"u": fine.u, "p": positive})
    drivers = coarse[["u"]].assign(p=np.exp(coarse.u / 3).assign_attrs(units="mm"))
    model = drivers.downscale.fit(
        both, preset=fast_config(), transform={"p": "log10", "u": "identity"}, progress=False
    )
    assert [s.transform for s in model.models_["all"].scalings] == ["identity", "log10"]
    maps = drivers.downscale.predict(model, time=model.days("test"))
    assert (maps.p > 0).all()
    with pytest.raises(OptionError, match=r"transform.*'logg'"):
        drivers.downscale.fit(both, preset=fast_config(), transform={"p": "logg"})


# records that do not show the same days


@pytest.fixture(scope="module")
def foreign():
    """A long coarse record of another climate and another weather than the fine one's."""
    coarse, _ = make_pair(days=200, seed=3)
    _, fine = make_pair(days=170, seed=9)
    moved = (1.7 * coarse.t + 4).rename("t").assign_attrs(units="K")
    return moved.pad(lat=1, lon=1, mode="edge").assign_coords(
        lat=np.arange(-1.0, 14, 2), lon=np.arange(-1.0, 12, 2)
    ), fine.t


def test_unpaired_records_are_found_out_and_learnt_from_themselves(foreign):
    coarse, fine = foreign
    with pytest.warns(XDownscaleWarning, match="The days are not paired.*pairing='self'"):
        model = coarse.downscale.fit(fine, preset=fast_config(), progress=False)
    assert "self (The days are not paired" in repr(model)
    maps = coarse.downscale.predict(model, realizations=2)
    assert maps.sizes["time"] == coarse.sizes["time"]
    assert maps.mean() == pytest.approx(fine.mean().item(), abs=0.3 * fine.std().item())
    assert maps.std() == pytest.approx(fine.std().item(), rel=0.3)


def test_what_is_learnt_from_itself_survives_saving(foreign, tmp_path):
    coarse, fine = foreign
    model = coarse.downscale.fit(fine, preset=fast_config(), pairing="self", progress=False)
    model.save(tmp_path / "s.xd")
    days = coarse.time[20:22]
    ours, theirs = (
        coarse.downscale.predict(m, time=days) for m in (model, xd.load(tmp_path / "s.xd"))
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_the_paper_preset_learns_from_averages_too(foreign):
    coarse, fine = foreign
    paper = xd.preset(
        "paper",
        data={"patch_size": 8, "lags": 2},
        network={"channels": (8, 8), "encoder_channels": (8, 8)},
        training={"epochs": 1, "pretrain_epochs": 1},
        sampling={"steps": 2, "size": 8, "stride": 4},
    )
    model = coarse.downscale.fit(fine, preset=paper, pairing="self", progress=False)
    with (
        pytest.warns(XDownscaleWarning, match="start cold"),
        pytest.warns(XDownscaleWarning, match="outside the training period"),
    ):
        maps = coarse.downscale.predict(model, time=coarse.time[20:22])
    assert np.isfinite(maps).all()


def test_what_pairing_cannot_do(foreign, several):
    coarse, fine = foreign
    with pytest.raises(OptionError, match="pairing"):
        coarse.downscale.fit(fine, preset=fast_config(), pairing="pared")
    with pytest.raises(DataError, match="'w' is no target's own"):
        several[0].downscale.fit(several[1], preset=fast_config(), pairing="self")
    consistent = fast_config(sampling={"constraint": "additive"})
    with pytest.raises(OptionError, match="consistent with the coarse field of the same day"):
        coarse.downscale.fit(fine, preset=consistent, pairing="self")
    model = coarse.downscale.fit(fine, preset=fast_config(), pairing="self", progress=False)
    with pytest.raises(OptionError, match="fitted with pairing='self'"):
        coarse.downscale.predict(model.with_sampling(constraint="softmax"))


# constraints


@pytest.mark.parametrize("kind", ["additive", "multiplicative", "softmax"])
def test_means_over_coarse_cells_are_those_of_the_coarse_field(kind, pair, model):
    coarse, _ = pair
    days = model.days("test")[:3]
    if kind == "additive":
        maps = coarse.downscale.predict(model.with_sampling(constraint=kind), time=days)
        averaged = xd.regrid(maps, coarse, method="conservative")
        np.testing.assert_allclose(averaged[0], coarse.sel(time=days), atol=1e-3)
    else:
        with pytest.raises(DataError, match="needs coarse values of 0 or more"):
            coarse.downscale.predict(model.with_sampling(constraint=kind), time=days)


def test_nonnegative(pair, model):
    coarse, _ = pair
    maps = coarse.downscale.predict(model.with_sampling(constraint="nonnegative"))
    assert maps.min() == 0


# groups


def test_seasons_and_regions(pair):
    coarse, fine = pair
    regions = {"west": (0, 5, 0, 12), "east": (4.9, 10, 0, 12)}
    model = coarse.downscale.fit(fine, preset=fast_config(), regions=regions, progress=False)
    maps = coarse.downscale.predict(model, time=model.days("test", "west")[:2], realizations=2)
    assert np.isfinite(maps).all()
