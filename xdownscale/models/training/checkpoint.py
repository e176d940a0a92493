"""Checkpoints of training: plain tensors and numbers, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from xdownscale.core.errors import ModelFormatError, ModelMismatchError, StorageError


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
        self.folder, self.fingerprint = Path(folder), fingerprint
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
