"""Scores by scale: Parseval, plane waves, exchangeable members, gaps, chunks."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from xdownscale import geostat, skill
from xdownscale.core import grids
from xdownscale.core.errors import DataError, GridError, OptionError
from xdownscale.core.spectra import make_octaves, shortest_wavelengths

NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)


def noise(seed, days=6, members=None, shape=(24, 40), step=0.1):
    lead = (days,) if members is None else (members, days)
    coords = {
        "time": xr.date_range("2000-01-01", periods=days),
        "lat": step * (np.arange(shape[0]) - shape[0] / 2 + 0.5),
        "lon": 20 + step * np.arange(shape[1]),
    }
    dims = ("time", "lat", "lon") if members is None else ("realization", "time", "lat", "lon")
    drawn = np.random.default_rng(seed).normal(size=(*lead, *shape))
    return xr.DataArray(drawn, dims=dims, coords=coords, attrs={"units": "K"})


# octaves


@pytest.mark.parametrize("shape", [(16, 16), (17, 24), (30, 9)])
def test_octaves_hold_every_mode_once(shape):
    octaves = make_octaves(shape, (10.0, 12.0))
    assert octaves.modes.sum() == np.prod(shape)
    assert octaves.modes[0] == 1
    short = shortest_wavelengths(octaves)
    middle = 1 / octaves.wavenumber[1:]
    assert (short[:-1] <= middle[:-1]).all()
    assert (middle < 2 * short).all()
    np.testing.assert_allclose(np.log2(short * octaves.nyquist) % 1, 0, atol=1e-9)
    assert (np.diff(short) < 0).all()


# log spectral distance


@pytest.mark.parametrize("factor", [0.5, 1.0, 4.0])
def test_a_factor_is_its_decibels(factor):
    truth = noise(1)
    found = skill.ralsd(factor * truth + 3, truth)
    assert found.ralsd.item() == pytest.approx(abs(20 * np.log10(factor)), abs=1e-9)
    np.testing.assert_allclose(found.log_ratio, 20 * np.log10(factor), atol=1e-9)
    squared = skill.ralsd(factor * truth, truth, convention="mean_square")
    assert squared.ralsd.item() == pytest.approx(found.ralsd.item() ** 2)
    assert found.ralsd.attrs["units"] == "dB"
    assert squared.ralsd.attrs["units"] == "dB2"


@pytest.mark.parametrize("average", ["time", None])
def test_it_is_that_of_the_power_spectra(average):
    truth, ensemble = noise(1), noise(2, members=3)
    found = skill.ralsd(ensemble.transpose("lat", ...), truth, average=average)
    spectra = [geostat.power_spectrum(da, average) for da in (ensemble, truth)]
    whole = [s.power.where(s.complete, drop=True) for s in spectra]
    decibel = 10 * np.log10(whole[0] / whole[1])
    expected = (decibel**2).mean("wavelength") ** 0.5
    np.testing.assert_allclose(found.ralsd, expected.transpose(*found.ralsd.dims))
    assert set(found.ralsd.dims) == ({"realization"} if average else {"realization", "time"})
    np.testing.assert_allclose(found.wavelength, whole[0].wavelength)


def test_a_smoothed_field_loses_short_wavelengths():
    truth = noise(1, 30)
    smooth = truth.rolling(lon=3, lat=3, center=True, min_periods=1).mean()
    found = skill.ralsd(smooth, truth).log_ratio
    assert found[-1] < -6
    assert found[-1] < found[0]
    assert skill.ralsd(noise(2, 30), truth).ralsd < 1


def test_gaps_count_in_neither():
    truth, prediction = noise(1, 40), 2 * noise(2, 40)
    holes = (truth.lat > -0.9) | (truth.lon > 21)
    told = skill.ralsd(prediction.where(holes), truth.where(holes))
    assert skill.ralsd(prediction, truth.where(holes)).ralsd == told.ralsd
    assert skill.ralsd(prediction.where(holes), truth).ralsd == told.ralsd
    assert told.log_ratio.mean().item() == pytest.approx(20 * np.log10(2), abs=0.3)


def test_a_constant_field_has_no_distance():
    truth = noise(1)
    for pair in ((0 * truth, truth), (truth, 0 * truth)):
        assert np.isnan(skill.ralsd(*pair).ralsd)


# spread and error by scale


@pytest.mark.parametrize("window", ["none", "hann"])
def test_octaves_sum_to_the_whole(window):
    truth, ensemble = noise(1), noise(2, members=4)
    found = skill.spread_skill_by_scale(ensemble, truth, window=window, average=None)
    error = ensemble.mean("realization") - truth
    whole = geostat.power_spectrum(error, average=None, window=window).variance.sum("wavelength")
    np.testing.assert_allclose((found.rmse**2).sum("wavelength"), whole)
    apart = ensemble - ensemble.mean("realization")
    spectra = geostat.power_spectrum(apart, average=None, window=window).variance
    total = spectra.sum("wavelength").sum("realization") / 3 * (1 + 1 / 4)
    np.testing.assert_allclose((found.spread**2).sum("wavelength"), total)
    np.testing.assert_allclose(found.mean_rmse, np.abs(error.mean(["lat", "lon"])))
    own = ensemble.mean(["lat", "lon"]).std("realization", ddof=1) * np.sqrt(1 + 1 / 4)
    np.testing.assert_allclose(found.mean_spread, own)


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("gaps", [False, True])
def test_exchangeable_members_have_ratio_one_in_each_octave(count, gaps):
    truth, ensemble = noise(1, 400, shape=(16, 24)), noise(2, 400, count, shape=(16, 24))
    signal = 3 * noise(3, 400, shape=(16, 24))
    level = xr.DataArray(np.random.default_rng(4).normal(size=(count + 1, 400)), dims=("m", "time"))
    truth = truth + signal + level[0]
    ensemble = ensemble + signal + level[1:].rename(m="realization")
    if gaps:
        truth = truth.where((truth.lat > -0.3) | (truth.lon > 20.8))
    found = skill.spread_skill_by_scale(ensemble, truth)
    np.testing.assert_allclose(found.spread_skill, 1, atol=0.12)
    assert found.mean_spread_skill.item() == pytest.approx(1, abs=0.15)
    assert found.attrs["realizations"] == count


def test_it_sees_what_each_scale_lacks():
    truth, ensemble = noise(1, 200, shape=(16, 24)), noise(2, 200, 5, shape=(16, 24))
    narrow = ensemble - ensemble.mean(["lat", "lon"])
    found = skill.spread_skill_by_scale(narrow, truth)
    assert found.mean_spread_skill < 0.01
    np.testing.assert_allclose(found.spread_skill, 1, atol=0.12)
    ratio = skill.spread_skill_by_scale(0.5 * ensemble, truth).spread_skill
    # spread halves, the error falls to that of the truth and half the mean
    np.testing.assert_allclose(ratio, 0.5 * np.sqrt(1.2 / 1.05), atol=0.06)


def test_a_wave_is_in_its_octave():
    wave = np.cos(2 * np.pi * np.arange(64) / 8)  # 8 pixels long: in octave 8 to 16
    flat = noise(1, 1, shape=(64, 64))
    truth = flat.copy(data=np.broadcast_to(wave, (1, 64, 64)))
    ensemble = 1e-6 * noise(2, 1, 2, shape=(64, 64))
    found = skill.spread_skill_by_scale(ensemble, truth, window="none", average=None)
    rmse = found.rmse.squeeze()
    own = rmse.argmax("wavelength")
    assert rmse.max().item() == pytest.approx(np.sqrt(0.5), rel=5e-3)  # a plane takes some
    pixel = grids.distances(0.0, 0.0, 0.0, 0.1).item()
    assert found.shortest[own].item() == pytest.approx(8 * pixel, rel=0.02)
    assert found.longest[own] == 2 * found.shortest[own]


def test_gaps_and_weights_of_the_domain_mean():
    truth, ensemble = noise(1), noise(2, members=3)
    truth[2] = np.nan
    ensemble[1, 3, :4] = np.inf
    found = skill.spread_skill_by_scale(ensemble, truth, average=None)
    assert np.isnan(found.mean_rmse).values.tolist() == [False, False, True, False, False, False]
    inside = ensemble[:, 3, 4:].mean(["lat", "lon"])
    assert found.mean_spread[3].item() == pytest.approx(inside.std(ddof=1).item() * np.sqrt(4 / 3))
    pooled = skill.spread_skill_by_scale(ensemble, truth)
    np.testing.assert_allclose(pooled.rmse**2, (found.rmse**2).mean("time"))
    by_area = skill.spread_skill_by_scale(ensemble, truth, weights=True)
    expected = (ensemble.mean("realization") - truth)[0].weighted(grids.area(truth)).mean()
    daily = skill.spread_skill_by_scale(ensemble, truth, weights=True, average=None)
    assert daily.mean_rmse[0].item() == pytest.approx(abs(expected.item()))
    assert (by_area.spread_skill == pooled.spread_skill).all()


# both


@settings(max_examples=8, phases=NO_SHRINKING)
@given(
    chunk=st.integers(1, 6),
    order=st.permutations(["realization", "time", "lat", "lon"]),
    members=st.permutations(range(3)),
    flip=st.booleans(),
    shuffle=st.permutations(range(6)),
)
def test_chunks_order_and_orientation_do_not_matter(chunk, order, members, flip, shuffle):
    truth, ensemble = noise(1), noise(2, members=3).assign_coords(realization=[0, 1, 2])
    told = skill.spread_skill_by_scale(ensemble, truth)
    distance = skill.ralsd(ensemble, truth)
    turned, several = truth.isel(time=shuffle), ensemble.isel(realization=members)
    if flip:
        turned, several = (da.isel(lat=slice(None, None, -1)) for da in (turned, several))
    turned, several = (da.chunk(time=chunk, lat=7) for da in (turned, several.transpose(*order)))
    xr.testing.assert_allclose(skill.spread_skill_by_scale(several, turned).compute(), told)
    found = skill.ralsd(several, turned).compute().sortby("realization")
    xr.testing.assert_allclose(found, distance)


def test_lazy_inputs_stay_lazy(computes):
    truth, ensemble = noise(1).chunk(time=2), noise(2, members=3).chunk(time=1)
    skill.ralsd(ensemble, truth, transform=None)
    skill.spread_skill_by_scale(ensemble, truth, weights=True)
    assert computes.calls == 0


def test_labels():
    truth, ensemble = noise(1), noise(2, members=3)
    found = skill.spread_skill_by_scale(ensemble, truth)
    units = {name: found[name].attrs["units"] for name in found}
    assert units == {
        f"{prefix}{name}": unit
        for prefix in ("", "mean_")
        for name, unit in (("spread", "K"), ("rmse", "K"), ("spread_skill", "1"))
    }
    assert {found[c].attrs["units"] for c in ("wavelength", "shortest", "longest")} == {"km"}
    still = skill.spread_skill_by_scale(
        ensemble.isel(time=0, drop=True), truth.isel(time=0, drop=True)
    )
    assert still.spread_skill.dims == ("wavelength",)


def test_what_is_refused():
    truth, ensemble = noise(1), noise(2, members=3)
    with pytest.raises(OptionError, match="Unknown convention: 'square'"):
        skill.ralsd(truth, truth, convention="square")
    with pytest.raises(DataError, match="spread_skill_by_scale needs an ensemble"):
        skill.spread_skill_by_scale(truth, truth)
    for function in (skill.ralsd, skill.spread_skill_by_scale):
        with pytest.raises(OptionError, match=r"Unknown average .*: 'day'"):
            function(ensemble, truth, average="day")
        with pytest.raises(OptionError, match="Unknown window: 'box'"):
            function(ensemble, truth, window="box")
        with pytest.raises(OptionError, match="max_missing is 1; give a share"):
            function(ensemble, truth, max_missing=1)
        with pytest.raises(GridError, match="The grid has 7 latitudes; a spectrum needs 8"):
            function(ensemble[:, :, :7], truth[:, :7])
