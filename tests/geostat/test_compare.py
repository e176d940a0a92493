"""Every diagnostic side by side equals the diagnostic alone."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from records import label
from xdownscale import geostat
from xdownscale.core.errors import OptionError
from xdownscale.geostat import compare


def record(seed=0, shape=(20, 24, 30), step=0.25, start="2000-01-01"):
    rng = np.random.default_rng(seed)
    white = rng.normal(size=shape)
    smooth = sum(np.roll(white, (i, j), (1, 2)) for i in range(4) for j in range(4)) / 4
    lat = np.arange(shape[1]) * step
    lon = np.arange(shape[2]) * step
    return label(np.exp(smooth), lat, lon, time=start, units="kg")


@pytest.fixture(scope="module")
def both():
    return record(1), record(2, shape=(25, 16, 16), step=0.5) * 1.5


@pytest.fixture(scope="module")
def found(both):
    return compare(*both, max_distance=300, max_lag=4)


def test_all_diagnostics_are_there_and_done(found):
    assert found.field.values.tolist() == ["this", "reference"]
    assert (found.status == "done").all()
    assert found.diagnostic.values.tolist() == [
        "semivariogram",
        "power_spectrum",
        "acf",
        "pacf",
        "lag_r2",
        "lag_rmse",
        "distribution",
        "wasserstein",
    ]


def test_each_is_the_diagnostic_alone(both, found):
    for field, da in zip(("this", "reference"), both, strict=True):
        own = found.sel(field=field)
        logs = np.log10(da)
        # five classes: the coarser grid has a spacing of half a degree
        curve = geostat.semivariogram(logs, max_distance=300, bins=5, bootstrap=0)
        np.testing.assert_allclose(own.semivariance, curve.semivariance)
        np.testing.assert_allclose(own.effective_range, curve.effective_range)
        assert own.fit_message.item() == curve.message.item()
        np.testing.assert_allclose(own.acf, geostat.acf(logs, max_lag=4))
        np.testing.assert_allclose(own.pacf, geostat.pacf(logs, max_lag=4))
        for name, function in (("lag_r2", geostat.lag_r2), ("lag_rmse", geostat.lag_rmse)):
            np.testing.assert_allclose(own[name][1:], function(logs, max_lag=4)["mean"])
            assert np.isnan(own[name][0])
        values = geostat.distribution(da)
        np.testing.assert_allclose(own.value, values.value)
        np.testing.assert_allclose(own["mean"], values["mean"])
    daily = geostat.wasserstein(*both)
    assert found.wasserstein_mean.item() == daily.wasserstein_mean.item()
    pooled = geostat.wasserstein(*both, "pooled", common=False)
    assert found.wasserstein_pooled.item() == pooled.wasserstein.item()


def test_power_is_interpolated_between_its_own_wavelengths(both, found):
    spectrum = geostat.power_spectrum(np.log10(both[0]))
    whole = spectrum.power[spectrum.complete.values]
    own = found.power.sel(field="this")
    inside = (own.wavelength >= whole.wavelength.min()) & (own.wavelength <= whole.wavelength.max())
    assert (~np.isnan(own) == inside).all()
    for wavelength in own.wavelength.values[inside.values]:
        below = whole[whole.wavelength.values <= wavelength][0]
        above = whole[whole.wavelength.values >= wavelength][-1]
        ends = sorted([below.item(), above.item()])
        assert ends[0] * 0.999 <= own.sel(wavelength=wavelength).item() <= ends[1] * 1.001


def test_differences_are_this_minus_reference(found):
    names = [n for n in found.data_vars if str(n).endswith("_difference")]
    assert {"semivariance_difference", "power_difference", "sd_difference"} <= set(names)
    for name in names:
        values = found[name.removesuffix("_difference")]
        expected = values.sel(field="this") - values.sel(field="reference")
        np.testing.assert_allclose(found[name], expected)
        assert "this minus reference" in found[name].attrs["long_name"]


def test_what_cannot_be_computed_is_told_and_left_out(both):
    still = both[0].isel(time=0, drop=True)
    found = compare(still, both[1], max_distance=300, max_lag=4)
    status = found.status
    assert status.sel(diagnostic="semivariogram").values.tolist() == ["done", "done"]
    assert "no time dimension" in status.sel(diagnostic="acf", field="this").item()
    assert status.sel(diagnostic="acf", field="reference") == "done"
    assert np.isnan(found.acf.sel(field="this")).all()
    assert not np.isnan(found.acf.sel(field="reference")).any()
    neither = compare(still, still, max_distance=300)
    assert "acf" not in neither
    assert (neither.status.sel(diagnostic="distribution") == "done").all()
    assert neither.wasserstein_pooled.item() == 0


def test_other_days_leave_the_pooled_distance(both):
    later = both[1].assign_coords(time=both[1].time + np.timedelta64(4000, "D"))
    found = compare(both[0], later, max_distance=300, max_lag=4)
    assert "no time in common" in found.status.sel(diagnostic="wasserstein", field="this").item()
    assert "wasserstein_mean" not in found
    assert found.wasserstein_pooled.item() > 0


def test_lazy_until_asked(both, found):
    def refuse(dsk, keys, **kwargs):
        raise AssertionError("computed too early")

    chunked = [da.chunk(time=7) for da in both]
    with dask.config.set(scheduler=refuse):
        lazy = compare(*chunked, max_distance=300, max_lag=4, transform="log10")
    xr.testing.assert_allclose(lazy.compute(), found)


def test_options(both):
    with pytest.raises(OptionError, match="max_lag is 0; give 1 or more"):
        compare(*both, max_lag=0)
    with pytest.raises(OptionError, match="Unknown transform: 'ln'"):
        compare(*both, transform="ln")


def test_lags_of_different_steps_are_not_compared(both):
    six_hourly = both[0].assign_coords(time=pd.date_range("2000", periods=20, freq="6h"))
    found = compare(six_hourly, both[1], max_distance=300, max_lag=3)
    said = found.status.sel(diagnostic="acf", field="this").item()
    assert "a time step of 6 hours and the reference one of 1 day" in said
    assert (found.status.sel(diagnostic=["pacf", "lag_r2", "lag_rmse"]) == "As for acf.").all()
    assert not {"acf", "pacf", "lag_r2", "lag_rmse"} & set(found.data_vars)
    assert (found.status.sel(diagnostic=["semivariogram", "distribution"]) == "done").all()


def test_the_transform_is_chosen(both):
    """Finding of a review: of temperatures below 0 nothing was left but a text."""
    moved = [da - 5 for da in both]
    found = compare(*moved, max_distance=300, max_lag=3)
    assert found.attrs["transform"] == "identity"
    assert (found.status == "done").all()
    xr.testing.assert_identical(
        found, compare(*moved, max_distance=300, max_lag=3, transform="identity")
    )


def test_a_reason_is_told_once(both):
    found = compare(both[0] - 5, both[1], max_distance=300, max_lag=3, transform="log10")
    said = found.status.sel(field="this")
    assert "values are 0 or less" in said.sel(diagnostic="semivariogram").item()
    assert said.sel(diagnostic="pacf").item() == "As for semivariogram."
    assert (found.status.sel(field="reference") != "As for semivariogram.").all()
