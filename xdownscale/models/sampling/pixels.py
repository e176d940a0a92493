"""Generate fields by the pixel network, one field after another; there is no ensemble."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xdownscale.core.errors import ModelMismatchError
from xdownscale.models.device import resolve_device
from xdownscale.models.networks.channels import patch_inputs
from xdownscale.models.networks.pixel_net import PixelNetworks
from xdownscale.models.sampling.request import Conditions, SampleRequest

Floats = NDArray[np.float32]


class PixelSampler:
    """Samples the point estimate of the pixel network.

    Fields are evaluated one by one, so that none depends on what else is asked for.

    Parameters
    ----------
    networks : PixelNetworks
        In evaluation mode.
    """

    def __init__(self, networks: PixelNetworks) -> None:
        self.networks = networks

    def sample(self, request: SampleRequest) -> Floats:
        """Return fields, the same for all realizations.

        Parameters
        ----------
        request : SampleRequest
            Conditions and options.

        Returns
        -------
        ndarray of float32 (realization, n, 1, y, x)
            Scaled units.

        Raises
        ------
        OptionError
            For an unknown device.
        ModelMismatchError
            If the conditions have other channels than the networks.
        """
        given = request.conditions
        device = resolve_device(request.device)
        networks = self.networks.to(device).eval()
        _check(given, networks)
        known, fine_lags = patch_inputs(
            given.window,
            given.fine_lags,
            np.broadcast_to(given.static, (len(given.keys), *given.static.shape)),
        )

        def one(k: int) -> Floats:
            parts = (known[k : k + 1], given.calendar[k : k + 1], fine_lags[k : k + 1])
            field: Tensor = networks(*(_tensor(part, device) for part in parts))
            return field[0].cpu().numpy()

        with torch.inference_mode():
            fields = np.stack([one(k) for k in range(len(given.keys))])
        copies = 1 if given.members is not None else len(request.realizations)
        return np.repeat(fields[None], copies, axis=0)


def _tensor(array: Any, device: str) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(device)


def _check(given: Conditions, networks: PixelNetworks) -> None:
    """Raise `ModelMismatchError` unless conditions have the channels of the networks."""
    lags = given.fine_lags.shape[1]
    found = (lags + len(given.static) + given.calendar.shape[1], lags + networks.target_day)
    wanted = tuple(networks.net.groups)
    if found != wanted or lags != networks.lags or given.window.shape[1] != 1 + lags:
        raise ModelMismatchError(
            f"The conditions have {found[0]} channels of fine lags, static fields and calendar, "
            f"and {given.window.shape[1]} coarse time steps; these networks take {wanted[0]} and "
            f"{1 + networks.lags}. Give the lags, static fields and calendar that they were "
            "trained with."
        )
