"""The variational autoencoder: the literal one collapses and is found out, the mended one not."""

from __future__ import annotations

import dataclasses
import functools
import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter

import xdownscale as xd
from records import small_arrays, small_config
from xdownscale import methods
from xdownscale.core.errors import ModelFormatError, OptionError, XDownscaleWarning
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.sampling.request import SampleRequest
from xdownscale.models.training.data import conditions_of
from xdownscale.models.training.optimizer import trainable
from xdownscale.models.training.run import TrainingRun
from xdownscale.models.training.variational import Infer, driver_error

PATCH = 16
SIDE = 32


@functools.cache
def weather() -> tuple[xr.DataArray, xr.DataArray]:
    """Return a smooth large scale, which the coarse record shows, and a small one, which it hides.

    Scaled to [-1, 1], patches of 16 x 16 have one eigenvalue above 2 b^2 = 2.1, with the literal
    Laplace scale b of 2 x 256 / 500: that of the patch mean, as on the twin. Inside a patch most of
    the variance is not in the inputs.
    """
    rng = np.random.default_rng(0)
    white = rng.normal(size=(180, 192, 192)).astype(np.float32)
    large = gaussian_filter(white, (1, 48, 48), mode="wrap")
    small = gaussian_filter(rng.normal(size=(180, SIDE, SIDE)), (0, 2, 2), mode="wrap")
    large = large[:, :SIDE, :SIDE] / large.std()
    values = (large + 0.4 * small / small.std()).astype(np.float32)
    time = xr.date_range("2000-01-01", periods=180)
    axis = 0.25 * np.arange(SIDE)
    coords = {"time": time, "lat": 10 + axis, "lon": 40 + axis}
    fine = xr.DataArray(values, coords, name="t", attrs={"units": "K"})
    return fine.coarsen(lat=8, lon=8).mean(), fine.isel(time=slice(60, None))


def config(epochs: int, **sections) -> xd.DownscalerConfig:
    given = {
        "data": {"lags": 2, "patch_size": PATCH, "patch_stride": 16, "extrapolate": "nearest"},
        "network": {"channels": (8, 16, 24), "encoder_channels": (8,)},
        "training": {
            "epochs": epochs,
            "pretrain_epochs": 1,
            "batch_days": 4,
            "learning_rate": 2e-3,
            "patience": 1000,
        },
        "sampling": {"size": PATCH, "stride": 8, "halo": 2},
    }
    for name, keys in sections.items():
        given[name] = {**given.get(name, {}), **keys}
    return xd.preset("paper", method="vae", **given)


def fit(given: xd.DownscalerConfig) -> tuple[xd.Downscaler, list[str]]:
    coarse, fine = weather()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = coarse.downscale.fit(fine, preset=given, progress=False)
    return model, [str(each.message) for each in caught if each.category is XDownscaleWarning]


@functools.cache
def mended():
    torch.set_num_threads(1)
    return fit(config(12))


@functools.cache
def literal():
    torch.set_num_threads(1)
    # With many more updates the posterior learns to hand on the driver, and is used for that.
    return fit(config(20, **methods.LITERAL_VAE))


def generated(model, realizations=8, **options):
    coarse, fine = weather()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)  # the calendar is clipped
        maps = model.predict(
            coarse,
            time=options.pop("time", model.days("test")),
            realizations=realizations,
            mode="teacher_forced",
            history=fine,
            **{"seed": 1} | options,
        )
    return maps.transpose("realization", "time", "lat", "lon").values, fine.sel(time=maps.time)


