from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from xdownscale.core.errors import OptionError
from xdownscale.models.diffusion.samplers import ddim, ddpm, dpmpp_2m, heun, karras_sigmas
from xdownscale.models.diffusion.schedules import squared_cosine

CHAIN = squared_cosine(1000)


def gaussian_denoiser(mean, std):
    """E[x_0 | x_t] for data N(mean, std^2)."""

    def denoiser(x, step):
        left = CHAIN.at(step)
        gain = std**2 * math.sqrt(left) / (std**2 * left + 1 - left)
        return mean + gain * (x - math.sqrt(left) * mean)

    return denoiser


def response(steps, std, sampler):
    """What each noise number alone does to the drawn value: the sampler is linear here.

    Batch element 0 holds the start, element i + 1 the noise of step i.
    """
    start = torch.zeros(steps + 1, 1, 1, 1, dtype=torch.float64)
    start[0] = 1
    if sampler == "ddim":
        return ddim(gaussian_denoiser(0, std), start, CHAIN, steps)

    def noise(i):
        alone = torch.zeros_like(start)
        alone[i + 1] = 1
        return alone

    return ddpm(gaussian_denoiser(0, std), start, CHAIN, steps, noise)


@pytest.mark.parametrize("std", [0.1, 1.0, 2.0])
@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_the_variance_of_gaussian_data_is_recovered(std, sampler):
    variance = response(1000, std, sampler).square().sum().item()
    assert math.sqrt(variance) == pytest.approx(std, rel=0.02)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_the_mean_of_gaussian_data_is_recovered(sampler):
    start = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    denoiser = gaussian_denoiser(0.7, 0.5)
    if sampler == "ddim":
        drawn = ddim(denoiser, start, CHAIN, 1000)
    else:
        drawn = ddpm(denoiser, start, CHAIN, 1000, lambda i: start)
    assert drawn.item() == pytest.approx(0.7, abs=1e-3)


def test_few_deterministic_steps_shrink_the_spread():
    """As measured for this project: 0.86 of the spread of unit variance is left at 8 steps."""
    assert response(8, 1.0, "ddim").abs().sum().item() == pytest.approx(0.86, abs=0.03)


def bent_denoiser(x, step):
    """Neither linear nor the same at two steps."""
    return torch.tanh(0.3 * x + 1 - float(step) / 1000)


def draw_numbers(i):
    generator = torch.Generator().manual_seed(i)
    return torch.randn(2, 1, 8, 8, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("steps", [5, 50, 1000])
def test_ddpm_agrees_with_diffusers_on_the_same_noise(steps, monkeypatch):
    from diffusers.schedulers import scheduling_ddpm

    theirs = scheduling_ddpm.DDPMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        variance_type="fixed_small",
        clip_sample=False,
        timestep_spacing="trailing",
    )
    theirs.alphas_cumprod = torch.as_tensor(CHAIN.alpha_bar)  # theirs are float32 products
    theirs.set_timesteps(steps)
    x = draw_numbers(10**6)
    for i, step in enumerate(theirs.timesteps):
        noise = draw_numbers(i)
        monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, n=noise, **__: n)
        x = theirs.step(bent_denoiser(x, step), step, x).prev_sample
    ours = ddpm(bent_denoiser, draw_numbers(10**6), CHAIN, steps, draw_numbers)
    torch.testing.assert_close(ours, x, rtol=0, atol=1e-8)


@pytest.mark.parametrize("steps", [5, 50, 1000])
def test_ddim_agrees_with_diffusers(steps):
    from diffusers import DDIMScheduler

    theirs = DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
    )
    theirs.set_timesteps(steps)
    x = draw_numbers(0)
    for step in theirs.timesteps:
        x = theirs.step(bent_denoiser(x, step), step, x).prev_sample
    ours = ddim(bent_denoiser, draw_numbers(0), CHAIN, steps)
    torch.testing.assert_close(ours, x, rtol=0, atol=1e-5)


def test_the_samplers_refuse_more_steps_than_were_trained():
    start = torch.zeros(1, 1, 2, 2)
    with pytest.raises(OptionError, match="1001 sampling steps"):
        ddim(bent_denoiser, start, CHAIN, 1001)
    with pytest.raises(OptionError, match="0 sampling steps"):
        ddpm(bent_denoiser, start, CHAIN, 0, draw_numbers)


