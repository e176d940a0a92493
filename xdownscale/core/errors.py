"""Exceptions and warnings of the library, and checks of options, types and saved arrays.

Each message says what was found, what is allowed and what to do about it.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np


class XDownscaleError(Exception):
    """Base class of all errors that this library raises on purpose."""


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
    """A model applied to data that it was not fitted for."""


class StorageError(XDownscaleError, OSError):
    """A path that cannot be read or written, or a download that failed; old files stay whole."""


class MissingPackageError(XDownscaleError, ImportError):
    """An optional package is not installed."""


class DriftError(XDownscaleError, RuntimeError):
    """An autoregressive prediction has drifted away from the coarse record."""


class XDownscaleWarning(UserWarning):
    """The library chose or changed something that the user may want to know about."""


def nearest_name(given: object, allowed: Iterable[str]) -> str:
    """Return a hint with the allowed name nearest to `given`, or an empty string.

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
        Name of the option, for the message.
    given : object
        The value given.
    allowed : iterable of str
        Allowed values.

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
        Name of the number, for the message.
    given : Any
        The value given.
    least : int
        Smallest allowed value; the largest is 2**63 - 1, the limit of torch.

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


def require_real(dtype: Any, what: str) -> None:
    """Raise `DataError` unless a dtype is one of real numbers.

    Parameters
    ----------
    dtype : dtype
    what : str
        What has it, for the message.

    Examples
    --------
    >>> import numpy as np
    >>> require_real(np.dtype("int16"), "The field")
    """
    if dtype.kind in "iufb":
        return
    hint = "give real numbers, for instance with record.astype('float32')."
    if dtype.kind == "m":
        hint = (
            "xarray decodes numbers with units of days or hours to such time spans. Give numbers "
            "in a unit, for instance da / np.timedelta64(1, 'D'), or open the file with "
            "decode_timedelta=False."
        )
    raise DataError(f"{what} has values of type {dtype}; {hint}")


def check_finite(name: str, values: Any) -> None:
    """Raise `ModelFormatError` where an array of a saved state has values that are not finite.

    Parameters
    ----------
    name : str
        Of the array, for the message.
    values : ndarray
        Of any shape.

    Examples
    --------
    >>> check_finite("encoder.w", np.array([1.0, 2.0], np.float32))
    >>> check_finite("encoder.w", np.array([1.0, np.nan], np.float32))
    Traceback (most recent call last):
    ...
    xdownscale.core.errors.ModelFormatError: The weights 'encoder.w' have 1 of 2 values that are...
    """
    bad = int(np.size(values) - np.isfinite(values).sum())
    if bad:
        raise ModelFormatError(
            f"The weights {name!r} have {bad} of {np.size(values)} values that are not finite; "
            "fields made with them would have no values. The file was altered, or its training "
            "went wrong: copy it again from where it came, or fit again."
        )
