"""The one function that runs a stage of training.

Everything random in an epoch is derived from (seed, stage, epoch, batch), never from a running
stream, so that a training which was killed and is taken up again ends with the same weights.
"""

from __future__ import annotations

import contextlib
import logging
import random
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from xdownscale.config import TrainingConfig
from xdownscale.core.errors import ModelFormatError
from xdownscale.models.training.checkpoint import Checkpoints
from xdownscale.models.training.tasks import Record, Task, trainable


def run_stage(
    task: Task,
    config: TrainingConfig,
    *,
    epochs: int,
    minutes: float | None,
    seed: int,
    device: str,
    store: Checkpoints | None,
    progress: bool,
) -> dict[str, list[Any]]:
    """Train a stage, or what is left of it, and leave the best weights in its network.

    Parameters
    ----------
    task : Task
        What is learnt; its network is changed.
    config : TrainingConfig
        How.
    epochs : int
        Most epochs.
    minutes : float or None
        The stage stops after the epoch in which this time is spent.
    seed : int
        Of everything random.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"mps"``.
    store : Checkpoints or None
        Where the checkpoints are; a finished stage is only read.
    progress : bool
        Show a progress bar.

    Returns
    -------
    dict of list
        Columns ``stage, epoch, train_loss, val_loss, lr, seconds``.
    """
    content = store.load(task.name) if store else None
    record = Record()
    if content:
        content.pop("fingerprint")
        record = _record(content, task)
        task.network.load_state_dict(record.weights)
    if not record.done:
        from xdownscale.models.training.loop import fit

        with undisturbed():
            fit(task, config, record, epochs, minutes, seed, device, store, progress)
    with torch.no_grad():
        for name, parameter in trainable(task.network).items():
            parameter.copy_(record.best[name])
    return record.history


def _record(content: dict[str, Any], task: Task) -> Record:
    """Return what a checkpoint holds, if it is all of a record of this network and no more."""
    fresh = Record()
    wrong = sorted(content.keys() ^ vars(fresh).keys())
    wrong += [n for n, v in vars(fresh).items() if n in content and not _alike(content[n], v)]
    shapes = {name: tensor.shape for name, tensor in task.network.state_dict().items()}
    learnt = {name: shapes[name] for name in trainable(task.network)}
    for name, wanted in (("weights", shapes), ("best", learnt), ("average", learnt)):
        found = {} if wrong else content[name]
        if not wrong and {n: getattr(t, "shape", None) for n, t in found.items()} != wanted:
            wrong.append(name)
    if wrong:
        raise ModelFormatError(
            f"The checkpoint of stage {task.name!r} is altered or of another version: {wrong[0]!r} "
            "is not what training wrote. Give another checkpoint_dir, or remove what is there."
        )
    return Record(**content)


def _alike(found: object, sample: object) -> bool:
    """Tell whether a value has the type of another; a whole number may stand for any number."""
    if isinstance(sample, dict):
        return isinstance(found, dict)
    return type(found) is type(sample) or (type(sample) is float and type(found) is int)


_ADVICE = (
    # Days are prepared in the training process: reading is far cheaper than learning here.
    ".*does not have many workers.*",
    # The frozen encoder is meant to be in evaluation mode.
    ".*module\\(s\\) in eval mode at the start of training.*",
    ".*GPU available but not used.*",
    ".*MPS available but not used.*",
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Leave random states, torch's flags, log levels and signal handlers as they were."""
    logs = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [log.level for log in logs]
    flags = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    streams = random.getstate(), np.random.get_state()  # noqa: NPY002
    handler = signal.getsignal(signal.SIGINT)
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with warnings.catch_warnings(), torch.random.fork_rng(devices):
        for message in _ADVICE:
            warnings.filterwarnings("ignore", message=message)
        for log in logs:
            log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for log, level in zip(logs, levels, strict=True):
                log.setLevel(level)
            torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = flags
            random.setstate(streams[0])
            np.random.set_state(streams[1])  # noqa: NPY002
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, handler)
