"""The measures that the benchmarks print, against closed forms and the library's own scores."""

from __future__ import annotations

import importlib
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import xdownscale as xd

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def scripts():
    """Return the benchmark scripts by name."""
    sys.path.insert(0, str(FOLDER))
    try:
        names = ("claims", "common", "journey", "stability", "unpaired")
        return {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def ensemble():
    rng = np.random.default_rng(0)
    return rng.normal(size=(6, 4, 9, 11)), rng.normal(size=(4, 9, 11))


def labelled(values):
    dims = ("realization", "time", "lat", "lon")[-values.ndim :]
    coords = {
        "lat": np.linspace(20, 24, values.shape[-2]),
        "lon": np.linspace(40, 45, values.shape[-1]),
        "time": np.arange("2000-01-01", "2000-01-05", dtype="M8[D]").astype("M8[ns]"),
    }
    return xr.DataArray(values, dims=dims, coords=coords)


@pytest.mark.parametrize("score", ["crps", "r2"])
def test_scores_agree_with_the_librarys(score, scripts, ensemble):
    members, truth = ensemble
    ours = getattr(scripts["common"], score)
    if score == "crps":
        found, other = ours(members, truth), xd.skill.crps(labelled(members), labelled(truth))
    else:
        found, other = ours(members[0], truth), xd.skill.r2(labelled(members[0]), labelled(truth))
    np.testing.assert_allclose(found, float(other.mean()), rtol=1e-6)


def test_measures_of_a_calibrated_ensemble(scripts):
    rng, common = np.random.default_rng(1), scripts["common"]
    mean = rng.normal(size=(20, 60, 60))
    members, truth = mean + rng.normal(size=(8, 20, 60, 60)), mean + rng.normal(size=(20, 60, 60))
    assert common.spread_skill(members, truth) == pytest.approx(1, abs=0.01)
    assert common.spread_skill(0.5 * members + 0.5 * mean, truth) < 0.6
    assert np.abs(scripts["claims"].ranks(members, truth) - 1).max() < 0.05
    # white noise has its variance as semivariance at every shift; a plane has half its squared step
    assert common.semivariance(truth - mean, 4) == pytest.approx(1, abs=0.02)
    plane = np.add.outer(3.0 * np.arange(20), np.zeros(20))[None]
    assert common.semivariance(plane, 2) == pytest.approx(0.5 * (36 + 0) / 2)


def test_a_trend_and_its_error(scripts):
    trend, rng = scripts["stability"].trend, np.random.default_rng(2)
    change, error = trend(np.linspace(1, 4, 50) + 1e-9 * rng.normal(size=50))
    assert change == pytest.approx(3)
    assert error < 1e-6
    scores = []
    for _ in range(400):  # no trend, and days that remember the day before
        series = rng.normal(size=365)
        for day in range(1, 365):
            series[day] += 0.6 * series[day - 1]
        change, error = trend(series)
        scores.append(change / error)
    assert np.std(scores) == pytest.approx(1, abs=0.15)


def test_autocorrelation_of_an_autoregression(scripts):
    rng = np.random.default_rng(3)
    series = rng.normal(size=(2, 400, 20, 20))
    for day in range(1, 400):
        series[:, day] = 0.7 * series[:, day - 1] + np.sqrt(1 - 0.49) * series[:, day]
    days, measure = np.arange(400) * np.timedelta64(1, "D"), scripts["stability"].autocorrelation
    np.testing.assert_allclose(measure(series, days), 0.7 ** np.arange(1, 6), atol=0.02)
    # runs of 18 days with gaps between them are no neighbours
    kept = np.flatnonzero(np.arange(400) % 40 < 18)
    found = measure(series[:, kept], days[kept])
    np.testing.assert_allclose(found, 0.7 ** np.arange(1, 6), atol=0.04)


def test_days_are_cut_at_gaps(scripts):
    days = np.array(["2000-01-01", "2000-01-02", "2000-01-05", "2000-01-06"], "M8[ns]")
    first, second = scripts["common"].stretches(days)
    assert first.tolist() == days[:2].tolist()
    assert second.tolist() == days[2:].tolist()
    assert len(scripts["common"].stretches(days[2:])) == 1


def test_the_shortest_of_calls_that_take_turns(scripts):
    seen = []
    found = scripts["common"].shortest(lambda: seen.append("a"), lambda: seen.append("b"))
    assert "".join(seen) == "ababab"
    assert len(found) == 2
    assert min(found) >= 0


def test_quantiles_and_spectra_see_a_field_that_is_ten_times_larger(scripts):
    rng = np.random.default_rng(4)
    field = labelled(10 ** rng.normal(size=(4, 16, 16)))
    unpaired = scripts["unpaired"]
    np.testing.assert_allclose(unpaired.quantiles(10 * field), unpaired.quantiles(field) + 1)
    np.testing.assert_allclose(unpaired.spectrum(10 * field), unpaired.spectrum(field), atol=1e-9)
    rougher = unpaired.spectrum(field**2)  # twice the amplitude in log10
    np.testing.assert_allclose(rougher, unpaired.spectrum(field) + np.log(4), atol=1e-9)


def test_functions_that_a_call_enters(scripts):
    tracer, expected = scripts["journey"].Tracer(), xd.preset("fast")
    config, found = tracer.entered(lambda: xd.preset("fast"))
    assert config == expected
    names = [name for functions in found.values() for name in functions]
    assert "preset" in names
    assert not any("<lambda>" in name or "<module>" in name for name in names)
    with ThreadPoolExecutor(1) as pool:
        _, in_thread = tracer.entered(lambda: pool.submit(xd.preset, "fast").result())
    assert in_thread == found
    assert tracer.entered(lambda: None)[1] == {}
