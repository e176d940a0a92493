"""Reuse the encoder of another model: check that it fits, and record its origin."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xdownscale import methods
from xdownscale.config import DownscalerConfig
from xdownscale.core import hashing
from xdownscale.core.errors import ModelMismatchError, OptionError
from xdownscale.fitting.fitted_model import Fitted

_PREFIX = "encoder."


class Encoder(NamedTuple):
    """Encoder weights of another model, and their origin.

    Attributes
    ----------
    weights : dict of str to array
        Under the names ``encoder. ...``.
    origin : dict
        What `ModelFacts.encoder` holds of it: group, fingerprint, coarse period and version.
    """

    weights: dict[str, npt.NDArray[np.float32]]
    origin: dict[str, Any]

    def fingerprint(self) -> str:
        """Return a hash of the weights.

        Examples
        --------
        >>> Encoder({"encoder.w": np.zeros(2, np.float32)}, {}).fingerprint()[:8]
        'ef5d26d3'
        """
        names = sorted(self.weights)
        return hashing.fingerprint(*names, *(self.weights[name] for name in names))


def check_transfer(source: Fitted | None, config: DownscalerConfig, drivers: int) -> None:
    """Raise unless the encoder of a model fits a new one.

    Parameters
    ----------
    source : Fitted or None
        Model that the encoder is taken from; None: there is nothing to check.
    config : DownscalerConfig
        Options of the new one.
    drivers : int
        Coarse variables of the new one.

    Raises
    ------
    OptionError
        If the new model has no encoder.
    ModelMismatchError
        If the other model has none, or one of another make; names both.
    """
    if source is None:
        return
    if config.network.encoder == "none":
        raise OptionError(
            "An encoder was given and network.encoder is 'none': there is nothing to put it into. "
            "Use 'frozen' or 'finetuned', or leave out encoder=."
        )
    if source.config.network.encoder == "none":
        raise ModelMismatchError(
            "The model given as encoder= was made with network.encoder='none': it has no encoder. "
            "Give one that has."
        )
    own = _make(config, drivers)
    other = _make(source.config, len(source.drivers))
    for what, mine in own.items():
        if mine != other[what]:
            raise ModelMismatchError(
                f"The encoder was made with {what} {other[what]!r}, the new model has {mine!r}. "
                f"Fit with {what} {other[what]!r}, or give another encoder."
            )


def _make(config: DownscalerConfig, drivers: int) -> dict[str, Any]:
    """Return what an encoder's shape and inputs depend on."""
    method = methods.find(config.method)
    return {
        "input": method.encoder_input,
        "data.lags": config.data.lags,
        "data.scaling": config.data.scaling,
        "number of drivers": drivers,
        "network.forecaster": config.network.forecaster,
        "network.encoder_channels": tuple(config.network.encoder_channels),
        "network.norm": config.network.norm,
    }


def encoder_of(source: Fitted | None, group: str) -> Encoder | None:
    """Return the encoder for a group: that of the group of the same name, else the only one.

    Parameters
    ----------
    source : Fitted or None
        Model that it is taken from; None: none is.
    group : str
        Group that is to be trained.

    Returns
    -------
    Encoder or None

    Raises
    ------
    ModelMismatchError
        If the model has several groups, and none of this name.
    """
    if source is None:
        return None
    models = source.models
    if group not in models and len(models) > 1:
        raise ModelMismatchError(
            f"The model given as encoder= has the groups {', '.join(models)}, and none is called "
            f"{group!r}. Give a model with one group, or seasons and regions of the same names."
        )
    name = group if group in models else next(iter(models))
    state = models[name].state
    weights = {key: value for key, value in state.items() if key.startswith(_PREFIX)}
    origin = {
        "group": name,
        "fingerprint": source.about.fingerprint,
        "coarse_period": list(source.about.coarse_period),
        "version": source.about.version,
    }
    return Encoder(weights, origin)
