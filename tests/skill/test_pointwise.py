"""One linear equation for all pixels, against least squares of numpy and records that obey one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.linear_model import LinearRegression

import xdownscale as xd
from xdownscale.core.errors import DataError, GridError, OptionError
from xdownscale.skill import baselines

DAYS = 60
TIME = pd.date_range("2001-03-01", periods=DAYS)
GRID = {"lat": [0.0, 1.0, 2.0], "lon": [0.0, 1.0, 2.0, 3.0]}
TRAIN = slice(0, 45)
FORCED = {"mode": "teacher_forced"}
plain = {"method": "bilinear", "transform": "identity"}


def labelled(values, time=TIME):
    return xr.DataArray(values, {"time": time, **GRID}, name="t", attrs={"units": "K"})


def records(noise=0.5, seed=0):
    """A coarse record on the fine grid, and a fine one that obeys an equation, up to noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(DAYS, 3, 4))
    height = rng.normal(size=(3, 4))
    fine = np.zeros_like(coarse)
    fine[0] = coarse[0]
    for day in range(1, DAYS):
        change = noise * rng.normal(size=(3, 4))
        fine[day] = 2 + 0.6 * fine[day - 1] - 0.3 * coarse[day - 1] + coarse[day] + height + change
    static = xr.DataArray(height, GRID, name="height")
    return labelled(coarse), labelled(fine), static


def stacked(coarse, fine, static, rows, target_day=True):
    """Return predictors (n x pixels, p) and the target of some rows, in physical units."""
    share = (TIME.day_of_year - 1) / (365 + TIME.is_leap_year)
    lat, lon = np.meshgrid(GRID["lat"], GRID["lon"], indexing="ij")
    columns, target = [], []
    for row in rows:
        season = [np.sin(2 * np.pi * share[row]), np.cos(2 * np.pi * share[row])]
        parts = [np.ones(12), fine.values[row - 1].ravel(), coarse.values[row - 1].ravel()]
        parts += [coarse.values[row].ravel()] * target_day
        parts += [lat.ravel(), lon.ravel(), static.values.ravel()]
        columns.append(np.stack([*parts, *(np.full(12, s) for s in season)], axis=1))
        target.append(fine.values[row].ravel())
    return np.concatenate(columns), np.concatenate(target)


@pytest.mark.parametrize("target_day", [True, False])
def test_it_is_least_squares(target_day):
    """Scaling and centring change no prediction of a linear regression."""
    coarse, fine, static = records()
    x, y = stacked(coarse, fine, static, range(1, 45), target_day)
    weights = np.linalg.lstsq(x, y, rcond=None)[0]
    asked = range(45, DAYS)
    expected = (stacked(coarse, fine, static, asked, target_day)[0] @ weights).reshape(-1, 3, 4)
    options = {"static": static, "target_day": target_day, "history": fine, **plain}
    found = baselines.pointwise(coarse, fine[TRAIN], TIME[45:], **FORCED, **options)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    # free-running: the same equation, fed with its own predictions
    run = baselines.pointwise(coarse, fine[TRAIN], TIME[45:], **options)
    own = fine.copy(deep=True)
    for row in asked:
        one = stacked(coarse, own, static, [row], target_day)[0] @ weights
        own.values[row] = one.reshape(3, 4)
    np.testing.assert_allclose(run, own[45:], atol=1e-4)
    assert not np.allclose(run, found, atol=0.1)


def test_scikit_learn_agrees():
    coarse, fine, static = records(seed=3)
    model = LinearRegression().fit(*stacked(coarse, fine, static, range(1, 45)))
    expected = model.predict(stacked(coarse, fine, static, range(45, DAYS))[0])
    found = baselines.pointwise(
        coarse, fine[TRAIN], TIME[45:], static=static, history=fine, **FORCED, **plain
    )
    np.testing.assert_allclose(found.values.ravel(), expected, atol=2e-5)


