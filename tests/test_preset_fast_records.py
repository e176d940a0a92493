"""Records as they come: other steps, gaps, variables that do not match, regions that differ."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xdownscale as xd
from records import fast_config, make_pair
from xdownscale.core.errors import (
    DataError,
    GridError,
    ModelMismatchError,
    OptionError,
    TimeAxisError,
    XDownscaleWarning,
)
from xdownscale.models.sampling.initial_noise import InitialNoise


@pytest.fixture(scope="module")
def pair():
    coarse, fine = make_pair()
    return coarse.t, fine.t


@pytest.fixture(scope="module")
def model(pair):
    return pair[0].downscale.fit(pair[1], preset=fast_config(), progress=False)


def test_every_six_hours(pair, model):
    coarse, fine = make_pair(days=200, freq="6h")
    sixhourly = coarse.t.downscale.fit(fine.t, preset=fast_config(), progress=False)
    assert "skill" in repr(sixhourly)
    assert np.isfinite(coarse.t.downscale.predict(sixhourly, time=coarse.time[40:44])).all()
    # a model knows one step
    with pytest.raises(ModelMismatchError, match=r"step of 24 hours, .* fitted with one of 6"):
        pair[0].downscale.predict(sixhourly)
    with pytest.raises(ModelMismatchError, match=r"step of 48 hours, .* fitted with one of 24"):
        pair[0][::2].downscale.predict(model)
    kept = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 40, 41, 42, 43, 44, 45, 46, 47]  # gaps are no step
    some = pair[0].isel(time=kept).downscale.predict(model, time=pair[0].time[5:7])
    assert np.isfinite(some).all()


def test_skill_that_cannot_be_measured_costs_no_model(pair, monkeypatch):
    def fails(*_, **__):
        raise DataError("no scores today")

    monkeypatch.setattr(xd.skill, "table", fails)
    with pytest.warns(XDownscaleWarning, match="skill on validation days .* no scores today"):
        fitted = pair[0].downscale.fit(pair[1], preset=fast_config(), progress=False)
    assert np.isfinite(pair[0].downscale.predict(fitted, time=pair[0].time[40:41])).all()


@pytest.mark.parametrize("kind", ["multiplicative", "softmax"])
def test_constraints_that_negative_values_defy_are_refused_before_training(kind, pair):
    with pytest.raises(OptionError, match=f"constraint '{kind}' needs coarse values of 0 or more"):
        pair[0].downscale.fit(pair[1], preset=fast_config(sampling={"constraint": kind}))


def test_options_that_do_not_go_together():
    with pytest.raises(OptionError, match="'crps' has no regression"):
        fast_config(method="crps", sampling={"sampler": "mean"})
    with pytest.raises(OptionError, match="encoder 'finetuned' does not suit 2 folds"):
        fast_config(network={"encoder": "finetuned"})
    assert (
        fast_config(method="unet", network={"encoder": "finetuned"}).network.encoder == "finetuned"
    )


def test_drivers_of_other_days_or_cells_are_refused():
    coarse, fine = make_pair(names=("t", "w"))
    later = coarse.w.assign_coords(time=coarse.time + np.timedelta64(30, "D"))
    shifted = xr.Dataset({"t": coarse.t, "w": later.rename(time="time2")})
    with pytest.raises(TimeAxisError, match="'t' and 'w' have different times"):
        shifted.downscale.fit(fine.t, preset=fast_config(), progress=False)
    finer = xr.Dataset({"t": coarse.t, "w": coarse.w[:, ::2].rename(lat="lat2")})
    with pytest.raises(GridError, match="coarse variables 't' and 'w' lie on different grids"):
        finer.downscale.fit(fine.t, preset=fast_config(), progress=False)
    both = xr.Dataset({"t": fine.t, "w": fine.w[:-5].rename(time="time2")})
    with pytest.raises(TimeAxisError, match="fine variables 't' and 'w' have different times"):
        coarse.downscale.fit(both, preset=fast_config(), progress=False)
    known = coarse.downscale.fit(fine.t, preset=fast_config(), progress=False)
    with pytest.raises(TimeAxisError, match="coarse variables 't' and 'w' have different times"):
        shifted.downscale.predict(known)


# gaps, for models that see fine fields of the days before


@pytest.fixture(scope="module")
def chained(pair):
    return pair[0].downscale.fit(pair[1], preset=fast_config(data={"fine_lags": 2}), progress=False)


def test_no_run_crosses_a_gap(pair, chained):
    coarse, fine = pair
    month = slice("2000-02-20", "2000-03-15")
    gappy = coarse.drop_sel(time=coarse.time.sel(time=month))
    first = pd.Timestamp("2000-03-16")
    past = fine.drop_sel(time=fine.time.sel(time=slice("2000-02-20", None)))
    with pytest.warns(XDownscaleWarning, match="1 of 1 runs start cold"):
        maps = gappy.downscale.predict(chained, time=[first], history=past, seed=1)
    assert np.isfinite(maps).all()
    with pytest.warns(XDownscaleWarning, match="start cold"):
        moved = gappy.downscale.predict(chained, time=[first], history=past + 5 * past.std())
    with pytest.warns(XDownscaleWarning, match="start cold"):
        same = gappy.downscale.predict(chained, time=[first], history=past)
    np.testing.assert_array_equal(moved, same)
    # with the days before the gap asked for as well, there are two runs
    days = [pd.Timestamp("2000-02-18"), pd.Timestamp("2000-02-19"), first]
    with pytest.warns(XDownscaleWarning, match="1 of 2 runs start cold"):
        both = gappy.downscale.predict(chained, time=days, history=past[:-2], seed=1)
    np.testing.assert_allclose(both.sel(time=[first]), maps, atol=1e-5)


def test_true_lags_are_those_of_the_day_before(pair, chained):
    coarse, fine = pair
    gappy = coarse.drop_sel(time=coarse.time.sel(time=slice("2000-02-20", "2000-03-15")))
    forced = {"mode": "teacher_forced", "history": fine}
    gone = fine.drop_sel(time=fine.time.sel(time=slice("2000-02-20", "2000-03-15")))
    known = {"mode": "teacher_forced", "history": gone}
    with pytest.raises(TimeAxisError, match="lacks some for 1 of the days, the first 2000-03"):
        gappy.downscale.predict(chained, time=["2000-03-17"], **known)
    drawn = gappy.downscale.predict(chained, **forced)
    listed = drawn.time.values.astype("M8[D]").astype(str).tolist()
    assert "2000-03-18" in listed
    assert not {"2000-03-16", "2000-03-17"} & set(listed)


# regions


def test_regions_with_different_transforms():
    coarse, fine = make_pair()

    ours, theirs = (np.exp(record.t).assign_attrs(units="K") for record in (coarse, fine))
    theirs = theirs.where((fine.lon < 6) | (theirs > 0.8), 0).assign_attrs(units="K")  # dry cells
    boxes = {"west": (0, 6, 0, 12), "east": (6, 10, 0, 12)}
    maps = []
    for order in (["west", "east"], ["east", "west"]):
        with warnings.catch_warnings():
            warnings.simplefilter("error", XDownscaleWarning)
            warnings.filterwarnings("ignore", "Generated residuals could not be given")
            model = ours.downscale.fit(
                theirs,
                preset=fast_config(data={"blend": 0}),
                regions={name: boxes[name] for name in order},
                progress=False,
            )
        names = {n: g.scaling.transform for n, g in model.models_.items()}
        assert names["west"] != names["east"]
        maps.append(ours.downscale.predict(model, time=ours.time[40:42], seed=1))
        assert np.isfinite(maps[-1]).all()
    np.testing.assert_allclose(*maps, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scales", [False, True])
def test_windows_that_overlap_share_their_noise(scales):
    def field(corner, shape):
        return InitialNoise(
            measured=None,
            seed=1,
            keys=np.array([0]),
            step=86400,
            channels=2,
            corner=corner,
            domain=(60, 70),
            shape=shape,
            pad=(0, 0),
            sigma_max=5.0,
            scales=scales,
        ).fields([3], [0])[0]

    whole, part = field((0, 0), (60, 70)), field((13, 21), (40, 30))
    assert whole.shape[0] == (6 if scales else 2)
    np.testing.assert_array_equal(part, whole[:, 13:53, 21:51])


# another climate


def test_a_change_of_climate_is_no_bias():
    rng = np.random.default_rng(0)
    days = 365 * 6
    time = pd.date_range("2000-01-01", periods=days)
    warming = np.linspace(0, 3, days)[:, None, None]
    lat, lon = np.arange(0.5, 6, 1.0), np.arange(0.5, 6, 1.0)
    coarse = xr.DataArray(
        rng.normal(size=(days, 6, 6)) + warming + 10,  # a bias of ten
        {"time": time, "lat": lat, "lon": lon},
        name="t",
    )
    last = time[-730:]
    small = np.arange(0.25, 6, 0.5)
    values = rng.normal(size=(730, 6, 6)).repeat(2, 1).repeat(2, 2) + warming[-730:]
    fine = xr.DataArray(values, {"time": last, "lat": small, "lon": small}, name="t")
    settings = fast_config(method="unet", data={"crop": 8}, network={"encoder": "none"})
    model = coarse.downscale.fit(fine, preset=settings, pairing="self", progress=False)
    start = coarse.time[10:400]
    found = float(coarse.downscale.predict(model, time=start).mean())
    assert found == pytest.approx(float(warming[10:400].mean()), abs=0.25)
