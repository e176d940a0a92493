"""Figures of a report as files of their own, for a paper."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from xdownscale.core.errors import OptionError
from xdownscale.core.files import as_path, make_folder, write_whole
from xdownscale.core.optional import require
from xdownscale.plot import style

FORMATS = ("pdf", "svg", "png")
_DPI = 300
_SALT = {"svg.hashsalt": "xdownscale"}
_WANTED: ContextVar[Figures | None] = ContextVar("figures of a report", default=None)


class Figures:
    """The figures of a page: drawn once, kept as files until the page is whole.

    Parameters
    ----------
    folder : str, path or None
        Where files are written; without, there are none.
    formats : sequence of str
        Of ``pdf``, ``svg`` and ``png``.

    Raises
    ------
    OptionError
        If a format is not known.
    StorageError
        If the folder cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, formats: Sequence[str]) -> None:
        self.formats = _checked(formats)
        self.folder = None if folder is None else _made(folder)
        self._files: dict[str, bytes] = {}
        self._captions: list[str] = []

    def add(self, drawn: Any, caption: str) -> None:
        """Keep a figure.

        Parameters
        ----------
        drawn : matplotlib figure
            In the style of this package.
        caption : str
            Plain text.
        """
        number = len(self._captions) + 1
        self._captions.append(f"Figure {number}. {caption}")
        for kind in self.formats if self.folder is not None else ():
            self._files[f"figure_{number:02d}.{kind}"] = _content(drawn, kind)

    def write(self) -> None:
        """Write the files, and all captions as ``captions.txt``."""
        if self.folder is None:
            return
        text = "\n\n".join(self._captions) + "\n"
        for name, content in {**self._files, "captions.txt": text.encode()}.items():
            write_whole(self.folder / name, content)


@contextmanager
def collecting(figures: Figures) -> Iterator[None]:
    """Draw in the style of this package, and keep each figure that goes into a page.

    Parameters
    ----------
    figures : Figures
        Where they are kept.
    """
    token = _WANTED.set(figures)
    try:
        with style():
            yield
    finally:
        _WANTED.reset(token)


def keep(drawn: Any, caption: str) -> None:
    """Keep a figure where someone collects them.

    Parameters
    ----------
    drawn : matplotlib figure
        What goes into the page.
    caption : str
        Plain text.
    """
    figures = _WANTED.get()
    if figures is not None:
        figures.add(drawn, caption)


def _content(drawn: Any, kind: str) -> bytes:
    """Return the file of a figure; without a date, so that the same figure is the same file."""
    matplotlib: Any = require("matplotlib", "Drawing figures")
    dated = {"pdf": "CreationDate", "svg": "Date"}
    about = {dated[kind]: None} if kind in dated else {}
    buffer = io.BytesIO()
    with matplotlib.rc_context(_SALT):
        drawn.savefig(buffer, format=kind, dpi=_DPI, bbox_inches="tight", metadata=about)
    return buffer.getvalue()


def _checked(formats: Sequence[str]) -> tuple[str, ...]:
    listed = (formats,) if isinstance(formats, str) else tuple(formats)
    unknown = [kind for kind in listed if kind not in FORMATS]
    if unknown or not listed:
        raise OptionError(
            f"formats is {formats!r}; give one or more of {', '.join(map(repr, FORMATS))}."
        )
    return tuple(dict.fromkeys(listed))


def _made(folder: str | os.PathLike[str]) -> Path:
    path = as_path(folder, "figures")
    make_folder(path)
    return path
