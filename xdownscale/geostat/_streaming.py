"""How a long record is read piece by piece, so that memory never holds much more than a piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

_BLOCK = 2**22  # values in a piece that is made of an array in memory
_AFTER = "after"
_WIDTH = 8  # partial results that are merged at a time


class Slab(NamedTuple):
    """Time steps `start` to `stop`, read together with those from `first` on (their past)."""

    first: int
    start: int
    stop: int


def as_dask(array: Any, *, whole: int = 0) -> Any:
    """Return an array as dask array; one in memory is cut along its first axis.

    Parameters
    ----------
    array : array, shape (n, ...)
        In memory, or a dask array, which stays as it is.
    whole : int
        Steps along the first axis that should lie in one piece at least.
    """
    import dask.array

    if hasattr(array, "dask"):
        return array
    steps = max(whole, _BLOCK // max(1, int(np.prod(array.shape[1:]))), 1)
    chunks = (steps, *(-1 for _ in array.shape[1:]))
    # name=False: hashing the values would cost more than many of the statistics
    return dask.array.from_array(array, chunks=chunks, name=False)


def like_input(result: Any, array: Any) -> Any:
    """Return a lazy result as it is where `array` is lazy, else computed."""
    return result if hasattr(array, "dask") else result.compute()


def slabs(chunks: Sequence[int], positions: NDArray[np.int64], max_lag: int) -> list[Slab]:
    """Cut a time axis along its chunks, each slab with the steps that its lags look back on.

    Parameters
    ----------
    chunks : sequence of int
        Sizes of the time chunks; neighbours are joined until they hold four times the past that is
        read with them, none is cut.
    positions : array of int, shape (time,)
        Ascending number of each step on the regular time axis.
    max_lag : int
        How many steps back the lags go.
    """
    bounds = np.cumsum(chunks)
    cut, start = [], 0
    for stop in bounds.tolist():
        if stop - start >= 4 * max_lag or stop == bounds[-1]:
            first = int(np.searchsorted(positions, positions[start] - max_lag))
            cut.append(Slab(first, start, stop))
            start = stop
    return cut


def reread(x: Any, after: Any) -> Any:
    """Return a dask array whose blocks are loaded again, and not before `after` is computed.

    Without it the scheduler would keep every block of a first pass in memory for the second one,
    or load blocks faster than they are used up.

    Parameters
    ----------
    x : dask array
    after : dask array or Delayed
        What must be there first.
    """
    import dask.array
    from dask.base import optimize
    from dask.core import flatten
    from dask.highlevelgraph import HighLevelGraph
    from dask.optimization import cull

    (lean,) = optimize(x)
    graph = dict(lean.__dask_graph__())
    name = f"reread-{uuid4().hex}"
    awaited = list(flatten(after.__dask_keys__()))
    tasks: dict[Any, Any] = {(name, _AFTER): (_nothing, awaited)}
    for key in flatten(lean.__dask_keys__()):
        # the blocks' own tasks run inside one task: the scheduler can neither share nor hasten them
        load = partial(_load, cull(graph, key)[0], key)
        tasks[(name, *key[1:])] = (load, (name, _AFTER))
    layers = HighLevelGraph.from_collections(name, tasks, dependencies=[after])
    return dask.array.Array(layers, name, x.chunks, dtype=x.dtype)


def _nothing(_: Any) -> None:
    """Wait for what is given, and forget it."""


def _load(graph: Any, key: Any, _: None) -> Any:
    from dask.local import get_sync

    return get_sync(graph, key)


def _kernel_task(x: Any, key: Any, kernel: Callable[..., Any], argument: Any) -> Any:
    """Return the task of one block; a block that is read again is loaded within it.

    As tasks of their own the loads of a pass would all come first, and memory would hold them all.
    """
    layer = x.dask.layers.get(x.name)
    if layer is None or (x.name, _AFTER) not in layer:
        return (kernel, key, argument)
    load, after = layer[key]
    return (_loaded, kernel, load, after, argument)


def _loaded(kernel: Callable[..., Any], load: Callable[..., Any], after: Any, given: Any) -> Any:
    return kernel(load(after), given)


def gather(x: Any, kernel: Callable[..., Any], merge: Callable[..., Any], given: Any = None) -> Any:
    """Apply a kernel to every block and merge what comes out, a few results at a time.

    Parameters
    ----------
    x : dask array
    kernel : callable
        Called with a block and with `given`.
    merge : callable
        Called with a list of what kernel or merge returned.
    given : Delayed, optional
        A result of an earlier pass.

    Returns
    -------
    Delayed
    """
    from dask.core import flatten
    from dask.delayed import Delayed
    from dask.highlevelgraph import HighLevelGraph

    # one layer for the whole pass: a Delayed for each block would cost the square of their number
    name, level = f"gather-{uuid4().hex}", 0
    argument = None if given is None else given.key
    tasks: dict[Any, Any] = {
        (name, 0, i): _kernel_task(x, key, kernel, argument)
        for i, key in enumerate(flatten(x.__dask_keys__()))
    }
    keys: list[Any] = list(tasks)
    while len(keys) > 1:
        level += 1
        groups = [keys[i : i + _WIDTH] for i in range(0, len(keys), _WIDTH)]
        keys = [(name, level, i) for i in range(len(groups))]
        tasks |= {key: (merge, group) for key, group in zip(keys, groups, strict=True)}
    tasks[name] = (merge, keys)
    sources = [x] if given is None else [x, given]
    return Delayed(name, HighLevelGraph.from_collections(name, tasks, dependencies=sources))