def test_a_record_that_obeys_the_equation_is_predicted_exactly():
    coarse, fine, static = records(noise=0.0)
    for transform in ("identity", "auto"):
        found = baselines.pointwise(
            coarse, fine[TRAIN], TIME[45:], static=static, method="bilinear", transform=transform
        )
        np.testing.assert_allclose(found, fine[45:], atol=1e-4)


def test_under_a_transform_the_equation_is_of_transformed_values():
    coarse, fine, static = records(noise=0.0)
    ten = [10**each for each in (coarse, fine)]
    found = baselines.pointwise(
        ten[0], ten[1][TRAIN], TIME[45:], static=static, method="bilinear", transform="log10"
    )
    # later a value falls below the least of the training days, which is the least there may be
    np.testing.assert_allclose(np.log10(found)[:12], fine[45:57], atol=2e-4)
    assert float(found.min()) == pytest.approx(float(ten[1][1:45].min()), rel=1e-5)


def test_both_modes_agree_on_the_first_day_and_a_run_feeds_on_itself():
    coarse, fine, static = records()
    options = {"static": static, **plain}
    forced = baselines.pointwise(coarse, fine[TRAIN], TIME[45:], history=fine, **FORCED, **options)
    free = baselines.pointwise(coarse, fine[TRAIN], TIME[45:], **options)
    np.testing.assert_array_equal(forced[0], free[0])
    own = xr.concat([fine[TRAIN].astype("float32"), free], "time")
    again = baselines.pointwise(coarse, fine[TRAIN], TIME[45:], history=own, **FORCED, **options)
    np.testing.assert_allclose(again, free, atol=1e-5)


def test_without_the_day_the_days_coarse_field_changes_nothing():
    coarse, fine, _ = records()
    other = coarse.copy(deep=True)
    other[-1] += 5
    for target_day, same in ((False, True), (True, False)):
        one, two = (
            baselines.pointwise(each, fine[TRAIN], TIME[-1:], target_day=target_day, **plain)
            for each in (coarse, other)
        )
        assert np.array_equal(one, two) == same


def test_runs_begin_with_the_truth_or_the_coarse_field():
    """After a gap the equation is fed with what is known of the day before."""
    coarse, fine, _ = records()
    asked = TIME[[50, 51, 55, 56]]
    given = {"history": fine[:55], **plain}
    found = baselines.pointwise(coarse, fine[TRAIN], asked, **given)
    forced = baselines.pointwise(coarse, fine[TRAIN], asked, history=fine, **FORCED, **plain)
    np.testing.assert_array_equal(found[[0, 2]], forced[[0, 2]])
    assert not np.allclose(found[[1, 3]], forced[[1, 3]])
    cold = baselines.pointwise(coarse, fine[TRAIN], asked, **plain)  # knows no day before
    driven = fine.copy(deep=True)
    driven.values[[49, 54]] = coarse.values[[49, 54]]
    expected = baselines.pointwise(coarse, fine[TRAIN], asked, history=driven, **FORCED, **plain)
    np.testing.assert_allclose(cold[[0, 2]], expected[[0, 2]], atol=1e-5)
    unknown = baselines.pointwise(coarse, fine[TRAIN], asked, **FORCED, **plain)
    assert np.isnan(unknown).all()


def test_missing_pixels():
    """Left out of the fit; the coarse value stands in for a lag; never known means NaN."""
    coarse, fine, static = records()
    holed = fine.copy(deep=True)
    holed[20, 1, 1] = np.nan
    holed[44, 0, 2] = np.nan
    holed[:, 2, 3] = np.nan
    options = {"static": static, **plain}
    found = baselines.pointwise(coarse, holed[TRAIN], TIME[45:], **options)
    assert np.isnan(found[:, 2, 3]).all()
    assert np.isfinite(found.values[np.isfinite(holed[45:].values)]).all()
    x, y = stacked(coarse, holed, static, range(1, 45))
    good = np.isfinite(x).all(1) & np.isfinite(y)
    weights = np.linalg.lstsq(x[good], y[good], rcond=None)[0]
    filled = holed.copy(data=np.where(np.isnan(holed), coarse, holed))
    expected = (stacked(coarse, filled, static, [45])[0] @ weights).reshape(3, 4)
    seen = np.isfinite(found.values[0])
    np.testing.assert_allclose(found.values[0][seen], expected[seen], atol=2e-5)


