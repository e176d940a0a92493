"""Read long records piece by piece with dask, so that memory holds little more than a piece."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

_BLOCK = 2**22  # values in a piece that is made of an array in memory
_AFTER = "after"
_WIDTH = 2  # partial results merged at a time: one alone waits at each level of the tree
_MANY = 8  # reads; what needs more of them is not done again for every block


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
    cut: list[Slab] = []
    start = 0
    for stop in bounds.tolist():
        if stop - start >= 4 * max_lag or stop == bounds[-1]:
            first = int(np.searchsorted(positions, positions[start] - max_lag))
            cut.append(Slab(first, start, stop))
            start = stop
    return cut


class RereadableArray:
    """A lazy array whose blocks are read again for each pass, and not kept between passes.

    What several blocks share and what is made of many reads, such as the mean that anomalies are
    taken from, is computed once.

    Attributes
    ----------
    array : dask array
        The record for a first pass. Of anomalies from a lazy mean the blocks are not kept until
        the mean is known, but loaded again.
    """

    def __init__(self, x: Any) -> None:
        from dask.core import flatten
        from dask.optimization import cull

        self._graph, self._needs, self._shared = _studied(x)
        self._source = self.array = x
        if self._shared:
            outside = {n for k in flatten(x.__dask_keys__()) for n in self._own(k)[1]}
            common = cull(self._graph, list(outside))[0]
            self.array = self._loading([], (0, len(x.chunks[0])), [], common)

    def again(self, after: Any, first: int = 0, stop: int | None = None) -> Any:
        """Return steps `first` to `stop`, to be loaded again, not before `after` is computed.

        Without it the scheduler would keep every block of a first pass in memory for the second
        one, or load blocks faster than they are used up.

        Parameters
        ----------
        after : dask array or Delayed
            What must be there first.
        first, stop : int
            Along the first axis.
        """
        from dask.core import flatten

        size = len(self.array)
        stop = size if stop is None else stop
        bounds = np.cumsum((0, *self.array.chunks[0]))
        low = int(np.searchsorted(bounds, first, side="right")) - 1
        high = int(np.searchsorted(bounds, stop))
        sources = [after, self.array] if self._shared else [after]
        found = self._loading(sources, (low, high), list(flatten(after.__dask_keys__())), {})
        whole = (first, stop) == (0, size)
        return found if whole else found[first - bounds[low] : stop - bounds[low]]

    def _loading(
        self, sources: list[Any], blocks: tuple[int, int], awaited: list[Any], more: Any
    ) -> Any:
        """Return some blocks along the first axis, each with one task that runs all of its tasks.

        The scheduler can neither share nor hasten what is inside.
        """
        import dask.array
        from dask.highlevelgraph import HighLevelGraph

        x = self._source
        name = f"reread-{uuid4().hex}"
        low, high = blocks
        tasks: dict[Any, Any] = {(name, _AFTER): (_nothing, awaited), **more}
        for place in np.ndindex(high - low, *x.numblocks[1:]):
            key = (x.name, place[0] + low, *place[1:])
            own, given = self._own(key)
            load = partial(_load, {k: self._graph[k] for k in own}, key, given)
            tasks[(name, *place)] = (load, (name, _AFTER), given)
        layers = HighLevelGraph.from_collections(name, tasks, dependencies=sources)
        chunks = (x.chunks[0][low:high], *x.chunks[1:])
        return dask.array.Array(layers, name, chunks, dtype=x.dtype)

    def _own(self, key: Any) -> tuple[list[Any], list[Any]]:
        """Return the tasks to run for a block, and the shared ones whose results it is given."""
        own: dict[Any, None] = {key: None}
        given: dict[Any, None] = {}
        ahead = [key]
        while ahead:
            for need in self._needs[ahead.pop()]:
                if need in self._shared:
                    given[need] = None
                elif need not in own:
                    own[need] = None
                    ahead.append(need)
        return list(own), list(given)


def _studied(x: Any) -> tuple[Any, Any, set[Any]]:
    """Return an array's tasks, what each needs, and those that several blocks share."""
    from dask.base import optimize
    from dask.core import flatten, toposort
    from dask.optimization import cull

    (lean,) = optimize(x)
    blocks = list(flatten(lean.__dask_keys__()))
    graph, needs = cull(dict(lean.__dask_graph__()), blocks)
    order = toposort(graph, dependencies=needs)
    reads: dict[Any, set[Any]] = {}
    uses = Counter(need for key in order for need in needs[key])
    # an opened store is below all of its chunks and is no read itself
    opened = {key for key in order if not needs[key] and uses[key] > _MANY}
    for key in order:
        below = set().union(*(reads[need] for need in needs[key] if need not in opened))
        reads[key] = _some(below or {key}, _MANY + 1)
    users: dict[Any, set[Any]] = {key: set() for key in order} | {key: {key} for key in blocks}
    for key in reversed(order):
        for need in needs[key]:
            users[need] = _some(users[need] | users[key], 2)
    several = {key for key in order if len(reads[key]) > _MANY and len(users[key]) > 1}
    return graph, needs, several.difference(blocks)


