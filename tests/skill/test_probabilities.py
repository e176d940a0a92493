"""Probabilities of events, the CRPS in parts, SAL and comparisons, against other libraries."""

from __future__ import annotations

import numpy as np
import pytest
import scores
import scoringrules
import xarray as xr
from scipy import stats
from sklearn.metrics import brier_score_loss, roc_auc_score

import xdownscale as xd
from xdownscale.core.errors import DataError, OptionError, TimeAxisError, XDownscaleWarning
from xdownscale.skill import compare, crps_decomposition, reliability, sal, twcrps

M = 6


def pair(seed: int = 0, days: int = 25):
    """Return an ensemble (realization, time, lat, lon) and a truth with gaps."""
    rng = np.random.default_rng(seed)
    edges = {
        "time": xr.date_range("2000-01-01", periods=days),
        "lat": [10.0, 11.0, 12.0],
        "lon": np.arange(4.0),
    }
    centre = rng.gamma(2, 3, size=(days, 3, 4))
    truth = xr.DataArray(centre + rng.normal(size=centre.shape), coords=edges)
    truth = truth.assign_attrs(units="mm").where(rng.random(truth.shape) > 0.05)
    members = centre + rng.normal(0.4, 0.8, size=(M, *centre.shape))
    ensemble = xr.DataArray(members, coords={"realization": np.arange(M), **edges})
    return ensemble.assign_attrs(units="mm"), truth


def flat(ensemble, truth):
    good = truth.notnull().values
    return ensemble.values[:, good], truth.values[good]


# --- probabilities -------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [3.0, 6.0, 12.0])
def test_brier_and_roc_are_those_of_scikit_learn_and_scores(level):
    ensemble, truth = pair()
    x, y = flat(ensemble, truth)
    chance = (x > level).mean(0)
    found = reliability(ensemble, truth, level).isel(threshold=0)
    assert found.brier.item() == pytest.approx(brier_score_loss(y > level, chance))
    assert found.roc_area.item() == pytest.approx(roc_auc_score(y > level, chance))
    assert found.roc_skill.item() == pytest.approx(2 * found.roc_area.item() - 1)
    theirs = scores.probability.brier_score(
        (ensemble > level).mean("realization").where(truth.notnull()),
        (truth > level).where(truth.notnull()).astype(float),
    )
    assert found.brier.item() == pytest.approx(theirs.item())


def test_the_brier_score_is_the_sum_of_its_parts():
    found = reliability(*pair(), [3, 6, 12])
    parts = found.brier_reliability - found.brier_resolution + found.brier_uncertainty
    np.testing.assert_allclose(found.brier, parts)
    np.testing.assert_allclose(found.brier_skill, 1 - found.brier / found.brier_uncertainty)
    pooled = (found.brier_daily * pair()[1].notnull().sum(["lat", "lon"])).sum("time")
    np.testing.assert_allclose(pooled / pair()[1].notnull().sum(), found.brier)


def test_the_diagram_counts_days_and_pixels_by_probability():
    ensemble, truth = pair()
    x, y = flat(ensemble, truth)
    above = (x > 6).sum(0)
    found = reliability(ensemble, truth, 6).isel(threshold=0)
    assert found["count"].values.tolist() == np.bincount(above, minlength=M + 1).tolist()
    right = [np.mean(y[above == k] > 6) if (above == k).any() else np.nan for k in range(M + 1)]
    np.testing.assert_allclose(found.frequency, right)
    event = y > 6
    for k in range(M + 1):
        assert found.hit_rate.values[k] == pytest.approx(np.mean(above[event] >= k))
        assert found.false_alarm_rate.values[k] == pytest.approx(np.mean(above[~event] >= k))


def test_an_event_that_never_comes_has_no_roc_and_a_single_field_is_0_or_1():
    ensemble, truth = pair()
    found = reliability(ensemble, truth, 1e4)
    assert np.isnan(found.roc_area).all()
    assert np.isnan(found.brier_skill).all()
    assert (found.brier == 0).all()
    one = reliability(ensemble.isel(realization=0), truth, 6).isel(threshold=0)
    x, y = flat(ensemble, truth)
    assert one.brier.item() == pytest.approx(np.mean((x[0] > 6) != (y > 6)))
    assert one.probability.values.tolist() == [0, 1]


