"""Trainer: run one stage of training with Lightning, which is imported at the first one.

Everything random in an epoch is derived from (seed, stage, epoch, batch), never from a running
stream, so that a training that was killed and resumes ends with the same weights.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import random
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xdownscale.config import TrainingConfig
from xdownscale.core.errors import XDownscaleWarning
from xdownscale.models.device import resolve_precision
from xdownscale.models.training.checkpoint import Checkpoints, TrainingState
from xdownscale.models.training.optimizer import trainable
from xdownscale.models.training.progress import Progress
from xdownscale.models.training.tasks import Task, further_columns


def run_stage(
    task: Task,
    config: TrainingConfig,
    *,
    epochs: int,
    minutes: float | None,
    seed: int,
    device: str,
    store: Checkpoints | None,
    progress: Progress,
) -> dict[str, list[Any]]:
    """Train a stage, or what is left of it, and leave the best weights in its network.

    Parameters
    ----------
    task : Task
        What is minimised; its network is changed.
    config : TrainingConfig
        Options.
    epochs : int
        Most epochs.
    minutes : float or None
        The stage stops after the batch in which this time is spent, and is then validated.
    seed : int
        Of everything random.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"mps"``.
    store : Checkpoints or None
        Where the checkpoints are; a finished stage is only read.
    progress : Progress
        What a user sees of it.

    Returns
    -------
    dict of list
        Columns ``stage, epoch, train_loss, val_loss, lr, seconds``, and those of the task.
    """
    with store.exclusive() if store else contextlib.nullcontext():
        content = store.load(task.name) if store else None
        columns = further_columns(task)
        state = TrainingState.fresh(columns)
        if content:
            content.pop("fingerprint")
            state = TrainingState.from_checkpoint(content, task.name, task.network, columns)
            task.network.load_state_dict(state.weights)
        if not state.done:
            # sets its log levels, so before `undisturbed`
            importlib.import_module("lightning.pytorch")
            with undisturbed():
                _fit(task, config, state, epochs, minutes, seed, device, store, progress)
    if state.failure:
        warnings.warn(
            f"Training of stage {task.name!r} was stopped: {state.failure} The weights of epoch "
            f"{state.epoch - state.waited} are kept.",
            XDownscaleWarning,
            stacklevel=2,
        )
    with torch.no_grad():
        for name, parameter in trainable(task.network).items():
            parameter.copy_(state.best[name])
    return state.history


def _fit(
    task: Task,
    config: TrainingConfig,
    state: TrainingState,
    epochs: int,
    minutes: float | None,
    seed: int,
    device: str,
    store: Checkpoints | None,
    progress: Progress,
) -> None:
    """Train from `state` to the end of the stage; changes the task's network and the state."""
    from xdownscale.models.training.callbacks import StageCallback
    from xdownscale.models.training.distributed import (
        forked_processes,
        is_forked,
        shows_progress,
    )
    from xdownscale.models.training.lightning_module import StageModule

    has_validation = len(task.stopping()) > 0  # type: ignore[arg-type]
    module = StageModule(task, config, state, seed)
    forked = is_forked(config, device)
    around = forked_processes() if forked else contextlib.nullcontext()
    with tempfile.TemporaryDirectory() as folder, around:
        result = Path(folder) / "state.pt" if forked else None
        bar = progress if shows_progress(forked) else Progress(shown=False)
        trainer = _lightning_trainer(
            config,
            device,
            epochs=epochs - state.epoch,
            callback=StageCallback(epochs, minutes, store, has_validation, bar, result),
            has_validation=has_validation,
            folder=folder,
        )
        try:
            trainer.fit(module)
        except SystemExit as err:
            # Lightning ends the whole process when a user interrupts; a notebook would lose all.
            raise KeyboardInterrupt from err
        finally:
            module.close()
        if result is not None:
            vars(state).update(torch.load(result, weights_only=True))
            task.network.load_state_dict(state.weights)
    task.network.to("cpu")
    progress.advance(1.0)


def _lightning_trainer(
    config: TrainingConfig,
    device: str,
    *,
    epochs: int,
    callback: Any,
    has_validation: bool,
    folder: str,
) -> Any:
    """Return Lightning's trainer, without its own checkpoints, logs and summaries."""
    from lightning.pytorch import Trainer

    from xdownscale.models.training.distributed import environment_of, strategy_of

    return Trainer(
        accelerator="gpu" if device == "cuda" else device,
        devices=config.devices,
        strategy=strategy_of(config, device),
        plugins=[environment_of(config, device)],
        use_distributed_sampler=False,
        precision=resolve_precision(config.precision, device),  # type: ignore[arg-type]
        max_epochs=epochs,
        gradient_clip_val=config.gradient_clip,
        callbacks=[callback],
        reload_dataloaders_every_n_epochs=1,
        limit_val_batches=1.0 if has_validation else 0,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        default_root_dir=folder,
    )


_ADVICE = (
    # Batches are prepared in the training process: reading is far cheaper than training here.
    ".*does not have many workers.*",
    # The frozen encoder is meant to be in evaluation mode.
    ".*module\\(s\\) in eval mode at the start of training.*",
    ".*GPU available but not used.*",
    ".*MPS available but not used.*",
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Leave random states, flags and threads of torch, log levels and signals as they were."""
    logs = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [log.level for log in logs]
    benchmark = torch.backends.cudnn.benchmark
    deterministic = torch.backends.cudnn.deterministic
    python_stream = random.getstate()
    numpy_stream = np.random.get_state()  # noqa: NPY002
    handler = signal.getsignal(signal.SIGINT)
    threads = torch.get_num_threads()
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
            if torch.get_num_threads() != threads:  # Lightning shares them among processes
                torch.set_num_threads(threads)
            torch.backends.cudnn.benchmark = benchmark
            torch.backends.cudnn.deterministic = deterministic
            random.setstate(python_stream)
            np.random.set_state(numpy_stream)  # noqa: NPY002
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, handler)