def test_a_constant_static_field_is_no_problem():
    coarse, fine, static = records()
    flat = xr.Dataset({"height": static, "flat": 0 * static + 7})
    one, two = (
        baselines.pointwise(coarse, fine[TRAIN], TIME[45:], static=each, **plain)
        for each in (static, flat)
    )
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_lazy_records_give_the_same_numbers_and_stay_lazy():
    coarse, fine, static = records()
    options = {"static": static, "history": fine, **plain}
    for mode in ("autoregressive", "teacher_forced"):
        eager = baselines.pointwise(coarse, fine[TRAIN], TIME[45:], mode=mode, **options)
        lazy = baselines.pointwise(
            coarse.chunk(time=7), fine[TRAIN].chunk(time=9), TIME[45:], mode=mode, **options
        )
        assert (lazy.chunks is not None) == (mode == "teacher_forced")
        np.testing.assert_array_equal(lazy, eager)


def test_labels_are_those_of_the_training_days():
    coarse, fine, _ = records()
    turned = fine[TRAIN].isel(lat=slice(None, None, -1)).rename(lat="latitude")
    turned = turned.transpose("lon", "time", "latitude")
    noon = turned.assign_coords(time=turned.time + np.timedelta64(12, "h"))
    asked = TIME[45:]
    expected = baselines.pointwise(coarse, fine[TRAIN], asked, **plain)
    for each in (turned, noon):
        found = baselines.pointwise(coarse, each, asked, **plain)
        assert found.dims == turned.dims
        assert (found.name, found.attrs["units"]) == ("t", "K")
        np.testing.assert_allclose(
            found.rename(latitude="lat").transpose(*fine.dims).sortby("lat"), expected, atol=1e-5
        )


def test_it_is_a_row_of_a_table():
    coarse, fine, static = records()
    options = {"static": static, "history": fine, **plain}
    rows = {
        "pointwise": baselines.pointwise(coarse, fine[TRAIN], TIME[45:], **options),
        "pointwise (forced)": baselines.pointwise(
            coarse, fine[TRAIN], TIME[45:], **FORCED, **options
        ),
    }
    table = xd.skill.table(
        {"coarse": coarse}, fine[45:], scores=["r2", "rmse"], transform=None, baselines=rows
    )
    assert list(table.index) == ["coarse", *rows]
    best = table[("physical", "rmse")]
    assert best["pointwise (forced)"] < best["pointwise"] < best["coarse"]
    assert 0.4 < best["pointwise (forced)"] < 0.6  # the noise has 0.5


def test_what_does_not_fit_is_refused():
    coarse, fine, static = records()
    train = fine[TRAIN]
    with pytest.raises(OptionError, match=r"mode: 'free'.*'autoregressive', 'teacher_forced'"):
        baselines.pointwise(coarse, train, mode="free")
    with pytest.raises(DataError, match=r"pointwise needs at least 12 training days.*there are 8"):
        baselines.pointwise(coarse, fine[:9])
    with pytest.raises(DataError, match=r"of the 22 training days there are 0, and 2 are needed"):
        baselines.pointwise(coarse, train[::2])
    even = xr.DataArray(np.arange(45) % 2 == 0, dims="time")
    patchy = train.where(even == (train.lon < 2))  # either half, every other day
    with pytest.raises(DataError, match="known on a training day and on the day before it"):
        baselines.pointwise(coarse, patchy)
    with pytest.raises(DataError, match="units"):
        baselines.pointwise(coarse, train, history=fine.assign_attrs(units="degC"))
    with pytest.raises(GridError, match="history"):
        baselines.pointwise(coarse, train, history=fine[:, :2])
    with pytest.raises(DataError, match=r"has the dimensions .* beside latitude and longitude"):
        baselines.pointwise(coarse, train, static=static.expand_dims(time=TIME[:2]))
