"""Train networks of whole fields from arrays, and load them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from xdownscale.config import DownscalerConfig
from xdownscale.models.device import resolve_device
from xdownscale.models.diffusion.residual import Residual
from xdownscale.models.networks.field_unet import Channels, FieldNetworks
from xdownscale.models.networks.unet import Forecaster
from xdownscale.models.networks.weights import (
    MEASURED,
    Trained,
    check_days,
    check_fit,
    fill,
    run,
    seeded,
    training_fingerprint,
)
from xdownscale.models.training.checkpoint import Checkpoints
from xdownscale.models.training.crop_dataset import FieldArrays
from xdownscale.models.training.tasks import Forecast
from xdownscale.models.training.train_fields import NOISY, Lesson, learn_fields, regressions

Floats = NDArray[np.float32]


def train_fields(
    arrays: FieldArrays,
    config: DownscalerConfig,
    *,
    seed: int,
    device: str = "auto",
    checkpoint_dir: str | Path | None = None,
    progress: bool = True,
    fingerprint: str = "",
    pretrained_encoder: Mapping[str, Floats] | None = None,
) -> Trained:
    """Train the networks of a method that draws whole fields.

    Parameters
    ----------
    arrays : FieldArrays
        What to learn from.
    config, seed, device, checkpoint_dir, progress, fingerprint, pretrained_encoder
        As for `train`.

    Returns
    -------
    Trained
        The state also holds ``residual. ...``, what was measured of the residual.

    Raises
    ------
    DataError, OptionError, ModelFormatError, ModelMismatchError, StorageError
        As `train`.
    """
    place = resolve_device(device)
    check_days(arrays, config)
    store = None
    if checkpoint_dir is not None:
        store = Checkpoints(checkpoint_dir, training_fingerprint(arrays, config, seed, fingerprint))
    lesson = Lesson(
        arrays=arrays, config=config, seed=seed, device=place, store=store, progress=progress
    )

    def encode(encoder: nn.Module) -> dict[str, list[Any]] | None:
        if pretrained_encoder is not None:
            fill(encoder, pretrained_encoder, "encoder.")
            return None
        drivers = int(arrays.coarse.shape[1])
        forecaster = seeded(Forecaster, seed, 1, config.data.lags, config.network, drivers)
        task = Forecast(arrays, forecaster, config.diffusion.loss, seed)
        history = run(task, config, seed, place, store, progress)
        encoder.load_state_dict(forecaster.encoder.state_dict())
        return history

    state, histories = learn_fields(lesson, encode)
    rows = {name: [v for part in histories for v in part[name]] for name in histories[-1]}
    return Trained(state=state, history={name: np.array(column) for name, column in rows.items()})


class FieldModel(NamedTuple):
    """Networks that draw whole fields, and what was measured of the residual.

    Attributes
    ----------
    networks : FieldNetworks
        In evaluation mode, on their device.
    residual : Residual or None
        None for a method without one.
    """

    networks: FieldNetworks
    residual: Residual | None


def check_load_fields(
    state: Mapping[str, Floats], config: DownscalerConfig, sizes: Channels
) -> None:
    """Raise what `load_fields` would raise; no network is made, so that none can be too large.

    Parameters
    ----------
    state, config, sizes
        As for `load_fields`.

    Raises
    ------
    ModelFormatError
        If names or shapes do not fit the configuration.
    """
    weights, parts = _parts(state, config, sizes)
    check_fit(partial(FieldNetworks, *parts), weights)
    if config.method == "residual":
        Residual.check_state(state, sizes.targets)


def _parts(
    state: Mapping[str, Floats], config: DownscalerConfig, sizes: Channels
) -> tuple[dict[str, Floats], tuple[Any, ...]]:
    """Weights that were learnt, and what their networks are made from."""
    weights = {name: array for name, array in state.items() if not name.startswith(MEASURED)}
    heads = sum(n.startswith("regressions.") and n.endswith("head.bias") for n in weights)
    return weights, (sizes, regressions(config, heads), NOISY[config.method], config.network)


def load_fields(
    state: Mapping[str, Floats], config: DownscalerConfig, sizes: Channels, device: str = "auto"
) -> FieldModel:
    """Build networks from what `train_fields` left.

    Parameters
    ----------
    state : mapping of ndarray
        `Trained.state`.
    config : DownscalerConfig
        The configuration that they were trained with.
    sizes : Channels
        Numbers of channels that the data decide.
    device : str
        Where they are to run.

    Returns
    -------
    FieldModel

    Raises
    ------
    ModelFormatError
        If names or shapes do not fit the configuration.
    """
    check_load_fields(state, config, sizes)
    weights, parts = _parts(state, config, sizes)
    networks = seeded(FieldNetworks, 0, 0, *parts)
    fill(networks, weights, "")
    residual = Residual.from_state(state) if config.method == "residual" else None
    wide = networks.to(resolve_device(device), memory_format=torch.channels_last)
    if config.sampling.compile and wide.drawer is not None:
        wide.drawer.compile()
    return FieldModel(wide.eval(), residual)
