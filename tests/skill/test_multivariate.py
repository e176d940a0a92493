"""Energy and variogram score, correlation of variables: closed forms and scoringrules."""

from __future__ import annotations

import numpy as np
import pytest
import scoringrules
import xarray as xr
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy import ndimage, spatial

from xdownscale import skill
from xdownscale.core import grids
from xdownscale.core.errors import DataError, OptionError, TimeAxisError

NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
SCORES = [skill.energy_score, skill.variogram_score]


def gaussian(seed, members=None, days=60, sigma=1.5, shape=(12, 16), scale=1.0):
    """Correlated Gaussian fields of variance `scale` squared, ([realization,] time, lat, lon)."""
    lead = (days,) if members is None else (members, days)
    white = np.random.default_rng(seed).normal(size=(*lead, *shape))
    if sigma:
        white = ndimage.gaussian_filter(white, (*(0 for _ in lead), sigma, sigma), mode="wrap")
    coords = {
        "time": xr.date_range("2000-01-01", periods=days),
        "lat": np.arange(shape[0]) / 4 + 40.0,
        "lon": np.arange(shape[1]) / 4,
    }
    dims = ("time", "lat", "lon") if members is None else ("realization", "time", "lat", "lon")
    attrs = {"units": "K"}
    return xr.DataArray(scale * white / white.std(), dims=dims, coords=coords, attrs=attrs)


def flat(da):
    """Arrays of scoringrules: (time, [member,] pixel)."""
    if "realization" in da.dims:
        da = da.transpose("time", "realization", "lat", "lon")
    return da.values.reshape(*da.shape[:-2], -1)


# energy score


@pytest.mark.parametrize("members", [2, 3, 7])
def test_energy_score_is_that_of_scoringrules(fields, members):
    truth, ensemble = fields(seed=1), fields(seed=2, members=members)
    found = skill.energy_score(ensemble.transpose("lat", "time", "realization", "lon"), truth)
    expected = scoringrules.es_ensemble(flat(truth), flat(ensemble), estimator="fair")
    np.testing.assert_allclose(found, expected / np.sqrt(24))
    assert found.dims == ("time",)
    assert found.attrs == {"long_name": "fair energy score", "units": "kg m-2"}


def test_energy_score_of_a_field_of_one_value_is_its_crps(fields):
    truth, ensemble = (
        da.isel(lat=[0, 0], lon=[0, 0]).assign_coords(lat=[0.0, 1.0], lon=[0.0, 1.0])
        for da in (fields(seed=1), fields(seed=2, members=5))
    )
    np.testing.assert_allclose(skill.energy_score(ensemble, truth), skill.crps(ensemble, truth))


def test_energy_score_of_one_realization_is_the_rmse(fields):
    truth, one = fields(seed=1), fields(seed=2, members=1)
    expected = skill.rmse(one[0], truth, weights=True)
    np.testing.assert_allclose(skill.energy_score(one, truth, weights=True), expected)
    np.testing.assert_allclose(skill.energy_score(one[0], truth, weights=True), expected)


def test_energy_score_of_a_calibrated_gaussian_in_many_dimensions():
    """Differences of two draws have an RMS of sqrt(2), nearly constant in many dimensions."""
    truth, ensemble = (gaussian(k, m, 20, 0, (60, 80)) for k, m in ((1, None), (2, 6)))
    found = skill.energy_score(ensemble, truth).mean().item()
    assert found == pytest.approx(np.sqrt(2) - np.sqrt(2) / 2, rel=0.01)


@pytest.mark.parametrize("function", SCORES)
def test_fair_scores_do_not_depend_on_the_size_of_the_ensemble(function):
    truth, ensemble = gaussian(1, days=400), gaussian(2, 12, days=400)
    whole = function(ensemble, truth).mean().item()
    for count in (2, 4):
        few = function(ensemble.isel(realization=slice(count)), truth)
        error = few.std().item() / np.sqrt(400)
        assert few.mean().item() == pytest.approx(whole, abs=4 * error)
    if function is skill.variogram_score:
        plain = function(ensemble[:2], truth, fair=False).mean().item()
        assert plain > 1.3 * whole


