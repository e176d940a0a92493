"""Checkpoints of training: plain tensors and numbers, written whole or not at all.

A checkpoint is a file of `torch.save`, a ZIP archive, whose comment is its SHA-256.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xdownscale.core import files
from xdownscale.core.errors import ModelFormatError, ModelMismatchError, StorageError
from xdownscale.models.training.optimizer import trainable

_MARK = b"sha256:"
_COMMENT = len(_MARK) + 64  # bytes
COLUMNS = ("stage", "epoch", "train_loss", "val_loss", "lr", "seconds")  # of every history
_LEFTOVER = re.compile(r".+\.partial-[0-9a-f]{12}|\..+\.csv\.[0-9a-f]{12}\.tmp")


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
    history: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in COLUMNS})
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
    def fresh(cls, columns: tuple[str, ...] = ()) -> TrainingState:
        """Return the state before training, with further columns of the history."""
        return cls(history={name: [] for name in (*COLUMNS, *columns)})

    @classmethod
    def from_checkpoint(
        cls,
        content: Mapping[str, Any],
        stage: str,
        network: nn.Module,
        columns: tuple[str, ...] = (),
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
        columns : tuple of str
            Further columns of the history.

        Raises
        ------
        ModelFormatError
            Unless the checkpoint holds all of a state of this network, and no more.
        """
        fresh = vars(cls.fresh(columns))
        wrong = sorted(content.keys() ^ fresh.keys())
        wrong += [n for n, v in fresh.items() if n in content and not _alike(content[n], v)]
        if not wrong and not _is_history(content["history"], fresh["history"]):
            wrong.append("history")
        shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
        trained = {name: shapes[name] for name in trainable(network)}
        for name, wanted in (("weights", shapes), ("best", trained), ("average", trained)):
            found = {} if wrong else content[name]
            if not wrong and {n: getattr(t, "shape", None) for n, t in found.items()} != wanted:
                wrong.append(name)
        if wrong:
            raise ModelFormatError(_strange(wrong[0], f" of stage {stage!r}"))
        return cls(**content)


def _alike(found: object, sample: object) -> bool:
    """Tell whether a value has the type of another; a whole number may stand for any number."""
    if isinstance(sample, dict):
        return isinstance(found, dict)
    return type(found) is type(sample) or (type(sample) is float and type(found) is int)


def _is_history(found: dict[Any, Any], sample: Mapping[str, Any]) -> bool:
    """Tell whether a table of losses has its columns, equally long, of texts or numbers."""
    if list(found) != list(sample) or not all(type(column) is list for column in found.values()):
        return False
    kinds = {name: (str,) if name == "stage" else (int, float) for name in found}
    cells = [type(cell) in kinds[name] for name, column in found.items() for cell in column]
    return len({len(column) for column in found.values()}) == 1 and all(cells)


def restore(fresh: Any, state: Mapping[str, Any], what: str) -> None:
    """Load the state of an optimiser or a schedule from a checkpoint.

    Parameters
    ----------
    fresh : Optimizer or ReduceLROnPlateau
        Changed.
    state : mapping
        What its `state_dict` was.
    what : str
        Its name in the checkpoint.

    Raises
    ------
    ModelFormatError
        If the state belongs to something else.
    """
    try:
        same = _kinds(fresh.state_dict(), "state") == _kinds(state, "state")
        fresh.load_state_dict(dict(state))
        for group in getattr(fresh, "param_groups", ()):
            for parameter in group["params"]:
                held = fresh.state.get(parameter, {})
                shapes = [v.shape for n, v in held.items() if n != "step"]
                same = same and all(shape == parameter.shape for shape in shapes)
    except Exception as err:  # an altered state makes torch raise whatever there is
        raise ModelFormatError(_strange(what)) from err
    if not same:
        raise ModelFormatError(_strange(what))


def _strange(what: str, of_stage: str = "") -> str:
    return (
        f"The checkpoint{of_stage} is altered or of another version: {what!r} is not what training "
        "wrote. Give another checkpoint_dir, or remove what is there."
    )


def _kinds(value: Any, left_out: str = "") -> Any:
    """Return the types of a tree of dicts and lists, to be compared."""
    if isinstance(value, dict):
        return {name: _kinds(part) for name, part in value.items() if name != left_out}
    if isinstance(value, list):
        return [_kinds(part) for part in value]
    return float if isinstance(value, int | float) else type(value)


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
            packed = path.read_bytes()
            _check_archive(packed)
            content = torch.load(io.BytesIO(packed), map_location="cpu", weights_only=True)
            found = str(dict(content)["fingerprint"])
            _check_hash(packed)
        except Exception as err:  # damaged bytes make torch raise whatever there is
            raise ModelFormatError(
                f"{path} is not a checkpoint that can be read ({type(err).__name__}: "
                f"{str(err)[:100]}); remove it or give another checkpoint_dir."
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
        partial = path.with_suffix(f".partial-{secrets.token_hex(6)}")
        try:
            torch.save({**content, "fingerprint": self.fingerprint}, partial)
            _add_hash(partial)
            files.keep_permissions(path, partial)
            partial.replace(path)
        except (OSError, RuntimeError) as err:
            raise StorageError(
                f"The checkpoint {path} cannot be written ({err}); the one before is untouched. "
                "Free some space or give another checkpoint_dir, then fit again to go on."
            ) from err
        finally:
            with contextlib.suppress(OSError):
                partial.unlink()

    def write_csv(self, stage: str, history: dict[str, list[Any]]) -> None:
        """Write the table of losses of a stage, one row for each epoch, as ``{stage}.csv``."""
        rows = [",".join(history)]
        rows += [",".join(str(v) for v in row) for row in zip(*history.values(), strict=True)]
        files.write_whole(self.folder / f"{stage}.csv", ("\n".join(rows) + "\n").encode())

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other trainings out of the folder, and remove what killed ones left half-written.

        Of the processes of a distributed training, the first one has the folder.

        Raises
        ------
        StorageError
            If another process trains with this folder.
        """
        if os.environ.get("LOCAL_RANK", "0") != "0":
            yield
            return
        taken = (
            f"Another process trains with checkpoint_dir {str(self.folder)!r}. Wait for it, or "
            "stop it, or give another folder."
        )
        with files.exclusive(self.folder, taken):
            for leftover in self.folder.iterdir():
                if _LEFTOVER.fullmatch(leftover.name):
                    leftover.unlink(missing_ok=True)
            yield


def _add_hash(path: Path) -> None:
    """Make the SHA-256 of an archive its comment, and flush it to the disk."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest().encode()
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(_COMMENT.to_bytes(2, "little") + _MARK + digest)
        file.flush()
        os.fsync(file.fileno())


def _check_hash(packed: bytes) -> None:
    """Raise ValueError unless an archive ends with the SHA-256 of what stands before."""
    comment = packed[-_COMMENT:]
    plain = packed[: -_COMMENT - 2] + b"\0\0"
    if comment != _MARK + hashlib.sha256(plain).hexdigest().encode():
        raise ValueError("it has no SHA-256 or another one: it was altered")


def _check_archive(packed: bytes) -> None:
    """Raise ValueError where an archive could take more memory than its size."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        listed = archive.infolist()
    inflated = any(info.compress_type != zipfile.ZIP_STORED for info in listed)
    if inflated or sum(info.file_size for info in listed) > len(packed):
        raise ValueError("its members are compressed, or claim more than its size")
