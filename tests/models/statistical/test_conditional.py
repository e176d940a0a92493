"""Random waves and conditional simulation: covariances, kriging mean and variance, keys."""

from __future__ import annotations

import dataclasses

import gstools
import numpy as np
import pytest
from scipy import sparse

from xdownscale.core.errors import DataError, ModelFormatError, OptionError
from xdownscale.models.statistical.conditional import ConditionalSimulation, KrigingOptions
from xdownscale.models.statistical.kriging import Blocks, solve
from xdownscale.models.statistical.simulation import WaveField, wave_numbers
from xdownscale.models.statistical.variogram import Curve, Variogram, fit, measure

VARIOGRAMS = (
    Variogram(effective_range=60.0, psill=2.0),
    Variogram(model="spherical", effective_range=80.0, psill=1.5),
    Variogram(model="gaussian", effective_range=50.0, psill=1.0),
    Variogram(model="matern", effective_range=70.0, psill=1.0, smoothness=1.5),
)
each_model = pytest.mark.parametrize("variogram", VARIOGRAMS, ids=lambda v: v.model)


def plane(ny: int, nx: int, step: float = 5.0) -> np.ndarray:
    """Return points of a flat grid far from the origin, km."""
    y, x = np.meshgrid(step * np.arange(ny), step * np.arange(nx), indexing="ij")
    return np.stack([x.ravel(), y.ravel(), 0 * x.ravel() + 6371.0], axis=1)


def tiles(ny: int = 12, nx: int = 16, side: int = 4) -> Blocks:
    rows = (np.arange(ny)[:, None] // side) * (nx // side) + np.arange(nx) // side
    entries = (np.full(ny * nx, 1 / side**2), (rows.ravel(), np.arange(ny * nx)))
    averages = sparse.csr_array(entries)
    return Blocks(plane(ny, nx), averages, ny * nx, np.arange(averages.shape[0]))


# random waves


@each_model
def test_realizations_have_the_covariance_of_the_model(variogram):
    """At lags along a line: 120 realizations of 25 times, standard errors of 3 % of the sill."""
    points = plane(1, 25)
    field = WaveField(points, variogram)
    values = np.concatenate([field.sample(3, r, range(25)) for r in range(120)])
    product = (values[:, :1] * values).mean(0)
    expected = variogram.covariance(points[:, 0])
    assert abs(product - expected).max() < 0.12 * variogram.sill
    assert abs(values.mean(0)).max() < 0.1
    kurtosis = (values**4).mean() / (values**2).mean() ** 2
    assert kurtosis == pytest.approx(3, abs=0.15)


@each_model
def test_wave_numbers_are_the_spectrum_of_the_covariance(variogram):
    """The mean of sin(kh) / (kh) over them is the correlation at h: isotropy in space."""
    share = (np.arange(40_000) + 0.5) / 40_000
    numbers = wave_numbers(variogram, share)
    assert (np.diff(numbers) > 0).all()
    for h in (2.0, 10.0, 30.0, 60.0):
        found = np.sinc(numbers * h / np.pi).mean()
        expected = float(variogram.covariance(np.array([h]))[0]) / variogram.psill
        assert found == pytest.approx(expected, abs=2e-3)


def test_a_matern_spectrum_is_that_of_gstools():
    k = np.linspace(0, 80, 200_001)
    density = gstools.Matern(dim=3, nu=1.5, len_scale=1.0).spectral_rad_pdf(k)
    theirs = np.interp([0.25, 0.5, 0.75], np.cumsum(density) * k[1], k)
    ours = wave_numbers(VARIOGRAMS[3], np.array([0.25, 0.5, 0.75]))
    np.testing.assert_allclose(ours / ours[1], theirs / theirs[1], rtol=1e-3)


def test_variance_is_the_partial_sill_everywhere_and_times_remember():
    field = WaveField(plane(8, 8), VARIOGRAMS[0], rho=0.8)
    series = np.stack([field.sample(1, r, [0, 86400, 864000], step=86400) for r in range(200)])
    assert series.var((0, 2)) == pytest.approx(2.0, rel=0.12)
    next_one = (series[:, 0] * series[:, 1]).mean() / series.var()
    later = (series[:, 0] * series[:, 2]).mean() / series.var()
    assert next_one == pytest.approx(0.8, abs=0.08)
    assert later == pytest.approx(0.8**10, abs=0.12)


def test_a_value_depends_on_its_key_and_its_place_alone():
    field = WaveField(plane(8, 8), VARIOGRAMS[1], rho=0.5)
    whole = field.sample(1, 2, [10, 20, 30], step=10)
    np.testing.assert_array_equal(field.sample(1, 2, [30], step=10)[0], whole[2])
    part = WaveField(plane(8, 8)[[5, 40]], VARIOGRAMS[1], rho=0.5)
    np.testing.assert_allclose(part.sample(1, 2, [20], step=10)[0], whole[1, [5, 40]], rtol=1e-9)
    others = [field.sample(*key, [10], step=10)[0] for key in ((1, 3), (2, 2))]
    assert all(abs(np.corrcoef(other, whole[0])[0, 1]) < 0.9 for other in others)


def test_shares_of_common_amplitudes_make_fields_alike():
    field = WaveField(plane(6, 6), VARIOGRAMS[0])
    one = np.concatenate([field.sample(0, r, range(16), mix=(1.0,)) for r in range(40)])
    other = np.concatenate([field.sample(0, r, range(16), mix=(0.6, 0.8)) for r in range(40)])
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] == pytest.approx(0.6, abs=0.06)
    assert other.var() == pytest.approx(2.0, rel=0.08)


