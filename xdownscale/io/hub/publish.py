"""Publish a model: write its file, its registry entry and a model card."""

from __future__ import annotations

import hashlib
from pathlib import Path

from xdownscale.core.errors import OptionError, StorageError
from xdownscale.core.files import exclusive, make_folder, write_whole
from xdownscale.fitting.fitted_model import Fitted
from xdownscale.io import serialization
from xdownscale.io.hub import model_card, registry
from xdownscale.io.hub.model_card import Scores
from xdownscale.io.hub.registry import Entry

_PATIENCE = 60.0  # seconds to wait for another process that publishes to the same folder


def publish(
    fitted: Fitted,
    folder: Path,
    *,
    name: str | None,
    summary: str,
    scores: Scores | None,
    intended_use: str,
    licence: str,
) -> Path:
    """Write a model, its card and its registry entry to a folder.

    The registry is written last, so that a reader never finds an entry without its file.

    Parameters
    ----------
    fitted : Fitted
        The model.
    folder : Path
        Made where it does not exist.
    name, summary, scores, intended_use, licence
        As for `xdownscale.publish`.

    Returns
    -------
    Path
        The model file.

    Raises
    ------
    OptionError
        If the name cannot be one, or another model has it.
    StorageError
        If the folder cannot be written; what was published before is untouched.
    ModelFormatError
        If the folder's registry is altered.
    """
    name = folder.resolve().name if name is None else name
    if not registry.is_name(name):
        raise OptionError(
            f"{name!r} cannot name a model; give name= with letters, digits, points, - and _, "
            "the first one a letter or digit, at most 80."
        )
    _read_registry(folder)  # raises before the model is packed
    content = serialization.pack(fitted)
    entry = Entry(
        file=f"{name}.xd",
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        summary=summary or _summary(fitted),
        licence=licence,
    )
    card = model_card.write(name, fitted, entry, scores=scores, intended_use=intended_use)
    _refuse_another(folder, name, entry)
    make_folder(folder)
    taken = (
        f"Another process has been publishing to {folder} for {_PATIENCE:g} s. Wait for it, or "
        "stop it, and publish again."
    )
    with exclusive(folder, taken, _PATIENCE):
        entries = _refuse_another(folder, name, entry)
        write_whole(folder / entry.file, content)
        write_whole(folder / f"{name}.md", card.encode())
        write_whole(folder / registry.FILE, registry.write({**entries, name: entry}))
    return folder / entry.file


def _refuse_another(folder: Path, name: str, entry: Entry) -> dict[str, Entry]:
    """Return the entries of a folder; raise where one is of another model of this name."""
    entries = _read_registry(folder)
    if name in entries and entries[name].sha256 != entry.sha256:
        raise OptionError(
            f"{folder} has another model called {name!r}, and what was published stays as it is. "
            "Give another name, such as one with a version; or remove its line from registry.json."
        )
    return entries


def _read_registry(folder: Path) -> dict[str, Entry]:
    path = folder / registry.FILE
    if not path.exists():
        return {}
    try:
        content = path.read_bytes()
    except OSError as err:
        raise StorageError(
            f"{path} cannot be read: {err.strerror or err}. Give a folder of published models, or "
            "an empty one."
        ) from err
    return registry.read(content, str(path))


def _summary(fitted: Fitted) -> str:
    names = ", ".join(str(target.name or "a field") for target in fitted.targets)
    period = " to ".join(fitted.about.fine_period)
    return f"Generates {names} by method {fitted.config.method}; trained on {period}."