@pytest.mark.parametrize(("score", "wrong"), [(s, w) for s in SCORES for w in ("spread", "scale")])
def test_the_right_distribution_scores_best(score, wrong):
    truth, right = gaussian(1, days=300), gaussian(2, 6, days=300)
    best = score(right, truth)
    for change in (
        ({"scale": 0.6}, {"scale": 1.6}) if wrong == "spread" else ({"sigma": 0.5}, {"sigma": 4.0})
    ):
        worse = score(gaussian(2, 6, days=300, **change), truth)
        gap = (worse - best).values
        if score is skill.energy_score and wrong == "scale":
            assert gap.mean() > -2 * gap.std() / np.sqrt(300)  # it hardly sees correlation
        else:
            assert gap.mean() > 3 * gap.std() / np.sqrt(300)


# variogram score


def inverse_distances(most, shape=(4, 6)):
    y, x = (c.ravel() for c in np.meshgrid(*map(np.arange, shape), indexing="ij"))
    apart = spatial.distance.squareform(spatial.distance.pdist(np.stack([y, x], axis=1)))
    return np.where((apart > 0) & (apart <= most), 1 / np.where(apart > 0, apart, 1), 0.0)


@pytest.mark.parametrize("order", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("most", [1, 2.5, 5.8])
@pytest.mark.parametrize("fair", [True, False])
def test_variogram_score_is_that_of_scoringrules(fields, order, most, fair):
    truth, ensemble = fields(seed=1), fields(seed=2, members=4)
    weights = inverse_distances(most)
    expected = scoringrules.vs_ensemble(
        flat(truth),
        flat(ensemble),
        w=np.broadcast_to(weights, (5, 24, 24)),
        p=order,
        estimator="fair" if fair else "nrg",
    )
    turned = ensemble.transpose("lon", "realization", "lat", "time")
    found = skill.variogram_score(turned, truth, order=order, max_distance=most, fair=fair)
    np.testing.assert_allclose(found, expected / weights.sum())
    assert found.attrs["units"] == {0.5: "kg m-2", 1: "(kg m-2)2", 2: "(kg m-2)4"}[order]


@pytest.mark.parametrize("curved", [False, True])
def test_distances_in_km_are_geodesic(fields, curved):
    truth, ensemble = fields(seed=1), fields(seed=2, members=3)
    lat, lon = (c.ravel() for c in np.meshgrid(truth.lat, truth.lon, indexing="ij"))
    apart = grids.distances(lat[:, None], lon[:, None], lat, lon)
    weights = np.where((apart > 0) & (apart <= 400), 1 / np.where(apart > 0, apart, 1), 0.0)
    expected = scoringrules.vs_ensemble(
        flat(truth), flat(ensemble), w=np.broadcast_to(weights, (5, 24, 24)), estimator="fair"
    )
    if curved:
        plane = {"lat": (("y", "x"), lat.reshape(4, 6)), "lon": (("y", "x"), lon.reshape(4, 6))}
        truth, ensemble = (
            da.drop_vars(["lat", "lon"]).rename(lat="y", lon="x").assign_coords(plane)
            for da in (truth, ensemble)
        )
    found = skill.variogram_score(ensemble, truth, max_distance=400, unit="km")
    np.testing.assert_allclose(found, expected / weights.sum(), rtol=1e-3)


def test_a_globe_is_as_wide_as_it_is(fields):
    truth, ensemble = (
        da.assign_coords(lat=[-60.0, -20.0, 20.0, 60.0], lon=np.arange(6) * 60.0)
        for da in (fields(seed=1), fields(seed=2, members=3))
    )
    assert np.isfinite(skill.variogram_score(ensemble, truth, max_distance=15000, unit="km")).all()


def test_variogram_score_does_not_see_a_constant(fields):
    truth, ensemble = fields(seed=1), fields(seed=2, members=3)
    shift = xr.DataArray([0.0, 5.0, -3.0], dims="realization")
    np.testing.assert_allclose(
        skill.variogram_score(ensemble + shift, truth), skill.variogram_score(ensemble, truth)
    )
    same = truth.expand_dims(realization=2)
    np.testing.assert_allclose(skill.variogram_score(same, truth), 0, atol=1e-12)
    np.testing.assert_allclose(skill.variogram_score(truth, truth), 0, atol=1e-12)


# both


@pytest.mark.parametrize("function", SCORES)
def test_nan_and_weights_leave_pixels_out(fields, function):
    truth, ensemble = fields(seed=1), fields(seed=2, members=3)
    expected = function(ensemble[:, :, 1:, 2:], truth[:, 1:, 2:])
    t, e = truth.copy(), ensemble.copy()
    t[:, 0] = np.nan
    e[1, :, :, :2] = np.inf
    np.testing.assert_allclose(function(e, t), expected)
    uneven = xr.zeros_like(truth[0].drop_vars("time"))
    uneven[1:, 2:] = 2.0
    np.testing.assert_allclose(function(ensemble, truth, weights=uneven), expected)
    by_area = function(ensemble, truth, weights=True)
    np.testing.assert_allclose(function(ensemble, truth, weights=3 * grids.area(truth)), by_area)
    t[2] = np.nan
    assert np.isnan(function(ensemble, t)).values.tolist() == [False, False, True, False, False]


@settings(max_examples=10, phases=NO_SHRINKING)
@given(
    chunk=st.integers(1, 5),
    order=st.permutations(["realization", "time", "lat", "lon"]),
    members=st.permutations(range(3)),
    flip=st.booleans(),
    shuffle=st.permutations(range(5)),
)
def test_chunks_order_and_orientation_do_not_matter(fields, chunk, order, members, flip, shuffle):
    truth, ensemble = fields(seed=1), fields(seed=2, members=3)
    pair = [truth.isel(time=shuffle), ensemble.isel(realization=members).transpose(*order)]
    if flip:
        pair = [da.isel(lat=slice(None, None, -1)) for da in pair]
    turned, several = (da.chunk(time=chunk, lat=2) for da in pair)
    for function in SCORES:
        found = function(several, turned, transform="log10").compute().sortby("time")
        expected = function(ensemble, truth, transform="log10")
        xr.testing.assert_allclose(found, expected)
        assert found.attrs == expected.attrs


def test_lazy_inputs_stay_lazy(fields, computes):
    truth, ensemble = fields(seed=1).chunk(time=2), fields(seed=2, members=3).chunk(time=1)
    for function in SCORES:
        function(ensemble, truth, weights=True)
    skill.variogram_score(ensemble, truth, max_distance=300, unit="km")
    both = [xr.Dataset({"a": da, "b": da + 1}) for da in (ensemble, truth)]
    for over in ("time", "space", "both"):
        skill.intervariable_correlation(*both, over=over)
    assert computes.calls == 0


def test_fields_without_time(fields):
    truth, ensemble = (da.isel(time=0, drop=True) for da in (fields(), fields(seed=1, members=3)))
    for function in SCORES:
        assert function(ensemble, truth).dims == ()


def test_what_is_refused(fields):
    truth, ensemble = fields(seed=1), fields(seed=2, members=3)
    with pytest.raises(OptionError, match="order is 0; give a number above 0"):
        skill.variogram_score(ensemble, truth, order=0)
    with pytest.raises(OptionError, match="Unknown unit: 'm'"):
        skill.variogram_score(ensemble, truth, unit="m")
    for wrong in (0.5, 6.1, float("nan")):
        with pytest.raises(OptionError, match=r"of this domain are 1 to 5\.831 pixels apart"):
            skill.variogram_score(ensemble, truth, max_distance=wrong)
    for wrong in (20, 3000):
        with pytest.raises(OptionError, match=r"of this domain are 10\d\.\d to 12\d\d km apart"):
            skill.variogram_score(ensemble, truth, max_distance=wrong, unit="km")


# tables


def test_tables_have_both_for_ensembles_and_fields(fields):
    truth = fields(8, seed=1)
    ensemble = truth * fields(8, seed=2, members=3) ** 0.2
    ensemble = ensemble.transpose("realization", ...)
    given = {"e": ensemble, "one": ensemble[0]}
    found = skill.table(given, truth, None, ["energy", "variogram", "rmse"], baselines=None)
    rows = ["e (mean of 3)", "e (one realization)", "e (ensemble of 3)", "one"]
    assert list(found.index) == rows
    energy, variogram = found["physical", "energy"], found["physical", "variogram"]
    assert energy[rows[2]] == pytest.approx(skill.energy_score(ensemble, truth).mean().item())
    own = skill.variogram_score(ensemble, truth).mean().item()
    assert variogram[rows[2]] == pytest.approx(own)
    assert energy[rows[1]] == found["physical", "rmse"][rows[1]] == energy["one"]
    middle = ensemble.mean("realization")
    own = skill.variogram_score(middle, truth).mean().item()
    assert variogram[rows[0]] == pytest.approx(own)
    daily = skill.per_day({"e": ensemble}, truth, None, ["energy"])
    np.testing.assert_allclose(daily[2, 0, 0], skill.energy_score(ensemble, truth))
    parts = {"north": (-1, 6, 16, 21), "south": (-1, 6, 9, 14)}
    split = skill.table(
        given, truth, None, ["variogram"], baselines=None, by="region", regions=parts
    )
    alone = skill.variogram_score(ensemble[:, :, :2], truth[:, :2]).mean().item()
    assert split.loc[("north", rows[2])].item() == pytest.approx(alone)


# correlation between variables


@pytest.fixture
def pair(fields):
    truth = xr.Dataset({"t": fields(30, seed=1), "u": fields(30, seed=2), "v": fields(30, seed=3)})
    truth["u"] = truth.u + 0.8 * truth.t
    prediction = xr.Dataset({n: fields(30, seed=4 + k, members=2) for k, n in enumerate("tuv")})
    return prediction, truth


@pytest.mark.parametrize("over", ["time", "space", "both"])
def test_correlations_are_those_of_xarray(pair, over):
    prediction, truth = pair
    dims = {"time": ["time"], "space": ["lat", "lon"], "both": ["time", "lat", "lon"]}[over]
    found = skill.intervariable_correlation(prediction.transpose("lon", ...), truth, over=over)
    assert found.pair.values.tolist() == ["t, u", "t, v", "u, v"]
    assert found.first.values.tolist() == ["t", "t", "u"]
    for first, second in (("t", "u"), ("t", "v"), ("u", "v")):
        at = {"pair": f"{first}, {second}"}
        for name, ds in (("truth", truth), ("prediction", prediction)):
            expected = xr.corr(ds[first], ds[second], dim=dims)
            own = found[name].sel(at).transpose(*expected.dims)
            np.testing.assert_allclose(own, expected, rtol=1e-9)
    np.testing.assert_allclose(found.difference, found.prediction - found.truth)
    lazy = skill.intervariable_correlation(prediction.chunk(time=7), truth.chunk(time=4), over)
    xr.testing.assert_allclose(lazy.compute(), found)


def test_area_weights_and_gaps_in_correlations(pair):
    prediction, truth = pair
    holes = truth.t > truth.t.quantile(0.1).item()
    areas = grids.area(truth.t)
    found = skill.intervariable_correlation(
        prediction.assign(u=prediction.u.where(holes)), truth, "both", weights=True
    )
    for name, ds in (("truth", truth), ("prediction", prediction)):
        a, b = ds.t.where(holes), ds.u.where(holes)
        expected = xr.corr(a, b, dim=["time", "lat", "lon"], weights=areas)
        np.testing.assert_allclose(found[name].sel(pair="t, u"), expected, rtol=1e-9)


def test_large_offsets_and_constants(pair):
    truth = pair[1]
    far = truth + 1e6
    for over in ("time", "space", "both"):
        found = skill.intervariable_correlation(far, truth, over)
        np.testing.assert_allclose(found.prediction, found.truth, atol=1e-7)
        flat = skill.intervariable_correlation(truth.assign(u=0 * truth.u + 0.1), truth, over)
        assert np.isnan(flat.prediction.sel(pair="t, u")).all()
        assert np.isfinite(flat.truth).all()


def test_transforms_by_variable(pair):
    prediction, truth = pair
    found = skill.intervariable_correlation(prediction, truth, transform={"t": "log10"})
    expected = xr.corr(np.log10(truth.t), truth.u, dim="time")
    np.testing.assert_allclose(found.truth.sel(pair="t, u"), expected)


def test_what_correlations_need(pair):
    prediction, truth = pair
    with pytest.raises(DataError, match=r"1 variables on a grid that both have.* needs two"):
        skill.intervariable_correlation(prediction[["t"]], truth)
    with pytest.raises(DataError, match="The truth is a DataArray; give a Dataset with two"):
        skill.intervariable_correlation(prediction, truth.t)
    with pytest.raises(OptionError, match="Unknown over: 'day'"):
        skill.intervariable_correlation(prediction, truth, "day")
    still = [ds.isel(time=0, drop=True) for ds in pair]
    with pytest.raises(TimeAxisError, match=r"needs a time axis .* give over='space'"):
        skill.intervariable_correlation(*still)
    assert skill.intervariable_correlation(*still, over="space").truth.dims == ("pair",)
