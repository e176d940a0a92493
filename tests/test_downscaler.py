"""The main job: fit, predict, save, load."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import xarray as xr

import xdownscale as xd
from xdownscale.core.errors import (
    DataError,
    GridError,
    ModelFormatError,
    ModelMismatchError,
    NotFittedError,
    OptionError,
    StorageError,
    TimeAxisError,
    XDownscaleWarning,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*lie outside the training period")


def forced(model, coarse, fine, days, **options):
    """Teacher-forced prediction of some days."""
    return coarse.downscale.predict(
        model, time=days, mode="teacher_forced", history=fine, **options
    )


class TestLabels:
    def test_prediction_has_the_fine_records_labels(self, model, coarse, fine):
        days = fine.time[30:33]
        maps = forced(model, coarse, fine, days, realizations=2)
        assert maps.dims == ("realization", "time", "lat", "lon")
        xr.testing.assert_equal(maps.lat, fine.lat)
        assert maps.lat.attrs == fine.lat.attrs | {"axis": "Y"}
        xr.testing.assert_equal(maps.lon, fine.lon)
        np.testing.assert_array_equal(maps.time, days)
        assert maps.dtype == np.float32
        assert maps.attrs["units"] == "1"
        assert "seed 0" in maps.attrs["history"]
        assert maps.name == "dust"
        assert np.isfinite(maps).all()
        assert (maps > 0).all()

    def test_any_names_order_and_orientation(self, model, coarse, fine, tiny_config):
        days = fine.time[30:32]
        plain = forced(model, coarse, fine, days)
        other = fine.isel(lat=slice(None, None, -1)).transpose("lon", "time", "lat")
        other = other.rename(lat="latitude", lon="longitude", time="valid_time")
        turned = coarse.assign_coords(lon=coarse.lon - 360).transpose("lat", "lon", "time")
        again = turned.downscale.fit(other, preset=tiny_config, progress=False)
        maps = forced(again, turned, other, days)
        assert maps.dims == ("realization", "longitude", "valid_time", "latitude")
        back = maps.rename(latitude="lat", longitude="lon", valid_time="time")
        back = back.transpose(*plain.dims).sel(lat=plain.lat)
        np.testing.assert_allclose(back, plain, rtol=2e-4)

    def test_cftime_calendar(self, coarse, fine, tiny_config):
        coarse, fine = (
            r.convert_calendar("noleap", use_cftime=True, align_on="date") for r in (coarse, fine)
        )
        model = coarse.downscale.fit(fine, preset=tiny_config, progress=False)
        maps = forced(model, coarse, fine, fine.time[30:32])
        np.testing.assert_array_equal(maps.time, fine.time[30:32])

    def test_inputs_stay_as_they_were(self, coarse, fine, tiny_config):
        before = coarse.copy(deep=True), fine.copy(deep=True)
        model = coarse.downscale.fit(fine, preset=tiny_config, progress=False)
        forced(model, coarse, fine, fine.time[30:31])
        xr.testing.assert_identical(coarse, before[0])
        xr.testing.assert_identical(fine, before[1])

    def test_dask_gives_the_same_model(self, model, coarse, fine, tiny_config):
        lazy = coarse.chunk(time=7).downscale.fit(
            fine.chunk(time=9, lat=5), preset=tiny_config, progress=False
        )
        for name, weights in model.models_["all"].state.items():
            np.testing.assert_array_equal(lazy.models_["all"].state[name], weights)

    def test_reading_day_by_day_gives_the_same_model(self, model, coarse, fine, tiny_config):
        small = tiny_config.replace(data={"memory_limit": 1e-6})
        again = coarse.chunk(time=7).downscale.fit(fine.chunk(time=9), preset=small, progress=False)
        for name, weights in model.models_["all"].state.items():
            np.testing.assert_allclose(
                again.models_["all"].state[name], weights, atol=1e-5, err_msg=name
            )


class TestReproducibility:
    def test_field_depends_on_seed_realization_and_day_alone(self, model, coarse, fine):
        days = fine.time[30:36]
        all_at_once = forced(model, coarse, fine, days, realizations=3, seed=5)
        alone = forced(model, coarse, fine, days[4:5], realizations=2, seed=5)
        np.testing.assert_allclose(alone, all_at_once.isel(realization=[0, 1], time=[4]), rtol=1e-4)
        other = forced(model, coarse, fine, days[4:5], realizations=2, seed=6)
        assert not np.allclose(other, alone, rtol=1e-4)
        assert not np.allclose(alone[0], alone[1], rtol=1e-4)

    def test_same_seed_same_weights(self, model, coarse, fine, tiny_config):
        again = coarse.downscale.fit(fine, preset=tiny_config, progress=False)
        for name, weights in model.models_["all"].state.items():
            np.testing.assert_array_equal(again.models_["all"].state[name], weights)


class TestModes:
    def test_autoregressive_starts_after_the_carried_fields(self, model, coarse, fine):
        end = int(np.flatnonzero(coarse.time == fine.time[-1])[0])
        maps = coarse.downscale.predict(model, time=coarse.time[end + 1 : end + 5])
        assert np.isfinite(maps).all()
        day_by_day = coarse.downscale.predict(model, time=coarse.time[end + 4])
        np.testing.assert_allclose(day_by_day, maps.isel(time=[3]), rtol=1e-4)

    def test_first_free_day_equals_the_forced_one(self, model, coarse, fine):
        day = fine.time[40:41]
        free = coarse.downscale.predict(model, time=day, history=fine.isel(time=slice(0, 40)))
        np.testing.assert_allclose(free, forced(model, coarse, fine, day), rtol=1e-4)

    def test_second_free_day_sees_the_first(self, model, coarse, fine):
        days = fine.time[40:42]
        past = fine.isel(time=slice(0, 40))
        free = coarse.downscale.predict(model, time=days, history=past)
        stitched = xr.concat([past, free.isel(realization=0, time=[0])], "time", join="override")
        by_hand = forced(model, coarse, stitched, days[1:])
        np.testing.assert_allclose(free.isel(time=[1]), by_hand, rtol=1e-4)

    def test_cold_start_warns(self, model, coarse):
        with pytest.warns(XDownscaleWarning, match="start cold"):
            maps = coarse.downscale.predict(model, time=coarse.time[5:7])
        assert np.isfinite(maps).all()

    def test_all_days_by_default(self, model, coarse, fine):
        with pytest.warns(XDownscaleWarning, match="1 of 1 runs start cold"):
            maps = coarse.downscale.predict(model)
        assert maps.sizes["time"] == coarse.sizes["time"] - 2
        with pytest.warns(XDownscaleWarning, match="outside the training period"):
            forced_maps = coarse.downscale.predict(model, mode="teacher_forced", history=fine)
        assert forced_maps.sizes["time"] == fine.sizes["time"] - 2 + 1

    def test_whole_image_in_one_piece(self, model, coarse, fine):
        days = fine.time[30:32]
        whole = forced(model, coarse, fine, days, stitching="whole")
        patches = forced(model, coarse, fine, days)
        ratio = np.log(whole / patches)
        assert float(abs(ratio).max()) > 1e-6
        assert float(ratio.std()) < float(np.log(patches).std())


class TestGroups:
    def test_one_model_for_each_season_and_region(self, coarse, fine, tiny_config):
        regions = {"west": (40, 45, 10, 18), "east": (45.01, 50, 10, 18)}
        model = coarse.downscale.fit(
            fine, preset=tiny_config, seasons=("DJF", "MAM"), regions=regions, progress=False
        )
        assert set(model.models_) == {"DJF.west", "DJF.east", "MAM.west", "MAM.east"}
        days = fine.time[[10, 60]]
        maps = forced(model, coarse, fine, days)
        assert np.isfinite(maps).all()
        assert set(np.unique(model.days("test", "DJF.west").dt.month)) <= {1, 2}

    def test_cells_outside_every_region_are_nan(self, coarse, fine, tiny_config):
        model = coarse.downscale.fit(
            fine, preset=tiny_config, regions={"west": (40, 45, 10, 18)}, progress=False
        )
        maps = forced(model, coarse, fine, fine.time[30:31])
        assert np.isnan(maps.sel(lon=slice(45, 50))).all()
        assert np.isfinite(maps.sel(lon=slice(40, 45))).all()

    def test_day_of_a_foreign_season(self, coarse, fine, tiny_config):
        model = coarse.downscale.fit(fine, preset=tiny_config, seasons=["DJF"], progress=False)
        with pytest.raises(TimeAxisError, match="belong to no season of this model"):
            coarse.downscale.predict(model, time=["2000-04-01"])

    def test_more_lags_than_context(self, coarse, fine, tiny_config):
        config = tiny_config.replace(data={"buffer_days": 1})
        with pytest.raises(OptionError, match="context before a season"):
            coarse.downscale.fit(fine, preset=config, seasons=["DJF"])


class TestGaps:
    def test_mask_and_scattered_gaps(self, coarse, fine, tiny_config):
        holed = fine.where(~((fine.lat > 16) & (fine.lon > 47)))
        holed[5, 2, 3] = np.nan
        model = coarse.downscale.fit(holed, preset=tiny_config, progress=False)
        maps = forced(model, coarse, holed, fine.time[30:31])
        expected = np.isnan(holed).all("time")
        np.testing.assert_array_equal(np.isnan(maps[0, 0]), expected)

    def test_days_without_driver_come_out_nan(self, model, coarse, fine):
        holed = coarse.copy()
        row = int(np.flatnonzero(coarse.time == fine.time[31])[0])
        holed[row] = np.nan
        with pytest.warns(XDownscaleWarning, match="1 of 3 days come out NaN"):
            maps = forced(model, holed, fine, fine.time[30:33])
        np.testing.assert_array_equal(np.isnan(maps).all(["lat", "lon"])[0], [False, True, False])

    def test_day_without_driver_is_stood_in_for_as_a_lag(self, model, coarse, fine):
        end = int(np.flatnonzero(coarse.time == fine.time[-1])[0])
        days = coarse.time[end + 1 : end + 6]
        holed, repeated = coarse.copy(), coarse.copy()
        holed[end + 2] = np.nan
        repeated[end + 2] = coarse[end + 1]
        with pytest.warns(XDownscaleWarning, match="1 of 5 days come out NaN"):
            maps = holed.downscale.predict(model, time=days)
        expected = repeated.downscale.predict(model, time=days)
        kept = [0, 2, 3, 4]
        np.testing.assert_allclose(maps[:, kept], expected[:, kept], rtol=1e-4)
        assert np.isnan(maps[:, 1]).all()

    def test_long_gap_in_the_driver_breaks_the_run(self, model, coarse, fine):
        end = int(np.flatnonzero(coarse.time == fine.time[-1])[0])
        holed = coarse.copy()
        holed[end + 2 : end + 6] = np.nan
        with (
            pytest.warns(XDownscaleWarning, match="6 of 9 days come out NaN"),
            pytest.warns(XDownscaleWarning, match="1 of 2 runs start cold"),
        ):
            maps = holed.downscale.predict(model, time=coarse.time[end + 1 : end + 10])
        blank = np.isnan(maps).all(["lat", "lon"])[0].values
        np.testing.assert_array_equal(np.flatnonzero(blank), [1, 2, 3, 4, 5, 6])

    def test_coarse_sea_does_not_count_as_missing(self, coarse, fine, tiny_config):
        land = coarse.where(coarse.lon < 47)
        model = land.downscale.fit(fine, preset=tiny_config, progress=False)
        assert np.isfinite(forced(model, land, fine, fine.time[30:31])).all()

    def test_small_gap_is_filled_for_the_input(self, model, coarse, fine):
        holed = coarse.copy()
        holed[:, 3, 3] = np.nan
        maps = forced(model, holed, fine, fine.time[30:31])
        assert np.isfinite(maps).all()

    def test_all_nan_fine_days_are_left_out(self, coarse, fine, tiny_config):
        holed = fine.copy()
        holed[10] = np.nan
        with pytest.warns(XDownscaleWarning, match="1 of 80 days are left out"):
            model = coarse.downscale.fit(holed, preset=tiny_config, progress=False)
        used = model.split_["time"].values
        assert not set(holed.time.values[10:13]) & set(used)


class TestHistory:
    """What true lags are read from is checked like everything else."""

    def test_units(self, model, coarse, fine):
        with pytest.raises(ModelMismatchError, match="history is in 'K'"):
            forced(model, coarse, fine.assign_attrs(units="K"), fine.time[30:31])

    def test_values(self, model, coarse, fine):
        with pytest.raises(ModelMismatchError, match="history has the median"):
            forced(model, coarse, fine + 273, fine.time[30:31])

    def test_a_drawn_ensemble_is_no_history(self, model, coarse, fine):
        drawn = forced(model, coarse, fine, fine.time[30:36])
        with pytest.raises(GridError, match="extra dimensions"):
            forced(model, coarse, drawn, fine.time[33:34])
        one = drawn.isel(realization=0, drop=True)
        assert np.isfinite(forced(model, coarse, one, fine.time[33:34])).all()

    def test_empty_days_are_not_known(self, model, coarse, fine):
        holed = fine.copy()
        holed[29] = np.nan
        with pytest.raises(TimeAxisError, match="lacks some for 1 of the days"):
            forced(model, coarse, holed, fine.time[30:31])

    def test_other_longitude_convention(self, model, coarse, fine):
        turned = fine.assign_coords(lon=fine.lon + 360)
        days = fine.time[30:31]
        xr.testing.assert_allclose(
            forced(model, coarse, turned, days), forced(model, coarse, fine, days)
        )


class TestGreenwich:
    def test_wrapped_longitudes_give_the_same_fields(self, coarse, fine, tiny_config):
        plain, wrapped = (
            [r.assign_coords(lon=turn(r.lon - 45)) for r in (coarse, fine)]
            for turn in (lambda lon: lon, lambda lon: lon % 360)
        )
        fields = []
        for pair in (plain, wrapped):
            model = pair[0].downscale.fit(pair[1], preset=tiny_config, progress=False)
            fields.append(forced(model, *pair, fine.time[30:31]))
        np.testing.assert_allclose(fields[0].values, fields[1].values, rtol=2e-4)
        again = plain[0].downscale.predict(
            model, time=fine.time[30:31], mode="teacher_forced", history=plain[1]
        )
        np.testing.assert_allclose(again.values, fields[1].values, rtol=2e-4)


class TestSplit:
    def test_no_test_day_was_seen_in_training(self, model, fine):
        part = model.split_["all"]
        lags = model.config_.data.lags
        train = part.time[part.isin(["train", "stopping"])].values
        test = part.time[part == "test"].values
        assert test.size
        for lag in range(lags + 1):
            assert not set(test - np.timedelta64(lag, "D")) & set(train)

    def test_scaling_comes_from_training_days(self, model, fine):
        train = fine.sel(time=model.days("train"))
        scaling = model.models_["all"].scaling
        assert scaling.minimum == pytest.approx(float(train.min()))
        assert scaling.maximum == pytest.approx(float(train.max()))

    def test_unknown_part(self, model):
        with pytest.raises(OptionError, match="Did you mean 'test'"):
            model.days("tset")


class TestStorage:
    def test_round_trip(self, model, coarse, fine, tmp_path):
        path = tmp_path / "dust.xd"
        model.save(path)
        again = xd.load(path)
        days = fine.time[30:32]
        xr.testing.assert_identical(
            forced(again, coarse, fine, days), forced(model, coarse, fine, days)
        )
        free = coarse.time[-8:-6]
        xr.testing.assert_identical(
            coarse.downscale.predict(again, time=free), coarse.downscale.predict(model, time=free)
        )
        assert repr(again) == repr(model)
        xr.testing.assert_identical(again.history_, model.history_)
        xr.testing.assert_identical(again.split_, model.split_)
        assert again.config_ == model.config_

    def test_altered_file(self, model, tmp_path):
        path = tmp_path / "dust.xd"
        model.save(path)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(ModelFormatError, match=r"altered|truncated|SHA"):
            xd.load(path)

    def test_awkward_attributes_and_numbers(self, coarse, fine, tiny_config, tmp_path):
        attrs = {"missing_value": np.nan, "flag": True, "range": np.array([0.0, np.inf])}
        odd = fine.assign_attrs(attrs)
        odd = odd.assign_coords(lat=odd.lat.assign_attrs(ok=True, nothing=None, empty=[]))
        config = tiny_config.replace(data={"lags": np.int64(2)})
        model = coarse.downscale.fit(odd, preset=config, progress=False, seed=np.int64(3))
        model.save(tmp_path / "odd.xd")
        again = xd.load(tmp_path / "odd.xd")
        days = fine.time[30:31]
        np.testing.assert_array_equal(
            forced(again, coarse, fine, days), forced(model, coarse, fine, days)
        )

    def test_unwritable_path(self, model, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(StorageError, match=r"cannot be written|cannot write"):
            model.save(tmp_path / "file" / "dust.xd")

    def test_content_of_another_version(self, model, tmp_path):
        from xdownscale.io import container

        path = tmp_path / "dust.xd"
        model.save(path)
        config, state, weights = container.read(path)
        config["config"]["data"]["colour"] = "red"
        container.write(path, config, state, weights)
        with pytest.raises(ModelFormatError, match="does not hold a model"):
            xd.load(path)


class TestSummary:
    def test_repr_says_what_it_learnt_from(self, model):
        text = repr(model)
        for word in ("16 x 20 cells", "80 days", "log10", "r2", "2 lags", "all"):
            assert word in text
        assert "<table>" in model._repr_html_()
        assert "not fitted" in repr(xd.Downscaler())
        assert "not fitted" in xd.Downscaler()._repr_html_()

    def test_history_is_a_dataset_of_losses(self, model):
        history = model.history_.sel(group="all")
        assert history.sizes["step"] == 3
        assert np.isfinite(history["train_loss"]).all()


class TestBadInput:
    """Found, allowed, remedy; before any work."""

    def test_short_season_is_noticed_before_any_is_trained(
        self, coarse, fine, tiny_config, monkeypatch
    ):
        from xdownscale.fitting import fit

        monkeypatch.setattr(fit, "train_group", lambda *a, **k: pytest.fail("trained"))
        with pytest.raises(TimeAxisError, match="Group 'JJA'"):
            coarse.downscale.fit(fine, preset=tiny_config, seasons=("DJF", "JJA"))

    def test_time_steps_that_differ(self, coarse, fine, tiny_config):
        finer = fine.resample(time="12h").interpolate("linear")
        with pytest.raises(TimeAxisError, match="time step of 24 hours and the fine one of 12"):
            coarse.downscale.fit(finer, preset=tiny_config)

    def test_group_names_stand_in_paths(self, coarse, fine, tiny_config):
        with pytest.raises(OptionError, match="cannot name a season or region"):
            coarse.downscale.fit(fine, preset=tiny_config, regions={"a/b": (40, 50, 10, 18)})

    def test_static_without_a_grid(self, coarse, fine, tiny_config):
        with pytest.raises(DataError, match="no variable with latitude and longitude"):
            coarse.downscale.fit(fine, static=xr.Dataset({"crs": 0}), preset=tiny_config)

    def test_time_must_be_times(self, model, coarse):
        with pytest.raises(TimeAxisError, match="not of times"):
            coarse.downscale.predict(model, time=coarse)
        with pytest.raises(TimeAxisError, match="not in the coarse record"):
            coarse.downscale.predict(model, time=("2000-02-30",))

    def test_no_common_day(self, coarse, fine, tiny_config):
        late = fine.assign_coords(time=fine.time + np.timedelta64(5000, "D"))
        with pytest.raises(TimeAxisError, match="no time in common"):
            coarse.downscale.fit(late, preset=tiny_config)

    def test_too_few_days(self, coarse, fine, tiny_config):
        with pytest.raises(TimeAxisError, match=r"lags \+ 2 = 4"):
            coarse.downscale.fit(fine.isel(time=slice(0, 3)), preset=tiny_config)

    def test_not_covered(self, coarse, fine, tiny_config):
        with pytest.raises(GridError, match="extrapolate"):
            coarse.sel(lon=slice(42, 49)).downscale.fit(fine, preset=tiny_config)

    def test_duplicate_times(self, coarse, fine, tiny_config):
        twice = xr.concat([fine, fine.isel(time=[3])], "time")
        with pytest.raises(TimeAxisError, match="uplicate"):
            coarse.downscale.fit(twice, preset=tiny_config)

    def test_unsorted_times_are_sorted_with_a_warning(self, model, coarse, fine, tiny_config):
        mixed = fine.isel(time=np.random.default_rng(0).permutation(fine.sizes["time"]))
        with pytest.warns(XDownscaleWarning, match="sort"):
            again = coarse.downscale.fit(mixed, preset=tiny_config, progress=False)
        for name, weights in model.models_["all"].state.items():
            np.testing.assert_array_equal(again.models_["all"].state[name], weights)

    def test_units(self, coarse, fine, tiny_config):
        with pytest.raises(DataError, match="'kg m-2'"):
            coarse.assign_attrs(units="kg m-2").downscale.fit(fine, preset=tiny_config)

    def test_standard_names(self, coarse, fine, tiny_config):
        named = fine.assign_attrs(standard_name="air_temperature")
        with pytest.raises(DataError, match="standard_name"):
            coarse.assign_attrs(standard_name="precipitation_flux").downscale.fit(
                named, preset=tiny_config
            )

    def test_values_of_another_unit(self, model, coarse, fine, tiny_config):
        kelvin = coarse + 273.15
        with pytest.raises(DataError, match="another unit, transform or variable"):
            kelvin.downscale.fit(fine, preset=tiny_config)
        with pytest.raises(ModelMismatchError, match="another unit, transform or variable"):
            kelvin.downscale.predict(model)
        with pytest.raises(ModelMismatchError, match="another unit, transform or variable"):
            np.log10(coarse * 1e-9).downscale.predict(model)

    def test_all_nan(self, coarse, fine, tiny_config):
        with pytest.raises(DataError, match="every cell of every day is NaN"):
            coarse.downscale.fit(fine * np.nan, preset=tiny_config)

    def test_non_positive_under_log10(self, coarse, fine, tiny_config):
        with pytest.raises(DataError, match="log10"):
            coarse.downscale.fit(fine - 1, preset=tiny_config, transform="log10")

    def test_two_dimensional_grid(self, coarse, fine, tiny_config):
        lat, lon = xr.broadcast(fine.lat, fine.lon)
        curved = fine.drop_vars(["lat", "lon"]).rename(lat="j", lon="i")
        curved = curved.assign_coords(lat=(("j", "i"), lat.data), lon=(("j", "i"), lon.data))
        moved = curved.assign_coords(lat=curved.lat + 40)
        strict = tiny_config.replace(data={"extrapolate": None})
        with pytest.raises(GridError, match="fine cells lie outside the coarse grid"):
            coarse.downscale.fit(moved, preset=strict)

    def test_patch_larger_than_the_image(self, coarse, fine, tiny_config):
        config = tiny_config.replace(data={"patch_size": 64})
        with pytest.raises(GridError, match="larger than the image"):
            coarse.downscale.fit(fine, preset=config)

    def test_extra_dimension(self, coarse, fine, tiny_config):
        with pytest.raises(GridError, match="extra dimensions"):
            coarse.downscale.fit(fine.expand_dims(level=[1, 2]), preset=tiny_config)

    def test_no_time(self, coarse, fine, tiny_config):
        with pytest.raises(TimeAxisError, match="no time dimension"):
            coarse.downscale.fit(fine.isel(time=0, drop=True), preset=tiny_config)

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"preset": "papre"}, "Did you mean 'paper'"),
            ({"seasons": ["DFJ"]}, "Did you mean 'DJF'"),
            ({"transform": "log"}, "Did you mean 'log1"),
            ({"device": "gpu"}, "device"),
            ({"preset": 3}, "give a name such as"),
        ],
    )
    def test_unknown_names(self, coarse, fine, options, match):
        with pytest.raises(OptionError, match=match):
            coarse.downscale.fit(fine, **options)

    def test_not_fitted(self, coarse):
        for use in (
            lambda m: m.predict(coarse),
            lambda m: m.save("x.xd"),
            lambda m: m.models_,
            lambda m: m.skill_,
        ):
            with pytest.raises(NotFittedError, match="not fitted"):
                use(xd.Downscaler())

    def test_static_that_varies(self, coarse, fine, tiny_config):
        with pytest.raises(DataError, match="static field has those two alone"):
            coarse.downscale.fit(fine, static=fine, preset=tiny_config)

    def test_static_without_values(self, coarse, fine, tiny_config):
        with pytest.raises(DataError, match="no value on the fine grid"):
            coarse.downscale.fit(
                fine, static=fine[0].drop_vars("time") * np.nan, preset=tiny_config
            )

    def test_another_coarse_grid(self, model, coarse):
        with pytest.raises(ModelMismatchError, match="another grid"):
            coarse.isel(lat=slice(1, None)).downscale.predict(model)

    def test_another_history_grid(self, model, coarse, fine):
        with pytest.raises(ModelMismatchError, match="history lies on another grid"):
            forced(model, coarse, fine.isel(lat=slice(1, None)), fine.time[30:31])

    def test_other_units_at_prediction(self, model, coarse):
        with pytest.raises(ModelMismatchError, match="'kg m-2'"):
            coarse.assign_attrs(units="kg m-2").downscale.predict(model)

    def test_days_that_are_not_there(self, model, coarse):
        with pytest.raises(TimeAxisError, match="not in the coarse record"):
            coarse.downscale.predict(model, time=["2010-01-01"])

    def test_nothing_to_draw(self, model, coarse):
        with pytest.raises(TimeAxisError, match="No day can be generated"):
            coarse.isel(time=slice(0, 2)).downscale.predict(model)

    def test_forced_without_history(self, model, coarse, fine):
        with pytest.raises(TimeAxisError, match="needs the true fine field"):
            coarse.downscale.predict(model, time=fine.time[30:31], mode="teacher_forced")

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"mode": "autoregresive"}, "Did you mean 'autoregressive'"),
            ({"stitching": "patch"}, "Did you mean 'patches'"),
            ({"realizations": 0}, "1 or more"),
        ],
    )
    def test_prediction_options(self, model, coarse, options, match):
        with pytest.raises(OptionError, match=match):
            coarse.downscale.predict(model, **options)


@pytest.mark.parametrize(
    ("method", "function"),
    [
        ("fit", lambda: xd.fit),
        ("predict", lambda: xd.predict),
        ("regrid", lambda: xd.regrid),
        ("split_seasons", lambda: xd.splits.split_seasons),
        ("extract_patches", lambda: xd.patches.extract),
        ("stitch", lambda: xd.patches.stitch),
    ],
)
def test_accessor_signature_is_the_functions(method, function):
    accessor = getattr(xr.DataArray.downscale, method)
    own = list(inspect.signature(accessor).parameters.values())[1:]
    other = list(inspect.signature(function()).parameters.values())[1:]
    assert [(p.name, p.default, p.kind) for p in own] == [
        (p.name, p.default, p.kind) for p in other
    ]