# conditional simulation


def conditional(variogram, rho=0.0):
    blocks = tiles()
    found = solve(blocks, variogram)
    return ConditionalSimulation(
        shape=(12, 16),
        cells=blocks.cells,
        matrix=found.matrix,
        offset=np.zeros(192),
        variance=found.variance,
        averages=blocks.averages,
        field=WaveField(blocks.points, variogram, rho),
        trend="constant",
    )


@each_model
@pytest.mark.parametrize("nugget", [0.0, 0.4])
def test_its_mean_is_kriging_and_its_variance_the_kriging_variance(variogram, nugget):
    """120 realizations of 25 times: within 15 % in each cell, 3 % on average; averages to 1e-6."""
    model = conditional(dataclasses.replace(variogram, nugget=nugget))
    errors = np.concatenate([model.error(5, r, range(25)) for r in range(120)])
    flat = errors.reshape(len(errors), -1)
    assert abs(flat @ model.averages.toarray().T).max() < 1e-6
    ratio = flat.var(0) / model.variance
    assert 0.85 < ratio.min() < ratio.max() < 1.15
    assert ratio.mean() == pytest.approx(1, abs=0.03)
    assert abs(flat.mean(0)).max() < 0.08


@each_model
def test_members_have_the_variogram(variogram):
    """Kriging of the averages of true fields, plus its error: within 12 % at all lags."""
    blocks = tiles(16, 16)
    weights = solve(blocks, variogram)
    truth = WaveField(blocks.points, variogram)
    error = WaveField(blocks.points, variogram)
    members = []
    for number in range(20):
        known = truth.sample(1, number, range(6)) @ blocks.averages.toarray().T
        free = error.sample(2, number, range(6))
        kept = free - weights.apply(free @ blocks.averages.toarray().T)
        members.append(weights.apply(known) + kept)
    curve = measure(blocks.points, np.concatenate(members), 40.0, bins=8)
    expected = variogram.semivariance(curve.distance[1:])
    np.testing.assert_allclose(curve.semivariance[1:], expected, rtol=0.12)
    smooth = measure(blocks.points, weights.apply(known), 40.0, bins=8)
    assert smooth.semivariance[1] < 0.9 * expected[0]  # which kriging alone has not


def training(days=40, seed=0, variogram=VARIOGRAMS[0]):
    """Return blocks, coarse and fine fields of a known variogram, and a covariate in them."""
    blocks = tiles()
    field = WaveField(blocks.points, variogram)
    fine = np.concatenate([field.sample(seed, r, [0]) for r in range(days)])
    height = np.random.default_rng(8).normal(size=192)
    truth = fine + 3 * height + 7
    coarse = truth @ blocks.averages.toarray().T
    return (
        blocks,
        coarse.reshape(days, 3, 4),
        truth.reshape(days, 12, 16),
        height.reshape(1, 12, 16),
    )


def rmse(model, coarse, fine):
    made = np.array([model.predict(field) for field in coarse])
    return float(np.sqrt(((made - fine) ** 2).mean()))


def test_a_trend_is_chosen_on_held_out_blocks():
    blocks, coarse, fine, height = training()
    known = slice(0, 30)
    test = slice(30, None)
    found = {
        trend: ConditionalSimulation.fit(
            blocks, coarse[known], fine[known], KrigingOptions(trend=trend), height
        )
        for trend in ("auto", "constant", "static", "climate")
    }
    errors = {trend: rmse(model, coarse[test], fine[test]) for trend, model in found.items()}
    assert found["auto"].trend == "static"
    assert errors["static"] < errors["climate"] < 0.6 * errors["constant"]
    floor = float(np.sqrt(found["static"].variance.mean()))
    assert errors["static"] == pytest.approx(floor, rel=0.1)
    for model in found.values():
        means = model.predict(coarse[31]).ravel() @ blocks.averages.toarray().T
        np.testing.assert_allclose(means, coarse[31].ravel(), atol=1e-8)


