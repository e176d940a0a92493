"""Transforms and standardisation, against numpy and scipy on the whole array."""

from __future__ import annotations

import dataclasses
import json

import dask.array as dsa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from xdownscale.core.errors import DataError, ModelFormatError, OptionError
from xdownscale.core.normalization import Scaling, choose_transform, fit_scaling

NAMES = ("log10", "asinh", "log1p", "sqrt", "identity")
ORACLE = {
    "log10": np.log10,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "identity": lambda x: x,
    "asinh": lambda x: np.arcsinh(x / np.median(x)),
}


@pytest.fixture
def dust(rng):
    values = rng.lognormal(-2, 1, size=(12, 6, 7))
    values[3, 2] = np.nan
    return values


@pytest.mark.parametrize("name", NAMES)
def test_standardised_values_are_the_z_scores_of_scipy(dust, name):
    good = dust[~np.isnan(dust)]
    expected = stats.zscore(ORACLE[name](good))
    found = fit_scaling(dust, name, "standard").forward(dust)
    np.testing.assert_allclose(found[~np.isnan(dust)], expected, atol=1e-10)
    assert np.isnan(found[np.isnan(dust)]).all()


@pytest.mark.parametrize("name", NAMES)
def test_minmax_reaches_minus_one_and_one_and_nothing_beyond(dust, name):
    found = fit_scaling(dust, name, "minmax").forward(dust)
    assert np.nanmin(found) == pytest.approx(-1)
    assert np.nanmax(found) == pytest.approx(1)


@given(
    name=st.sampled_from(NAMES),
    kind=st.sampled_from(["minmax", "standard"]),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 1000),
)
def test_round_trip_is_exact_to_rounding(name, kind, dtype, seed):
    values = np.random.default_rng(seed).lognormal(0, 2, size=(5, 9)).astype(dtype)
    scaling = fit_scaling(values, name, kind)
    back = scaling.inverse(scaling.forward(values))
    assert back.dtype == values.dtype
    # one rounding of the scaled value, seen through the transform: a few eps of its range
    ends = np.abs(scaling.transform_only(values)).max() + abs(scaling.center) + scaling.spread
    error = scaling.transform_only(back) - scaling.transform_only(values)
    assert np.abs(error).max() <= 8 * np.finfo(dtype).eps * ends
    assert np.isnan(scaling.inverse(scaling.forward(np.array([np.nan], dtype)))).all()


def test_values_under_the_floor_come_back_as_the_floor():
    values = np.array([0.0, 1e-5, 0.01, 1.0, -3.0])
    scaling = fit_scaling(values, "log10", floor=1e-3)
    back = scaling.inverse(scaling.forward(values))
    np.testing.assert_allclose(back, [1e-3, 1e-3, 0.01, 1.0, 1e-3])
    np.testing.assert_allclose(scaling.transform_only(values), [-3, -3, -2, 0, -3], atol=1e-12)


@pytest.mark.parametrize("kind", ["minmax", "standard"])
@pytest.mark.parametrize("name", [*NAMES, "auto"])
def test_streams_give_the_same_constants_as_the_whole_array(dust, name, kind):
    whole = fit_scaling(dust, name, kind).to_dict()
    for stream in (list(dust), dsa.from_array(dust, chunks=(5, 3, 7)), [dust[:2], dust[2:]]):
        found = fit_scaling(stream, name, kind).to_dict()
        for key in ("center", "spread", "minimum", "maximum", "scale"):
            assert found[key] == pytest.approx(whole[key], rel=1e-12), key
        assert found["reason"] == whole["reason"]


def test_no_more_than_a_chunk_is_held_at_a_time():
    held = []

    def day(block):
        held.append(block.shape)
        return block

    lazy = dsa.random.default_rng(1).uniform(1, 2, size=(20, 8, 8), chunks=(1, 8, 8))
    fit_scaling(lazy.map_blocks(day, meta=np.empty((0, 0, 0))), "identity", "standard")
    assert set(held) == {(1, 8, 8)}


