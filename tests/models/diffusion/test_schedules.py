from __future__ import annotations

import numpy as np
import pytest
import torch

from xdownscale.core.errors import OptionError
from xdownscale.models.diffusion.schedules import add_noise, posterior, respaced, squared_cosine


def test_the_schedule_is_that_of_diffusers():
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2")
    ours = squared_cosine(1000).alpha_bar
    # They multiply 1000 factors in float32.
    np.testing.assert_allclose(ours, theirs.alphas_cumprod.numpy(), rtol=5e-4, atol=1e-9)
    beta = 1 - ours / np.r_[1, ours[:-1]]
    np.testing.assert_allclose(beta, theirs.betas.numpy(), rtol=1e-6)
    assert beta.max() == pytest.approx(0.999)


def test_noising_keeps_unit_variance():
    schedule, rng = squared_cosine(100), torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 3, 1, 200, 200, generator=rng).unbind()
    noisy = add_noise(schedule, x0, noise, torch.tensor([0, 50, 99]))
    assert noisy.var((1, 2, 3)).tolist() == pytest.approx([1, 1, 1], abs=0.03)
    share = (noisy * x0).mean((1, 2, 3)) / x0.square().mean((1, 2, 3))
    assert share.tolist() == pytest.approx(np.sqrt(schedule.alpha_bar[[0, 50, 99]]), abs=0.02)


@pytest.mark.parametrize("steps", [1, 3, 7, 20, 999, 1000])
def test_respaced_steps_start_at_the_last_and_fall(steps):
    visited = respaced(squared_cosine(1000), steps)
    assert visited[0] == 999
    assert len(visited) == steps
    assert (np.diff(visited) < 0).all()
    assert visited[-1] >= 0


def test_respaced_to_all_steps_is_the_chain():
    assert respaced(squared_cosine(50), 50) == list(range(49, -1, -1))


@pytest.mark.parametrize("steps", [0, 11])
def test_more_steps_than_were_trained_are_refused(steps):
    with pytest.raises(OptionError, match=f"{steps} sampling steps .* from 1 to 10"):
        respaced(squared_cosine(10), steps)


@pytest.mark.parametrize(("step", "previous"), [(999, 749), (500, 499), (10, 3), (1, 0)])
def test_the_posterior_is_bayes_rule(step, previous):
    """Condition the joint Gaussian of (x_previous, x_t) given x_0 on x_t."""
    schedule = squared_cosine(1000)
    here, there = schedule.at(step), schedule.at(previous)
    kept = here / there
    gain = np.sqrt(kept) * (1 - there) / (1 - here)  # cov(x_previous, x_t) / var(x_t)
    x0_weight, xt_weight, std = posterior(schedule, step, previous)
    assert xt_weight == pytest.approx(gain)
    assert x0_weight == pytest.approx(np.sqrt(there) - gain * np.sqrt(here), rel=1e-6)
    assert std**2 == pytest.approx((1 - there) - gain * np.sqrt(kept) * (1 - there), rel=1e-6)
