"""Of what kind the values of a section are: whole numbers, numbers, or rows of them."""

from __future__ import annotations

import dataclasses
from numbers import Integral, Real
from typing import Any

from xdownscale.errors import OptionError

_WORDS = {"int": "a whole number", "float": "a number", "bool": "True or False"}


def check_kinds(section: Any) -> None:
    """Raise unless each value of a section is of the kind that its field names.

    Parameters
    ----------
    section : dataclass
        Section of a configuration. Fields that take words are not looked at.

    Raises
    ------
    OptionError
    """
    for field in dataclasses.fields(section):
        kinds = [kind.strip() for kind in str(field.type).split("|")]
        value = getattr(section, field.name)
        if "str" in kinds or (value is None and "None" in kinds):
            continue
        row = kinds[0].startswith("tuple[")
        kind = kinds[0].removeprefix("tuple[").split(",")[0]
        listed = isinstance(value, list | tuple)
        given = list(value) if row and listed else [value]
        if row != listed or not all(_is(kind, each) for each in given):
            words = f"a tuple, each {_WORDS[kind]}" if row else _WORDS[kind]
            none = ", or None" if "None" in kinds else ""
            raise OptionError(
                f"{type(section).__name__}.{field.name} is {value!r}; give {words}{none}."
            )


def _is(kind: str, value: Any) -> bool:
    truth = type(value).__name__ in ("bool", "bool_")
    if kind == "bool" or truth:
        return truth and kind == "bool"
    return isinstance(value, Integral if kind == "int" else Real)
