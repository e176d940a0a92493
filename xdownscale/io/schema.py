"""Parse untrusted JSON strictly, and validate it against a schema."""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, NamedTuple

from xdownscale.core.errors import ModelFormatError, nearest_name

_DEEPEST = 32
_MOST_GROUPS = 200_000  # lists and mappings: each takes some 100 bytes, and time
_MOST_VALUES = 2_000_000
REST = "*"  # in a schema: the shape of all further members


class Between(NamedTuple):
    """A whole number from `low` to `high`."""

    low: int
    high: int


def parse(content: bytes, what: str = "The text") -> Any:
    """Parse JSON strictly: no duplicate members, no numbers that are not finite.

    Parameters
    ----------
    content : bytes
        UTF-8.
    what : str
        Name of the text, for the message.

    Returns
    -------
    object
        Texts, finite numbers, true, false, None, lists and dicts.

    Raises
    ------
    ModelFormatError
        If it is not JSON, has a member twice, a number that is not finite, more than 32 levels,
        or more values than the library writes.

    Examples
    --------
    >>> parse(b'{"lags": 3}')
    {'lags': 3}
    >>> parse(b'{"lags": 3, "lags": 4}')
    Traceback (most recent call last):
    ...
    xdownscale.core.errors.ModelFormatError: The text cannot be understood: 'lags' is named twice...
    """
    try:
        _check_count(content)
        found = json.loads(
            content.decode(),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
        _check_depth([found])
    except (ValueError, RecursionError) as err:
        raise ModelFormatError(
            f"{what} cannot be understood: {err}. It must be JSON with finite numbers, every "
            "member named once; copy the file again from where it came."
        ) from err
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} is named twice")
        found[name] = value
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no finite number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return value


def _check_count(content: bytes) -> None:
    """Raise, before anything is built, where small values would take far more than their text."""
    groups, values = content.count(b"[") + content.count(b"{"), content.count(b",")
    if groups > _MOST_GROUPS or values > _MOST_VALUES:
        raise ValueError(
            f"it has {groups} lists and mappings and {values} commas; at most {_MOST_GROUPS} and "
            f"{_MOST_VALUES} are read"
        )


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_DEEPEST + 1):
        inner = [part.values() if isinstance(part, dict) else part for part in level]
        level = [part for parts in inner for part in parts if isinstance(part, dict | list)]
        if not level:
            return
    raise ValueError(f"it is nested deeper than {_DEEPEST} levels")


def check(value: Any, shape: Any, where: str) -> None:
    """Raise unless a value matches a schema.

    Parameters
    ----------
    value : object
        What `parse` returned, or a part of it.
    shape : object
        A type (``float`` takes whole numbers too, ``object`` anything); `Between`; None; a tuple
        of alternatives; ``[shape]`` for lists; a dict from names to shapes, where a name that
        ends in ``?`` may be left out and ``"*"`` stands for all others.
    where : str
        Name of the value, for the message.

    Raises
    ------
    ModelFormatError
        Says what was found, where, and what is allowed.

    Examples
    --------
    >>> check({"lags": 3}, {"lags": Between(1, 99), "name?": str}, "config")
    >>> check({"lags": "3"}, {"lags": Between(1, 99)}, "config")
    Traceback (most recent call last):
    ...
    xdownscale.core.errors.ModelFormatError: config.lags is '3'; it must be a whole number from...
    """
    if isinstance(shape, tuple) and isinstance(value, dict | list):
        alike = [one for one in shape if type(one) is type(value)]
        shape = alike[0] if len(alike) == 1 else shape  # for a message that says where in it
    if isinstance(shape, dict) and isinstance(value, dict):
        _check_members(value, shape, where)
    elif isinstance(shape, list) and isinstance(value, list):
        for number, part in enumerate(value):
            check(part, shape[0], f"{where}[{number}]")
    elif not _fits(value, shape):
        raise ModelFormatError(
            f"{where} is {_short(value)}; it must be {describe(shape)}. The file was altered, or "
            "written by another version of xdownscale."
        )


def _check_members(value: dict[str, Any], shape: Mapping[str, Any], where: str) -> None:
    names = {name.rstrip("?"): inner for name, inner in shape.items() if name != REST}
    lacking = [n for n in shape if n != REST and not n.endswith("?") and n not in value]
    if lacking:
        raise ModelFormatError(
            f"{where} lacks {lacking[0]!r}; it must hold {', '.join(names)}. The file was altered, "
            "or written by another version of xdownscale."
        )
    for name, part in value.items():
        if name not in names and REST not in shape:
            raise ModelFormatError(
                f"{where} holds {_short(name)}, which is not known; there are {', '.join(names)}."
                f"{nearest_name(name, names)}"
            )
        check(part, names[name] if name in names else shape[REST], f"{where}.{name[:40]}")


def _fits(value: Any, shape: Any) -> bool:
    if isinstance(shape, Between):
        return type(value) is int and shape.low <= value <= shape.high
    if isinstance(shape, tuple):
        return any(_matches(value, one) for one in shape)
    if shape is None or shape is object:
        return value is None or shape is object
    if isinstance(shape, type):
        return type(value) in ((int, float) if shape is float else (shape,))
    return False


def _matches(value: Any, shape: Any) -> bool:
    try:
        check(value, shape, "")
    except ModelFormatError:
        return False
    return True


def describe(shape: Any) -> str:
    """Describe in words what a schema allows.

    Examples
    --------
    >>> describe((None, [str]))
    'None or a list of a text'
    """
    words: dict[Any, str] = {str: "a text", int: "a whole number", float: "a number"}
    words |= {bool: "true or false", None: "None", object: "anything"}
    if isinstance(shape, Between):
        return f"a whole number from {shape.low} to {shape.high}"
    if isinstance(shape, tuple):
        return " or ".join(describe(one) for one in shape)
    if isinstance(shape, list):
        return f"a list of {describe(shape[0])}"
    if isinstance(shape, dict):
        return f"a mapping with {', '.join(shape)}".replace(f"with {REST}", "of names")
    return words[shape]


def of_hint(hint: Any, whole: Between) -> Any:
    """Return the schema of a type hint for values in JSON.

    Parameters
    ----------
    hint : type
        Of int, float, str, bool, None, and tuples, mappings and unions of them.
    whole : Between
        Range of whole numbers.

    Examples
    --------
    >>> of_hint(tuple[int, ...] | None, Between(0, 9))
    ([Between(low=0, high=9)], None)
    """
    origin = typing.get_origin(hint)
    inner = typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return tuple(of_hint(part, whole) for part in inner)
    if origin is tuple:
        return [of_hint(inner[0], whole)]
    if origin is typing.Literal:
        return str
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {REST: of_hint(inner[1], whole)}
    if hint is int:
        return whole
    return None if hint is type(None) else hint


def _short(value: Any) -> str:
    # repr of a whole number with very many digits is refused by Python
    if type(value) is int and abs(value) > 10**30:
        return "a very large number"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
