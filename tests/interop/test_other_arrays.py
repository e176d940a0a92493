"""Arrays of other kinds than numpy and dask: refused with a remedy, and never read."""

from __future__ import annotations

import builtins
import sys
import types
from collections.abc import Callable
from typing import Any

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr

import xdownscale as xd
from records import random_field
from xdownscale.core.errors import DataError
from xdownscale.core.values import plain_array

FIELD = random_field(40, shape=(10, 12))
LAYOUT = xd.patches.PatchLayout((10, 12), 5, 5, 0)
DRESSED: dict[str, Any] = {"preset": "dressed", "progress": False}


class Duck:
    """An array that stands in for numpy's, counts its elements, and must not be read."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __getitem__(self, key: Any) -> Duck:
        return type(self)(self._values[key])

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("it was read in silence")

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("it was reckoned with")

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func is np.transpose:
            return type(self)(np.transpose(args[0]._values, *args[1:], **kwargs))
        raise TypeError(f"{func.__name__} of it")


class Standard:
    """An array of the array API alone, as cubed's are."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return types.SimpleNamespace()

    def __getitem__(self, key: Any) -> Standard:
        return type(self)(self._values[key])

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("it was read in silence")


class Empty(np.ndarray):
    """What chunks are, as dask knows it before it reads one."""


CALLS: dict[str, Callable[[xr.DataArray], Any]] = {
    "fit": lambda da: xd.fit(da, FIELD, **DRESSED),
    "fine": lambda da: xd.fit(FIELD, da, **DRESSED),
    "static": lambda da: xd.fit(FIELD, FIELD, static=da[0].drop_vars("time"), **DRESSED),
    "dataset": lambda da: xd.fit(da.to_dataset(name="t"), FIELD, **DRESSED),
    "regrid": lambda da: xd.regrid(da, FIELD),
    "regrid a dataset": lambda da: xd.regrid(da.to_dataset(name="t"), FIELD),
    "semivariogram": lambda da: da.geostat.semivariogram(),
    "of a dataset": lambda da: da.to_dataset(name="t").geostat.acf(2),
    "other": lambda da: FIELD.geostat.wasserstein(da),
    "rmse": lambda da: xd.skill.rmse(da, FIELD),
    "truth": lambda da: xd.skill.rmse(FIELD, da),
    "table": lambda da: xd.skill.table({"it": da}, FIELD),
    "weights": lambda da: xd.skill.rmse(FIELD, FIELD, weights=da[0].drop_vars("time")),
    "region": lambda da: xd.splits.region_mask(FIELD, da[0].drop_vars("time")),
    "maps": lambda da: xd.plot.maps(da),
    "patches": lambda da: xd.patches.extract(da, LAYOUT),
    "ridge": lambda da: xd.baselines.ridge(da, FIELD),
}


@pytest.fixture(scope="module")
def model():
    return xd.fit(FIELD, FIELD, **DRESSED)


@pytest.mark.parametrize("kind", [Duck, Standard])
@pytest.mark.parametrize("call", CALLS)
def test_every_function_refuses_an_array_of_another_kind(call, kind):
    da = FIELD.copy(data=kind(FIELD.values))
    assert type(da.variable._data) is kind
    with pytest.raises(DataError, match=rf"holds a \w+ {kind.__name__}\..*`\.as_numpy\(\)` of"):
        CALLS[call](da)


def test_predict_refuses_it(model):
    with pytest.raises(DataError, match="Duck"):
        xd.predict(FIELD.copy(data=Duck(FIELD.values)), model)


@pytest.mark.parametrize(
    ("package", "remedy"),
    [
        ("cubed", r"chunked_array_type='dask'"),
        ("virtualizarr", r"to_kerchunk.*engine='kerchunk'"),
        ("sparse", r"\.as_numpy\(\)"),
        ("cupy", r"\.as_numpy\(\)"),
    ],
)
def test_the_remedy_is_that_of_the_package(package, remedy):
    kind = type("Array", (Duck,), {"__module__": f"{package}.core"})
    with pytest.raises(DataError, match=rf"holds a {package} Array\..*{remedy}"):
        plain_array(FIELD.copy(data=kind(FIELD.values)))


class TestChunks:
    """Chunks of dask may be arrays of other kinds too."""

    @pytest.mark.parametrize("call", CALLS)
    def test_chunks_of_another_kind_are_refused(self, call):
        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise AssertionError("it was computed in silence")

        lazy = dask.array.from_array(FIELD.values, chunks=(10, 10, 12))
        graph, name = lazy.dask, lazy.name
        other = dask.array.Array(graph, name, lazy.chunks, lazy.dtype, Empty((0, 0, 0)))
        assert type(other._meta) is Empty
        da = FIELD.copy(data=other)
        told = pytest.raises(DataError, match=r"holds chunks of a \w+ Empty\..*map_blocks")
        with dask.config.set(scheduler=refuse), told:
            CALLS[call](da)

    def test_masked_chunks_are_missing_values(self):
        """As xarray takes them."""
        values = np.ma.masked_greater(FIELD.values, 2)
        da = FIELD.copy(data=dask.array.from_array(values, chunks=(10, 10, 12)))
        expected = FIELD.where(FIELD <= 2).geostat.distribution()
        assert expected.value.isnull().sum() == 0
        xr.testing.assert_allclose(da.geostat.distribution().compute(), expected)

    def test_plain_chunks_stay_as_they_are(self):
        for chunks in ({"time": 5}, {}):
            da = FIELD.chunk(chunks)
            assert plain_array(da) is da
        total = FIELD.chunk(time=5).sum()
        assert plain_array(total) is total


def test_without_pint_nothing_asks_for_it(monkeypatch):
    """Records of numpy never load pint: it takes a second."""
    monkeypatch.delitem(sys.modules, "pint", raising=False)
    real = builtins.__import__

    def guarded(name: str, *args: Any, **kwargs: Any) -> Any:
        assert name.partition(".")[0] != "pint"
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", guarded)
    assert plain_array(FIELD) is FIELD
