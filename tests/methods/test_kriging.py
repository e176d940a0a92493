"""Method "kriging": coherence, keys, seasons and regions, stores, rain, several variables."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import xdownscale as xd
from records import make_pair
from xdownscale.core.errors import DataError, ModelFormatError, OptionError, XDownscaleWarning


def coarsened(fine):
    """Return area-weighted averages over 4 by 4 cells."""
    bare = fine.coarsen(lat=4, lon=4).mean()
    return xd.regrid(fine, bare, "conservative")


def pair(days=80, names=("t",), seed=0):
    """Return a fine record, and its exact averages."""
    _, fine = make_pair(days, names=names, seed=seed)
    coarse = xr.Dataset({name: coarsened(fine[name]).assign_attrs(units="K") for name in names})
    return coarse, fine


def fit(coarse, fine, **sections):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)  # short records
        config = xd.preset("kriging", **sections)
        return coarse.downscale.fit(fine, preset=config, progress=False)


@pytest.fixture(scope="module")
def records():
    return pair(names=("t", "q"))


@pytest.fixture(scope="module")
def model(records):
    return fit(*records)


def test_averages_of_mean_and_members_are_the_coarse_field(records, model):
    coarse, _ = records
    times = coarse.time[60:64]
    members = coarse.downscale.predict(model, time=times, realizations=3, seed=1)
    mean = coarse.downscale.predict(model.with_sampling(sampler="mean"), time=times)
    for maps in (members, mean):
        for name in ("t", "q"):
            error = coarsened(maps[name]) - coarse[name].sel(time=times)
            assert float(abs(error).max()) < 5e-6  # float32
    assert float(members.t.std("realization").mean()) > 0.1


@settings(max_examples=8, deadline=None)
@given(
    rows=st.lists(st.integers(2, 70), min_size=1, max_size=5, unique=True),
    members=st.integers(1, 3),
    chunk=st.integers(1, 40),
)
def test_chunks_other_times_and_more_members_do_not_change_a_field(
    model, records, rows, members, chunk
):
    coarse, _ = records
    times = coarse.time[np.sort(rows)]
    some = coarse.downscale.predict(model, time=times, realizations=members, seed=3)
    one = coarse.downscale.predict(model, time=times[-1:], realizations=3, seed=3)
    expected = one.isel(realization=slice(members))
    np.testing.assert_array_equal(some.t.isel(time=[-1]).values, expected.t.values)
    lazy = coarse.chunk(time=chunk).downscale.predict(
        model, time=times, realizations=members, seed=3
    )
    np.testing.assert_array_equal(lazy.q.values, some.q.values)


def test_saved_models_and_stores_hold_the_same_fields(records, model, tmp_path):
    coarse, _ = records
    times = coarse.time[30:36]
    expected = coarse.downscale.predict(model, time=times, realizations=2, seed=3)
    model.save(tmp_path / "k.xd")
    loaded = xd.load(tmp_path / "k.xd")
    xr.testing.assert_equal(
        coarse.downscale.predict(loaded, time=times, realizations=2, seed=3), expected
    )
    path = tmp_path / "k.zarr"
    xd.predict_to_zarr(loaded, coarse, path, time=times, realizations=2, seed=3, progress=False)
    stored = xr.open_zarr(path, consolidated=False)
    for name in ("t", "q"):
        field = stored[name].transpose(*expected[name].dims)
        np.testing.assert_array_equal(field.values, expected[name].values)


def test_members_are_calibrated_where_the_fine_field_has_the_variogram():
    coarse, fine = pair(200)
    model = fit(coarse, fine.isel(time=slice(0, 150)), data={"fractions": (1.0, 0.0, 0.0)})
    truth = fine.t.isel(time=slice(160, None))
    maps = coarse.downscale.predict(model, time=truth.time, realizations=12, seed=1)
    mean = coarse.downscale.predict(model.with_sampling(sampler="mean"), time=truth.time)[0]
    spread = maps.std("realization", ddof=1)
    assert float(abs(maps.mean("realization") - mean).mean()) < 0.4 * float(spread.mean())
    group = model.models_["all"]
    ends = group.scaling.inverse(np.array([0.0, 1.0]))
    variance = group.state["target.0.variance"] * float(ends[1] - ends[0]) ** 2
    ratio = float((spread**2).mean()) / variance.mean()
    assert ratio == pytest.approx(1, abs=0.15)


def test_errors_of_targets_are_correlated_as_in_the_fine_record():
    coarse, fine = pair()
    both = xr.Dataset({"t": fine.t, "double": 2 * fine.t})
    model = fit(coarse.assign(double=2 * coarse.t), both)
    times = coarse.time[50:53]
    maps = coarse.assign(double=2 * coarse.t).downscale.predict(
        model, time=times, realizations=3, seed=0
    )
    wide = coarse.assign(double=2 * coarse.t)
    mean = wide.downscale.predict(model.with_sampling(sampler="mean"), time=times)
    residual = maps - mean.isel(realization=0)
    assert float(xr.corr(residual.t, residual.double)) > 0.95


def test_seasons_and_regions_each_have_their_own_model():
    coarse, fine = pair(160)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)
        model = coarse.t.downscale.fit(
            fine.t,
            preset="kriging",
            regions={"west": [0, 5, 0, 12], "east": [5, 10, 0, 12]},
            seasons={"spring": (2, 3, 4), "summer": (5, 6, 7)},
            progress=False,
        )
    assert len(model.models_) == 4
    maps = coarse.t.downscale.predict(model, time=fine.time[60:64], realizations=2, seed=0)
    assert np.isfinite(maps).all()
    error = coarsened(maps) - coarse.t.sel(time=maps.time)
    assert float(abs(error).mean()) < 0.05  # blended where the regions meet


def test_a_static_trend_is_taken_where_it_helps():
    _, fine = pair()
    height = xr.DataArray(
        np.random.default_rng(3).normal(size=(24, 20)),
        coords={"lat": fine.lat, "lon": fine.lon},
        name="height",
    )
    raised = (fine.t + 4 * height).transpose(*fine.t.dims).rename("t").assign_attrs(units="K")
    low = coarsened(raised).assign_attrs(units="K")
    options = {"trend": "auto"}
    config = xd.preset("kriging", options=options)
    model = low.downscale.fit(raised, static=height, preset=config, progress=False)
    assert "trend static" in repr(model)
    times = fine.time[50:60]
    mean = low.downscale.predict(model.with_sampling(sampler="mean"), time=times)[0]
    rmse = float(np.sqrt(((mean - raised.sel(time=times)) ** 2).mean()))
    assert rmse < 1
    plain = fit(low, raised, options={"trend": "constant"})
    assert "trend constant" in repr(plain)


def test_gaps_of_the_fine_record_are_left_out():
    coarse, fine = pair()
    rng = np.random.default_rng(0)
    holed = fine.t.where(rng.random(fine.t.shape) > 0.2)
    holed[:, :3, :3] = np.nan
    maps = coarse.t.downscale.predict(
        fit(coarse.t, holed), time=fine.time[30:33], realizations=2, seed=0
    )
    assert maps[..., :3, :3].isnull().all()
    assert np.isfinite(maps[..., 3:, 3:]).all()


def test_rain_has_its_dry_share():
    _, fine = pair(120)
    latent = fine.t - fine.t.mean()
    rain = (8 * (latent / latent.std() - 0.4).clip(min=0) ** 2).rename("rain")
    rain = rain.assign_attrs(units="mm")
    low = coarsened(rain).assign_attrs(units="mm")
    model = fit(low, rain, data={"transform": "sqrt"})
    times = fine.time[20:100]
    maps = low.downscale.predict(model, time=times, realizations=3, seed=2)
    truth = rain.sel(time=times)
    assert float(maps.min()) == 0
    assert float((maps > 0).mean() / (truth > 0).mean()) == pytest.approx(1, abs=0.15)


def test_what_it_cannot_do_is_refused(records, model):
    coarse, fine = records
    other = fine.t.rename("other")
    with pytest.raises(DataError, match="Kriging needs the coarse field of every fine variable"):
        coarse.downscale.fit(other, preset="kriging", drivers={"other": None}, progress=False)
    with pytest.raises(OptionError, match="trend"):
        xd.preset("kriging", options={"trend": "linear"})
    with pytest.raises(OptionError, match=r"does not use data\.window"):
        xd.preset("kriging", data={"window": 2})
    with pytest.raises(OptionError, match="needs static fields"):
        fit(coarse, fine, options={"trend": "static"})
    group = model.models_["all"]
    method = xd.methods.find("kriging")
    state = dict(group.state)
    with pytest.raises(ModelFormatError, match="'mixing'"):
        method.check_state(
            {k: v for k, v in state.items() if k != "mixing"},
            model.config_,
            sizes(model, group),
        )


def sizes(model, group):
    from records import fitted_of
    from xdownscale.fitting.fitted_model import sizes_of

    return sizes_of(fitted_of(model), group)
