"""Protocols: every measure against SciPy, scikit-learn or a few lines of NumPy."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.ndimage import gaussian_filter
from sklearn.metrics import brier_score_loss, roc_auc_score

import xdownscale as xd
from xdownscale.core.errors import DataError, GridError, OptionError, TimeAxisError
from xdownscale.skill import _protocol_kernels as kernels
from xdownscale.skill import _protocol_space as space
from xdownscale.skill import indices, protocol, to_latex, to_markdown
from xdownscale.skill._protocol import COLUMNS

pytestmark = pytest.mark.filterwarnings("ignore:The record has")


def rain(seed: int = 0, end: str = "2001-12-31", ny: int = 8, nx: int = 9) -> xr.DataArray:
    """Return smooth daily rain in mm, dry on most days."""
    time = xr.date_range("2000-01-01", end)
    noise = np.random.default_rng(seed).normal(size=(time.size, ny, nx))
    field = np.maximum(np.exp(7 * gaussian_filter(noise, (1, 1.5, 1.5))) - 1, 0)
    return xr.DataArray(
        field,
        coords={"time": time, "lat": 40.0 + np.arange(ny), "lon": np.arange(nx) * 1.0},
        name="pr",
        attrs={"units": "mm day-1"},
    )


def worse(truth: xr.DataArray, seed: int = 9) -> xr.DataArray:
    noise = np.random.default_rng(seed).gamma(0.3, 2, truth.shape)
    return (0.8 * truth + noise).assign_attrs(truth.attrs)


NAMES = ["Mean", "SDII", "R10"]


# --- kernels -------------------------------------------------------------------------------------


def samples(ties: bool):
    rng = np.random.default_rng(4)
    p = rng.normal(size=(5, 60))
    t = rng.normal(0.3, 1.2, size=(5, 60))
    if ties:
        p, t = np.round(p), np.round(t)
    hole = rng.random(p.shape) < 0.1
    return np.where(hole, np.nan, p), np.where(hole, np.nan, t)


def known(p, t, k):
    good = ~np.isnan(p[k] + t[k])
    return p[k][good], t[k][good]


@pytest.mark.parametrize("ties", [False, True])
def test_rank_correlation_and_ks_are_those_of_scipy(ties):
    p, t = samples(ties)
    for k in range(5):
        a, b = known(p, t, k)
        assert kernels.spearman(p, t)[k] == pytest.approx(stats.spearmanr(a, b).statistic)
        own = kernels.kolmogorov_smirnov(p, t)[k]
        assert own == pytest.approx(stats.ks_2samp(a, b).statistic)
        np.testing.assert_allclose(kernels.ranks(p)[k][~np.isnan(p[k])], stats.rankdata(a))


def test_cramer_von_mises_is_that_of_scipy():
    p, t = samples(False)
    for k in range(5):
        a, b = known(p, t, k)
        right = stats.cramervonmises_2samp(a, b).statistic
        assert kernels.cramer_von_mises(p, t)[k] == pytest.approx(right)


def test_cramer_von_mises_of_ties_is_its_definition():
    p, t = samples(True)
    a, b = known(p, t, 0)
    both = np.concatenate([a, b])
    gap = [(a <= z).mean() - (b <= z).mean() for z in both]
    right = a.size * b.size / both.size**2 * np.sum(np.square(gap))
    assert kernels.cramer_von_mises(p, t)[0] == pytest.approx(right)


@pytest.mark.parametrize("ties", [False, True])
def test_roc_area_is_that_of_scikit_learn(ties):
    p, t = samples(ties)
    event = np.where(np.isnan(t), np.nan, (t > 0.5).astype(float))
    found = kernels.roc_area(p, event)
    for k in range(5):
        a, b = known(p, event, k)
        assert found[k] == pytest.approx(roc_auc_score(b, a))
    assert np.isnan(kernels.roc_area(p[:1], np.zeros_like(p[:1]))).all()


def test_anomalies_lose_a_slow_cycle_and_keep_what_is_fast():
    time = xr.DataArray(xr.date_range("2000-01-01", "2003-12-31"), dims="time")
    from xdownscale.skill._index_days import days_of

    day = np.arange(time.size)
    fast = np.where(day % 2, 1.0, -1.0)
    slow = 10 * np.cos(2 * np.pi * day / 365.25)
    found = kernels.anomalies((fast + slow)[None], days_of(time))
    assert np.corrcoef(found[0], fast)[0, 1] > 0.97
    assert abs(np.corrcoef(found[0], slow)[0, 1]) < 0.1


def test_correlations_by_distance_are_those_of_numpy():
    da = rain(end="2000-04-30", ny=3, nx=4)
    places = space.choose_places(da[0], np.ones((3, 4), bool), 0)
    x = space.read_cells(da, places, "time")[0]
    x[5:9, 2] = np.nan
    found = space.correlations(x, places)
    own = [[] for _ in range(space.CLASSES)]
    for i, j, k in zip(places.one, places.other, places.number, strict=True):
        a, b = x[:, i], x[:, j]
        good = ~np.isnan(a + b)
        own[k].append(np.corrcoef(a[good], b[good])[0, 1])
    right = [np.mean(v) if v else np.nan for v in own]
    np.testing.assert_allclose(found, right, rtol=1e-9)
    assert places.pairs.sum() == places.one.size


def test_reaches_of_a_curve_that_is_known():
    h = np.linspace(10, 120, space.CLASSES)
    places = space.Places(*[np.zeros(0, int)] * 5, h, np.full(space.CLASSES, 50))
    length, _ = space.reaches(np.exp(-h / 40), places)
    assert length == pytest.approx(40, rel=0.02)
    gamma = np.where(h < 70, 1.5 * h / 70 - 0.5 * (h / 70) ** 3, 1.0)
    assert space.reaches(1 - gamma, places)[1] == pytest.approx(70, rel=1e-3)


def test_zero_filled_spectra_are_those_of_the_benchmarks_recipe():
    """NaN as 0, no taper, whole radii around the middle: written out pixel by pixel."""
    da = rain(end="2000-01-10")
    da[:, 2, 3] = np.nan
    rings: dict[int, list[float]] = {}
    plane = np.mean(
        [np.abs(np.fft.fftshift(np.fft.fft2(np.nan_to_num(day)))) ** 2 for day in da.values], axis=0
    )
    for y in range(8):
        for x in range(9):
            rings.setdefault(int(np.sqrt((y - 3.5) ** 2 + (x - 4) ** 2)), []).append(plane[y, x])
    right = [np.mean(rings[k]) for k in sorted(rings)]
    np.testing.assert_allclose(space.zero_filled_power(da, "time"), right)


# --- the tables ----------------------------------------------------------------------------------


def test_a_perfect_prediction_has_no_bias_and_ratios_of_1():
    truth = rain()
    found = protocol(truth, truth, by="season")
    table = found.indices
    assert (table.bias.dropna() == 0).all()
    assert (table.ratio.dropna() == 1).all()
    assert (table.relative_bias.dropna() == 0).all()
    perfect = {"rmse": 0, "pearson": 1, "spearman": 1, "ks": 0, "cvm": 0, "wasserstein_pooled": 0}
    perfect |= {"brier_1mm": 0, "roc_1mm": 1, "ralsd": 0, "ralsd_zero_filled": 0, "wasserstein": 0}
    for name, value in perfect.items():
        np.testing.assert_allclose(found.measures[name], value, atol=1e-9, err_msg=name)


def test_maps_and_tables_hold_what_scipy_gives_at_a_cell_and_over_the_area():
    truth, seen = rain(), worse(rain())
    truth = truth.where(np.random.default_rng(2).random(truth.shape) > 0.02)
    found = protocol(seen, truth, NAMES)
    a, b = seen.values[:, 3, 4], truth.values[:, 3, 4]
    good = ~np.isnan(b)
    a, b = a[good], b[good]
    at = found.maps.isel(lat=3, lon=4)
    assert at.rmse.item() == pytest.approx(np.sqrt(np.mean((a - b) ** 2)))
    assert at.pearson.item() == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert at.spearman.item() == pytest.approx(stats.spearmanr(a, b).statistic)
    assert at.ks.item() == pytest.approx(stats.ks_2samp(a, b).statistic)
    assert at.wasserstein.item() == pytest.approx(stats.wasserstein_distance(a, b))
    assert at.roc_1mm.item() == pytest.approx(2 * roc_auc_score(b >= 1, a) - 1)
    assert at.brier_1mm.item() == pytest.approx(brier_score_loss(b >= 1, (a >= 1) * 1.0))
    masked = seen.where(truth.notnull())
    assert found.measures.loc["all", "wasserstein_pooled"] == pytest.approx(
        stats.wasserstein_distance(seen.values[truth.notnull()], truth.values[truth.notnull()])
    )
    assert found.measures.loc["all", "ralsd"] == pytest.approx(xd.skill.ralsd(masked, truth).ralsd)
    weights = xd.grids.area(truth[0])
    own = (indices(masked, NAMES).SDII - indices(truth, NAMES).SDII).weighted(weights)
    row = found.indices.loc["SDII"]
    assert row.bias == pytest.approx(own.mean().item())
    assert row.prediction - row.truth == pytest.approx(row.bias)
    size = abs(indices(masked, NAMES).SDII - indices(truth, NAMES).SDII).weighted(weights).mean()
    assert row.abs_bias == pytest.approx(size.item())
    assert row.ratio == pytest.approx(row.prediction / row.truth)
    assert row.relative_bias == pytest.approx(100 * (row.ratio - 1))
    xr.testing.assert_allclose(
        found.maps.SDII_bias, found.maps.SDII_prediction - found.maps.SDII_truth
    )


def test_the_pooled_distance_is_that_of_geostat():
    truth, seen = rain(), worse(rain())
    options = {"kind": "pooled", "transform": None, "normalise": False}
    right = xd.geostat.wasserstein(seen, truth, **options).wasserstein.item()
    found = protocol(seen, truth, ["Mean"]).measures.loc["all", "wasserstein_pooled"]
    assert found == pytest.approx(right)


def test_rows_of_seasons_and_regions_are_those_of_a_cut_record():
    truth, seen = rain(), worse(rain())
    boxes = {"west": (0, 4, 40, 47), "east": (5, 8, 40, 47)}
    found = protocol(seen, truth, NAMES, by=("season", "region"), regions=boxes)
    summer = [da.where(da.time.dt.month.isin([6, 7, 8]), drop=True) for da in (seen, truth)]
    cut = protocol(*[da.isel(lon=slice(5, 9)) for da in summer], NAMES)
    for name in NAMES:
        np.testing.assert_allclose(
            found.indices.loc[("JJA", "east", name)].astype(float), cut.indices.loc[name]
        )
    for name in ("rmse", "pearson", "ks", "wasserstein_pooled", "brier_1mm", "roc_1mm"):
        assert found.measures.loc[("JJA", "east"), name] == pytest.approx(
            cut.measures.loc["all", name]
        )
    assert found.curves.sizes["region"] == 2
    assert found.curves.sizes["season"] == 4
    assert "lat" in found.maps.sizes


def test_a_phase_that_is_late_by_ten_days_has_a_bias_of_ten_days_across_new_year():
    time = xr.date_range("2001-01-01", "2004-12-31", calendar="noleap", use_cftime=True)
    day = np.arange(time.size)[:, None, None]
    edges = {"time": time, "lat": np.arange(2.0), "lon": np.arange(2.0)}

    def wave(peak):
        data = 20 + 5 * np.cos(2 * np.pi * (day - peak + 1) / 365) + np.zeros((1, 2, 2))
        return xr.DataArray(data, coords=edges, attrs={"units": "degC"})

    found = protocol(wave(5), wave(360), ["AnnualCyclePhase", "AnnualCycleAmp"])
    row = found.indices.loc["AnnualCyclePhase"]
    assert row.truth == pytest.approx(360)
    assert row.prediction == pytest.approx(5)
    assert row.bias == pytest.approx(10)
    assert np.isnan(row.ratio)
    back = protocol(wave(360), wave(5), ["AnnualCyclePhase"]).indices.loc["AnnualCyclePhase"]
    assert back.bias == pytest.approx(-10)
    assert found.indices.loc["AnnualCycleAmp", "ratio"] == pytest.approx(1)


def test_temperatures_in_celsius_have_no_ratio_and_their_spread_has_one():
    truth = rain().assign_attrs(units="degC").rename("tasmax")
    found = protocol(truth + 1, truth, "cordex-ml").indices
    assert np.isnan(found.loc[["Mean", "TXx", "TXn"], "ratio"]).all()
    assert found.loc["interannual_sd", "ratio"] == pytest.approx(1)
    np.testing.assert_allclose(found.loc[["Mean", "TXx", "TXn"], "bias"], 1)
    kelvin = [(da + 273.15).assign_attrs(units="K") for da in (truth + 1, truth)]
    same = protocol(*kelvin, "cordex-ml").indices
    np.testing.assert_allclose(same[list(COLUMNS)], found[list(COLUMNS)], rtol=1e-6, atol=1e-6)


def test_an_ensemble_gives_probabilities_and_means_of_its_realizations():
    truth = rain()
    members = xr.concat([worse(truth, k) for k in range(4)], dim="realization")
    found = protocol(members, truth, NAMES)
    at = found.maps.isel(lat=2, lon=2)
    chance = (members.values[:, :, 2, 2] >= 1).mean(0)
    event = truth.values[:, 2, 2] >= 1
    assert at.brier_1mm.item() == pytest.approx(np.mean((chance - event) ** 2))
    assert at.roc_1mm.item() == pytest.approx(2 * roc_auc_score(event, chance) - 1)
    each = [protocol(m, truth, NAMES) for m in members]
    for name in ("rmse", "spearman", "ks", "ralsd", "ralsd_mean_square"):
        mean = np.mean([one.measures.loc["all", name] for one in each])
        assert found.measures.loc["all", name] == pytest.approx(mean), name
    for column in ("truth", "prediction", "bias", "abs_bias"):
        mean = np.mean([one.indices.loc["SDII", column] for one in each])
        assert found.indices.loc["SDII", column] == pytest.approx(mean)
    length = [one.indices.loc["correlation_length", "prediction"] for one in each]
    found_length = found.indices.loc["correlation_length", "prediction"]
    assert min(length) <= found_length <= max(length)


def test_changes_between_two_periods():
    truth = rain(end="2003-12-31")
    later = xr.where(truth.time.dt.year >= 2002, 1.5 * truth, truth).assign_attrs(truth.attrs)
    seen = xr.where(truth.time.dt.year >= 2002, 1.2 * truth, truth).assign_attrs(truth.attrs)
    spans = (("2000", "2001"), ("2002", "2003"))
    found = protocol(seen, later, ["Mean", "R10"], periods=spans).change
    first, second = (indices(later.sel(time=slice(*s)), ["Mean"]).Mean for s in spans)
    weights = xd.grids.area(truth[0])
    right = (second - first).weighted(weights).mean().item()
    assert found.loc["Mean", "truth"] == pytest.approx(right)
    assert found.loc["Mean", "bias"] < 0
    assert found.loc["Mean", "bias"] == pytest.approx(
        found.loc["Mean", "prediction"] - found.loc["Mean", "truth"]
    )
    with pytest.raises(TimeAxisError, match=r"2050.*holds none.*2000-01-01"):
        protocol(seen, later, ["Mean"], periods=(("2000", "2001"), ("2050", "2060")))


def test_two_variables_and_the_correlation_between_them():
    pr = rain()
    tasmax = (20 - pr + 0.1 * rain(3)).assign_attrs(units="degC").rename("tasmax")
    truth = xr.Dataset({"pr": pr, "tasmax": tasmax})
    seen = xr.Dataset({"pr": worse(pr), "tasmax": (tasmax + 1).assign_attrs(units="degC")})
    found = protocol(seen, truth, "cordex-ml", by="season")
    alone = protocol(seen.pr, truth.pr, "cordex-ml", by="season")
    np.testing.assert_allclose(
        found.indices.loc[("pr", "JJA", "SDII")].astype(float), alone.indices.loc[("JJA", "SDII")]
    )
    summer = pr.time.dt.month.isin([6, 7, 8])
    days = truth.sel(time=summer), seen.sel(time=summer)
    right = [xr.corr(ds.pr, ds.tasmax, dim="time") for ds in days]
    weights = xd.grids.area(pr[0])
    row = found.indices.loc[("pr & tasmax", "JJA", "correlation")]
    assert row.truth == pytest.approx(right[0].weighted(weights).mean().item())
    assert row.bias == pytest.approx((right[1] - right[0]).weighted(weights).mean().item())
    assert {"pr_SDII_bias", "tasmax_TXx_bias"} <= set(found.maps.data_vars)
    assert found.curves.variable.values.tolist() == ["pr", "tasmax"]
    assert "| pr & tasmax | DJF | correlation |" in to_markdown(found.indices)


def test_lazy_records_give_the_same_tables():
    truth, seen = rain(end="2000-12-31"), worse(rain(end="2000-12-31"))
    right = protocol(seen, truth, NAMES, by="season")
    found = protocol(seen.chunk(time=50), truth.chunk(time=70, lat=4), NAMES, by="season")
    np.testing.assert_allclose(found.indices.astype(float), right.indices, rtol=1e-6)
    np.testing.assert_allclose(found.measures, right.measures, rtol=1e-7, atol=1e-9)


def test_small_grids_have_no_spectra_and_the_table_says_so():
    truth = rain(ny=4, nx=4)
    found = protocol(worse(truth), truth, NAMES)
    assert np.isnan(found.measures.loc["all", "ralsd"])
    assert "ralsd" in to_markdown(found.measures).split("Not in the table:")[1]
    assert r"\toprule" in to_latex(found.indices)
    assert found.indices.attrs["units"]["SDII"] == "mm day-1"


def test_what_cannot_be_judged_is_an_error():
    truth = rain(end="2000-03-31")
    with pytest.raises(GridError, match="further dimensions"):
        protocol(truth.expand_dims(member=2), truth)
    with pytest.raises(DataError, match="two DataArrays or two Datasets"):
        protocol(truth, truth.to_dataset())
    with pytest.raises(DataError, match="no variable in common"):
        protocol(truth.to_dataset(), truth.rename("tp").to_dataset())
    with pytest.raises(DataError, match="precipitation"):
        protocol(truth.drop_attrs(), truth.drop_attrs(), ["R01"])
    two = xr.Dataset({"pr": truth, "tp": truth})
    with pytest.raises(OptionError, match="2 variables"):
        protocol(two, two, kind="precipitation")


def test_sea_cells_are_left_out_everywhere():
    truth = rain(end="2000-12-31")
    land = truth.where(truth.lon > 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = protocol(worse(truth), land, NAMES)
        cut = protocol(worse(truth)[..., 2:], truth[..., 2:], NAMES)
    for name in NAMES:
        np.testing.assert_allclose(found.indices.loc[name], cut.indices.loc[name])
    assert np.isnan(found.maps.rmse.isel(lon=0)).all()