def _some(found: set[Any], most: int) -> set[Any]:
    return set(islice(found, most))


def _nothing(_: Any) -> None:
    """Wait for the inputs, and drop them."""


def _load(graph: Any, key: Any, names: list[Any], _: None, given: list[Any]) -> Any:
    from dask.local import get_sync

    # as tasks: a value that looks like a task or a key would be taken for one
    made = {name: (partial(_same, value),) for name, value in zip(names, given, strict=True)}
    return get_sync(graph | made, key)


def _same(value: Any) -> Any:
    return value


def gather(
    x: Any,
    kernel: Callable[..., Any],
    merge: Callable[..., Any],
    given: Any = None,
    beside: Any = None,
) -> Any:
    """Apply a kernel to every block and merge what comes out, a few results at a time.

    Parameters
    ----------
    x : dask array
    kernel : callable
        Called with a block, with `given` and, where there is one, with the block of `beside`.
    merge : callable
        Called with a list of what kernel or merge returned.
    given : Delayed, optional
        A result of an earlier pass.
    beside : dask array, optional
        Of as many axes as `x`, each cut as there or of length 1.

    Returns
    -------
    Delayed
    """
    from dask.core import flatten
    from dask.delayed import Delayed
    from dask.highlevelgraph import HighLevelGraph

    # one layer for the whole pass: a Delayed for each block would cost the square of their number
    name = f"gather-{uuid4().hex}"
    level = 0
    sources = [s for s in (x, given, beside) if s is not None]
    tasks: dict[Any, Any] = {}
    for i, key in enumerate(flatten(x.__dask_keys__())):
        arguments = [None if given is None else given.key]
        if beside is not None:
            arguments.append((beside.name, *map(min, key[1:], (n - 1 for n in beside.numblocks))))
        tasks[name, 0, i] = _kernel_task(x, key, kernel, arguments)
    keys: list[Any] = list(tasks)
    while len(keys) > 1:
        level += 1
        groups = [keys[i : i + _WIDTH] for i in range(0, len(keys), _WIDTH)]
        keys = [(name, level, i) for i in range(len(groups))]
        tasks |= {key: (merge, group) for key, group in zip(keys, groups, strict=True)}
    tasks[name] = (merge, keys)
    return Delayed(name, HighLevelGraph.from_collections(name, tasks, dependencies=sources))


def _kernel_task(x: Any, key: Any, kernel: Callable[..., Any], arguments: list[Any]) -> Any:
    """Return the task of one block; a block that is read again is loaded within it.

    As tasks of their own the loads of a pass would all come first, and memory would hold them all.
    """
    layer = x.dask.layers.get(x.name)
    if layer is None or (x.name, _AFTER) not in layer:
        return (kernel, key, *arguments)
    return (_loaded, kernel, *layer[key], *arguments)


def _loaded(
    kernel: Callable[..., Any], load: Callable[..., Any], after: Any, given: Any, *arguments: Any
) -> Any:
    return kernel(load(after, given), *arguments)
