"""The style sheet of all figures."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from xdownscale.core.optional import require

_SHEET = Path(__file__).with_name("journal.mplstyle")
_PURPOSE = "Drawing figures"
Given = ParamSpec("Given")
Found = TypeVar("Found")


def style() -> Any:
    """Return a context in which matplotlib has the style of this package's figures.

    The functions of `xdownscale.plot` make their own figures in it. Axes that you give them keep
    their style. Make and save your own figures in it to print them beside ours: in PDF and SVG
    their texts stay texts.

    Returns
    -------
    context manager
        As `matplotlib.rc_context` returns it.

    Raises
    ------
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> import matplotlib
    >>> with style():
    ...     matplotlib.rcParams["pdf.fonttype"], matplotlib.rcParams["svg.fonttype"]
    (42, 'none')
    """
    matplotlib = require("matplotlib", _PURPOSE)
    return matplotlib.rc_context(dict(_params()))


@functools.cache
def _params() -> dict[str, Any]:
    """Return what the style sheet sets."""
    matplotlib = require("matplotlib", _PURPOSE)
    return dict(matplotlib.rc_params_from_file(_SHEET, use_default_template=False))


def styled(draw: Callable[Given, Found]) -> Callable[Given, Found]:
    """Make a function of plots draw new figures in the style, and given axes in theirs.

    Parameters
    ----------
    draw : callable
        Takes ``ax`` or ``axes``.

    Examples
    --------
    >>> @styled
    ... def draw(ax=None):
    ...     import matplotlib
    ...     return matplotlib.rcParams["axes.linewidth"]
    >>> draw()
    0.8
    """
    import inspect

    named = inspect.signature(draw)

    @functools.wraps(draw)
    def drawn(*args: Given.args, **options: Given.kwargs) -> Found:
        given = named.bind(*args, **options).arguments
        if given.get("ax") is not None or given.get("axes") is not None:
            return draw(*args, **options)
        with style():
            return draw(*args, **options)

    return drawn
