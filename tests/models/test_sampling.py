from __future__ import annotations

import math

import pytest
import torch

from xdownscale.errors import OptionError
from xdownscale.models.diffusion import squared_cosine
from xdownscale.models.sampling import ddim, ddpm

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
