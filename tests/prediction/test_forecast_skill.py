"""Skill of the first stage: against closed forms, scikit-learn, and the days that it never saw."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xdownscale as xd
from records import fast_config, fitted, fitted_of, make_pair, make_record
from xdownscale.core.errors import (
    ModelMismatchError,
    OptionError,
    TimeAxisError,
    XDownscaleWarning,
)
from xdownscale.prediction.forecast_skill import ROWS, pooled_r2

pytestmark = pytest.mark.filterwarnings("ignore::xdownscale.core.errors.XDownscaleWarning")
PHI = 0.7


def ar1_pair(days, phi=PHI, shape=(8, 8), seed=0, climate=4):
    """Return a coarse record of cells that are AR(1), and a fine one of its last 60 days."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(days, *shape))
    for day in range(1, days):
        values[day] = phi * values[day - 1] + np.sqrt(1 - phi**2) * values[day]
    values += np.linspace(0, climate, shape[1])
    coords = {
        "time": xr.date_range("2000-01-01", periods=days),
        "lat": np.arange(shape[0]) + 0.5,
        "lon": np.arange(shape[1]) + 0.5,
    }
    coarse = xr.DataArray(values, coords, name="t", attrs={"units": "K"})
    fine = coarse[-60:].interp(
        lat=np.arange(0.25, shape[0], 0.5),
        lon=np.arange(0.25, shape[1], 0.5),
        kwargs={"fill_value": "extrapolate"},
    )
    return coarse, fine.assign_attrs(coarse.attrs)


def fit(coarse, fine, **sections):
    sections = {
        "method": "unet",
        "data": {"lags": 1, "window": 1, "extrapolate": "nearest"},
    } | sections
    return coarse.downscale.fit(fine, preset=fast_config(**sections), progress=False)


@pytest.fixture(scope="module")
def weather():
    return make_pair(60)[0]["t"]


def test_of_an_ar1_process_no_more_than_phi_squared_can_be_known():
    coarse, fine = ar1_pair(500, climate=0)
    model = fit(
        coarse,
        fine,
        network={"forecaster": "pointwise"},
        diffusion={"loss": "mse"},
        training={"pretrain_epochs": 12, "epochs": 1, "learning_rate": 2e-2},
    )
    fresh = ar1_pair(1000, climate=0, seed=1)[0]
    table = model.forecast_skill(fresh, time=fresh.time[-700:])["physical"]
    known = table.loc["AR(1) of each cell", "r2_pooled"]
    assert known == pytest.approx(PHI**2, abs=0.01)
    assert PHI**2 - 0.02 < table.loc["model", "r2_pooled"] < PHI**2 + 0.01
    assert PHI**2 - 0.05 < table.loc["model", "r2"] < PHI**2  # the mean of 64 cells is its own
    assert known - 0.02 < table.loc["model", "r2_pooled"] < known + 0.005
    assert table.loc["persistence", "r2_pooled"] == pytest.approx(2 * PHI - 1, abs=0.02)


def test_the_free_rows_have_their_closed_forms():
    """Mean squared errors: 2 (1 - phi^L) of persistence, 1 of climatology, 1 - phi^2L of AR(1)."""
    coarse, fine = ar1_pair(2000)
    model = fit(coarse, fine, data={"lags": 1}, network={"forecaster": "pointwise"})
    time = coarse.time[-1000:-20]
    for lead in (1, 3):
        table = model.forecast_skill(coarse, lead=lead, time=time)["physical"]
        expected = [2 * (1 - PHI**lead), 1, 1 - PHI ** (2 * lead)]
        np.testing.assert_allclose(table["rmse"].iloc[1:] ** 2, expected, rtol=0.05)
        total = coarse.sel(time=time).var().item()
        np.testing.assert_allclose(
            table["r2_pooled"].iloc[1:], 1 - np.array(expected) / total, atol=0.02
        )


def test_the_pooled_score_is_that_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(5, 4, 3))
    ours = truth + rng.normal(size=truth.shape)
    expected = sklearn.r2_score(truth.ravel(), ours.ravel())
    assert pooled_r2(ours, truth) == pytest.approx(expected, abs=1e-12)
    gone = np.where(rng.random(truth.shape) < 0.2, np.nan, truth)
    kept = ~np.isnan(gone)
    assert pooled_r2(ours, gone) == pytest.approx(
        sklearn.r2_score(truth[kept], ours[kept]), abs=1e-12
    )
    assert np.isnan(pooled_r2(ours, np.ones_like(ours)))


