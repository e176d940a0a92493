"""Registries of published models: file, size and SHA-256 of each."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from xdownscale.core.errors import ModelFormatError
from xdownscale.io.schema import REST, Between, check, parse

FILE = "registry.json"
LARGEST = 20 * 10**9  # bytes of a model file
_FORMAT = "xdownscale registry"
_VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_SCHEMA = {
    "format": str,
    "version": int,
    "models": {
        REST: {
            "file": str,
            "bytes": Between(1, LARGEST),
            "sha256": str,
            "summary": str,
            "licence": str,
        }
    },
}


class Entry(NamedTuple):
    """A model in a registry.

    Attributes
    ----------
    file : str
        Name of the model file, in the registry's folder.
    bytes : int
        Its size.
    sha256 : str
        64 hexadecimal digits.
    summary, licence : str
        Texts for the model card.
    """

    file: str
    bytes: int
    sha256: str
    summary: str
    licence: str


def is_name(name: object) -> bool:
    """Tell whether a value is a valid name of a model or file: no folder, not hidden.

    Examples
    --------
    >>> is_name("dust-2"), is_name("../dust"), is_name(".dust")
    (True, False, False)
    """
    return isinstance(name, str) and _NAME.fullmatch(name) is not None and ".." not in name


def read(content: bytes, where: str) -> dict[str, Entry]:
    """Parse and validate a registry.

    Parameters
    ----------
    content : bytes
        JSON that `write` wrote.
    where : str
        Its path or address, for messages.

    Returns
    -------
    dict of str to Entry
        Model name -> entry.

    Raises
    ------
    ModelFormatError
        If it is not a registry, has another version, or names a file outside of its folder.
    """
    found = parse(content, f"The registry {where}")
    check(found, {"format": object, "version": object, REST: object}, f"The registry {where}")
    if found["format"] != _FORMAT or found["version"] != _VERSION:
        raise ModelFormatError(
            f"{where} calls itself {found['format']!r}, version {found['version']!r}; this library "
            f"reads {_FORMAT!r}, version {_VERSION}. Give a folder that xdownscale.publish wrote."
        )
    check(found, _SCHEMA, f"The registry {where}")
    lines = {name: Entry(**line) for name, line in found["models"].items()}
    for name, line in lines.items():
        named = is_name(name) and is_name(line.file)
        if not named or not re.fullmatch("[0-9a-f]{64}", line.sha256):
            raise ModelFormatError(
                f"The registry {where} has the line {name!r} with file {line.file!r} and SHA-256 "
                f"{line.sha256!r}; names have letters, digits, points, - and _ and no folder, a "
                "SHA-256 has 64 hexadecimal digits. Publish the model anew."
            )
    return lines


def write(lines: Mapping[str, Entry]) -> bytes:
    """Return a registry as JSON.

    Examples
    --------
    >>> line = Entry("a.xd", 3, "0" * 64, "", "CC0")
    >>> read(write({"a": line}), "here") == {"a": line}
    True
    """
    models = {name: line._asdict() for name, line in sorted(lines.items())}
    tree = {"format": _FORMAT, "version": _VERSION, "models": models}
    return (json.dumps(tree, indent=1) + "\n").encode()
