"""Prefetch batches in a thread while the network computes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import Any, Protocol

DEPTH = 2  # batches that wait
_PAUSE = 0.05  # seconds after which the reader looks whether it is still wanted


class Batches(Protocol):
    """Iterable of known length."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...


class Prefetcher:
    """Iterates over the same batches in the same order, and reads the next ones meanwhile.

    An error of the reader is raised where its batch would have come. A reader ends with its
    batches, or when it is closed.

    Parameters
    ----------
    batches : iterable with a length
        Must use no random state that others use.
    depth : int
        Batches that may wait.

    Examples
    --------
    >>> list(Prefetcher([1, 2, 3]))
    [1, 2, 3]
    """

    def __init__(self, batches: Batches, depth: int = DEPTH) -> None:
        self.batches = batches
        self.depth = depth
        self._open: list[Generator[Any]] = []

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        # iterators of torch take a random seed when they are made: here, not in the thread
        reading = _read(iter(self.batches), self.depth)
        self._open.append(reading)
        return reading

    def close(self) -> None:
        """End all readers, whatever they have left to read."""
        while self._open:
            self._open.pop().close()


def _read(source: Iterator[Any], depth: int) -> Generator[Any]:
    """Yield what a thread reads from `source`."""
    waiting: queue.Queue[tuple[bool, Any]] = queue.Queue(depth)
    unwanted = threading.Event()

    def put(*item: Any) -> bool:
        while not unwanted.is_set():
            try:
                waiting.put(item, timeout=_PAUSE)
            except queue.Full:
                continue
            return True
        return False

    def run() -> None:
        try:
            if all(put(True, batch) for batch in source):
                put(False, None)
        except BaseException as err:  # raised where the batch would have come
            put(False, err)

    thread = threading.Thread(target=run, name="xdownscale-reader", daemon=True)
    thread.start()
    try:
        while True:
            more, item = waiting.get()
            if more:
                yield item
            elif item is None:
                return
            else:
                raise item
    finally:
        unwanted.set()
        thread.join()
