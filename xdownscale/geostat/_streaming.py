"""How a long record is read piece by piece, so that memory never holds much more than a piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_BLOCK = 2**22  # values in a piece that is made of an array in memory
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

    Without it the scheduler would keep every block of a first pass in memory for the second one.
    """
    import dask
    from dask.graph_manipulation import bind

    (culled,) = dask.optimize(x)
    return bind(culled, after)


def tree(parts: list[Any], merge: Callable[[list[Any]], Any]) -> Any:
    """Merge delayed partial results, a few at a time."""
    import dask

    while len(parts) > 1:
        groups = [parts[i : i + _WIDTH] for i in range(0, len(parts), _WIDTH)]
        parts = [dask.delayed(merge)(group) for group in groups]
    return parts[0]