def test_weights_and_laziness():
    ensemble, truth = pair()
    weights = xr.DataArray(
        np.arange(12.0).reshape(3, 4), coords={"lat": truth.lat, "lon": truth.lon}
    )
    found = reliability(ensemble, truth, quantiles=[0.5], weights=weights)
    level = found.threshold.values[0]
    chance = (ensemble > level).mean("realization")
    square = ((chance - (truth > level)) ** 2).where(truth.notnull())
    right = square.weighted(weights).mean().item()
    assert found.brier.item() == pytest.approx(right)
    lazy = reliability(ensemble.chunk(time=4), truth.chunk(time=7), 6)
    assert lazy.brier.chunks is not None
    xr.testing.assert_allclose(lazy.load(), reliability(ensemble, truth, 6))


@pytest.mark.parametrize("tail", ["upper", "lower"])
def test_twcrps_is_that_of_scores_and_scoringrules(tail):
    ensemble, truth = pair()
    found = twcrps(ensemble, truth, [5.0, 8.0], tail=tail)
    assert found.dims == ("threshold", "time")
    assert found.attrs["units"] == "mm"
    for k, level in enumerate((5.0, 8.0)):
        theirs = scores.probability.tail_tw_crps_for_ensemble(
            ensemble, truth, "realization", level, tail=tail, method="fair", preserve_dims="time"
        )
        np.testing.assert_allclose(found[k], theirs, rtol=1e-10, atol=1e-14)
    x, y = flat(ensemble, truth)
    ends = {"a": 5.0} if tail == "upper" else {"b": 5.0}
    other = scoringrules.twcrps_ensemble(y, x.T, estimator="fair", **ends).mean()
    counts = truth.notnull().sum(["lat", "lon"])
    assert ((found[0] * counts).sum() / counts.sum()).item() == pytest.approx(other)


def test_the_twcrps_of_a_threshold_below_everything_is_the_crps():
    ensemble, truth = pair()
    np.testing.assert_allclose(
        twcrps(ensemble, truth, -1e3).isel(threshold=0), xd.skill.crps(ensemble, truth)
    )


# --- Hersbach -------------------------------------------------------------------------------------


def hersbach(x, y):
    """Equations 26 to 37 of the paper, one case and one bin at a time."""
    x = np.sort(x, axis=0)
    members, cases = x.shape
    alpha, beta = np.zeros(members + 1), np.zeros(members + 1)
    below = above = 0
    for j in range(cases):
        for i in range(1, members):
            low, high = x[i - 1, j], x[i, j]
            alpha[i] += min(max(y[j] - low, 0), high - low)
            beta[i] += min(max(high - y[j], 0), high - low)
        if y[j] < x[0, j]:
            beta[0] += x[0, j] - y[j]
            below += 1
        if y[j] > x[-1, j]:
            alpha[-1] += y[j] - x[-1, j]
            above += 1
    alpha, beta = alpha / cases, beta / cases
    g, o = alpha + beta, beta / np.maximum(alpha + beta, 1e-300)
    o[0], g[0] = below / cases, beta[0] * cases / max(below, 1)
    o[-1], g[-1] = 1 - above / cases, alpha[-1] * cases / max(above, 1)
    p = np.arange(members + 1) / members
    return (g * (o - p) ** 2).sum(), (g * o * (1 - o)).sum()


def test_the_decomposition_is_that_of_the_papers_equations():
    ensemble, truth = pair()
    x, y = flat(ensemble, truth)
    found = crps_decomposition(ensemble, truth)
    reliable, potential = hersbach(x, y)
    assert found.reliability.item() == pytest.approx(reliable)
    assert found.potential.item() == pytest.approx(potential)
    whole = scoringrules.crps_ensemble(y, x.T, estimator="nrg").mean()
    assert found.crps.item() == pytest.approx(whole)
    own = np.abs(y[:, None] - y).mean() / 2
    assert found.uncertainty.item() == pytest.approx(own)
    assert found.resolution.item() == pytest.approx(own - potential)
    lazy = crps_decomposition(ensemble.chunk(time=6), truth.chunk(time=6))
    xr.testing.assert_allclose(lazy, found)