def test_dask_stays_lazy_and_agrees(dust):
    calls = []
    lazy = dsa.from_array(dust.astype("float32"), chunks=(4, 6, 7)).map_blocks(
        lambda x: calls.append(1) or x, meta=np.empty((0, 0, 0), "float32")
    )
    scaling = fit_scaling(dust, "log10")
    forward = scaling.forward(lazy)
    back = scaling.inverse(forward)
    assert not calls
    assert forward.dtype == back.dtype == np.float32
    np.testing.assert_array_equal(forward.compute(), scaling.forward(dust.astype("float32")))


def test_inputs_are_left_alone_and_integers_become_floats(dust):
    before = dust.copy()
    for name in NAMES:
        scaling = fit_scaling(dust, name)
        scaling.inverse(scaling.forward(dust))
        out = scaling.transform_only(dust)
        assert not np.shares_memory(out, dust)
    np.testing.assert_array_equal(dust, before)
    assert Scaling().forward(np.arange(3, dtype="int16")).dtype == np.float32
    assert fit_scaling(np.arange(5), "identity").forward(np.arange(5)).tolist() == [
        -1,
        -0.5,
        0,
        0.5,
        1,
    ]


def test_transform_only_and_untransform_are_inverse_without_constants(dust):
    for name in NAMES:
        scaling = fit_scaling(dust, name)
        np.testing.assert_allclose(scaling.untransform(scaling.transform_only(dust)), dust)
    expected = np.log10(dust)
    np.testing.assert_allclose(fit_scaling(dust, "log10").transform_only(dust), expected)


def test_what_a_network_puts_out_never_becomes_a_negative_amount(rng):
    rain = np.maximum(rng.normal(0, 5, 500), 0)
    for name in ("sqrt", "log1p", "asinh"):
        assert fit_scaling(rain, name).inverse(np.array([-1.2]))[0] == 0
    signed = fit_scaling(rain - 3, "asinh")
    assert signed.inverse(np.array([-1.0]))[0] == pytest.approx(-3)


# the rule of "auto"


def test_auto_takes_log10_for_lognormal_values(dust):
    chosen = choose_transform(dust)
    assert chosen.transform == "log10"
    assert "above 0 and skewed" in chosen.reason
    assert f"skewness {stats.skew(dust[~np.isnan(dust)]):.2g}" in chosen.reason


def test_auto_leaves_temperature_alone(rng):
    chosen = fit_scaling(rng.normal(285, 8, size=(30, 10)))
    assert chosen.transform == "identity"
    assert "hardly skewed" in chosen.reason


def test_auto_leaves_skewed_values_with_both_signs_alone(rng):
    chosen = fit_scaling(rng.lognormal(0, 1, 2000) - 1)
    assert chosen.transform == "identity"
    assert "below 0" in chosen.reason


def test_auto_takes_what_is_least_skewed_where_few_values_are_zero(rng):
    rain = rng.gamma(0.7, 8.0, size=20_000) * (rng.random(20_000) < 0.93)
    chosen = fit_scaling(rain)
    typical = np.median(rain[rain > 0])
    left = {
        "sqrt": stats.skew(np.sqrt(rain)),
        "log1p": stats.skew(np.log1p(rain)),
        "asinh": stats.skew(np.arcsinh(rain / typical)),
    }
    assert chosen.transform == min(left, key=lambda k: abs(left[k]))
    assert "0 or above and skewed" in chosen.reason
    assert abs(stats.skew(chosen.forward(rain))) < abs(stats.skew(rain)) / 2


def test_auto_does_not_take_log10_for_numerical_drizzle(rng):
    rain = rng.gamma(0.7, 8.0, size=20_000)
    rain[rng.random(rain.size) < 0.4] = 1e-22
    assert fit_scaling(rain).transform in ("sqrt", "log1p", "asinh")


