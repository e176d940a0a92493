"""Small arrays and networks for tests of `xdownscale.models`: one thread, trained in a second."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from records import small_arrays, small_config
from xdownscale.config import preset
from xdownscale.models.diffusion.calibration import BANDS
from xdownscale.models.diffusion.residual_statistics import ResidualStatistics
from xdownscale.models.diffusion.spectra import Spectrum
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.networks.field_unet import FieldNetworks
from xdownscale.models.sampling.fields import FieldSampler, OneStepSampler, ResidualSampler
from xdownscale.models.sampling.request import Conditions, SampleRequest
from xdownscale.models.training.residual import conditions_of


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def arrays() -> Any:
    return small_arrays()


@pytest.fixture
def config() -> Any:
    return small_config()


@pytest.fixture
def conditions(arrays):
    return conditions_of(arrays, arrays.stop_targets)


@pytest.fixture
def replaced():
    return dataclasses.replace


NETWORK = {"channels": (8, 8), "encoder_channels": (8, 8), "unshuffle": 2}


def shaken(networks):
    """Give the layers that start at zero some weights, or nothing would be tested."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weights in networks.parameters():
            if not weights.any():
                weights.copy_(0.1 * torch.randn(weights.shape, generator=generator))
    return networks.eval()


SAMPLERS = {"residual": ResidualSampler, "crps": OneStepSampler, "unet": FieldSampler}


@pytest.fixture
def make():
    """Return a sampler and a request for any number of time steps and targets."""

    def build(days=3, shape=(41, 54), targets=1, method="residual", stitching="whole", **sampling):
        config = preset("fast", method=method, network=NETWORK).override(sampling=sampling)
        sizes = Sizes(
            drivers=targets,
            window=3,
            lags=3,
            own=tuple(range(targets)),
            fine_lags=0,
            static=2,
            calendar=2,
        )
        torch.manual_seed(0)
        folds = {"residual": 2, "unet": 1, "crps": 0}[method]
        noisy = {"residual": 1, "unet": 0, "crps": 3}[method]
        networks = shaken(FieldNetworks(sizes, folds, noisy, config.network))
        frequency = np.linspace(0.02, 0.5, 20)
        spectrum = Spectrum(frequency, 0.02 / frequency**2)
        residual = ResidualStatistics(
            np.full(targets, 0.5),
            np.tile([0.1, 0.1, 0.1, 0.6, 0.1], (targets, 1)),
            BANDS,
            np.ones((targets, BANDS.size)),
            (spectrum,) * targets,
        )
        rng = np.random.default_rng(1)
        place = np.stack(
            np.meshgrid(np.linspace(-1, 1, shape[1]), np.linspace(-1, 1, shape[0])), -1
        )
        conditions = Conditions(
            window=rng.normal(size=(days, 3, targets, *shape)).astype(np.float32),
            fine_lags=np.zeros((days, 0, targets, *shape), np.float32),
            coarse=rng.normal(size=(days, 3, targets, 6, 7)).astype(np.float32),
            static=rng.normal(size=(2, *shape)).astype(np.float32),
            calendar=rng.normal(size=(days, 2)).astype(np.float32),
            place=place.astype(np.float32),
            own=sizes.own,
            keys=86400 * np.arange(days),
        )
        request = SampleRequest(
            conditions=conditions,
            config=config,
            realizations=(0, 1),
            seed=3,
            step=86400,
            device="cpu",
            corner=(0, 0),
            domain=shape,
            stitching=stitching,
        )
        sampler = SAMPLERS[method](networks, residual if method == "residual" else None)
        return sampler, request

    return build
