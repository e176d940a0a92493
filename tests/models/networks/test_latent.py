"""Gaussians, KL divergence, likelihoods: closed forms, and the linear autoencoder's optimum."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy import stats
from torch import nn

from xdownscale.core.errors import OptionError
from xdownscale.models.networks import field_unet, unet
from xdownscale.models.networks.latent import (
    Gaussian,
    Likelihood,
    gain,
    kl_penalty,
    kl_weight,
)
from xdownscale.models.networks.latent_options import LatentOptions, latent_shape

PAIRS = [((0.0, 0.0), (0.0, 0.0)), ((0.7, -1.2), (-0.4, 0.5)), ((2.0, 1.0), (0.0, 0.0))]


def gaussian(mean: float, log_variance: float) -> Gaussian:
    kind = {"dtype": torch.float64}
    return Gaussian(torch.tensor([[mean]], **kind), torch.tensor([[log_variance]], **kind))


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_kl_is_the_closed_form(one, other):
    (m, a), (n, b) = one, other
    v, w = math.exp(a), math.exp(b)
    wanted = 0.5 * (math.log(w / v) + (v + (m - n) ** 2) / w - 1)
    assert gaussian(*one).kl(gaussian(*other)).item() == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(("one", "other"), PAIRS[1:])
def test_kl_is_that_of_many_samples(one, other):
    noise = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = gaussian(*one).at(noise).numpy().ravel()
    (m, a), (n, b) = one, other
    logs = [stats.norm(i, math.exp(j / 2)).logpdf(z) for i, j in ((m, a), (n, b))]
    found = gaussian(*one).kl(gaussian(*other)).item()
    assert found == pytest.approx(float(np.mean(logs[0] - logs[1])), rel=0.01)


def test_kl_of_equal_gaussians_is_zero():
    numbers = Gaussian.from_channels(torch.randn(3, 8, 4, 4))
    assert numbers.kl(numbers).abs().max() == 0


NUMBER = st.floats(-20, 20, width=32)


@settings(deadline=None)
@given(NUMBER, NUMBER, NUMBER, NUMBER)
def test_kl_is_never_negative(m, a, n, b):
    found = Gaussian.from_channels(torch.tensor([[m, a]])).kl(
        Gaussian.from_channels(torch.tensor([[n, b]]))
    )
    assert 0 <= found.item() < float("inf")


def test_log_variances_are_limited():
    numbers = Gaussian.from_channels(torch.tensor([[0.0, 99.0], [0.0, -99.0]]))
    assert numbers.log_variance.flatten().tolist() == [8, -8]


@pytest.mark.parametrize(
    ("kind", "law"), [("laplace", stats.laplace(scale=0.3)), ("normal", stats.norm(scale=0.3))]
)
def test_likelihoods_are_those_of_scipy(kind, law):
    error = torch.linspace(-2, 2, 9).view(1, 1, 3, 3)
    found = Likelihood(kind, 0.3)(error).numpy()
    np.testing.assert_allclose(found, -law.logpdf(error.numpy()), rtol=1e-5)


def test_a_learned_scale_finds_the_mean_absolute_error():
    """The optimum of a Laplace likelihood is b = mean |e|, of each target by itself."""
    error = torch.randn(64, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    error = error * torch.tensor([0.1, 3.0])[:, None, None]
    likelihood = Likelihood("laplace", None, targets=2)
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        likelihood(error).mean().backward()
        optimizer.step()
    wanted = error.abs().mean((0, 2, 3)).log()
    torch.testing.assert_close(likelihood.log_scale.detach(), wanted, atol=1e-3, rtol=0)


def test_a_fixed_scale_is_no_parameter():
    assert not list(Likelihood("normal", 0.3).parameters())
    assert len(list(Likelihood("normal", None).parameters())) == 1


def test_factor_and_laplace_scale_give_the_same_gradient():
    """factor x MAE + KL = pixels / b x MAE + KL, up to a constant factor."""
    torch.manual_seed(0)
    decode = nn.Linear(3, 16)
    infer = nn.Linear(16, 6)
    y, eps = torch.randn(5, 16), torch.randn(5, 3)

    def gradients(scale_form: bool) -> list[torch.Tensor]:
        q = Gaussian.from_channels(infer(y))
        kl = kl_penalty(q.kl(Gaussian.standard(q.mean)), 0.0)
        error = decode(q.at(eps)) - y
        if scale_form:
            loss = (Likelihood("laplace", 16 / 500)(error.view(5, 1, 4, 4)).sum() / 5 + kl) / 16
        else:
            loss = 500 * error.abs().mean() + kl
        return list(torch.autograd.grad(loss, [*decode.parameters(), *infer.parameters()]))

    for one, other in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(16 * one, other, rtol=1e-4, atol=1e-4)


def linear_vae(noise_variance: float, beta: float = 1.0) -> tuple[torch.Tensor, float]:
    """Train a linear autoencoder on Gaussian data; return KL of each number, and its gain."""
    generator = torch.Generator().manual_seed(0)
    values = torch.tensor([4.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02])
    turn = torch.linalg.qr(torch.randn(8, 8, generator=generator))[0]
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        infer, decode = nn.Linear(8, 16), nn.Linear(8, 8)
    likelihood = Likelihood("normal", math.sqrt(noise_variance))
    optimizer = torch.optim.Adam([*infer.parameters(), *decode.parameters()], lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4000)

    def sample(count: int) -> torch.Tensor:
        return (torch.randn(count, 8, generator=generator) * values.sqrt()) @ turn.T

    def decoded(q: Gaussian) -> torch.Tensor:
        return decode(q.at(torch.randn(q.mean.shape, generator=generator)))

    for _ in range(4000):
        y = sample(256)
        q = Gaussian.from_channels(infer(y))
        error = (decoded(q) - y)[:, None, None]
        kl = q.kl(Gaussian.standard(q.mean))
        loss = likelihood(error).sum() / 256 + beta * kl_penalty(kl, 0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        y = sample(20_000)
        q = Gaussian.from_channels(infer(y))
        errors = [float((decoded(p) - y).abs().mean()) for p in (q, Gaussian.standard(q.mean))]
        return q.kl(Gaussian.standard(q.mean)).mean(0), gain(*errors)


def test_a_linear_autoencoder_keeps_the_directions_that_pay():
    """Lucas et al. 2019 (arXiv 1911.02469): active are eigenvalues above s^2, KL ln(l/s^2)/2."""
    kl, used = linear_vae(0.3)
    values = np.array([4.0, 2.0, 1.0, 0.5])
    assert int((kl > 0.01).sum()) == 4
    assert float(kl.sum()) == pytest.approx(0.5 * np.log(values / 0.3).sum(), rel=0.02)
    assert used > 0.3


def test_a_linear_autoencoder_collapses_where_nothing_pays_and_the_gain_says_so():
    kl, used = linear_vae(5.0)
    assert int((kl > 0.01).sum()) == 0
    assert abs(used) < 0.02


def test_film_at_its_start_changes_nothing():
    """The last linear layer is 0, so the block is the block without it, bit for bit."""
    x = torch.randn(2, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    with_film = unet.Block(8, 16, "group", embedded=5)
    without = unet.Block(8, 16, "group")
    without.load_state_dict(
        {n: w for n, w in with_film.state_dict().items() if not n.startswith("film.")}
    )
    for value in (0.0, 1.0, -3.0):
        assert torch.equal(with_film(x, torch.full((2, 5), value)), without(x))
    block = field_unet.Block(8, 0.0)
    nn.init.normal_(block.conv2.weight)
    one, other = (block(x, torch.full((2, field_unet.EMBEDDED), v)) for v in (0.0, 1.0))
    assert torch.equal(one, other)


def test_the_kl_is_annealed_from_nothing_to_all():
    assert [kl_weight(p, 0.4) for p in (0, 0.1, 0.4, 1)] == [0, 0.25, 1, 1]
    assert kl_weight(0, 0.0) == 1


def test_free_nats_without_end_are_a_weight_of_zero():
    kl = torch.rand(4, 3, requires_grad=True)
    free = kl_penalty(kl, math.inf)
    (gradient,) = torch.autograd.grad(free, kl)
    assert free.item() == 0
    assert not gradient.any()


def test_free_nats_are_of_each_number():
    kl = torch.tensor([[0.1, 1.0], [0.1, 3.0]])
    assert kl_penalty(kl, 0.0).item() == pytest.approx(2.1)
    assert kl_penalty(kl, 0.5).item() == pytest.approx(1.5)


def test_gain_of_nothing_is_not_a_number():
    assert math.isnan(gain(0.0, 0.0))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"size": 0}, "size is 0; give 1"),
        ({"layout": "list"}, "layout"),
        ({"posterior": "all"}, "posterior"),
        ({"prior": "flat"}, "prior"),
        ({"likelihood": "cauchy"}, "likelihood"),
        ({"scale": 0.0}, "scale is 0.0; give a number above 0, or None"),
        ({"weight": -1.0}, "weight is -1.0 and free 0.0"),
        ({"free": math.nan}, "free nan"),
        ({"anneal": 2.0}, "anneal is 2.0; give a share"),
    ],
)
def test_options_without_sense_are_refused(wrong, said):
    with pytest.raises(OptionError, match=said):
        LatentOptions(**wrong)


def test_shapes_of_latents():
    assert latent_shape(LatentOptions(size=3), 16, 8) == (3, 4, 2)
    assert latent_shape(LatentOptions(size=10, layout="vector"), 16, 16) == (10,)
