"""Publish a model: its file, its line in the folder's registry, and a model card."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import pandas as pd

from xdownscale.core.errors import OptionError, StorageError
from xdownscale.core.files import as_path, write_whole
from xdownscale.downscaler import Downscaler, require_model
from xdownscale.fitting.fitted_model import Fitted
from xdownscale.io import serialization
from xdownscale.io.hub import model_card, registry
from xdownscale.io.hub.registry import Entry


def publish(
    model: Downscaler,
    folder: str | PathLike[str],
    *,
    name: str | None = None,
    summary: str = "",
    scores: pd.DataFrame | Mapping[str, float] | str | None = None,
    intended_use: str = "",
    licence: str = "",
) -> Path:
    """Write a model to a folder that others can load it from by its name.

    The folder then holds ``{name}.xd`` (what `Downscaler.save` writes), ``{name}.md`` (a model
    card: grids, period, scores, intended use, licence) and ``registry.json``, where the model's
    line with its size and SHA-256 comes last, so that a reader never finds a line without its file.
    Serve the folder with any web server, or share it, and let ``XDOWNSCALE_DATA_URL`` name it:
    see `load_pretrained`. What was published stays as it is: another model needs another name.

    Parameters
    ----------
    model : Downscaler
        Fitted model.
    folder : str or path
        Made where it does not exist.
    name : str, optional
        Letters, digits, points, ``-`` and ``_``. None: the folder's own name.
    summary : str
        One sentence. Empty: made from what the model learnt.
    scores : DataFrame, mapping or str, optional
        Table of `xdownscale.skill.table`, score -> number, or Markdown. None: the scores that
        fitting measured on validation days.
    intended_use, licence : str
        For the card; say who may do what with it.

    Returns
    -------
    Path
        The model file.

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    OptionError
        If the name cannot be one, or another model has it.
    StorageError
        If the folder cannot be written; what was published before is untouched.
    ModelFormatError
        If the folder's registry is altered.

    Examples
    --------
    >>> import tempfile, xdownscale as xd
    >>> model = xd.load_pretrained("dust-twin-tiny")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = xd.publish(model, folder, name="dust-2", licence="CC BY 4.0")
    ...     sorted(path.name for path in file.parent.iterdir())
    ['dust-2.md', 'dust-2.xd', 'registry.json']
    """
    fitted = require_model(model)._require_fitted("publish")
    place = as_path(folder, "folder")
    chosen = place.resolve().name if name is None else name
    if not registry.is_name(chosen):
        raise OptionError(
            f"{chosen!r} cannot name a model; give name= with letters, digits, points, - and _, "
            "the first one a letter or digit, at most 80."
        )
    lines = _read_lines(place)
    content = serialization.pack(fitted)
    line = Entry(
        file=f"{chosen}.xd",
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        summary=summary or _summary(fitted),
        licence=licence,
    )
    if chosen in lines and lines[chosen].sha256 != line.sha256:
        raise OptionError(
            f"{place} has another model called {chosen!r}, and what was published stays as it is. "
            "Give another name, such as one with a version; or remove its line from registry.json."
        )
    card = model_card.write(chosen, fitted, line, scores=scores, intended_use=intended_use)
    _make(place)
    write_whole(place / line.file, content)
    write_whole(place / f"{chosen}.md", card.encode())
    write_whole(place / registry.FILE, registry.write({**lines, chosen: line}))
    return place / line.file


def _read_lines(place: Path) -> dict[str, Entry]:
    path = place / registry.FILE
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


def _make(place: Path) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise StorageError(
            f"The folder {place} cannot be made: {err.strerror or err}. Give one that may be "
            "written to."
        ) from err


def _summary(fitted: Fitted) -> str:
    names = ", ".join(str(target.name or "a field") for target in fitted.targets)
    period = " to ".join(fitted.about["fine_period"])
    return f"Draws {names} by method {fitted.config.method}; learnt from the days {period}."
