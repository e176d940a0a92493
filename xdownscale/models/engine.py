"""The door of the torch wing: train networks from arrays, draw arrays from networks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from xdownscale.config import DownscalerConfig
from xdownscale.errors import DataError, ModelFormatError
from xdownscale.models import noise
from xdownscale.models.checkpoint import Checkpoints
from xdownscale.models.dataset import TrainingArrays, read_rows
from xdownscale.models.device import resolve_device
from xdownscale.models.diffusion import squared_cosine
from xdownscale.models.drawing import Conditions, sample
from xdownscale.models.fields.crops import FieldArrays, around
from xdownscale.models.fields.drawing import (
    FieldConditions,
    FieldRequest,
    Residual,
    draw_fields,
)
from xdownscale.models.fields.network import FieldNetworks
from xdownscale.models.fields.training import NOISY, Lesson, learn_fields, regressions
from xdownscale.models.stages import Denoise, Forecast, Task
from xdownscale.models.training import run_stage
from xdownscale.models.unet import Forecaster, Networks
from xdownscale.patches.layout import PatchLayout

__all__ = [
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
    "count_parameters",
    "draw_fields",
    "load",
    "load_fields",
    "sample",
    "train",
    "train_fields",
]

Floats = NDArray[np.float32]
State = dict[str, Floats]

_PRETRAIN_SHARE = 0.15  # of max_minutes


class Sizes(NamedTuple):
    """Numbers of channels that the data decide."""

    static: int
    calendar: int


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What training left.

    Attributes
    ----------
    state : dict of ndarray
        Weights, float32, under flat names ``encoder. ...`` and ``denoiser. ...``.
    history : dict of ndarray
        Columns ``stage``, ``epoch``, ``train_loss``, ``val_loss``, ``lr``, ``seconds`` (since
        the stage began); one row for each epoch.
    """

    state: State
    history: dict[str, NDArray[Any]]


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
    _check_days(arrays, config)
    store = None
    if checkpoint_dir is not None:
        store = Checkpoints(checkpoint_dir, _fingerprint(arrays, config, seed, fingerprint))
    networks = _new_networks(arrays, config, seed)
    histories = []
    if networks.encoder is not None and pretrained_encoder is not None:
        _fill(networks.encoder, pretrained_encoder, "encoder.")
    elif networks.encoder is not None:
        forecaster = _seeded(Forecaster, seed, 1, config.data.lags, config.network)
        task = Forecast(arrays, forecaster, config.diffusion.loss, seed)
        histories.append(_run(task, config, seed, place, store, progress))
        networks.encoder.load_state_dict(forecaster.encoder.state_dict())
    denoise = Denoise(
        arrays,
        networks.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        config.diffusion,
        squared_cosine(config.diffusion.train_steps),
        layout,
        config.training.batch_days,
    )
    histories.append(_run(denoise, config, seed, place, store, progress))
    rows = {name: [v for part in histories for v in part[name]] for name in histories[-1]}
    history = {name: np.array(column) for name, column in rows.items()}
    return Trained(state=_state(networks), history=history)


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
    xdownscale.errors.ModelFormatError: The weights lack 'denoiser...
    """
    known = sizes.static + sizes.calendar
    networks = _seeded(Networks, 0, 0, config.data.lags, known, config.network)
    _fill(networks, state, "")
    fast: Networks = networks.to(memory_format=torch.channels_last)
    return fast.eval()


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
    _check_days(arrays, config)
    store = None
    if checkpoint_dir is not None:
        store = Checkpoints(checkpoint_dir, _fingerprint(arrays, config, seed, fingerprint))
    lesson = Lesson(
        arrays=arrays, config=config, seed=seed, device=place, store=store, progress=progress
    )

    def encode(encoder: nn.Module) -> dict[str, list[Any]] | None:
        if pretrained_encoder is not None:
            _fill(encoder, pretrained_encoder, "encoder.")
            return None
        forecaster = _seeded(Forecaster, seed, 1, config.data.lags, config.network)
        task = Forecast(arrays, forecaster, config.diffusion.loss, seed)
        history = _run(task, config, seed, place, store, progress)
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


def load_fields(
    state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes, device: str = "auto"
) -> FieldModel:
    """Build networks from what `train_fields` left.

    Parameters
    ----------
    state : mapping of ndarray
        `Trained.state`.
    config : DownscalerConfig
        The configuration that they were trained with.
    sizes : Sizes
        Numbers of static fields and of calendar numbers.
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
    weights = {name: array for name, array in state.items() if not name.startswith("residual.")}
    networks = _seeded(
        FieldNetworks,
        0,
        0,
        config.data.lags,
        2 * config.data.window + 1 + sizes.static,
        sizes.calendar,
        regressions(config, sum(name.startswith("regressions.") and name.endswith("head.bias") for name in weights)),
        NOISY[config.method],
        config.network,
    )
    _fill(networks, weights, "")
    residual = Residual.from_state(state) if config.method == "residual" else None
    wide = networks.to(resolve_device(device), memory_format=torch.channels_last)
    return FieldModel(wide.eval(), residual)