def inside(fields):
    """Return the variance inside patches."""
    squares = fields.reshape(-1, SIDE // PATCH, PATCH, SIDE // PATCH, PATCH)
    return float(squares.var((2, 4)).mean())


def gain_of(model):
    return methods.find("vae").latent_gain(model.models_["all"].state)


@pytest.mark.slow
def test_the_literal_one_collapses_and_fit_says_so():
    model, said = literal()
    assert gain_of(model) < 0.05
    fields, truth = generated(model)
    assert inside(fields[0]) < 0.3 * inside(truth.values)
    assert any("carry nothing" in each and "'all'" in each for each in said)


@pytest.mark.slow
def test_check_says_that_the_literal_one_has_collapsed():
    coarse, fine = weather()
    table = literal()[0].check(coarse, fine, days=6, realizations=3)
    assert table.loc["latent", "verdict"] == "below"
    assert "collapsed onto the prior" in table.loc["latent", "sentence"]
    assert table.loc["patch collapse", "value"] < 0.55


@pytest.mark.slow
def test_the_mended_one_does_not_collapse():
    model, said = mended()
    assert not any("carry nothing" in each for each in said)
    assert gain_of(model) > 0.1
    rows = model.history_.isel(group=0)
    kept = float(rows["gain"].values[rows["val_loss"].values.argmin()])
    assert gain_of(model) == pytest.approx(kept)
    fields, truth = generated(model)
    mean = fields.mean(0)
    spread = np.sqrt(fields.var(0, ddof=1).mean() * (1 + 1 / len(fields)))
    assert spread / np.sqrt(((mean - truth.values) ** 2).mean()) > 0.3
    members = xr.DataArray(fields, dims=("realization", *truth.dims), coords=truth.coords)
    crps = float(xd.skill.crps(members, truth, transform=None).mean())
    assert crps < np.abs(mean - truth.values).mean()


@pytest.mark.slow
def test_check_measures_the_mended_one():
    coarse, fine = weather()
    table = mended()[0].check(coarse, fine, days=6, realizations=3)
    assert table.loc[["latent", "patch collapse"], "verdict"].tolist() == ["good", "good"]
    assert table.loc["latent", "value"] == pytest.approx(gain_of(mended()[0]))


# fields


@pytest.mark.slow
def test_bits_depend_on_seed_realization_and_day_alone():
    model = mended()[0]
    days = model.days("test")[:4]
    fields, _ = generated(model, 3, time=days)
    np.testing.assert_array_equal(generated(model, 2, time=days[1:3])[0], fields[:2, 1:3])
    fewer = model.with_sampling(batch_size=3)
    np.testing.assert_array_equal(generated(fewer, 3, time=days)[0], fields)
    assert not np.array_equal(generated(model, 3, time=days, seed=2)[0], fields)


@pytest.mark.slow
def test_the_mean_sampler_gives_one_field():
    model = mended()[0].with_sampling(sampler="mean")
    fields, _ = generated(model, 1, time=model.days("test")[:2])
    np.testing.assert_array_equal(
        fields, generated(model, 1, time=model.days("test")[:2], seed=9)[0]
    )
    with pytest.raises(OptionError, match="the conditional mean alone"):
        generated(model, 2)


# training on the small arrays

SIZES = Sizes(drivers=1, window=3, lags=2, own=(0,), fine_lags=2, static=2, calendar=3)


def small(name="vae", **sections):
    plain = small_config()
    given = {
        "data": {"lags": 2, "patch_size": 8, "patch_stride": 4},
        "network": {"channels": (8, 16), "encoder_channels": (8, 8), "dropout": 0.2},
        "training": {"epochs": 4, "pretrain_epochs": 3, "batch_days": 4},
        "sampling": {"size": 8, "stride": 4, "halo": 1, "batch_size": 7},
    }
    assert plain.data.lags == given["data"]["lags"]
    for section, keys in sections.items():
        given[section] = {**given.get(section, {}), **keys}
    return xd.preset("paper", method=name, **given)


def train(given, **options):
    torch.set_num_threads(1)
    options = {"seed": 3, "device": "cpu"} | options
    return methods.find(given.method).train(small_arrays(), TrainingRun(config=given, **options))


LITERAL = {**methods.LITERAL_VAE, "sampling": {"stride": 4}}
both = pytest.mark.parametrize("sections", [{}, LITERAL], ids=["mended", "literal"])


@both
def test_what_training_returns(sections):
    given = small(**sections)
    trained = train(given)
    history = trained.history
    assert history["stage"].tolist() == ["pretrain"] * 3 + ["infer"] * 4
    assert np.isnan(history["gain"][:3]).all()
    assert np.isfinite(history["gain"][3:]).all()
    assert (history["kl"][3:] >= 0).all()
    method = methods.find("vae")
    method.check_state(trained.state, given, SIZES)
    best = np.argmin(history["val_loss"][3:])
    assert method.latent_gain(trained.state) == pytest.approx(history["gain"][3:][best])
    rest = {n: w for n, w in trained.state.items() if n != "latent.gain"}
    with pytest.raises(ModelFormatError, match=r"lacks 'latent\.gain'"):
        method.check_state(rest, given, SIZES)


@both
def test_an_interrupted_training_ends_with_the_same_weights(tmp_path, monkeypatch, sections):
    options = {**sections.get("options", {}), "anneal": 0.8}
    given = small(**{**sections, "options": options})
    undisturbed = train(given)
    loss = Infer.loss
    seen = {"updates": 0}

    def failing(self, batch, generator):
        seen["updates"] += torch.is_grad_enabled()
        if seen["updates"] == 5:
            raise OSError("unplugged")
        return loss(self, batch, generator)

    monkeypatch.setattr(Infer, "loss", failing)
    with pytest.raises(OSError, match="unplugged"):
        train(given, checkpoint_dir=tmp_path)
    monkeypatch.setattr(Infer, "loss", loss)
    resumed = train(given, checkpoint_dir=tmp_path)
    assert resumed.state.keys() == undisturbed.state.keys()
    for name, weights in undisturbed.state.items():
        np.testing.assert_array_equal(resumed.state[name], weights, err_msg=name)
    for column in ("train_loss", "val_loss", "kl", "gain"):
        np.testing.assert_array_equal(resumed.history[column], undisturbed.history[column])


def test_the_frozen_encoder_is_not_trained():
    given = small()
    trained = train(given)
    networks = methods.find("vae").load(trained.state, given, SIZES, "cpu").networks
    assert not any(name.startswith("encoder.") for name in trainable(networks))
    assert not any(p.requires_grad for p in networks.encoder.parameters())
    again = train(given.replace(training={"epochs": 1}), encoder=trained.state)
    for name in (n for n in trained.state if n.startswith("encoder.")):
        np.testing.assert_array_equal(again.state[name], trained.state[name])


def test_without_held_out_days_the_gain_is_not_known():
    arrays = small_arrays()
    none = dataclasses.replace(arrays, stop_targets=arrays.stop_targets[:0])
    run = TrainingRun(config=small(training={"epochs": 1}), seed=0, device="cpu")
    trained = methods.find("vae").train(none, run)
    assert np.isnan(methods.find("vae").latent_gain(trained.state))


def test_the_first_scale_is_the_error_of_the_driver():
    arrays = small_arrays()
    rows = arrays.train_targets
    wanted = np.abs(arrays.fine[rows, 0] - arrays.driver[arrays.windows[rows, 0], 0]).mean()
    assert driver_error(arrays) == [pytest.approx(wanted, rel=1e-5)]


def sample(trained, given, realizations=(0, 1), chosen=slice(None), **options):
    arrays = small_arrays()
    rows = arrays.stop_targets[chosen]
    sampler = methods.find(given.method).load(trained.state, given, SIZES, "cpu")
    request = {
        "conditions": conditions_of(arrays, rows),
        "config": given,
        "realizations": realizations,
        "seed": 5,
        "step": 86400,
        "device": "cpu",
        "corner": (0, 0),
        "domain": (12, 16),
        "stitching": "patches",
    }
    return sampler.sample(SampleRequest(**{**request, **options}))


@both
@pytest.mark.parametrize("noise", ["shared", "independent"])
def test_samples_do_not_depend_on_the_batch(sections, noise):
    given = small(**sections)
    given = given.replace(sampling={"noise": noise})
    trained = train(given.replace(training={"epochs": 1}))
    fields = sample(trained, given)
    assert fields.shape == (2, 3, 1, 12, 16)
    np.testing.assert_array_equal(sample(trained, given, (1,), slice(1, 3)), fields[1:, 1:])
    for size in (1, 1000):
        other = given.replace(sampling={"batch_size": size})
        np.testing.assert_allclose(sample(trained, other), fields, atol=2e-5)
    for change in ({"realizations": (2, 3)}, {"seed": 6}):
        assert not np.array_equal(sample(trained, given, **change), fields)


def test_an_image_in_one_piece_has_the_same_latents():
    given = small()
    trained = train(given.replace(training={"epochs": 1}))
    whole = sample(trained, given, stitching="whole")
    assert whole.shape == (2, 3, 1, 12, 16)
    inside = sample(trained, given, corner=(40, 60), domain=(200, 300), stitching="whole")
    assert not np.array_equal(inside, whole)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"data": {"patch_size": 10}, "sampling": {"size": 8}}, "data.patch_size is 10"),
        ({"sampling": {"stride": 2}}, "sampling.stride is 2; a latent pixel covers 4 x 4"),
        ({"options": {"layout": "vector"}, "sampling": {"size": 12}}, "both must be the same"),
        ({"options": {"decoder": "film"}, "data": {"scaling": "standard"}}, "use 'minmax'"),
        ({"options": {"decoder": "mlp"}}, "Unknown decoder"),
        ({"options": {"sizes": 3}}, "Did you mean 'size'"),
        ({"sampling": {"sampler": "ddim"}}, "'ddim' does not suit method 'vae'"),
        ({"sampling": {"steps": 3}}, "does not use sampling.steps"),
    ],
)
def test_options_that_do_not_suit_are_refused(sections, said):
    with pytest.raises(OptionError, match=said):
        small(**sections)


def test_a_vector_is_generated_in_patches_alone():
    method = methods.find("vae")
    assert method.stitchings(small()) == ("patches", "whole")
    assert method.stitchings(small(options={"layout": "vector"})) == ("patches",)
    assert method.stitchings(small(**LITERAL)) == ("patches",)
