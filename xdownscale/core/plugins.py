"""Registry of plug-in methods: built in, registered at run time, or installed by a package.

Another package adds a method by an entry point of the group ``xdownscale.methods``, whose name is
the method's and whose value is its class.
"""

from __future__ import annotations

import functools
import importlib
import warnings
from importlib import metadata
from typing import Any

from xdownscale.core.errors import OptionError, XDownscaleWarning, check_option

GROUP = "xdownscale.methods"
_methods: dict[str, Any] = {}


def register(method: Any) -> Any:
    """Add a method to the registry; one of the same name is replaced.

    Parameters
    ----------
    method : type or object
        Subclass of `xdownscale.methods.Method`, or an instance of one.

    Returns
    -------
    type or object
        `method` itself, so that this can decorate a class.

    Raises
    ------
    OptionError
        If it has no name.
    """
    made = method() if isinstance(method, type) else method
    for attribute in ("name", "summary"):
        text = getattr(made, attribute, None)
        if not isinstance(text, str) or not text:
            raise OptionError(
                f"{method!r} has no {attribute}; a method is a subclass of "
                "xdownscale.methods.Method with a name and a summary of its own."
            )
    _methods[made.name] = made
    return method


def find(name: object) -> Any:
    """Return a method by its name.

    Raises
    ------
    OptionError
        If there is none; names the nearest.
    """
    if not isinstance(name, str) or name not in _methods:
        _load_all()
    check_option("method", name, _methods)
    return _methods[str(name)]


def names() -> tuple[str, ...]:
    """Return the names of all methods."""
    _load_all()
    return tuple(_methods)


@functools.cache
def _load_all() -> None:
    """Load the built-in methods, which register themselves, and those of other packages."""
    mine = dict(_methods)
    importlib.import_module("xdownscale.methods")
    for entry in metadata.entry_points(group=GROUP):
        if entry.name not in _methods:
            _load(entry)
    _methods.update(mine)


def _load(entry: metadata.EntryPoint) -> None:
    """Register the method of another package; a broken one is left out with a warning."""
    try:
        method = entry.load()
        if getattr(method, "name", None) != entry.name:
            raise OptionError(f"its class is called {getattr(method, 'name', None)!r}")
        register(method)
    except Exception as err:  # whatever a foreign module raises when it is imported
        warnings.warn(
            f"The downscaling method {entry.name!r} ({entry.value}) of another package cannot be "
            f"loaded and is left out ({type(err).__name__}: {err}). Mend or uninstall it.",
            XDownscaleWarning,
            stacklevel=2,
        )