def count_parameters(state: Mapping[str, Floats]) -> dict[str, int]:
    """Return how many numbers the networks hold, by network.

    Examples
    --------
    >>> count_parameters({"encoder.w": np.zeros((2, 3)), "denoiser.b": np.zeros(4)})
    {'encoder': 6, 'denoiser': 4}
    """
    counts: dict[str, int] = {}
    for name, weights in state.items():
        network = name.split(".")[0]
        if network == "residual":
            continue  # numbers that were measured, not learnt
        counts[network] = counts.get(network, 0) + int(weights.size)
    return counts


def _training_layout(arrays: TrainingArrays, config: DownscalerConfig) -> PatchLayout:
    ny, nx = (int(n) for n in arrays.mask.shape)
    return PatchLayout((ny, nx), config.data.patch_size, config.data.patch_stride, 0, "uniform")


def _check_days(arrays: TrainingArrays, config: DownscalerConfig) -> None:
    learnt = {"train_targets": len(arrays.train_targets)}
    if config.network.encoder != "none":
        learnt["coarse_targets"] = int((~np.asarray(arrays.coarse_stopping)).sum())
    for name, count in learnt.items():
        if count < 1:
            raise DataError(
                f"No day to learn from: {name} has no training day. Give a longer record or "
                "fewer lags."
            )


def _seeded(kind: Any, seed: int, stage: int, *args: Any) -> Any:
    """Build a network whose first weights depend on seed and stage alone."""
    with torch.random.fork_rng([]):
        torch.manual_seed(noise.derive(seed, stage, -2))
        return kind(*args)


def _new_networks(arrays: TrainingArrays, config: DownscalerConfig, seed: int) -> Networks:
    known = arrays.static.shape[0] + arrays.calendar.shape[1]
    networks: Networks = _seeded(Networks, seed, 2, config.data.lags, known, config.network)
    largest = 1.0
    for row in arrays.train_targets:
        values = np.abs(read_rows(arrays.fine, [int(row)]))
        largest = max(largest, float(np.max(values, where=~np.isnan(values), initial=0.0)))
    networks.denoiser.bound.fill_(config.network.output_bound * largest)
    return networks


def _run(
    task: Task,
    config: DownscalerConfig,
    seed: int,
    device: str,
    store: Checkpoints | None,
    progress: bool,
) -> dict[str, list[Any]]:
    first, training = task.stage == 1, config.training
    share = _PRETRAIN_SHARE if first else 1 - _PRETRAIN_SHARE
    if config.network.encoder == "none":
        share = 1.0
    return run_stage(
        task,
        training,
        epochs=training.pretrain_epochs if first else training.epochs,
        minutes=None if training.max_minutes is None else share * training.max_minutes,
        seed=seed,
        device=device,
        store=store,
        progress=progress,
    )


def _fingerprint(
    arrays: TrainingArrays, config: DownscalerConfig, seed: int, fingerprint: str
) -> str:
    """Return a hash of all that the weights depend on, as far as it is cheap to know."""
    tree = config.to_dict()
    del tree["sampling"]
    shapes = [list(getattr(arrays, name).shape) for name in ("coarse", "driver", "fine", "static")]
    text = json.dumps([tree, shapes, seed, fingerprint], sort_keys=True)
    rows = (arrays.coarse_targets, arrays.train_targets, arrays.stop_targets)
    digest = hashlib.sha256(text.encode())
    for part in rows:
        digest.update(np.asarray(part, dtype=np.int64).tobytes())
    return digest.hexdigest()


def _state(networks: nn.Module) -> State:
    return {
        name: tensor.detach().cpu().contiguous().numpy().astype(np.float32)
        for name, tensor in networks.state_dict().items()
    }


def _fill(network: nn.Module, state: Mapping[str, Floats], prefix: str) -> None:
    """Put weights into a network, or say which do not fit."""
    wanted = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    found = {name: np.asarray(w) for name, w in state.items() if name.startswith(prefix)}
    lacking, unknown = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if lacking or unknown:
        what = f"lack {lacking[0]!r}" if lacking else f"hold {unknown[0]!r}, which is not known"
        raise ModelFormatError(
            f"The weights {what} ({len(lacking)} lacking, {len(unknown)} unknown); give the "
            "configuration that they were trained with."
        )
    for name, tensor in wanted.items():
        if found[name].shape != tuple(tensor.shape):
            raise ModelFormatError(
                f"The weights {name!r} have shape {found[name].shape}, the configuration needs "
                f"{tuple(tensor.shape)}; give the configuration that they were trained with."
            )
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(torch.tensor(found[name]))
