"""What all trainings share: weights in and out of networks, stages, fingerprints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from xdownscale.config import DownscalerConfig
from xdownscale.core.errors import DataError, ModelFormatError
from xdownscale.models.diffusion import noise
from xdownscale.models.training.checkpoint import Checkpoints
from xdownscale.models.training.patch_dataset import FineLesson
from xdownscale.models.training.tasks import Task
from xdownscale.models.training.trainer import run_stage

Floats = NDArray[np.float32]
State = dict[str, Floats]

MEASURED = ("residual.", "drift.")  # numbers that were measured, not learnt
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
        if name.startswith(MEASURED):
            continue
        counts[network] = counts.get(network, 0) + int(weights.size)
    return counts


def check_days(arrays: FineLesson, config: DownscalerConfig) -> None:
    """Raise if there is no day to learn from."""
    learnt = {"train_targets": len(arrays.train_targets)}
    if config.network.encoder != "none":
        learnt["coarse_targets"] = int((~np.asarray(arrays.coarse_stopping)).sum())
    for name, count in learnt.items():
        if count < 1:
            raise DataError(
                f"No day to learn from: {name} has no training day. Give a longer record or "
                "fewer lags."
            )


def seeded(kind: Any, seed: int, stage: int, *args: Any) -> Any:
    """Build a network whose first weights depend on seed and stage alone."""
    with torch.random.fork_rng([]):
        torch.manual_seed(noise.derive(seed, stage, -2))
        return kind(*args)


def run(
    task: Task,
    config: DownscalerConfig,
    seed: int,
    device: str,
    store: Checkpoints | None,
    progress: bool,
) -> dict[str, list[Any]]:
    """Train one of two stages; the first has its share of the time."""
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


def training_fingerprint(
    arrays: FineLesson, config: DownscalerConfig, seed: int, fingerprint: str
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


def state_of(networks: nn.Module) -> State:
    """Return the weights as arrays."""
    return {
        name: tensor.detach().cpu().contiguous().numpy().astype(np.float32)
        for name, tensor in networks.state_dict().items()
    }


def check_fit(build: Callable[[], nn.Module], state: Mapping[str, Floats]) -> None:
    """Raise unless weights fit the network that a configuration asks for, which is not made.

    Parameters
    ----------
    build : callable
        Makes the network; called where tensors have shapes and no memory.
    state : mapping of ndarray
        Its weights.

    Raises
    ------
    ModelFormatError
        If names or shapes do not fit, however large the network would be.
    """
    try:
        with torch.device("meta"):
            shapes = {name: tensor.shape for name, tensor in build().state_dict().items()}
    except (RuntimeError, OverflowError, MemoryError) as err:
        raise ModelFormatError(
            f"The configuration asks for networks that cannot be made ({str(err)[:100]}); give the "
            "one that the weights were trained with."
        ) from err
    _compare({name: tuple(shape) for name, shape in shapes.items()}, state)


def fill(network: nn.Module, state: Mapping[str, Floats], prefix: str) -> None:
    """Put weights into a network, or say which do not fit."""
    wanted = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    found = {name: np.asarray(w) for name, w in state.items() if name.startswith(prefix)}
    _compare({name: tuple(tensor.shape) for name, tensor in wanted.items()}, found)
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(torch.tensor(found[name]))


def _compare(wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, Floats]) -> None:
    lacking, unknown = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if lacking or unknown:
        what = f"lack {lacking[0]!r}" if lacking else f"hold {unknown[0]!r}, which is not known"
        raise ModelFormatError(
            f"The weights {what} ({len(lacking)} lacking, {len(unknown)} unknown); give the "
            "configuration that they were trained with."
        )
    for name, shape in wanted.items():
        if found[name].shape != shape:
            raise ModelFormatError(
                f"The weights {name!r} have shape {found[name].shape}, the configuration needs "
                f"{shape}; give the configuration that they were trained with."
            )
