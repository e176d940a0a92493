"""The door of the torch wing: train networks from arrays, draw arrays from networks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from xdownscale.config import DownscalerConfig
from xdownscale.models.device import resolve_device
from xdownscale.models.diffusion.schedules import squared_cosine
from xdownscale.models.field_engine import FieldModel, check_load_fields, load_fields, train_fields
from xdownscale.models.networks.field_unet import Channels
from xdownscale.models.networks.unet import Forecaster, Networks
from xdownscale.models.networks.weights import (
    Sizes,
    Trained,
    check_days,
    check_fit,
    count_parameters,
    fill,
    run,
    seeded,
    state_of,
    training_fingerprint,
)
from xdownscale.models.sampling.fields import draw_fields
from xdownscale.models.sampling.memory import check_sampling, settle_tile
from xdownscale.models.sampling.patches import Conditions, sample
from xdownscale.models.sampling.request import FieldConditions, FieldRequest
from xdownscale.models.training.checkpoint import Checkpoints
from xdownscale.models.training.crop_dataset import (
    FieldArrays,
    around,
    fine_channels,
    known_channels,
    lagged,
)
from xdownscale.models.training.patch_dataset import TrainingArrays, read_rows
from xdownscale.models.training.tasks import Denoise, Forecast
from xdownscale.patches.layout import PatchLayout

__all__ = [
    "Channels",
    "settle_tile",
    "fine_channels",
    "known_channels",
    "lagged",
    "Conditions",
    "FieldArrays",
    "FieldConditions",
    "FieldModel",
    "FieldRequest",
    "Networks",
    "Sizes",
    "Trained",
    "TrainingArrays",
    "around",
    "check_load",
    "check_load_fields",
    "check_sampling",
    "count_parameters",
    "draw_fields",
    "load",
    "load_fields",
    "sample",
    "train",
    "train_fields",
]

Floats = NDArray[np.float32]


def train(
    arrays: TrainingArrays,
    config: DownscalerConfig,
    *,
    seed: int,
    device: str = "auto",
    checkpoint_dir: str | Path | None = None,
    progress: bool = True,
    fingerprint: str = "",
    pretrained_encoder: Mapping[str, Floats] | None = None,
) -> Trained:
    """Train the networks: first on the coarse record, then on the fine one.

    Parameters
    ----------
    arrays : TrainingArrays
        What to learn from.
    config : DownscalerConfig
        What to learn, and how.
    seed : int
        Of everything random.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    checkpoint_dir : path, optional
        Folder for a checkpoint and a CSV table of losses after every epoch; training goes on
        from what is there.
    progress : bool
        Show a progress bar.
    fingerprint : str
        Names the data. A folder with another fingerprint or configuration is refused.
    pretrained_encoder : mapping, optional
        Weights ``encoder. ...`` of an earlier training; the first stage is left out.

    Returns
    -------
    Trained

    Raises
    ------
    DataError
        If there is no day to learn from.
    OptionError
        If the device is unknown or not there.
    GridError
        If a training patch is larger than the image.
    ModelFormatError
        If `pretrained_encoder` does not fit the configuration, or a checkpoint is broken.
    ModelMismatchError
        If the folder belongs to another training.
    StorageError
        If the folder cannot be written.
    """
    place = resolve_device(device)
    layout = _training_layout(arrays, config)
    check_days(arrays, config)
    store = None
    if checkpoint_dir is not None:
        store = Checkpoints(checkpoint_dir, training_fingerprint(arrays, config, seed, fingerprint))
    networks = _new_networks(arrays, config, seed)
    histories = []
    if networks.encoder is not None and pretrained_encoder is not None:
        fill(networks.encoder, pretrained_encoder, "encoder.")
    elif networks.encoder is not None:
        forecaster = seeded(Forecaster, seed, 1, config.data.lags, config.network)
        task = Forecast(arrays, forecaster, config.diffusion.loss, seed)
        histories.append(run(task, config, seed, place, store, progress))
        networks.encoder.load_state_dict(forecaster.encoder.state_dict())
    denoise = Denoise(
        arrays,
        networks.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        config.diffusion,
        squared_cosine(config.diffusion.train_steps),
        layout,
        config.training.batch_days,
    )
    histories.append(run(denoise, config, seed, place, store, progress))
    rows = {name: [v for part in histories for v in part[name]] for name in histories[-1]}
    history = {name: np.array(column) for name, column in rows.items()}
    return Trained(state=state_of(networks), history=history)


def load(state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes) -> Networks:
    """Build networks from what training left.

    Parameters
    ----------
    state : mapping of ndarray
        `Trained.state`.
    config : DownscalerConfig
        The configuration that it was trained with.
    sizes : Sizes
        Numbers of static fields and of calendar channels.

    Returns
    -------
    Networks
        In evaluation mode.

    Raises
    ------
    ModelFormatError
        If names or shapes do not fit the configuration.

    Examples
    --------
    >>> config = DownscalerConfig()
    >>> load({}, config, Sizes(static=3, calendar=3))
    Traceback (most recent call last):
    ...
    xdownscale.core.errors.ModelFormatError: The weights lack 'denoiser...
    """
    check_load(state, config, sizes)
    known = sizes.static + sizes.calendar
    networks = seeded(Networks, 0, 0, config.data.lags, known, config.network)
    fill(networks, state, "")
    fast: Networks = networks.to(memory_format=torch.channels_last)
    return fast.eval()


def check_load(state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes) -> None:
    """Raise what `load` would raise; no network is made, so that none can be too large.

    Parameters
    ----------
    state, config, sizes
        As for `load`.

    Raises
    ------
    ModelFormatError
        If names or shapes do not fit the configuration.

    Examples
    --------
    >>> vast = DownscalerConfig().replace(network=dict(channels=(800000, 800000)))
    >>> check_load({}, vast, Sizes(static=3, calendar=3))
    Traceback (most recent call last):
    ...
    xdownscale.core.errors.ModelFormatError: The weights lack 'denoiser...
    """
    known = sizes.static + sizes.calendar
    check_fit(partial(Networks, config.data.lags, known, config.network), state)


def _training_layout(arrays: TrainingArrays, config: DownscalerConfig) -> PatchLayout:
    ny, nx = (int(n) for n in arrays.mask.shape)
    return PatchLayout((ny, nx), config.data.patch_size, config.data.patch_stride, 0, "uniform")


def _new_networks(arrays: TrainingArrays, config: DownscalerConfig, seed: int) -> Networks:
    known = arrays.static.shape[0] + arrays.calendar.shape[1]
    networks: Networks = seeded(Networks, seed, 2, config.data.lags, known, config.network)
    largest = 1.0
    for row in arrays.train_targets:
        values = np.abs(read_rows(arrays.fine, [int(row)]))
        largest = max(largest, float(np.max(values, where=~np.isnan(values), initial=0.0)))
    networks.denoiser.bound.fill_(config.network.output_bound * largest)
    return networks