def test_auto_with_a_floor_may_take_log10_where_there_are_zeros(rng):
    dust = rng.lognormal(-2, 1, size=2000)
    dust[:10] = 0
    chosen = fit_scaling(dust, floor=1e-2)
    assert (chosen.transform, chosen.floor) == ("log10", 1e-2)
    signed = fit_scaling(rng.lognormal(0, 1, 2000) - 0.05, floor=1e-2)
    assert signed.transform == "log10"
    assert "floored" in signed.reason


def test_the_sample_is_seeded_and_bounded(rng):
    values = rng.lognormal(0, 1, size=120_000)
    first, again = fit_scaling(values, seed=1), fit_scaling(values, seed=1)
    assert first == again
    assert fit_scaling(values, seed=2).reason != first.reason
    halves = fit_scaling([values[:70_000], values[70_000:]], seed=1)
    assert halves.reason == first.reason


# stored


def test_json_round_trip(dust):
    for name in NAMES:
        scaling = fit_scaling(dust, name)
        assert Scaling.from_dict(json.loads(json.dumps(scaling.to_dict()))) == scaling


def test_a_stored_scaling_with_other_keys_is_refused(dust):
    tree = fit_scaling(dust).to_dict()
    with pytest.raises(ModelFormatError, match="altered or written by another version"):
        Scaling.from_dict({**tree, "mean": 1.0})
    tree.pop("floor")
    with pytest.raises(ModelFormatError, match="has the keys"):
        Scaling.from_dict(tree)


# bad input


def test_log10_says_how_many_values_are_not_positive(dust):
    dust[0, 0, :3] = [0, 0, -0.5]
    with pytest.raises(DataError, match=r"3 of 497 values are 0 or less \(the least is -0\.5\)"):
        fit_scaling(dust, "log10")
    with pytest.raises(DataError, match="Give floor="):
        fit_scaling(list(dust), "log10")
    scaling = Scaling(transform="log10")
    with pytest.raises(DataError, match="3 of 497 values"):
        scaling.forward(dust)
    lazy = scaling.forward(dsa.from_array(dust))
    with pytest.raises(DataError, match="3 of 497 values"):
        lazy.compute(scheduler="sync")


@pytest.mark.parametrize("name", ["log1p", "sqrt"])
def test_negative_values_are_refused(dust, name):
    dust[0, 0, 0] = -2
    with pytest.raises(DataError, match=f"1 of 497 values are negative.*{name} needs"):
        fit_scaling(dust, name)
    with pytest.raises(DataError, match="the least is -2"):
        Scaling(transform=name).forward(dust)


def test_values_that_teach_nothing_are_refused():
    with pytest.raises(DataError, match="0 are not NaN"):
        fit_scaling(np.full((3, 2), np.nan))
    with pytest.raises(DataError, match="0 are not NaN"):
        fit_scaling([])
    with pytest.raises(DataError, match="1 are infinite"):
        fit_scaling(np.array([1.0, np.inf]))
    with pytest.raises(DataError, match=r"All training values are 2\.0"):
        fit_scaling(np.full((3, 2), 2.0))
    with pytest.raises(DataError, match="without spread"):
        fit_scaling(np.array([1e-5, 1e-4]), "log10", floor=1e-3)


def test_an_iterator_that_runs_dry_is_refused(dust):
    with pytest.raises(DataError, match="a generator, which can be read only once"):
        fit_scaling(day for day in dust)


def test_option_names_are_checked(dust):
    with pytest.raises(OptionError, match=r"Choose one of 'auto', 'log10'.*Did you mean"):
        fit_scaling(dust, "log1o")
    with pytest.raises(OptionError, match="Did you mean 'minmax'"):
        fit_scaling(dust, "log10", "min-max")
    with pytest.raises(OptionError, match="Unknown transform: 'auto'"):
        Scaling(transform="auto")
    with pytest.raises(OptionError, match=r"floor=0\.1 means nothing under transform='sqrt'"):
        fit_scaling(dust, "sqrt", floor=0.1)
    with pytest.raises(OptionError, match="scale=2 means nothing under transform='log10'"):
        fit_scaling(dust, "log10", scale=2)
    with pytest.raises(OptionError, match="floor is 0"):
        fit_scaling(dust, "log10", floor=0)
    with pytest.raises(OptionError, match="scale is -1"):
        fit_scaling(dust, "asinh", scale=-1)
    with pytest.raises(OptionError, match="spread 0"):
        Scaling(spread=0)


