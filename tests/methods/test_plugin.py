"""A method of another package goes through everything that a built-in one does."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
import textwrap
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xdownscale as xd
from xdownscale.core import plugins

HERE = Path(__file__).parent


def load_method():
    spec = importlib.util.spec_from_file_location("bias_and_noise", HERE / "bias_and_noise.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.BiasAndNoise


@pytest.fixture(scope="module", autouse=True)
def method():
    plugins.names()  # loads all, so that all are there again afterwards
    before = dict(plugins._methods)
    yield xd.methods.register(load_method())
    plugins._methods.clear()
    plugins._methods.update(before)


@pytest.fixture(scope="module")
def records():
    rng = np.random.default_rng(1)
    time = pd.date_range("2000-01-01", periods=200)
    lat = np.arange(0.25, 12, 0.5)
    lon = np.arange(0.25, 10, 0.5)
    coarse = rng.normal(size=(200, 6, 5))
    bias = rng.normal(size=(24, 20))
    values = coarse.repeat(4, 1).repeat(4, 2) + bias + 0.3 * rng.normal(size=(200, 24, 20))
    coords = {"time": time, "lat": lat, "lon": lon}
    fine = xr.DataArray(values, coords, name="t", attrs={"units": "K"})
    averages = fine.coarsen(lat=4, lon=4).mean()
    return averages.assign_attrs(fine.attrs), fine.isel(time=slice(0, 150))


def configured(**sections):
    return xd.preset("fast", method="bias_and_noise", data={"extrapolate": "nearest"}, **sections)


@pytest.fixture(scope="module")
def model(records):
    coarse, fine = records
    return coarse.downscale.fit(fine, preset=configured(), seed=3, progress=False)


def test_it_is_listed():
    listed = xd.methods.available()
    assert listed["bias_and_noise"] == "Interpolation, a bias per cell and Gaussian noise"
    assert list(listed.index[:4]) == ["diffusion", "residual", "crps", "unet"]


def test_fields_have_the_bias_and_the_spread_of_the_records(model, records):
    coarse, fine = records
    maps = coarse.downscale.predict(model, time=fine.time[-20:], realizations=40, seed=1)
    assert maps.sizes == {"realization": 40, "time": 20, "lat": 24, "lon": 20}
    error = maps - fine
    assert abs(float(error.mean())) < 0.02
    # a calibrated realization errs by its own noise and by that of the truth
    spread = float(np.sqrt(maps.var("realization").mean()))
    assert 0.9 < np.sqrt(2) * spread / float(error.isel(realization=0).std()) < 1.1


def test_eager_lazy_and_stored_fields_are_equal(model, records, tmp_path):
    coarse, fine = records
    options = {"time": fine.time[-10:], "realizations": 3, "seed": 2}
    eager = coarse.downscale.predict(model, **options)
    lazy = coarse.downscale.predict(model, chunks={"time": 4, "realization": 2}, **options)
    assert lazy.chunks is not None
    xr.testing.assert_identical(lazy.compute(), eager)
    stored = xd.predict_to_zarr(
        model, coarse, tmp_path / "maps.zarr", chunks=4, progress=False, **options
    )
    np.testing.assert_array_equal(stored.t.values, eager.values)


def test_a_file_holds_it(model, records, tmp_path):
    coarse, fine = records
    model.save(tmp_path / "model.xd")
    again = xd.load(tmp_path / "model.xd")
    assert again.config_.method == "bias_and_noise"
    options = {"time": fine.time[-3:], "seed": 5}
    first = coarse.downscale.predict(model, **options)
    xr.testing.assert_identical(coarse.downscale.predict(again, **options), first)


def test_it_is_checked_and_reported(model, records, tmp_path):
    coarse, fine = records
    table = model.check(coarse, fine, days=6, realizations=4)
    assert table.loc["negative transfer", "verdict"] == "not measured"
    assert np.isfinite(table.loc["spread", "value"])
    maps = coarse.downscale.predict(model, time=fine.time[-30:], realizations=4)
    page = xd.report(maps, coarse, fine, path=tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert page is not None


def test_groups_of_seasons_and_regions(records):
    coarse, fine = records
    regions = {"south": (0, 10, 0, 6), "north": (0, 10, 6, 12)}
    model = coarse.downscale.fit(fine, preset=configured(), regions=regions, progress=False)
    whole = coarse.downscale.fit(fine, preset=configured(), progress=False)
    options = {"time": fine.time[-2:], "seed": 5}
    parts = coarse.downscale.predict(model, **options)
    # one noise field for the whole domain, and statistics of each cell for itself; scaling is not
    assert float(abs(parts - coarse.downscale.predict(whole, **options)).max()) < 1e-4


@pytest.fixture
def variant():
    """Register methods that are like the plug-in but for some attributes."""
    plain = load_method()

    def make(**attributes):
        return xd.methods.register(type("Variant", (plain,), {"name": "variant", **attributes}))

    yield make
    plugins._methods.pop("variant", None)


@dataclasses.dataclass(frozen=True)
class Options:
    inflation: float = 1.0
    kind: str = "white"
    levels: tuple[int, ...] = (1, 2)


def variant_config(**sections):
    return xd.preset("fast", method="variant", data={"extrapolate": "nearest"}, **sections)


def test_options_of_its_own_are_typed_and_kept_in_the_file(variant, records, tmp_path):
    coarse, fine = records
    variant(options=Options)
    config = variant_config(options={"inflation": np.float32(2), "levels": [3]})
    assert config.options == Options(inflation=2.0, levels=(3,))
    assert variant_config().options == Options()
    assert hash(variant_config()) == hash(variant_config())
    model = coarse.downscale.fit(fine, preset=config, progress=False)
    model.save(tmp_path / "model.xd")
    assert xd.load(tmp_path / "model.xd").config_ == config
    assert config.replace(method="residual").options is None
    wrong = [({"inflated": 1}, "Unknown key of the options"), ({"kind": 3}, "'kind' .* is 3; give")]
    for options, words in [*wrong, ({"inflation": "x"}, "'inflation' .* is 'x'; give float")]:
        with pytest.raises(xd.errors.OptionError, match=words):
            variant_config(options=options)


def test_realizations_of_a_run_have_noise_of_their_own(variant, records):
    coarse, fine = records
    variant(fine_lags=lambda self, config: 1)
    model = coarse.downscale.fit(fine, preset=variant_config(), progress=False)
    options = {"time": fine.time[-4:], "realizations": 6, "history": fine, "seed": 2}
    run = coarse.downscale.predict(model, **options)
    forced = coarse.downscale.predict(model, mode="teacher_forced", **options)
    xr.testing.assert_allclose(run, forced)  # it does not look at its lags
    assert float(run.std("realization").min()) > 0.05


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"a": np.zeros(2)}, "'a' as float64"),
        ({"a": [1.0]}, "'a' as list in its state; give arrays of float32"),
    ],
)
def test_a_state_that_no_file_can_hold_is_refused_after_training(variant, records, state, words):
    variant(train=lambda self, data, run: xd.methods.Trained(state=state))
    with pytest.raises(xd.errors.ModelFormatError, match=words):
        records[0].downscale.fit(records[1], preset=variant_config(), progress=False)


def test_a_method_without_a_state_works(variant, records):
    class Zeros:
        def sample(self, request):
            known = request.conditions
            shape = (len(request.realizations), len(known.keys), 1, *known.window.shape[-2:])
            return np.zeros(shape, np.float32)

    variant(
        train=lambda self, data, run: xd.methods.Trained(state={}),
        load=lambda self, state, config, sizes, device: Zeros(),
    )
    coarse, fine = records
    model = coarse.downscale.fit(fine, preset=variant_config(), progress=False)
    assert coarse.downscale.predict(model, time=fine.time[-2:]).sizes["time"] == 2


def test_an_answer_of_another_shape_is_refused(variant, records):
    class Short:
        def sample(self, request):
            return np.zeros((1, 1, 1, 24, 20), np.float32)

    variant(load=lambda self, state, config, sizes, device: Short())
    coarse, fine = records
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the skill on validation days could not be measured
        model = coarse.downscale.fit(fine, preset=variant_config(), progress=False)
    with pytest.raises(xd.errors.ModelMismatchError, match=r"shape \(1, 1, 1, 24, 20\); asked for"):
        coarse.downscale.predict(model, time=fine.time[-2:])


def test_a_file_of_a_method_that_is_not_known(variant, records, tmp_path):
    variant()
    model = records[0].downscale.fit(records[1], preset=variant_config(), progress=False)
    model.save(tmp_path / "model.xd")
    del plugins._methods["variant"]
    with pytest.raises(xd.errors.ModelFormatError, match="Its method 'variant' is not known"):
        xd.load(tmp_path / "model.xd")


def test_a_check_of_a_rolled_global_record_is_the_same():
    rng = np.random.default_rng(0)
    time = pd.date_range("2000-01-01", periods=150)
    lon = np.arange(15.0, 360, 30)
    lat = np.arange(-75.0, 90, 30)
    trend = 0.05 * np.arange(150)[:, None, None] * np.where(lon < 180, 1, -1)
    coords = {"time": time, "lat": lat, "lon": lon}
    coarse = xr.DataArray(rng.normal(size=(150, 6, 12)) + trend, coords, name="t")
    fine = coarse.interp(lat=np.arange(-40.0, 41, 10), lon=np.arange(20.0, 161, 10))
    rolled = coarse.assign_coords(lon=(coarse.lon + 180) % 360 - 180).sortby("lon")
    model = coarse.downscale.fit(fine, preset=configured(), progress=False, pairing="paired")
    options = {"days": 4, "realizations": 2}
    pd.testing.assert_frame_equal(
        model.check(rolled, fine, **options), model.check(coarse, fine, **options)
    )


def test_a_check_matches_days_by_date(model, records):
    coarse, fine = records
    noon = fine.assign_coords(time=fine.time + np.timedelta64(12, "h"))
    options = {"days": 4, "realizations": 2}
    pd.testing.assert_frame_equal(
        model.check(coarse, noon, **options), model.check(coarse, fine, **options)
    )


def test_options_that_it_does_not_use_are_refused():
    with pytest.raises(xd.errors.OptionError, match=r"'bias_and_noise' does not use data\.crop"):
        xd.preset("fast", method="bias_and_noise", data={"crop": 32})
    with pytest.raises(xd.errors.OptionError, match=r"has no options of its own; \{'x': 1\}"):
        xd.preset("fast", method="bias_and_noise", options={"x": 1})


def test_a_method_needs_a_name():
    with pytest.raises(xd.errors.OptionError, match="has no name"):
        xd.methods.register(object())


def test_another_package_brings_a_method_by_an_entry_point(tmp_path):
    """An installed package is imitated by its metadata on the path."""
    (tmp_path / "bias_and_noise.py").write_text((HERE / "bias_and_noise.py").read_text())
    info = tmp_path / "bias_and_noise-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bias-and-noise\nVersion: 1\n")
    entry = "[xdownscale.methods]\nbias_and_noise = bias_and_noise:BiasAndNoise\n"
    (info / "entry_points.txt").write_text(entry)
    code = f"""
        import sys; sys.path.insert(0, {str(tmp_path)!r})
        import xdownscale as xd
        print(xd.preset("fast", method="bias_and_noise").method, *xd.methods.available().index)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    said = done.stdout.split()
    assert said[:5] == ["bias_and_noise", "diffusion", "residual", "crps", "unet"]
    assert said[-1] == "bias_and_noise"


def test_a_broken_package_is_left_out_with_a_warning(monkeypatch):
    entry = metadata.EntryPoint("broken", "no_such_module:Method", plugins.GROUP)
    other = metadata.EntryPoint("other", "xdownscale.methods.unet:UNet", plugins.GROUP)
    monkeypatch.setattr(plugins.metadata, "entry_points", lambda group: [entry, other])
    before = dict(plugins._methods)
    plugins._load_all.cache_clear()
    with (
        pytest.warns(xd.errors.XDownscaleWarning, match="'broken' .*ModuleNotFoundError"),
        pytest.warns(xd.errors.XDownscaleWarning, match="'other' .*its class is called 'unet'"),
    ):
        names = plugins.names()
    assert set(names) == set(before)


def test_how_to_shows_the_same_file():
    page = (HERE.parents[1] / "docs" / "howto" / "add_a_method.md").read_text()
    code = (HERE / "bias_and_noise.py").read_text()
    assert code.split("import numpy", 1)[1].strip() in page