def test_a_reliable_ensemble_has_no_reliability_part_and_a_biased_one_has():
    rng = np.random.default_rng(1)
    draws = rng.normal(size=(41, 400, 3, 4))
    edges = {"time": xr.date_range("2000-01-01", periods=400), "lat": np.arange(3.0)}
    edges["lon"] = np.arange(4.0)
    truth = xr.DataArray(draws[0], coords=edges)
    ensemble = xr.DataArray(draws[1:], dims=("realization", "time", "lat", "lon"), coords=edges)
    good = crps_decomposition(ensemble, truth)
    assert good.reliability < 2e-3
    assert good.resolution == pytest.approx(0, abs=0.02)  # it knows no more
    assert crps_decomposition(ensemble + 1, truth).reliability > 0.1


def test_one_member_cannot_be_decomposed():
    ensemble, truth = pair()
    with pytest.raises(DataError, match="needs an ensemble"):
        crps_decomposition(ensemble.isel(realization=0), truth)
    with pytest.raises(OptionError, match="tail"):
        twcrps(ensemble, truth, 3, tail="both")


# --- SAL ------------------------------------------------------------------------------------------


def field(*objects):
    da = xr.DataArray(
        np.zeros((21, 31)), coords={"lat": np.arange(21.0) - 10, "lon": np.arange(31.0)}
    )
    for rows, columns, value in objects:
        da[rows, columns] = value
    return da


def parts(p, t, **options):
    found = sal(p, t, **options)
    return [float(found[name]) for name in ("structure", "amplitude", "location")]


def test_sal_of_the_cases_of_wernli_by_hand():
    truth = field((slice(8, 11), slice(4, 8), 5.0))
    assert parts(truth, truth) == pytest.approx([0, 0, 0])
    moved = field((slice(8, 11), slice(14, 18), 5.0))
    longest = np.hypot(20 * 110.574, 30 * 111.32)  # km of a degree at the equator
    assert parts(moved, truth) == pytest.approx([0, 0, 10 * 111.32 / longest], rel=1e-3)
    assert parts(3 * truth, truth) == pytest.approx([0, 2 * 2 / 4, 0])
    # as much rain on twice the area: flat objects are too large, S = 2 (24 - 12) / 36
    wide = field((slice(8, 11), slice(2, 10), 2.5))
    assert parts(wide, truth) == pytest.approx([2 * 12 / 36, 0, 0], abs=1e-12)
    # one object or two halves of it at the same centre: the second part of L alone
    halves = field((slice(8, 11), slice(0, 2), 5.0), (slice(8, 11), slice(10, 12), 5.0))
    structure, amplitude, location = parts(halves, truth)
    assert structure == pytest.approx(2 * (6 - 12) / 18)
    assert amplitude == 0
    assert location == pytest.approx(2 * 5 * 111.32 / longest, rel=1e-3)


def test_sal_takes_the_threshold_that_is_asked():
    truth = field((slice(8, 11), slice(4, 8), 5.0), (slice(0, 2), slice(20, 22), 0.5))
    whole = parts(truth, field((slice(8, 11), slice(4, 8), 5.0)), factor=0.05, quantile=None)
    cut = parts(truth, field((slice(8, 11), slice(4, 8), 5.0)), factor=0.5, quantile=None)
    assert whole[0] != pytest.approx(0)
    assert cut[0] == pytest.approx(0)