def test_the_variogram_of_the_training_fields_is_found_again():
    blocks, coarse, fine, height = training(120)
    options = KrigingOptions(trend="static")
    found = ConditionalSimulation.fit(blocks, coarse, fine, options, height).field.variogram
    h = np.array([5.0, 15.0, 30.0])
    expected = VARIOGRAMS[0].semivariance(h)
    np.testing.assert_allclose(found.semivariance(h), expected, rtol=0.12)


def test_missing_fine_cells_are_left_out():
    blocks, coarse, fine, height = training()
    holed = fine.copy()
    holed[np.random.default_rng(0).random(fine.shape) < 0.3] = np.nan
    holed[:, :3, :2] = np.nan
    for trend in ("constant", "static", "climate"):
        options = KrigingOptions(trend=trend)
        model = ConditionalSimulation.fit(blocks, coarse, holed, options, height)
        assert np.isfinite(model.predict(coarse[0])).all()


@pytest.mark.parametrize("neighbours", [None, 4])
def test_a_state_gives_the_same_model(neighbours):
    blocks, coarse, fine, height = training()
    options = KrigingOptions(neighbours=neighbours, model="spherical")
    model = ConditionalSimulation.fit(blocks, coarse, fine, options, height)
    state = model.to_state()
    assert {array.dtype for array in state.values()} == {np.dtype(np.float32)}
    again = ConditionalSimulation.from_state(state, (12, 16))
    np.testing.assert_allclose(again.predict(coarse[3]), model.predict(coarse[3]), atol=1e-5)
    one = again.error(1, 0, [7])
    np.testing.assert_allclose(one, model.error(1, 0, [7]), atol=1e-3)
    assert again.trend == model.trend
    for name in state:
        rest = {key: array for key, array in state.items() if key != name}
        with pytest.raises(ModelFormatError):
            ConditionalSimulation.from_state(rest, (12, 16))
    if neighbours:
        broken = state | {"matrix.columns": state["matrix.columns"] + 99}
        with pytest.raises(ModelFormatError, match="does not fit together"):
            ConditionalSimulation.from_state(broken, (12, 16))


# what is refused, and variograms that are hard to fit


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trend": "linear"}, "trend"),
        ({"model": "cubic"}, "model of the variogram"),
        ({"neighbours": 0}, "neighbours is 0"),
        ({"neighbours": True}, "neighbours is True"),
    ],
)
def test_options_are_checked(options, said):
    with pytest.raises(OptionError, match=said):
        KrigingOptions(**options)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"effective_range": 0.0, "psill": 1.0}, "effective_range of the variogram is 0.0"),
        ({"effective_range": 5.0, "psill": -1.0}, "psill of the variogram is -1.0"),
        ({"effective_range": 5.0, "psill": 1.0, "nugget": -0.1}, "nugget"),
        ({"effective_range": 5.0, "psill": np.inf}, "psill"),
        ({"effective_range": 5.0, "psill": 1.0, "model": "matern"}, "smoothness"),
        ({"effective_range": 5.0, "psill": 1.0, "model": "linear"}, "model of the variogram"),
    ],
)
def test_variograms_are_checked(numbers, said):
    with pytest.raises(OptionError, match=said):
        Variogram(**numbers)


def test_a_constant_field_has_no_variogram():
    with pytest.raises(DataError, match="A variogram cannot be fitted"):
        fit(measure(plane(6, 6), np.ones((2, 36)), 20.0))
    blocks, coarse, fine, _ = training()
    with pytest.raises(DataError, match="2 time steps"):
        ConditionalSimulation.fit(blocks, coarse[:1], fine[:1], KrigingOptions())
    with pytest.raises(OptionError, match="needs static fields"):
        ConditionalSimulation.fit(blocks, coarse, fine, KrigingOptions(trend="static"))


def test_a_curve_that_never_levels_off_and_one_that_is_flat_are_fitted():
    h = np.arange(1.0, 21.0)
    rising = fit(Curve(h, 0.1 * h, np.ones(20)))
    np.testing.assert_allclose(rising.semivariance(h), 0.1 * h, rtol=0.1, atol=0.02)
    assert rising.effective_range > 20
    flat = fit(Curve(h, np.full(20, 2.0), np.ones(20)))
    np.testing.assert_allclose(flat.semivariance(h), 2.0, rtol=1e-3)
