"""Whole fields are the same, whatever the tiles, the order and the rest of the batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from xdownscale import methods
from xdownscale.core.errors import GridError, OptionError
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.sampling import fields
from xdownscale.patches.layout import PatchLayout

METHODS = ["residual", "crps", "unet"]


def some_of(conditions, chosen):
    """Return what is known of some of the time steps."""
    names = ("window", "fine_lags", "coarse", "calendar", "keys")
    return replace(conditions, **{name: getattr(conditions, name)[chosen] for name in names})


def cut_from(conditions, window):
    """Return what is known of a window of the image."""
    names = ("window", "fine_lags", "static")
    fields = {name: getattr(conditions, name)[(..., *window)] for name in names}
    return replace(conditions, place=conditions.place[window], **fields)


@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_fields_have_their_shape_and_move_with_the_seed(method, targets, make):
    sampler, request = make(method=method, targets=targets)
    found = sampler.sample(request)
    members = 1 if method == "unet" else 2
    assert found.shape == (members, 3, targets, 41, 54)
    assert np.isfinite(found).all()
    other = sampler.sample(replace(request, seed=4))
    assert np.array_equal(found, other) is (method == "unet")


@pytest.mark.parametrize(
    ("method", "stitching"),
    [
        ("residual", "whole"),
        ("residual", "patches"),
        ("residual", "multidiffusion"),
        ("crps", "whole"),
        ("crps", "patches"),
        ("unet", "whole"),
    ],
)
def test_a_time_step_does_not_depend_on_the_batch(method, stitching, make):
    sampler, request = make(method=method, stitching=stitching)
    together = sampler.sample(request)
    order = [2, 0]
    later = replace(request, conditions=some_of(request.conditions, order), realizations=(1,))
    again = sampler.sample(later)
    member = 0 if method == "unet" else 1
    np.testing.assert_allclose(again[0], together[member, order], atol=2e-5)


@pytest.mark.parametrize("method", METHODS)
def test_tiles_give_what_the_whole_gives(method, make):
    sampler, request = make(method=method, shape=(97, 83), days=1)
    whole = sampler.sample(request)
    assert sampler.networks.regressions or sampler.networks.drawer is not None
    tiled = replace(request, config=request.config.replace(sampling={"tile": 80}))
    np.testing.assert_allclose(sampler.sample(tiled), whole, atol=2e-5)


@pytest.fixture
def tiled(monkeypatch):
    """Count evaluations in tiles."""
    calls, evaluate = [], fields.evaluate_tiles

    def counting(*args):
        calls.append(args[2])
        return evaluate(*args)

    monkeypatch.setattr(fields, "evaluate_tiles", counting)
    return calls


@pytest.mark.parametrize("stitching", ["whole", "multidiffusion"])
def test_little_memory_makes_tiles_of_the_same_fields(stitching, make, tiled, monkeypatch):
    sampler, request = make(shape=(97, 83), days=2, stitching=stitching)
    whole = sampler.sample(request)
    assert not tiled
    # eight channels behind a stem of 2 hold 128 bytes a pixel
    monkeypatch.setattr(fields, "available_memory", lambda device: 2 * 128 * 90.0**2)
    found = sampler.sample(request)
    assert set(tiled) == {72}  # 90 less twice the reach, but twice that at least
    np.testing.assert_allclose(found, whole, atol=2e-5)
    config = request.config.replace(sampling={"tile": None})
    count = len(tiled)
    sampler.sample(replace(request, config=config))
    assert len(tiled) == count


@pytest.mark.parametrize("stitching", ["patches", "multidiffusion"])
def test_patches_that_do_not_fit_are_refused(stitching, make):
    sampler, request = make(stitching=stitching, size=18, stride=6)
    with pytest.raises(OptionError, match=r"sampling.size is 18, .* a multiple of 4, such as 16"):
        sampler.sample(request)
    sampler, request = make(stitching=stitching, size=64)
    with pytest.raises(GridError, match=r"size 64, image \(44, 56\)"):
        sampler.sample(request)
    sampler, request = make(method="unet", stitching=stitching, size=18)
    assert np.isfinite(sampler.sample(request)).all()


def test_a_tile_that_is_too_small_is_refused(make):
    sampler, request = make(tile=40)
    with pytest.raises(OptionError, match="tile is 40, less than twice the halo of 36"):
        sampler.sample(request)


@pytest.mark.parametrize("stitching", ["patches", "multidiffusion"])
def test_one_patch_is_the_whole(stitching, make):
    sampler, request = make(shape=(48, 48))
    whole = sampler.sample(request)
    sampling = {"size": 48, "stride": 8, "halo": 4}
    one = replace(request, config=request.config.replace(sampling=sampling), stitching=stitching)
    np.testing.assert_allclose(sampler.sample(one), whole, atol=2e-5)


@pytest.mark.parametrize(
    ("method", "stitching"),
    [("residual", "patches"), ("residual", "multidiffusion"), ("crps", "patches")],
)
@pytest.mark.parametrize("noise", ["shared", "independent"])
@pytest.mark.parametrize("batch", [7, 100])
def test_patches_do_not_depend_on_the_batch(batch, noise, method, stitching, make):
    sampling = {"size": 16, "stride": 8, "halo": 4, "noise": noise}
    sampler, request = make(method=method, stitching=stitching, days=2, **sampling)
    found = sampler.sample(request)
    config = request.config.replace(sampling={"batch_size": batch})
    again = sampler.sample(replace(request, config=config))
    np.testing.assert_allclose(again, found, atol=2e-5)


@pytest.mark.parametrize("method", ["residual", "crps"])
def test_stitched_patches_are_the_layouts_average_of_patches(method, make):
    sampler, request = make(
        shape=(32, 40), days=2, method=method, stitching="patches", size=16, stride=8, halo=2
    )
    for net in sampler.networks.regressors:  # or a regression would see further than its patch
        net.head.weight.data.zero_()
        net.head.bias.data.zero_()
    found = sampler.sample(request)
    layout, expected = PatchLayout((32, 40), 16, 8, 2), np.zeros_like(found)
    for patch, (y, x) in enumerate(layout.positions.tolist()):
        window = slice(y, y + 16), slice(x, x + 16)
        cut = cut_from(request.conditions, window)
        alone = replace(request, conditions=cut, corner=(y, x), stitching="whole")
        drawn = sampler.sample(alone)
        expected[(..., *window)] += layout.weights([patch])[0] * drawn
    np.testing.assert_allclose(found, expected, atol=3e-5)


def test_noise_of_their_own_takes_spread_from_overlapping_patches(make):
    sampler, request = make(shape=(64, 64), days=2)
    for net in sampler.networks.modules():
        if isinstance(net, torch.nn.Conv2d):
            net.weight.data.zero_()  # the denoiser is that of white noise: what is drawn is noise
    sampling = {"size": 16, "stride": 2, "halo": 4}
    config = request.config.replace(sampling=sampling)
    spreads = []
    for noise in ("shared", "independent"):
        noisy = config.replace(sampling={"noise": noise})
        drawn = sampler.sample(replace(request, config=noisy, stitching="patches"))
        spreads.append((drawn[0] - drawn[1]).std())
    whole = sampler.sample(request)
    spreads.append((whole[0] - whole[1]).std())
    assert spreads[0] == pytest.approx(spreads[2], rel=0.03)
    assert spreads[1] < 0.6 * spreads[2]


def test_regions_cut_their_noise_from_one_field(make):
    sampler, request = make(days=1, shape=(64, 64))
    for net in sampler.networks.modules():
        if isinstance(net, torch.nn.Conv2d):
            net.weight.data.zero_()
    whole = sampler.sample(request)
    y, x = slice(16, 48), slice(8, 64)
    cut = cut_from(request.conditions, (y, x))
    part = sampler.sample(replace(request, conditions=cut, corner=(16, 8)))
    np.testing.assert_allclose(part, whole[..., y, x], atol=1e-5)


def test_days_remember_each_other_through_the_noise(make):
    sampler, request = make(days=12, shape=(64, 64))
    for net in sampler.networks.modules():
        if isinstance(net, torch.nn.Conv2d):
            net.weight.data.zero_()
    given = request.conditions
    same = replace(given, window=0 * given.window, static=0 * given.static)
    drawn = sampler.sample(replace(request, conditions=same))[:, :, 0]
    drawn = drawn - drawn.mean((-2, -1), keepdims=True)
    along = (drawn[:, 1:] * drawn[:, :-1]).mean() / (drawn**2).mean()
    assert along == pytest.approx(sampler.residual.rho[0], abs=0.15)


def test_bf16_where_there_is_none(make, monkeypatch):
    sampler, request = make(precision="bf16")
    monkeypatch.setattr("xdownscale.models.device.has_bf16", lambda device: False)
    with pytest.raises(OptionError, match="does not compute with bf16"):
        sampler.sample(request)


def test_the_network_that_generates_is_compiled_where_asked(make, monkeypatch):
    sampler, request = make(compile=True)
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(self))
    state = {name: weights.numpy() for name, weights in sampler.networks.state_dict().items()}
    state |= sampler.residual.to_state()
    own = {"own": (0,), "fine_lags": 0, "static": 2, "calendar": 2}
    sizes = Sizes(drivers=1, window=3, lags=3, **own)
    method = methods.find("residual")
    loaded = method.load(state, request.config, sizes, "cpu")
    assert compiled == [loaded.networks.generator]
    plain = request.config.replace(sampling={"compile": False})
    method.load(state, plain, sizes, "cpu")
    assert len(compiled) == 1


@pytest.mark.parametrize("noise", ["shared", "independent"])
@pytest.mark.parametrize("stitching", ["whole", "patches", "multidiffusion"])
def test_members_with_conditions_of_their_own(stitching, noise, make):
    sampler, request = make(days=2, stitching=stitching, size=16, stride=8, noise=noise)
    together = sampler.sample(request)
    twice = replace(some_of(request.conditions, [0, 0]), members=np.array([1, 0]))
    found = sampler.sample(replace(request, conditions=twice))
    assert found.shape[:2] == (1, 2)
    np.testing.assert_allclose(found[0], together[[1, 0], 0], atol=2e-5)