def test_rows_columns_and_the_line_of_the_repr(weather):
    model = fitted("fast")
    table = model.forecast_skill(weather)
    assert tuple(table.index) == ROWS
    assert table.index.name == "forecast"
    units = list(dict.fromkeys(table.columns.get_level_values(0)))
    assert list(table.columns) == [
        (unit, score) for unit in units for score in ("mae", "r2", "r2_pooled", "rmse")
    ]
    first = table[units[0], "r2"]
    line = f"r2 {first['model']:.2f} (persistence {first['persistence']:.2f})"
    found = [row.split(maxsplit=1) for row in repr(model).splitlines()]
    assert ["forecast", line] in found
    assert line in model._repr_html_()
    np.testing.assert_allclose(fitted_of(model).about.forecast, first.iloc[:2], rtol=1e-6)


def test_without_training_the_model_is_persistence(weather):
    model = fit(*(record["t"] for record in make_pair(60)), data={"lags": 2})
    state = model.models_["all"].state
    for name in ("weight", "bias"):
        state[f"forecaster.decoder.head.{name}"][:] = 0
    for lead in (1, 2):
        table = model.forecast_skill(weather, lead=lead)
        np.testing.assert_array_equal(table.loc["model"], table.loc["persistence"])


def test_forecasts_are_fed_back(weather):
    """Two steps at once are one step after another, done by hand."""
    import torch

    from xdownscale.fitting.fitted_model import sizes_of
    from xdownscale.models.networks.forecasters import forecast, load_forecaster

    held = fitted_of(fitted("fast"))
    group = held.any_group
    net = load_forecaster(group.state, held.config.network, sizes_of(held, group))
    lags = np.random.default_rng(0).normal(size=(3, 3, 1, 6, 5)).astype(np.float32)
    once = forecast(net, lags, 1)
    twice = forecast(net, np.concatenate([lags[:, 1:], once[:, None]], 1), 1)
    np.testing.assert_array_equal(forecast(net, lags, 2), twice)
    with torch.inference_mode():
        direct = net(torch.from_numpy(lags[:1, :, 0])).numpy()
    np.testing.assert_allclose(once[:1], direct, atol=1e-6)


@pytest.mark.parametrize("kind", ["fast", "paper"])
def test_the_days_that_are_judged_are_those_that_the_first_stage_never_saw(kind, monkeypatch):
    from xdownscale.models.training import stages
    from xdownscale.prediction import forecast_skill

    config = fitted(kind).config_
    seen = {}

    class Spy(stages.Stages):
        def pretrain(self, encoder):
            data = self.data
            seen["rows"] = np.union1d(data.coarse_targets, data.coarse_lags)
            super().pretrain(encoder)

    judged = []
    windows = forecast_skill._windows

    def spied(*args):
        found = windows(*args)
        judged.append(found.targets)
        return found

    monkeypatch.setattr(stages, "Stages", Spy)
    monkeypatch.setattr(forecast_skill, "_windows", spied)
    coarse, fine = (record["t"] for record in make_pair(60))
    model = coarse.downscale.fit(fine, preset=config, progress=False)
    model.forecast_skill(coarse)
    assert len(judged) == 2  # for the repr, and for the table
    for rows in judged:
        assert rows.size >= 4
        assert not np.intersect1d(rows, seen["rows"]).size


def test_it_survives_the_file(tmp_path, weather):
    model = fitted("paper")
    model.save(tmp_path / "m.xd")
    loaded = xd.load(tmp_path / "m.xd")
    xr.testing.assert_identical(
        loaded.forecast_skill(weather).to_xarray(), model.forecast_skill(weather).to_xarray()
    )
    assert repr(loaded) == repr(model)


def test_a_finetuned_encoder_is_judged_as_it_was_pretrained(weather):
    coarse, fine = (record["t"] for record in make_pair(60))
    models = [
        fit(coarse, fine, network={"encoder": encoder}, data={"lags": 2})
        for encoder in ("frozen", "finetuned")
    ]
    tables = [model.forecast_skill(weather) for model in models]
    np.testing.assert_array_equal(*tables)
    states = [model.models_["all"].state for model in models]
    name = "encoder.stem.weight"
    assert not np.array_equal(states[0][name], states[1][name])