def test_arrays_of_any_rank_are_taken():
    assert fit_scaling([np.float64(1), np.float64(3)], "identity").center == 2
    assert Scaling(transform="log10").forward(np.float64(100)).item() == pytest.approx(2)
    assert Scaling(transform="log10").forward(np.empty((0, 3))).shape == (0, 3)


RAIN = np.array([0.0, 0.0, 0.0, 0.2, 3.0, 40.0])


@pytest.mark.parametrize("name", ["asinh", "log1p", "sqrt", "identity"])
def test_small_values_of_a_censored_record_become_exactly_its_smallest(name):
    scaling = dataclasses.replace(fit_scaling(RAIN, name), threshold=0.1, cap=60.0)
    made = scaling.forward(np.array([0.0, 0.04, 0.1001, 59.0, 1000.0]))
    found = scaling.inverse(np.append(made, [made[0] - 1e-4, np.nan]))
    np.testing.assert_array_equal(found[[0, 1, 5]], 0)
    np.testing.assert_allclose(found[2:5], [0.1001, 59, 60])
    assert np.isnan(found[6])
    threshold, least = scaling.censored
    np.testing.assert_allclose([threshold, least], scaling.forward(np.array([0.1, 0.0])))
    lazy = scaling.inverse(dsa.from_array(np.append(made, np.nan), chunks=2))
    np.testing.assert_array_equal(lazy.compute(), scaling.inverse(np.append(made, np.nan)))


def test_dry_values_under_a_floor_become_the_floor():
    scaling = fit_scaling(RAIN, "log10", floor=0.1)
    scaling = dataclasses.replace(scaling, threshold=0.15)
    assert scaling.least == 0.1
    np.testing.assert_allclose(scaling.inverse(scaling.forward(RAIN)), np.maximum(RAIN, 0.1))


def test_a_saved_scaling_has_threshold_and_cap_only_if_it_is_censored():
    plain = fit_scaling(RAIN, "sqrt")
    assert plain.censored is None
    assert {"threshold", "cap"}.isdisjoint(plain.to_dict())
    censored = dataclasses.replace(plain, threshold=0.1, cap=60.0)
    assert Scaling.from_dict(json.loads(json.dumps(censored.to_dict()))) == censored
    with pytest.raises(OptionError, match=r"threshold is -1"):
        dataclasses.replace(plain, threshold=-1.0)


@pytest.mark.parametrize("name", ["log1p", "sqrt"])
def test_zeros_that_rounding_made_negative_are_zeros(name):
    noisy = np.where(RAIN == 0, -2e-16, RAIN)
    found = fit_scaling(noisy, name)
    assert found == fit_scaling(RAIN, name)
    np.testing.assert_array_equal(found.forward(noisy), found.forward(RAIN))
    assert found.forward(noisy[:2]).tolist() == found.forward(RAIN[:2]).tolist()
    assert choose_transform(noisy).transform == choose_transform(RAIN).transform
    with pytest.raises(DataError, match="negative"):
        fit_scaling(RAIN - 0.01, name)


def test_auto_takes_the_root_of_a_record_with_many_zeros(rng):
    rain = rng.lognormal(0, 1.5, size=(400, 5, 5)) * (rng.random((400, 5, 5)) < 0.3)
    found = choose_transform(rain)
    assert found.transform == "sqrt"
    assert "of the values are 0" in found.reason
    some = np.where(rain > 0, rain, 1e-3)
    some[0, 0, 0] = 0
    assert choose_transform(some).transform != "sqrt"
    assert choose_transform(rain, floor=0.01).transform != "sqrt"
