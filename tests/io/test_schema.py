"""Strict JSON and schemas: what is allowed passes, what is not is named."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdownscale.core.errors import ModelFormatError
from xdownscale.io.schema import REST, Between, check, describe, of_hint, parse

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(tree=PLAIN)
def test_what_json_writes_is_read(tree):
    assert parse(json.dumps(tree).encode()) == tree


@given(content=st.binary(max_size=60))
def test_anything_is_read_or_refused(content):
    with contextlib.suppress(ModelFormatError):
        json.dumps(parse(content), allow_nan=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b'{"a": 1, "a": 1}', "'a' is named twice", id="twice"),
        pytest.param(b"[NaN]", "NaN is no finite number", id="NaN"),
        pytest.param(b"[-Infinity]", "-Infinity is no finite", id="infinity"),
        pytest.param(b"[1e400]", "1e400 is no finite number", id="overflow"),
        pytest.param(b"[" * 40 + b"]" * 40, "deeper than 32 levels", id="deep"),
        pytest.param(b"[" * 10**6, "cannot be understood", id="very deep"),
        pytest.param(b"1" * 5000, "cannot be understood", id="digits"),
        pytest.param(b"\xff", "cannot be understood", id="no UTF-8"),
    ],
)
def test_what_parsers_disagree_on_is_refused(content, message):
    with pytest.raises(ModelFormatError, match=message):
        parse(content)


@pytest.mark.parametrize(
    ("value", "shape", "message"),
    [
        pytest.param(3, str, "x is 3; it must be a text", id="type"),
        pytest.param(True, int, "x is True; it must be a whole number", id="bool"),
        pytest.param(True, float, "must be a number", id="bool for float"),
        pytest.param(7, Between(0, 6), "a whole number from 0 to 6", id="range"),
        pytest.param(10**40, Between(0, 6), "x is a very large number", id="large"),
        pytest.param(["a", 1], [str], r"x\[1\] is 1; it must be a text", id="list"),
        pytest.param({"a": 1}, {"a": str}, r"x\.a is 1", id="member"),
        pytest.param({}, {"a": str}, "x lacks 'a'; it must hold a", id="lacking"),
        pytest.param({"b": 1}, {"a?": str}, "holds 'b', which is not known", id="unknown"),
        pytest.param({"as": 1}, {"asp?": str}, "Did you mean 'asp'", id="nearest"),
        pytest.param({"a": 1}, {REST: str}, r"x\.a is 1", id="rest"),
        pytest.param(1, (None, [str]), "None or a list of a text", id="alternatives"),
        pytest.param([1], (None, [str]), r"x\[0\] is 1", id="inside an alternative"),
        pytest.param("y" * 999, int, r"'y{59}\.\.\.; it", id="long"),
        pytest.param([], {"a": int}, "a mapping with a", id="no mapping"),
        pytest.param(0, None, "must be None", id="no None"),
    ],
)
def test_what_does_not_fit_is_named(value, shape, message):
    with pytest.raises(ModelFormatError, match=message):
        check(value, shape, "x")


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (1, float),
        ({"a": "b"}, {"a": str, "c?": int}),
        ([1.5], ([str], [float])),
        ({"any": [{}]}, {REST: object}),
        (None, (str, None)),
    ],
)
def test_what_fits_passes(value, shape):
    check(value, shape, "x")


def test_hints_become_shapes():
    whole = Between(0, 9)
    assert of_hint(int | None, whole) == (whole, None)
    assert of_hint(tuple[float, float], whole) == [float]
    assert of_hint(dict[str, bool], whole) == {REST: bool}
    assert describe({REST: int}) == "a mapping of names"


@pytest.mark.parametrize("thing", [b"[]", b"{}", b"1", b'"ab"'])
def test_many_small_values_are_refused_before_anything_is_built(thing, monkeypatch):
    content = b"[" + b",".join([thing] * 2_000_002) + b"]"
    monkeypatch.setattr(json, "loads", lambda *_, **__: pytest.fail("parsed"))
    with pytest.raises(ModelFormatError, match="commas; at most"):
        parse(content)
