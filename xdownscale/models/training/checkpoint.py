"""Checkpoints of training: plain tensors and numbers, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xdownscale.core.errors import ModelFormatError, ModelMismatchError, StorageError
from xdownscale.models.training.optimizer import trainable


@dataclass
class TrainingState:
    """State of the training of one stage: what a checkpoint holds.

    Attributes
    ----------
    epoch : int
        Number of finished epochs.
    history : dict
        Columns of the table of losses.
    best_loss : float
        Smallest validation loss.
    waited : int
        Epochs since then.
    seconds : float
        Time spent.
    updates : int
        Number of optimiser steps.
    done : bool
        True when the stage is finished.
    failure : str
        Why it was stopped before; empty where it was not.
    best, average : dict of Tensor
        Weights at the smallest validation loss, and the moving average of the weights.
    weights, optimizer, plateau : dict
        States of the network, the optimiser and the plateau schedule.
    """

    epoch: int = 0
    history: dict[str, list[Any]] = field(
        default_factory=lambda: {
            name: [] for name in ("stage", "epoch", "train_loss", "val_loss", "lr", "seconds")
        }
    )
    best_loss: float = float("inf")
    waited: int = 0
    seconds: float = 0.0
    updates: int = 0
    done: bool = False
    failure: str = ""
    best: dict[str, Tensor] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    plateau: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_checkpoint(
        cls, content: Mapping[str, Any], stage: str, network: nn.Module
    ) -> TrainingState:
        """Return the state that a checkpoint holds.

        Parameters
        ----------
        content : mapping
            What `Checkpoints.load` returned.
        stage : str
            Name of the stage.
        network : Module
            The network that was trained.

        Raises
        ------
        ModelFormatError
            Unless the checkpoint holds all of a state of this network, and no more.
        """
        fresh = vars(cls())
        wrong = sorted(content.keys() ^ fresh.keys())
        wrong += [n for n, v in fresh.items() if n in content and not _alike(content[n], v)]
        shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
        trained = {name: shapes[name] for name in trainable(network)}
        for name, wanted in (("weights", shapes), ("best", trained), ("average", trained)):
            found = {} if wrong else content[name]
            if not wrong and {n: getattr(t, "shape", None) for n, t in found.items()} != wanted:
                wrong.append(name)
        if wrong:
            raise ModelFormatError(
                f"The checkpoint of stage {stage!r} is altered or of another version: {wrong[0]!r} "
                "is not what training wrote. Give another checkpoint_dir, or remove what is there."
            )
        return cls(**content)


def _alike(found: object, sample: object) -> bool:
    """Tell whether a value has the type of another; a whole number may stand for any number."""
    if isinstance(sample, dict):
        return isinstance(found, dict)
    return type(found) is type(sample) or (type(sample) is float and type(found) is int)


class Checkpoints:
    """A folder that holds one checkpoint for each stage of training.

    Parameters
    ----------
    folder : path
        Made where it does not exist.
    fingerprint : str
        Names configuration and data; a folder belongs to one fingerprint.

    Raises
    ------
    StorageError
        If the folder cannot be made.
    """

    def __init__(self, folder: str | Path, fingerprint: str) -> None:
        self.folder = Path(folder)
        self.fingerprint = fingerprint
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise StorageError(
                f"checkpoint_dir {str(folder)!r} cannot be made ({err}); give a folder that can "
                "be written."
            ) from err

    def load(self, stage: str) -> dict[str, Any] | None:
        """Return the checkpoint of a stage, or None where there is none.

        Raises
        ------
        ModelFormatError
            If the file is not a checkpoint.
        ModelMismatchError
            If it belongs to another configuration or other data.
        """
        path = self.folder / f"{stage}.pt"
        if not path.exists():
            return None
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            found = str(dict(content)["fingerprint"])
        except Exception as err:  # damaged bytes make torch raise whatever there is
            raise ModelFormatError(
                f"{path} is not a checkpoint that can be read ({type(err).__name__}); remove it "
                "or give another checkpoint_dir."
            ) from err
        if found != self.fingerprint:
            raise ModelMismatchError(
                f"checkpoint_dir {str(self.folder)!r} holds the training of another configuration "
                f"or of other data (fingerprint {found[:12]}, this one is "
                f"{self.fingerprint[:12]}); give an empty folder, or remove what is there."
            )
        return dict(content)

    def save(self, stage: str, content: dict[str, Any]) -> None:
        """Replace the checkpoint of a stage; a reader sees the old one or the new one.

        Raises
        ------
        StorageError
            If it cannot be written; what stood there before is untouched.
        """
        path = self.folder / f"{stage}.pt"
        partial = path.with_suffix(".partial")
        try:
            torch.save({**content, "fingerprint": self.fingerprint}, partial)
            partial.replace(path)
        except (OSError, RuntimeError) as err:
            partial.unlink(missing_ok=True)
            raise StorageError(
                f"The checkpoint {path} cannot be written ({err}); the one before is untouched. "
                "Free some space or give another checkpoint_dir, then fit again to go on."
            ) from err

    def write_csv(self, stage: str, history: dict[str, list[Any]]) -> None:
        """Write the table of losses of a stage, one row for each epoch, as ``{stage}.csv``."""
        rows = [",".join(history)]
        rows += [",".join(str(v) for v in row) for row in zip(*history.values(), strict=True)]
        partial = self.folder / f"{stage}.csv.partial"
        partial.write_text("\n".join(rows) + "\n")
        partial.replace(self.folder / f"{stage}.csv")
