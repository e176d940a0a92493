"""Labelled arrays as plain text and numbers, and back: what a model file holds of them.

Text (JSON) names the variables, their dimensions and attributes, and holds the variables of texts;
numbers lie in one table of arrays. Dates become numbers with units, as CF writes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.errors import DataError, ModelFormatError
from xdownscale.schema import REST, Between, check

State = xr.Dataset | dict[str, xr.Dataset]

_MOST_TEXT = 20_000_000  # characters of one variable
_ATTR = (str, int, float, [str], [float])
_VARIABLE = {
    "dims": [str],
    "attrs": {REST: _ATTR},
    "texts?": [str],
    "shape?": [Between(0, 2**31)],
}
_SCHEMA = {
    "groups": (None, [str]),
    "datasets": [{"attrs": {REST: _ATTR}, "variables": {REST: _VARIABLE}}],
}


def encode(
    state: xr.Dataset | Mapping[str, xr.Dataset],
) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """Take labelled arrays apart.

    Parameters
    ----------
    state : Dataset, or mapping of str to Dataset
        Lazy ones are computed. Encodings of the files that they came from are dropped, so that
        nothing is packed or rounded.

    Returns
    -------
    text : dict
        What JSON can hold.
    numbers : dict of str to array

    Raises
    ------
    DataError
        If something is neither number, text nor date.

    Examples
    --------
    >>> text, numbers = encode(xr.Dataset({"a": ("x", [1, 2])}))
    >>> decode(text, numbers)["a"].values
    array([1, 2])
    """
    alone = isinstance(state, xr.Dataset)
    parts: Mapping[str, xr.Dataset] = {"": state} if isinstance(state, xr.Dataset) else state
    datasets: list[dict[str, Any]] = []
    numbers: dict[str, np.ndarray[Any, Any]] = {}
    for number, (name, dataset) in enumerate(parts.items()):
        what = "The state" if alone else f"Group {name!r} of the state"
        try:
            text, arrays = _encode_one(dataset)
        except (TypeError, ValueError, AttributeError) as err:
            raise DataError(
                f"{what} cannot be stored: {err}. Variables may hold numbers, texts and dates; "
                "attributes texts, numbers and lists of them."
            ) from err
        datasets.append(text)
        numbers |= {f"{number}/{key}": array for key, array in arrays.items()}
    return {"groups": None if alone else list(parts), "datasets": datasets}, numbers


def _encode_one(dataset: xr.Dataset) -> tuple[dict[str, Any], dict[str, Any]]:
    plain = dataset.drop_encoding().compute()
    variables, attrs = xr.conventions.cf_encoder(*xr.conventions.encode_dataset_coordinates(plain))
    texts: dict[str, Any] = {}
    numbers: dict[str, Any] = {}
    for name, variable in sorted(variables.items()):
        values, key = np.asarray(variable.values), str(name)
        entry = {"dims": [str(d) for d in variable.dims], "attrs": _attrs(variable.attrs)}
        if values.dtype.kind in "UO":
            entry |= {"texts": _texts(values), "shape": list(values.shape)}
        elif values.dtype.kind in "biuf":
            numbers[key] = values
        else:
            raise TypeError(f"variable {key!r} has dtype {values.dtype}")
        texts[key] = entry
    return {"attrs": _attrs(attrs), "variables": texts}, numbers


def _texts(values: np.ndarray[Any, Any]) -> list[str]:
    flat = [str(value) if isinstance(value, str) else value for value in values.ravel()]
    if not all(isinstance(value, str) for value in flat):
        raise TypeError("a variable of objects holds something that is no text")
    return flat


def _attrs(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes as JSON has them; numbers are NaN by themselves, no fill value says so."""
    plain = {}
    for name, value in attrs.items():
        simple = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        simple = list(simple) if isinstance(simple, tuple) else simple
        if name == "_FillValue" and isinstance(simple, float) and math.isnan(simple):
            continue
        if isinstance(simple, bool) or not _is_attr(simple):
            raise TypeError(f"attribute {name!r} is {value!r}")
        plain[str(name)] = simple
    return plain


def _is_attr(value: Any) -> bool:
    parts = value if isinstance(value, list) else [value]
    texts = all(type(part) is str for part in parts)
    return texts or all(type(p) in (int, float) and math.isfinite(p) for p in parts)


def decode(text: Any, numbers: Mapping[str, np.ndarray[Any, Any]]) -> State:
    """Put labelled arrays together again; everything is checked before it is used.

    Parameters
    ----------
    text, numbers
        As `encode` returned them.

    Returns
    -------
    Dataset, or dict of str to Dataset

    Raises
    ------
    ModelFormatError
        If they do not belong together, or are not what `encode` returns.
    """
    check(text, _SCHEMA, "state")
    groups, datasets = text["groups"], text["datasets"]
    wanted = {
        f"{number}/{name}"
        for number, part in enumerate(datasets)
        for name, variable in part["variables"].items()
        if "texts" not in variable
    }
    if wanted != set(numbers):
        raise ModelFormatError(
            f"The state names the arrays {sorted(wanted)[:5]}..., and holds "
            f"{sorted(numbers)[:5]}...: the file was altered. Copy it again from where it came."
        )
    if len(datasets) != (1 if groups is None else len(set(groups))):
        raise ModelFormatError(
            f"The state has {len(datasets)} datasets for the groups {groups}; each must have one. "
            "Copy the file again from where it came."
        )
    found = [_decode_one(part, str(number), numbers) for number, part in enumerate(datasets)]
    return found[0] if groups is None else dict(zip(groups, found, strict=True))


def _decode_one(text: Any, prefix: str, numbers: Mapping[str, Any]) -> xr.Dataset:
    variables = {}
    for name, entry in text["variables"].items():
        if "texts" in entry:
            values = _text_array(entry["texts"]).reshape(entry.get("shape", [-1]))
        else:
            values = numbers[f"{prefix}/{name}"]
        variables[name] = xr.Variable(entry["dims"], values, entry["attrs"])
    plain = xr.Dataset(variables, attrs=text["attrs"])
    return xr.decode_cf(plain, decode_timedelta=True).load().drop_encoding()


def _text_array(texts: list[str]) -> np.ndarray[Any, Any]:
    """Return texts as an array, all as wide as the longest: how large that is is seen first."""
    longest = max(map(len, texts), default=0)
    if longest * len(texts) > _MOST_TEXT:
        raise ModelFormatError(
            f"The state holds {len(texts)} texts of up to {longest} characters; together they may "
            f"have {_MOST_TEXT}. Copy the file again from where it came."
        )
    return np.array(texts, dtype=np.str_)
