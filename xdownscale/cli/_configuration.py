"""YAML and ``--set`` of the command line: both mirror the configuration tree, which checks them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from xdownscale.config import DownscalerConfig, preset, used_keys
from xdownscale.core.errors import OptionError, StorageError

Tree = dict[str, Any]
_PRESET = "preset"  # key of a file that names the preset it changes


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads YAML safely; ``1e-3`` is a number, as in YAML 1.2, and no key stands there twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {str(key) for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {min(twice)!r} stands there twice", node.start_mark
            )
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Writes lists in one line."""


_Dumper.add_representer(
    list,
    lambda dumper, value: dumper.represent_sequence(
        "tag:yaml.org,2002:seq", value, flow_style=True
    ),
)


def parse(text: str, what: str) -> Any:
    """Return what a YAML text says.

    Parameters
    ----------
    text : str
        YAML.
    what : str
        What it is, for messages.

    Raises
    ------
    OptionError
        If it is no YAML, or names a key twice.

    Examples
    --------
    >>> parse("{learning_rate: 1e-3, epochs: 5}", "The file")
    {'learning_rate': 0.001, 'epochs': 5}
    """
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, RecursionError, ValueError) as err:
        mark = getattr(err, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        why = getattr(err, "problem", None) or str(err) or type(err).__name__
        raise OptionError(
            f"{what} is no valid YAML: {why}{where}. `xdownscale config` prints an example."
        ) from err


def read_tree(path: Path) -> Tree:
    """Return the configuration tree of a YAML file; an empty section is left out.

    Raises
    ------
    StorageError
        If the file cannot be read.
    OptionError
        If it is no YAML mapping of sections.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as err:
        why = getattr(err, "strerror", None) or err
        raise StorageError(
            f"The configuration {path} cannot be read: {why}. Give a YAML file, such as "
            "`xdownscale config` prints."
        ) from err
    found = parse(text, str(path))
    if found is None:
        return {}
    if not isinstance(found, Mapping) or not all(isinstance(key, str) for key in found):
        raise OptionError(
            f"{path} holds {_kind(found)}; give a YAML mapping of sections to keys, such as "
            "`xdownscale config` prints."
        )
    return {section: keys for section, keys in found.items() if keys is not None}


def _kind(found: object) -> str:
    return "keys that are no text" if isinstance(found, Mapping) else f"a {type(found).__name__}"


def read_config(
    name: str | None, path: Path | None, changes: Sequence[tuple[str, Any]]
) -> DownscalerConfig:
    """Return the configuration of a command.

    A file with the key ``preset``, or beside ``--preset``, or without ``method``, changes the keys
    of a preset that it names. A file with ``method`` and no preset is a whole configuration, as
    `DownscalerConfig.to_dict` gives it.

    Parameters
    ----------
    name : str or None
        ``--preset``.
    path : Path or None
        ``--config``.
    changes : sequence of (str, value)
        ``--set``: ``section.key`` and value; they count more than the file.

    Raises
    ------
    StorageError, OptionError
        As `read_tree`, `xdownscale.preset` and `DownscalerConfig.from_dict`; where the file names
        another preset than the command.

    Examples
    --------
    >>> read_config("fast", None, [("training.epochs", 3)]).training.epochs
    3
    """
    tree = {} if path is None else read_tree(path)
    named = tree.pop(_PRESET, None)
    if named is not None and name is not None and named != name:
        raise OptionError(
            f"{path} changes preset {named!r}, and --preset is {name!r}. Give one of them."
        )
    asked = _as_tree(changes)
    chosen = name if named is None else named
    try:
        if chosen is None and "method" in tree:
            whole = DownscalerConfig.from_dict(tree)
            return whole.replace(**asked) if asked else whole
        return preset("auto" if chosen is None else chosen, **_merged(tree, asked))
    except TypeError as err:  # a section or a key that is no text, or takes another type
        raise OptionError(f"The configuration does not fit: {err}.") from err


def _as_tree(changes: Sequence[tuple[str, Any]]) -> Tree:
    tree: Tree = {}
    for path, value in changes:
        section, dot, key = path.partition(".")
        if not dot:
            tree[section] = value
        elif isinstance(tree.setdefault(section, {}), dict):
            tree[section][key] = value
    return tree


def _merged(tree: Tree, changes: Tree) -> Tree:
    """Return a tree with some of its keys changed."""
    both = dict(tree)
    for section, keys in changes.items():
        before = both.get(section)
        known = isinstance(before, Mapping) and isinstance(keys, Mapping)
        both[section] = {**before, **keys} if known else keys  # type: ignore[dict-item]
    return both


def as_yaml(config: DownscalerConfig, name: str) -> str:
    """Return a configuration as YAML that `read_config` takes.

    Parameters
    ----------
    config : DownscalerConfig
        The configuration.
    name : str
        Preset that it comes from.

    Returns
    -------
    str
        All keys that the method uses.

    Examples
    --------
    >>> print(as_yaml(preset("fast"), "fast")[:35])
    preset: fast
    method: residual
    data:
    """
    tree: Tree = {_PRESET: name, "method": config.method}
    for section, keys in used_keys(config).items():
        values = getattr(config, section)
        tree[section] = {key: _plain(getattr(values, key)) for key in keys}
    if config.options is not None:
        options = dataclasses.asdict(config.options)
        tree["options"] = {key: _plain(value) for key, value in options.items()}
    text: str = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value