def test_seasons_and_variables_have_rows_of_their_own():
    coarse, fine = make_pair(400, names=("t", "q"))
    config = fast_config(method="unet", data={"lags": 1})
    model = coarse.downscale.fit(
        fine, preset=config, seasons=("DJF", "JJA"), progress=False, drivers={"t": "t", "q": "q"}
    )
    table = model.forecast_skill(coarse)
    assert table.index.names == ["group", "variable", "forecast"]
    assert set(table.index.get_level_values("group")) == {"DJF", "JJA"}
    assert len(table) == 2 * 2 * len(ROWS)
    alone = model.forecast_skill(coarse, time=coarse.time[coarse.time.dt.month == 7][-20:])
    assert alone.index.names == ["variable", "forecast"]


def test_gaps_and_missing_cells_are_not_scored(weather):
    model = fitted("fast")
    days = model.days("test").values
    complete = model.forecast_skill(weather, time=days)
    holed = weather.copy()
    holed.loc[{"time": days[0]}] = np.nan
    rest = model.forecast_skill(holed, time=days)
    later = days[days > days[0] + np.timedelta64(3, "D")]
    np.testing.assert_allclose(
        rest.loc["model"], model.forecast_skill(weather, time=later).loc["model"]
    )
    assert not np.allclose(rest.loc["model"], complete.loc["model"])


def test_a_model_of_averages_is_judged_on_the_last_tenth():
    fine = make_pair(60)[1]["t"]
    other = make_pair(60, seed=5)[0]["t"]
    model = other.downscale.fit(
        fine, preset=fast_config(method="unet"), pairing="self", progress=False
    )
    assert "forecast" not in [line.split()[0] for line in repr(model).splitlines()]
    with pytest.warns(XDownscaleWarning, match="No time step of this record was held out"):
        table = model.forecast_skill(other)
    assert np.isfinite(table.to_numpy()).all()


def test_skewed_values_are_scored_in_both_units():
    coarse = make_record(1.0, days=80, margin=2.0)
    fine = make_record(0.25, days=60)
    model = coarse.downscale.fit(fine, preset=fast_config(method="unet"), progress=False)
    table = model.forecast_skill(coarse)
    assert list(dict.fromkeys(table.columns.get_level_values(0))) == ["log10", "physical"]
    assert table.loc["persistence", ("log10", "r2")] < 1


def test_a_model_without_a_forecaster_says_so(weather, tmp_path):
    coarse, fine = (record["t"] for record in make_pair(60))
    bare = fit(coarse, fine, network={"encoder": "none"}, data={"lags": 2})
    with pytest.raises(ModelMismatchError, match="fitted without an encoder"):
        bare.forecast_skill(weather)
    taken = coarse.downscale.fit(
        fine, preset=fast_config(method="unet"), encoder=fitted("fast"), progress=False
    )
    with pytest.raises(ModelMismatchError, match="took its encoder over from another model"):
        taken.forecast_skill(weather)
    for model in (bare, taken):
        assert "forecast" not in [line.split()[0] for line in repr(model).splitlines()]
    old = xd.load_pretrained("dust-twin-tiny")
    twin = xd.datasets.load_twin()
    with pytest.raises(ModelMismatchError, match=r"written by an earlier version\. Fit it again"):
        old.forecast_skill(twin.dust)


@pytest.mark.parametrize("lead", [0, -1])
def test_a_lead_of_nothing_is_refused(lead, weather):
    with pytest.raises(OptionError, match=f"lead is {lead}; give a whole number of"):
        fitted("fast").forecast_skill(weather, lead=lead)


def test_times_that_cannot_be_forecast_are_refused(weather):
    model = fitted("fast")
    with pytest.raises(TimeAxisError, match="No time step can be forecast"):
        model.forecast_skill(weather, time=weather.time[:2])
    with pytest.raises(TimeAxisError, match="not in the coarse record"):
        model.forecast_skill(weather, time=["2050-01-01"])
    with pytest.raises(TimeAxisError, match="No time step is left to estimate the climatology"):
        model.forecast_skill(weather, time=slice(None))