def scaled_denoiser(variance):
    """E[x_0 | x] for data N(0, variance) at noise level sigma."""
    return lambda x, sigma: x * variance / (variance + sigma**2)


SOLVERS = {"dpmpp_2m": dpmpp_2m, "heun": heun}
ONE = torch.ones(1, 1, 1, 1, dtype=torch.float64)


def exact(variance, sigma):
    """Where the probability flow ends that starts from 1 at `sigma`: everything is linear."""
    return math.sqrt(variance / (variance + sigma**2))


@pytest.mark.parametrize("name", SOLVERS)
def test_the_solvers_are_of_second_order(name):
    # levels that are even in log sigma, and never 0, so that the order is not lost at the end
    def error(steps):
        sigmas = [5.0 * (0.05 / 5.0) ** (i / steps) for i in range(steps + 1)]
        drawn = SOLVERS[name](scaled_denoiser(0.8), ONE, sigmas).item()
        return abs(drawn - math.sqrt((0.8 + 0.05**2) / (0.8 + 25)))

    assert math.log2(error(40) / error(80)) == pytest.approx(2, abs=0.35)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("variance", [0.05, 1.0, 4.0])
@pytest.mark.parametrize(("steps", "within"), [(8, 0.1), (16, 0.02), (50, 0.003)])
def test_few_steps_keep_the_spread(name, variance, steps, within):
    drawn = SOLVERS[name](scaled_denoiser(variance), ONE, karras_sigmas(steps, 0.02, 5.0)).item()
    assert drawn == pytest.approx(exact(variance, 5.0), rel=within)


def test_dpmpp_2m_is_that_of_diffusers():
    from diffusers import EDMDPMSolverMultistepScheduler

    theirs = EDMDPMSolverMultistepScheduler(
        sigma_min=0.02, sigma_max=5.0, sigma_data=1.0, final_sigmas_type="zero", rho=7.0
    )
    theirs.set_timesteps(8)
    ours = karras_sigmas(8, 0.02, 5.0)
    np.testing.assert_allclose(theirs.sigmas, ours, rtol=1e-5, atol=1e-7)
    torch.manual_seed(0)
    start = torch.randn(2, 1, 4, 4) * 5

    def clean(x, sigma):
        return torch.sin(x) / (1 + sigma)

    x = start
    for sigma, t in zip(ours[:-1], theirs.timesteps, strict=True):
        # what the scheduler takes for the raw network, so that its x_0 is `clean`
        keep, out = 1 / (1 + sigma**2), sigma / math.sqrt(1 + sigma**2)
        x = theirs.step((clean(x, sigma) - keep * x) / out, t, x).prev_sample
    torch.testing.assert_close(dpmpp_2m(clean, start, ours), x, rtol=1e-4, atol=1e-5)


def test_heun_is_that_of_the_paper_on_one_step():
    # x' = (x - D) / sigma, by hand: from 2 to 1, then from 1 to 0 with Euler
    def clean(x, sigma):
        return x * sigma / 4

    first = 1 + (1 - 2) * (1 - 0.5) / 2
    second = first * (1 - 0.25) / 1
    middle = 1 + (1 - 2) * ((1 - 0.5) / 2 + second) / 2
    assert heun(clean, ONE, [2.0, 1.0]).item() == pytest.approx(middle)
    assert heun(clean, ONE, [2.0, 1.0, 0.0]).item() == pytest.approx(middle * 0.25)


def test_evaluations_are_counted():
    seen = []

    def denoiser(x, sigma):
        seen.append(sigma)
        return x

    dpmpp_2m(denoiser, ONE, karras_sigmas(8, 0.02, 5.0))
    assert len(seen) == 8
    heun(denoiser, ONE, karras_sigmas(8, 0.02, 5.0))
    assert len(seen) == 8 + 15
    assert karras_sigmas(1, 0.02, 5.0) == pytest.approx([5.0, 0.0])


def test_noise_levels_are_even_in_the_root_of_their_order():
    assert karras_sigmas(5, 1.0, 5.0, rho=1.0) == pytest.approx([5, 4, 3, 2, 1, 0])
    assert karras_sigmas(3, 1.0, 81.0, rho=4.0) == pytest.approx([81, 16, 1, 0])