def test_sal_of_dry_fields_gaps_days_and_chunks():
    truth = field((slice(8, 11), slice(4, 8), 5.0))
    with pytest.warns(XDownscaleWarning, match="No day has rain of 0.1 or more"):
        assert np.isnan(parts(0 * truth, truth)).all()
    holed = truth.where(truth.lon < 25)
    far = field((slice(8, 11), slice(4, 8), 5.0), (slice(0, 3), slice(27, 30), 9.0))
    assert parts(far, holed) == pytest.approx([0, 0, 0])
    days = xr.concat(
        [truth, 2 * truth], xr.Variable("time", xr.date_range("2000-01-01", periods=2))
    )
    lazy = sal(3 * days.chunk(time=1), days.chunk(time=1))
    np.testing.assert_allclose(lazy.amplitude, [1, 1])
    for wrong in ({"factor": 0}, {"quantile": 2}, {"wet": -1}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            sal(truth, truth, **wrong)


# --- comparisons ----------------------------------------------------------------------------------


def white(seed, days=200, bias=0.0):
    rng = np.random.default_rng(seed)
    edges = {"time": xr.date_range("2000-01-01", periods=days), "lat": [0.0, 1.0], "lon": [0.0, 1]}
    truth = xr.DataArray(np.zeros((days, 2, 2)), coords=edges)
    return truth + bias + rng.normal(size=truth.shape), truth


def test_an_interval_of_white_differences_is_that_of_the_t_distribution():
    a, truth = white(1)
    b = white(2)[0]
    found = compare(a, b, truth, "mae", block=1, draws=4000)
    apart = (xd.skill.mae(a, truth) - xd.skill.mae(b, truth)).values
    assert found.difference.item() == pytest.approx(apart.mean())
    interval = stats.t.interval(0.95, 199, apart.mean(), stats.sem(apart))
    width = interval[1] - interval[0]
    assert found.low.item() == pytest.approx(interval[0], abs=0.06 * width)
    assert found.high.item() == pytest.approx(interval[1], abs=0.06 * width)
    right = stats.ttest_1samp(apart, 0).pvalue
    assert found.p_value.item() == pytest.approx(right, abs=0.04)


def test_equal_models_are_rarely_significant_and_unequal_ones_are():
    p = [
        compare(white(2 * k)[0], white(2 * k + 1)[0], white(0)[1], draws=300).p_value
        for k in range(40)
    ]
    assert np.mean(np.array(p) < 0.05) < 0.2
    worse_one, truth = white(3, bias=0.5)
    found = compare(worse_one, white(4)[0], truth)
    assert found.p_value < 0.01
    assert found.difference > 0
    assert found.attrs["score"] == "rmse"
    assert compare(worse_one, worse_one, truth).p_value == 1


def test_days_that_depend_on_each_other_make_the_interval_wider():
    rng = np.random.default_rng(0)
    noise = np.zeros(400)
    for k in range(1, 400):
        noise[k] = 0.9 * noise[k - 1] + rng.normal()
    edges = {"time": xr.date_range("2000-01-01", periods=400), "lat": [0.0, 1.0], "lon": [0.0, 1]}
    truth = xr.DataArray(np.zeros((400, 2, 2)), coords=edges)
    a = truth + noise[:, None, None]
    single = compare(a, 0 * truth, truth, "bias", block=1)
    blocks = compare(a, 0 * truth, truth, "bias")
    assert blocks.attrs["block"] > 10
    assert (blocks.high - blocks.low) > 2 * (single.high - single.low)


def test_any_score_of_each_day_can_be_compared():
    ensemble, truth = pair()
    found = compare(
        ensemble,
        ensemble + 3,
        truth,
        lambda p, t: reliability(p, t, 6).brier_daily.isel(threshold=0, drop=True),
    )
    assert found.difference < 0
    right = reliability(ensemble, truth, 6).brier_daily.mean().item()
    assert found.a.item() == pytest.approx(right)
    assert compare(ensemble, ensemble + 3, truth, "crps").p_value < 0.01
    with pytest.raises(DataError, match="over time alone"):
        compare(ensemble, ensemble, truth, "rmse")
    with pytest.raises(DataError, match="float"):
        compare(ensemble, ensemble, truth, lambda p, t: 1.0)
    with pytest.raises(OptionError, match="score"):
        compare(ensemble, ensemble, truth, "rmsee")
    with pytest.raises(OptionError, match="function of"):
        compare(ensemble, ensemble, truth, 3)
    with pytest.raises(OptionError, match="level"):
        compare(ensemble, ensemble, truth, "crps", level=95)
    with pytest.raises(TimeAxisError, match="4 or more"):
        compare(ensemble[:, :3], ensemble[:, :3], truth[:3], "crps")


def test_a_reliability_diagram_is_drawn():
    import matplotlib as mpl

    mpl.use("agg")
    ensemble, truth = pair()
    found = reliability(ensemble, truth, 6)
    ax = xd.plot.reliability({"one": found, "moved": reliability(ensemble + 1, truth, 6)})
    assert len(ax.collections) == 2
    np.testing.assert_allclose(
        ax.collections[0].get_offsets()[:, 1],
        found.frequency.isel(threshold=0).dropna("probability"),
    )
    assert xd.plot.reliability(found).get_xlim() == (0, 1)
    with pytest.raises(DataError, match="threshold"):
        xd.plot.reliability(reliability(ensemble, truth, [3, 6]))
