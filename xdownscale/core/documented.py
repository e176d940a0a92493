"""Methods of accessors that show the whole documentation of the functions that they call."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])
_HEAD = r"(Parameters\n-{10}\n)"
_OF_SEVERAL = re.compile(_HEAD + r"\w+, ")  # "da, other : DataArray"
_ALONE = re.compile(_HEAD + r"\w+ :.*\n(?:(?: .*)?\n)*?(?=\S)")
_SEE = re.compile(r"see `(?:xdownscale\.)?([\w.]+)`")


def documented(method: F) -> F:
    """Give a method the documentation of the function that its own docstring names.

    The function's module is imported when the method is looked up, not before, so that importing
    the package stays light. `help`, Jupyter's Shift-Tab and Sphinx all look it up.

    Parameters
    ----------
    method : callable
        Its docstring ends with "see `xdownscale.<module>.<function>`." The first parameter of that
        function is what the accessor belongs to.

    Returns
    -------
    callable

    Examples
    --------
    >>> class Accessor:
    ...     @documented
    ...     def wasserstein(self, other, kind="daily"):
    ...         '''Return the distance; see `geostat.wasserstein`.'''
    >>> doc = Accessor().wasserstein.__doc__
    >>> "other : DataArray" in doc, "da, " in doc, "Raises" in doc
    (True, False, True)
    """
    return cast(F, _Documented(method))


class _Documented:
    """Function that fetches its documentation when it is looked up."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._complete = False
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__wrapped__ = function

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if not self._complete:
            self._complete = True
            self._function.__doc__ = whole_documentation(self._function.__doc__ or "")
        return self._function.__get__(instance, owner)


def whole_documentation(doc: str) -> str:
    """Return the docstring of the function that a docstring names, less its first parameter.

    Parameters
    ----------
    doc : str
        One sentence that ends with "see `xdownscale.<module>.<function>`."

    Examples
    --------
    >>> print(whole_documentation("Cut; see `xdownscale.patches.extract`.").splitlines()[4])
    layout : PatchLayout
    """
    found = _SEE.search(doc)
    assert found is not None
    *home, name = found[1].split(".")
    function = getattr(importlib.import_module(".".join(["xdownscale", *home])), name)
    full = inspect.getdoc(function) or ""
    _, _, rest = full.partition("\n\n")
    less, count = _OF_SEVERAL.subn(r"\1", rest, count=1)
    if not count:
        less = _ALONE.sub(r"\1", rest, count=1)
    return f"{doc.strip()}\n\n{less}"
