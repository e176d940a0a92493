"""Method "patch_unet": the networks of the paper's method without noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

import xdownscale as xd
from records import LAGS, make_pair, small_arrays, small_config, tiny_config
from xdownscale import methods
from xdownscale.config import NetworkConfig
from xdownscale.core.errors import OptionError
from xdownscale.methods.paper_diffusion import PaperDiffusion
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.networks.unet import Networks
from xdownscale.models.training.datasets import Batch
from xdownscale.models.training.run import TrainingRun
from xdownscale.models.training.tasks import RegressPatch

pytestmark = pytest.mark.filterwarnings("ignore::xdownscale.core.errors.XDownscaleWarning")
NAME = "patch_unet"


def small(**sections):
    config = small_config().override(method=NAME)
    return config.replace(**sections) if sections else config


def train(arrays, config):
    run = TrainingRun(config=config, seed=3, device="cpu")
    return methods.find(config.method).train(arrays, run)


def test_the_preset_of_the_paper_takes_it():
    for size in ("tiny", "base"):
        ours = xd.preset("paper", method=NAME, network={"size": size})
        assert ours.network == xd.preset("paper", network={"size": size}).network
    with pytest.raises(OptionError, match=r"does not use sampling\.steps"):
        xd.preset("paper", method=NAME, sampling={"steps": 4})
    with pytest.raises(OptionError, match=r"does not use diffusion\.train_steps"):
        xd.preset("paper", method=NAME, diffusion={"train_steps": 4})


def test_it_has_the_weights_of_the_diffusion_and_other_values(arrays):
    short = {"epochs": 1, "pretrain_epochs": 1}
    ours = train(arrays, small(training=short)).state
    theirs = train(arrays, small_config().replace(training=short)).state
    assert {n: w.shape for n, w in ours.items()} == {n: w.shape for n, w in theirs.items()}
    for name in theirs:
        same = np.array_equal(ours[name], theirs[name])
        assert same or name.startswith("denoiser."), name  # the first stage is the same
    changed = [n for n in theirs if not np.array_equal(ours[n], theirs[n])]
    assert "denoiser.decoder.head.weight" in changed


def test_stages_of_the_history(arrays):
    history = train(arrays, small()).history
    assert history["stage"].tolist() == ["pretrain"] * 3 + ["regress"] * 4


@pytest.mark.parametrize("stitching", ["patches", "whole"])
def test_without_training_it_is_the_driver(stitching, monkeypatch):
    from xdownscale.models.training import stages

    coarse, fine = (record["t"] for record in make_pair(40))
    monkeypatch.setattr(
        stages, "run_stage", lambda task, *_, **__: {"stage": [], "epoch": [], "train_loss": []}
    )
    config = tiny_config(NAME)
    model = coarse.downscale.fit(fine, preset=config, progress=False)
    time = coarse.time[30:33]
    options = {"time": time, "mode": "teacher_forced", "history": fine, "stitching": stitching}
    found = model.predict(coarse, **options).isel(realization=0)
    driver = xd.regrid(coarse.sel(time=time), fine, extrapolate="nearest")
    inside = abs(model.models_["all"].scaling.forward(driver.values)) < 1.15  # of a bound of 1.2
    np.testing.assert_allclose(found.values[inside], driver.values[inside], rtol=1e-3, atol=1e-3)
    assert inside.mean() > 0.95


def smooth_batch(count, generator):
    """Return patches whose fine field is a linear function of the driver; nothing else is known."""
    white = torch.randn(count, 1, 12, 12, generator=generator)
    wrapped = functional.pad(white, (1, 1, 1, 1), mode="circular")
    driver = (1.2 * functional.avg_pool2d(wrapped, 3, 1)).clamp(-1, 1)
    target = 0.7 * driver + 0.1
    return Batch(
        target=target,
        valid=torch.ones_like(target, dtype=torch.bool),
        known=torch.cat([driver, torch.zeros(count, LAGS, 12, 12)], 1),
        calendar=torch.zeros(count, 2),
        encoder=torch.zeros(count, LAGS, 12, 12),
        place=torch.zeros(count, 12, 12, 2),
        mean=torch.zeros_like(target),
    )


def test_a_field_that_is_a_linear_function_of_the_driver_is_learnt():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    config = NetworkConfig(encoder="none", norm="rms", channels=(16,), output_bound=1.5)
    network = Networks(LAGS, 2, config)
    parts = dict.fromkeys(("data", "rows", "cutter", "arrange"))
    task = RegressPatch(
        network=network, kind="mae", seed=0, batch=8, name="regress", stage=2, **parts
    )
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=250)
    for _ in range(250):
        optimiser.zero_grad()
        task.loss(smooth_batch(8, generator), generator).backward()
        optimiser.step()
        rate.step()
    unseen = smooth_batch(20, generator)
    with torch.inference_mode():
        found = network.regression(network.condition(unseen.known, unseen.calendar, unseen.encoder))
    square = unseen.target.var()
    assert 1 - (found - unseen.target).square().mean() / square > 0.99
    assert 1 - (unseen.known[:, :1] - unseen.target).square().mean() / square < 0.8


def test_bits_do_not_depend_on_the_batch(arrays, replaced):
    from xdownscale.models.sampling.request import SampleRequest
    from xdownscale.models.training.data import conditions_of

    config = small(training={"epochs": 1, "pretrain_epochs": 1})
    state = train(arrays, config).state
    assert (
        state.keys()
        == PaperDiffusion()
        .train(arrays, TrainingRun(config=config.override(method="diffusion"), seed=3))
        .state.keys()
    )
    sampler = methods.find(NAME).load(state, config, arrays.sizes, "cpu")
    fields = []
    for size in (1024, 7, 2):
        request = SampleRequest(
            conditions=conditions_of(arrays, arrays.train_targets[:3]),
            config=config.replace(sampling={"batch_size": size}),
            realizations=(0,),
            seed=size,  # there is no noise
            step=86400,
            device="cpu",
            corner=(0, 0),
            domain=arrays.shape,
            stitching="patches",
        )
        fields.append(sampler.sample(request))
    np.testing.assert_array_equal(fields[0], fields[1])
    np.testing.assert_array_equal(fields[0], fields[2])


def test_several_realizations_are_refused():
    coarse, fine = (record["t"] for record in make_pair(40))
    model = coarse.downscale.fit(fine, preset=tiny_config(NAME), progress=False)
    with pytest.raises(OptionError, match="realizations is 2, but this model gives"):
        model.predict(coarse, time=coarse.time[30:31], realizations=2)


def test_the_bound_holds():
    sizes = Sizes(drivers=1, window=3, lags=LAGS, own=(0,), fine_lags=LAGS, static=2, calendar=3)
    state = dict(train(small_arrays(), small()).state)
    state["denoiser.decoder.head.bias"] = np.full(1, 100, np.float32)
    networks = methods.find(NAME).load(state, small(), sizes, "cpu").networks
    known = torch.zeros(1, 5, 8, 8)
    with torch.inference_mode():
        field = networks.regression(
            networks.condition(known, torch.zeros(1, 3), torch.zeros(1, LAGS, 8, 8))
        )
    torch.testing.assert_close(field, networks.denoiser.bound.expand_as(field))
