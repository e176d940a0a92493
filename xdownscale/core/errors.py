"""Everything that can go wrong, as one family of exceptions.

Each message says what was found, what is allowed and what to do about it.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Iterable
from typing import Any


class XDownscaleError(Exception):
    """Root of every error that this library raises on purpose."""


class OptionError(XDownscaleError, ValueError):
    """An option, preset, season or configuration key that does not exist or is out of range."""


class GridError(XDownscaleError, ValueError):
    """A grid that cannot be used: axes not found, not covered, two-dimensional, too small."""


class TimeAxisError(XDownscaleError, ValueError):
    """A time axis that cannot be used: duplicates, no overlap, too few days."""


class DataError(XDownscaleError, ValueError):
    """Values or units that cannot be used: all NaN, non-positive under a logarithm."""


class NotFittedError(XDownscaleError, ValueError, AttributeError):
    """A `Downscaler` was asked for something that only a fitted one has."""


class ModelFormatError(XDownscaleError, ValueError):
    """A model file that is altered, truncated or not ours."""


class ModelMismatchError(XDownscaleError, ValueError):
    """A model applied to data that it was not made for."""


class StorageError(XDownscaleError, OSError):
    """A path that cannot be read or written, or a download that failed; old files stay whole."""


class MissingPackageError(XDownscaleError, ImportError):
    """An optional package is not installed."""


class DriftError(XDownscaleError, RuntimeError):
    """A run of days, each drawn from the days before, has left the coarse record."""


class XDownscaleWarning(UserWarning):
    """Something was done for you that you may want to know about."""


def nearest_name(given: object, allowed: Iterable[str]) -> str:
    """Return a hint that names the allowed word nearest to `given`, or an empty string.

    Examples
    --------
    >>> nearest_name("bicubik", ["bicubic", "nearest"])
    " Did you mean 'bicubic'?"
    """
    found = difflib.get_close_matches(str(given), list(allowed), n=1, cutoff=0.5)
    return f" Did you mean {found[0]!r}?" if found else ""


def check_option(what: str, given: object, allowed: Iterable[str]) -> None:
    """Raise `OptionError` unless `given` is one of `allowed`.

    Parameters
    ----------
    what : str
        What the option is called, for the message.
    given : object
        The value found.
    allowed : iterable of str
        The values that exist.

    Examples
    --------
    >>> check_option("sampler", "ddim", ["ddim", "ddpm"])
    """
    names = list(allowed)
    if given not in names:
        listed = ", ".join(repr(name) for name in names)
        raise OptionError(
            f"Unknown {what}: {given!r}. Choose one of {listed}.{nearest_name(given, names)}"
        )


def check_whole(what: str, given: Any, least: int = 0) -> int:
    """Return `given` as an int, or raise `OptionError` unless it is a whole number in range.

    Parameters
    ----------
    what : str
        What the number is called, for the message.
    given : Any
        The value found.
    least : int
        The smallest that is allowed; the largest is 2**63 - 1, as networks take.

    Examples
    --------
    >>> check_whole("seed", 7)
    7
    """
    try:
        number = operator.index(given)
    except TypeError:
        number = least - 1
    if not least <= number < 2**63:
        raise OptionError(
            f"{what} is {given!r}; give a whole number of {least} or more, below 2**63."
        )
    return number
