"""The accessor ``.geostat``: every method has the signature of the function that it calls."""

from __future__ import annotations

import inspect

import pytest
import xarray as xr

from xdownscale import geostat


@pytest.mark.parametrize(
    ("method", "function"),
    [
        ("semivariogram", lambda: geostat.semivariogram),
    ],
)
def test_accessor_signature_is_the_functions(method, function):
    accessor = getattr(xr.DataArray.geostat, method)
    own = list(inspect.signature(accessor).parameters.values())[1:]
    other = list(inspect.signature(function()).parameters.values())[1:]
    assert [(p.name, p.default, p.kind) for p in own] == [
        (p.name, p.default, p.kind) for p in other
    ]
