"""Methods without networks: what they generate, from what, and that nothing else matters."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import xdownscale as xd
from records import TESTS, make_blocks, make_pair
from xdownscale.core.errors import DataError, OptionError, XDownscaleWarning
from xdownscale.models.statistical import fair_crps

NAMES = ("dressed", "gaussian", "analogues")
each_method = pytest.mark.parametrize("name", NAMES)
HERE = Path(__file__).parent


def fit(name, coarse, fine, **sections):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)  # short records
        config = xd.preset(name, **sections)
        return coarse.downscale.fit(fine, preset=config, progress=False)


@pytest.fixture(scope="module")
def records():
    return make_pair(80, names=("t", "q"))


@pytest.fixture(scope="module")
def models(records):
    return {name: fit(name, *records) for name in NAMES}


@each_method
def test_everything_works_where_torch_cannot_be_imported(name, tmp_path):
    command = [sys.executable, str(HERE / "without_torch.py"), name, str(tmp_path)]
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@each_method
@settings(max_examples=8, deadline=None)
@given(
    rows=st.lists(st.integers(20, 100), min_size=1, max_size=6, unique=True),
    members=st.integers(1, 4),
    chunk=st.integers(1, 40),
)
def test_chunks_other_times_and_more_members_do_not_change_a_field(
    name, models, records, rows, members, chunk
):
    coarse, _ = records
    model = models[name]
    whole = coarse.downscale.predict(model, time=coarse.time[20:101], realizations=4, seed=3)
    times = coarse.time[np.sort(rows)]
    some = coarse.downscale.predict(model, time=times, realizations=members, seed=3)
    expected = whole.sel(time=times).isel(realization=slice(members))
    np.testing.assert_array_equal(some.t.values, expected.t.values)
    lazy = coarse.chunk(time=chunk).downscale.predict(
        model, time=times, realizations=members, seed=3
    )
    np.testing.assert_array_equal(lazy.q.values, expected.q.values)


@each_method
def test_other_seeds_give_other_members(name, models, records):
    coarse, _ = records
    one, other = (
        coarse.downscale.predict(models[name], time=coarse.time[50:53], seed=seed).t.values
        for seed in (0, 1)
    )
    assert not np.array_equal(one, other)


@each_method
def test_the_mean_is_near_that_of_many_members(name, models, records):
    coarse, _ = records
    times = coarse.time[50:53]
    many = coarse.downscale.predict(models[name], time=times, realizations=200, seed=0).t
    mean = coarse.downscale.predict(models[name].with_sampling(sampler="mean"), time=times).t[0]
    spread = float(many.std("realization").mean())
    assert float(abs(many.mean("realization") - mean).mean()) < 0.15 * spread


@each_method
def test_ensembles_are_calibrated_on_days_that_were_not_fitted_on(name, records):
    coarse, fine = make_pair(260)
    model = fit(name, coarse, fine.t.isel(time=slice(0, 200)), data={"fractions": (1.0, 0.0, 0.0)})
    truth = fine.t.isel(time=slice(200, None))
    maps = coarse.downscale.predict(model, time=truth.time, realizations=20, seed=1)
    ratio = float(xd.skill.spread_skill(maps, truth).spread_skill)
    assert 0.8 < ratio < 1.25
    regridded = coarse.t.downscale.regrid(truth, method="bicubic", extrapolate="nearest")
    plain = regridded.sel(time=truth.time).transpose(*truth.dims)
    score = fair_crps(maps.transpose("realization", *truth.dims).values, truth.values)
    assert score < float(abs(plain - truth).mean())


def test_all_days_but_the_test_part_are_fitted_on(records):
    coarse, fine = records
    model = fit("dressed", coarse, fine)
    group = model.models_["all"]
    fitted = group.split["part"].values != "test"
    kept = group.state["dressing.residuals"]
    assert len(kept) == fitted.sum() > 0.8 * fine.sizes["time"]


def test_targets_of_a_member_come_from_the_same_day(records):
    coarse, fine = make_pair(80)
    both = xr.Dataset({"t": fine.t, "double": 2 * fine.t})
    model = coarse.downscale.fit(
        both, preset=xd.preset("dressed"), drivers={"double": "t"}, progress=False
    )
    times = coarse.time[50:53]
    maps = coarse.downscale.predict(model, time=times, realizations=3, seed=0)
    mean = coarse.downscale.predict(model.with_sampling(sampler="mean"), time=times)
    residual = maps - mean.isel(realization=0)
    assert xr.corr(residual.t, residual.double) > 0.95


@each_method
def test_regions_and_seasons_each_have_their_own_model(name):
    coarse, fine = make_pair(200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)
        model = coarse.downscale.fit(
            fine.t,
            preset=xd.preset(name),
            regions={"west": [0, 5, 0, 12], "east": [5, 10, 0, 12]},
            seasons={"spring": (2, 3, 4), "summer": (5, 6, 7)},
            progress=False,
        )
    assert len(model.models_) == 4
    maps = coarse.downscale.predict(model, time=fine.time[60:70], realizations=2, seed=0)
    assert np.isfinite(maps).all()
    error = float(abs(maps.mean("realization") - fine.t).mean())
    assert error < float(abs(fine.t - fine.t.mean("time")).mean())


@each_method
def test_the_last_time_step_is_generated_and_the_first_has_no_window(name, models, records):
    coarse, _ = records
    maps = coarse.downscale.predict(models[name], seed=0)
    assert maps.time.values[-1] == coarse.time.values[-1]
    assert maps.time.values[0] == coarse.time.values[1]


@each_method
def test_scattered_and_permanent_gaps_of_the_fine_record_are_left_out(name):
    coarse, fine = make_pair(80)
    rng = np.random.default_rng(0)
    holed = fine.t.where(rng.random(fine.t.shape) > 0.2)
    holed[:, :3, :3] = np.nan
    maps = coarse.downscale.predict(
        fit(name, coarse, holed), time=fine.time[30:40], realizations=2, seed=0
    )
    assert maps[..., :3, :3].isnull().all()
    assert np.isfinite(maps[..., 3:, 3:]).all()
    assert float(abs(maps - fine.t).mean()) < 1.5


@each_method
def test_too_few_days_are_refused_with_the_number_that_is_needed(name):
    coarse, fine = make_pair(8)
    with pytest.raises(DataError, match=r"at least 12 time steps.*there are 7"):
        fit(name, coarse, fine.t, data={"fractions": (1.0, 0.0, 0.0)})


@each_method
def test_a_constant_record_is_refused_and_constant_cells_stay_nearly_so(name):
    coarse, fine = make_pair(60)
    with pytest.raises(DataError, match="without spread"):
        fit(name, coarse, xr.full_like(fine.t, 2.0))
    partly = fine.t.where(fine.lat > 4, 2.0)
    options = {"kind": "field"} if name == "analogues" else {"mean": "ridge"}
    maps = coarse.downscale.predict(fit(name, coarse, partly, options=options), seed=0)
    assert float(abs(maps.sel(lat=slice(0, 2)) - 2).mean()) < 0.05


def test_options_are_checked():
    for method, options, said in (
        ("dressed", {"mean": "forest"}, "'forest'"),
        ("dressed", {"neighbours": 0}, "neighbours"),
        ("gaussian", {"mean": "forest"}, "'forest'"),
        ("analogues", {"kind": "days"}, "'days'"),
        ("analogues", {"components": -1}, "components"),
        ("analogues", {"mean": "ridge"}, "mean"),
    ):
        with pytest.raises(OptionError, match=said):
            xd.preset(method, options=options)
    with pytest.raises(OptionError, match=r"does not use network\.channels"):
        xd.preset("dressed", network={"channels": (8,)})


@pytest.mark.parametrize("mean", ["driver", "bias", "quantile_mapping", "ridge"])
def test_the_point_estimate_that_is_asked_for_is_fitted(mean, records):
    coarse, fine = records
    model = fit("dressed", coarse, fine, options={"mean": mean, "neighbours": 5})
    assert f"mean by {mean} (held-out RMSE: {mean} " in repr(model)
    assert "residuals of 5 of" in repr(model)


def test_check_looks_at_test_days_alone(records):
    coarse, fine = make_pair(80)
    model = fit("dressed", coarse, fine.t, data={"fractions": (0.9, 0.1, 0.0)})
    with pytest.raises(DataError, match="fewer than two test days"):
        model.check(coarse, fine.t)


def test_each_part_of_a_large_domain_is_predicted_from_the_coarse_cells_around_it():
    """Places that count from -1 to 1 were taken for rows and columns: all cells saw one corner."""
    coarse, fine = make_blocks(106, 17, slice(2, 92))  # 289 coarse cells: in tiles
    noise = coarse.copy(data=np.random.default_rng(9).normal(size=coarse.shape))
    drivers = xr.Dataset({"t": noise, "helpful": coarse})
    config = xd.preset("dressed", options={"mean": "ridge"}, data={"window": 0})
    model = drivers.downscale.fit(fine, preset=config, pairing="paired", progress=False)
    later = coarse.time[92:]
    mean = drivers.downscale.predict(model.with_sampling(sampler="mean"), time=later)
    mean = mean.isel(realization=0)
    own = coarse.sel(time=later).values.repeat(4, 1).repeat(4, 2)
    error = (mean.transpose("time", "lat", "lon").values - own).std()

    assert error < 0.9 * own.std()


def rainy(days=160, seed=0):
    """Return a driver and rain, dry on two thirds of all cells, zero exactly."""
    coarse, fine = make_pair(days, seed=seed)
    latent = fine.t - fine.t.mean()
    rain = 8 * (latent / latent.std() - 0.4).clip(min=0) ** 2
    driver = coarse.t - coarse.t.mean()
    wet = (8 * (driver / driver.std()).clip(min=0) ** 2).rename("rain").assign_attrs(units="mm")
    return wet, rain.rename("rain").assign_attrs(units="mm")


@pytest.fixture(scope="module")
def rain():
    return rainy()


@pytest.fixture(scope="module")
def rain_models(rain):
    return {name: fit(name, rain[0], rain[1], data={"transform": "sqrt"}) for name in NAMES}


@each_method
def test_rain_is_exactly_zero_as_often_as_it_was(name, rain, rain_models, tmp_path):
    coarse, fine = rain
    model = rain_models[name]
    times = fine.time[20:150]
    maps = coarse.downscale.predict(model, time=times, realizations=8, seed=2)
    truth = fine.sel(time=times)
    scaling = model.models_["all"].scaling
    assert float(maps.min()) == 0
    assert not bool(((maps > 0) & (maps < scaling.threshold)).any())
    assert float(maps.max()) <= scaling.cap
    assert float((maps > 0).mean() / (truth > 0).mean()) == pytest.approx(1, abs=0.1)
    small = [((field > 0) & (field < 1)).mean() for field in (maps, truth)]
    assert float(small[0] / small[1]) == pytest.approx(1, abs=0.25)
    assert f"values below {scaling.threshold:.3g} are 0, at most" in repr(model)
    model.save(tmp_path / "rain.xd")
    loaded = coarse.downscale.predict(
        xd.load(tmp_path / "rain.xd"), time=times, realizations=8, seed=2
    )
    np.testing.assert_array_equal(loaded.values, maps.values)


@each_method
def test_chunks_and_other_times_do_not_change_rain(name, rain, rain_models, tmp_path):
    coarse, fine = rain
    model = rain_models[name]
    whole = coarse.downscale.predict(model, time=fine.time[20:60], realizations=3, seed=3)
    some = coarse.downscale.predict(model, time=fine.time[31:34], realizations=2, seed=3)
    expected = whole.isel(time=slice(11, 14), realization=slice(2))
    np.testing.assert_array_equal(some.values, expected.values)
    lazy = coarse.chunk(time=7).downscale.predict(
        model, time=fine.time[20:60], realizations=3, seed=3
    )
    np.testing.assert_array_equal(lazy.values, whole.values)
    path = tmp_path / "rain.zarr"
    times = fine.time[20:60]
    xd.predict_to_zarr(model, coarse, path, time=times, realizations=3, seed=3, progress=False)
    stored = xr.open_zarr(path, consolidated=False)["rain"].transpose(*whole.dims)
    np.testing.assert_array_equal(stored.values, whole.values)


@each_method
def test_zeros_with_rounding_errors_are_zeros(name, rain):
    coarse, fine = rain
    noisy = fine.where(fine > 0, -2e-16)
    found = fit(name, coarse, noisy, data={"transform": "sqrt"})
    expected = fit(name, coarse, fine, data={"transform": "sqrt"})
    assert found.models_["all"].scaling == expected.models_["all"].scaling


@pytest.mark.parametrize("name", ["dressed", "gaussian"])
def test_latent_values_are_an_option(name, rain):
    coarse, fine = rain
    model = fit(name, coarse, fine, data={"transform": "sqrt"}, options={"latent": True})
    assert "of latent values" in repr(model)
    maps = coarse.downscale.predict(model, time=fine.time[20:150], realizations=4, seed=2)
    truth = fine.isel(time=slice(20, 150))
    assert float((maps > 0).mean() / (truth > 0).mean()) == pytest.approx(1, abs=0.1)
    with pytest.raises(OptionError, match="latent is 'yes'"):
        xd.preset(name, options={"latent": "yes"})


@each_method
def test_a_dry_record_is_refused(name, rain):
    coarse, fine = rain
    with pytest.raises(DataError, match="does not change"):
        fit(name, coarse, 0 * fine)


@each_method
def test_regions_of_rain_are_blended_into_zeros(name):
    coarse, fine = rainy(200)
    model = coarse.downscale.fit(
        fine,
        preset=xd.preset(name),
        transform="sqrt",
        regions={"west": [0, 5, 0, 12], "east": [5, 10, 0, 12]},
        progress=False,
    )
    maps = coarse.downscale.predict(model, time=fine.time[60:90], realizations=2, seed=0)
    least = min(group.scaling.threshold for group in model.models_.values())
    assert not bool(((maps > 0) & (maps < least)).any())
    assert float((maps == 0).mean()) == pytest.approx(float((fine == 0).mean()), abs=0.1)
