"""Each known failure is made on purpose, and found."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xdownscale as xd
from records import fitted_of, make_blocks
from xdownscale.core.errors import DataError, OptionError
from xdownscale.core.normalization import Scaling
from xdownscale.prediction import diagnostics


def small(**data):
    """Return preset `fast` with networks that learn in a second."""
    known = {"extrapolate": "nearest", "crop": 16, "transform": "identity"}
    return xd.preset(
        "fast",
        network={"channels": (8, 8), "encoder_channels": (8, 8)},
        training={"epochs": 1, "pretrain_epochs": 1, "mean_epochs": 1},
        data=known | data,
    )


@pytest.fixture(scope="module")
def pair():
    return make_blocks(120, 5, slice(10, 100))


@pytest.fixture(scope="module")
def model(pair):
    config = small()
    return pair[0].downscale.fit(pair[1], preset=config, progress=False)


def test_all_signatures_are_measured_and_said(pair, model):
    found = model.check(*pair, days=6, realizations=4)
    of_others = {"latent", "patch collapse"}  # of methods with latent numbers, and of patches
    names = [s.name for s in diagnostics.SIGNATURES if s.name not in of_others]
    assert list(found.index[: len(names)]) == names
    octaves = found.index[len(names) :]
    assert len(octaves) >= 2
    assert all(re.fullmatch(r"spread at [\d.e+]+ to [\d.e+]+ km", name) for name in octaves)
    measured = found.drop("seams")
    assert np.isfinite(measured.value).all()
    assert found.loc["seams", "verdict"] == "not measured"
    for _, row in measured.iterrows():
        inside = row.low <= row.value <= row.high
        assert inside == (row.verdict == "good")
        assert row.sentence[0].isupper()
        assert row.sentence.endswith(".")


def test_the_model_is_compared_with_the_best_baseline_on_days_that_neither_saw(pair):
    """The baseline of a model without a network is that model."""
    coarse, fine = pair
    data = {"extrapolate": "nearest", "transform": "identity"}
    model = coarse.downscale.fit(fine, preset=xd.preset("dressed", data=data), progress=False)
    found = model.check(coarse, fine, days=8, realizations=24).loc["baseline"]
    assert found.value == pytest.approx(1, abs=0.1)
    words = (
        r"CRPS [\d.]+, that of the best baseline, .+, [\d.]+: [\d.]+ \+- [\d.e-]+ of it, on 8 held"
    )
    assert re.match(words, found.sentence)
    spoilt = fine.where(~fine.time.isin(model.days("test")), 50 + fine)
    fitted = fitted_of(model)
    days = model.days("test")
    for record in (fine, spoilt):
        train = diagnostics._training_days(fitted, record, days)
        assert not np.isin(train.time, days).any()
        assert train.sizes["time"] > 0.6 * fine.sizes["time"]
        assert float(train.max()) < 20


PLAIN = Scaling(transform="identity")


@pytest.fixture
def fields():
    """Truth and an ensemble that is calibrated: the truth is one more member."""
    rng = np.random.default_rng(1)
    mean = rng.normal(size=(10, 30, 30))
    return mean, mean + rng.normal(size=(9, 10, 30, 30))


def test_a_calibrated_ensemble_is_found_good(fields):
    _, members = fields
    good = (members[:8], members[8])
    assert diagnostics._spread(*good) == pytest.approx(1, abs=0.03)
    assert diagnostics._extremes(*good, PLAIN) == pytest.approx(1, abs=0.1)
    assert diagnostics._ratio(*good, diagnostics._semivariance) == pytest.approx(1, abs=0.03)
    assert diagnostics._ratio(*good, lambda x: x.std((-2, -1))) == pytest.approx(1, abs=0.03)


def test_collapse_smoothing_and_too_little_spread_are_found(fields):
    mean, members = fields
    flat = (np.full((4, 10, 30, 30), 2.0), members[8])
    assert diagnostics._ratio(*flat, lambda x: x.std((-2, -1))) == 0
    timid = (mean + 0.3 * (members[:8] - mean), members[8])
    assert diagnostics._spread(*timid) < 0.4
    smooth = ((members[:8] + np.roll(members[:8], 1, -1)) / 2, members[8])
    assert diagnostics._ratio(*smooth, diagnostics._semivariance) < 0.8
    clipped = (np.clip(members[:8], -1, 1), members[8])
    assert diagnostics._extremes(*clipped, PLAIN) < 0.8
    table = diagnostics._table(
        dict.fromkeys([s.name for s in diagnostics.SIGNATURES], 1.0) | {"collapse": 0.0}
    )
    assert "collapsed" in table.loc["collapse", "sentence"]


def test_the_crps_is_that_of_the_scores(fields):
    _, members = fields
    given = (members[:8], members[8])
    dims = ("time", "lat", "lon")
    coords = {
        "lat": np.arange(30.0),
        "lon": np.arange(30.0),
        "time": pd.date_range("2000", periods=10),
    }
    ours = xr.DataArray(given[0], coords, ("realization", *dims))
    truth = xr.DataArray(given[1], coords, dims)
    expected = xd.skill.crps(ours, truth, transform=None).mean().item()
    assert diagnostics._crps(*given) == pytest.approx(expected, rel=1e-6)


def test_a_trend_is_counted_in_standard_errors():
    rng = np.random.default_rng(2)
    x = np.arange(50.0)
    flat = [diagnostics._trend(x, rng.normal(size=50)) for _ in range(200)]
    assert np.std(flat) == pytest.approx(1, abs=0.15)
    assert diagnostics._trend(x, 0.1 * x + rng.normal(size=50)) > 5
    assert np.isnan(diagnostics._trend(x[:5], x[:5]))
    assert np.isnan(diagnostics._trend(x, np.zeros(50)))


def test_the_worth_of_the_encoder_is_measured_on_other_days(pair, model):
    other = fitted_of(model)
    found = model.check(*pair, days=4, realizations=2).loc["negative transfer"]
    assert found.value != 1.0
    bare = xd.preset("fast", network={"encoder": "none"}).network
    assert bare.encoder == "none"
    assert other.config.network.encoder == "frozen"


def test_what_cannot_be_checked(pair, model):
    coarse, fine = pair
    with pytest.raises(OptionError, match="days is 1 and realizations 8"):
        model.check(coarse, fine, days=1)
    with pytest.raises(DataError, match="fewer than two test or validation days"):
        model.check(coarse, fine.isel(time=slice(5)))


def test_gaps_of_the_truth_are_gaps_of_the_ensemble(pair, model, monkeypatch):
    coarse, fine = pair
    rng = np.random.default_rng(3)
    members = rng.normal(size=(9, *fine.shape))
    gappy = rng.uniform(size=fine.shape) < 0.4
    truth = fine.copy(data=np.where(gappy, np.nan, members[8]))
    maps = xr.DataArray(members[:8], fine.coords, ("realization", *fine.dims), name="t")
    monkeypatch.setattr(diagnostics, "predict_maps", lambda fitted, coarse, request: maps)
    found = diagnostics._generated(fitted_of(model), coarse, truth, None)
    assert diagnostics._ratio(*found, diagnostics._semivariance) == pytest.approx(1, abs=0.02)
    assert diagnostics._ratio(*found, lambda x: np.nanstd(x, (-2, -1))) == pytest.approx(
        1, abs=0.02
    )
    assert diagnostics._spread(*found) == pytest.approx(1, abs=0.02)


def test_days_at_the_end_of_the_coarse_record_are_left_out(pair):
    coarse, fine = pair
    config = small()
    short = coarse.sel(time=slice(None, fine.time[-1].values))
    fitted = short.downscale.fit(fine, preset=config, progress=False)
    assert fitted.days("test").values[-1] == short.time.values[-1]
    assert np.isfinite(fitted.check(short, fine, days=30, realizations=2).loc["spread", "value"])


def test_drift_looks_at_the_coarse_cells_under_the_maps(pair):
    _, fine = pair
    rng = np.random.default_rng(5)
    time = pd.date_range("2000-01-01", periods=120)
    outer = np.arange(-5.0, 16, 2)
    values = rng.normal(size=(120, outer.size, outer.size))
    wide = xr.DataArray(values, {"time": time, "lat": outer, "lon": outer}, name="t")
    # an encoder would see the whole coarse record, and the maps themselves would change
    config = small(extrapolate=None, regrid="bilinear").replace(network={"encoder": "none"})
    fitted = wide.downscale.fit(fine, preset=config, pairing="paired", progress=False)
    covered = diagnostics._covered(fitted_of(fitted))
    assert covered.sum() == 25  # of 121
    trend = xr.DataArray(np.linspace(0, 5, 120), dims="time")
    far = (abs(wide.lat - 5) > 7.5) | (abs(wide.lon - 5) > 7.5)
    drifts = [
        fitted.check(record, fine, days=4, realizations=2).loc["drift", "value"]
        for record in (wide, wide.where(~far, wide + trend))
    ]
    assert drifts[1] == pytest.approx(drifts[0], rel=1e-6)


def test_a_target_without_a_driver_of_its_own_has_no_drift(pair):
    coarse, fine = pair
    other = np.exp(fine.rename("rain"))
    config = small(transform="auto")
    fitted = xd.Downscaler(config, progress=False).fit(coarse, other, drivers={"rain": None})
    found = fitted.check(coarse, other, days=4, realizations=2)
    assert found.loc["drift", "verdict"] == "not measured"
    assert np.isfinite(found.loc["spread", "value"])
