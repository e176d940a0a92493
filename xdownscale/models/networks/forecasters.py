"""The forecaster of the first stage in the state of a method: what of it is kept, read and checked.

Generating needs the encoder alone. The decoder is kept beside it, so that a fitted model can be
asked how well its encoder's network forecasts; files of earlier versions do not hold it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xdownscale.config import NetworkConfig
from xdownscale.core.errors import ModelFormatError
from xdownscale.models.networks.batch_invariance import one_by_one
from xdownscale.models.networks.channels import Sizes, lagged
from xdownscale.models.networks.state import FORECASTER
from xdownscale.models.networks.unet import Forecaster
from xdownscale.models.networks.weights import check_fit, fill, seeded

Floats = NDArray[np.float32]
_ENCODER = "encoder."


def kept_weights(forecaster: Forecaster, config: NetworkConfig) -> dict[str, Tensor]:
    """Return the weights ``forecaster. ...`` that are kept beside the encoder.

    Parameters
    ----------
    forecaster : Forecaster
        As trained.
    config : NetworkConfig
        An encoder that is trained further on is kept as it was, too.
    """
    return {
        FORECASTER + name: tensor
        for name, tensor in forecaster.state_dict().items()
        if not name.startswith(_ENCODER) or config.encoder == "finetuned"
    }


def check_forecaster(state: Mapping[str, Floats], config: NetworkConfig, sizes: Sizes) -> None:
    """Raise unless the forecaster in a state, if there is one, is that of the configuration.

    Parameters
    ----------
    state : mapping of ndarray
        State of a method.
    config : NetworkConfig
        Its networks.
    sizes : Sizes
        Numbers that the data decide.

    Raises
    ------
    ModelFormatError
        If names or shapes do not fit, or the model has no encoder.
    """
    weights = _weights(state)
    if weights is None:
        return
    if config.encoder == "none":
        raise ModelFormatError(
            "The weights hold a forecaster, and network.encoder is 'none'; give the configuration "
            "that they were trained with."
        )
    check_fit(partial(Forecaster, sizes.lags, config, sizes.drivers), weights)


def load_forecaster(
    state: Mapping[str, Floats], config: NetworkConfig, sizes: Sizes
) -> Forecaster | None:
    """Return the forecaster of a state, in evaluation mode; None where it holds none.

    Parameters
    ----------
    state, config, sizes
        As for `check_forecaster`.
    """
    weights = _weights(state)
    if weights is None:
        return None
    check_forecaster(state, config, sizes)
    forecaster: Forecaster = seeded(Forecaster, 0, 1, sizes.lags, config, sizes.drivers)
    fill(forecaster, weights, "")
    return forecaster.eval()


def _weights(state: Mapping[str, Floats]) -> dict[str, Floats] | None:
    """Return the weights of the whole forecaster under their own names; None where none is kept."""
    own = {n.removeprefix(FORECASTER): w for n, w in state.items() if n.startswith(FORECASTER)}
    if not own:
        return None
    return {n: w for n, w in state.items() if n.startswith(_ENCODER)} | own


def forecast(forecaster: Forecaster, lags: Floats, lead: int) -> Floats:
    """Forecast the field `lead` time steps after some lags; forecasts become lags in turn.

    Parameters
    ----------
    forecaster : Forecaster
        In evaluation mode.
    lags : ndarray (n, lags, variables, y, x)
        Fields, the oldest first, scaled units.
    lead : int
        Time steps from the last lag to the forecast, 1 or more.

    Returns
    -------
    ndarray of float32 (n, variables, y, x)

    Examples
    --------
    >>> untrained = Forecaster(2, NetworkConfig(encoder_channels=(8,))).eval()
    >>> lags = np.arange(32.0, dtype=np.float32).reshape(1, 2, 1, 4, 4)
    >>> bool((forecast(untrained, lags, lead=3) == lags[:, 1]).all())
    True
    """
    given = torch.from_numpy(np.ascontiguousarray(lagged(lags), dtype=np.float32))
    with torch.inference_mode():
        for _ in range(lead):
            ahead = one_by_one(forecaster, given)
            given = torch.cat([given[:, forecaster.variables :], ahead], 1)
    out: Floats = ahead.numpy()
    return out
