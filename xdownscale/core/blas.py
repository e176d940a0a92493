"""The number of threads that numpy's and scipy's linear algebra uses."""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

_SMALL = 1500  # rows of a square matrix that one thread decomposes in about a second

_asked = threading.Lock()

Given = ParamSpec("Given")
Found = TypeVar("Found")


def one_thread(
    argument: str | None = None,
) -> Callable[[Callable[Given, Found]], Callable[Given, Found]]:
    """Let BLAS use one thread within a function, where an argument has few rows.

    One thread decomposes a matrix of some hundred rows faster than several do, which wait for each
    other; and what it returns does not depend, in the last bit, on the number of cores. The limit
    is that of the process. Where several threads of Python ask for it, it is lifted when the first
    one leaves.

    Parameters
    ----------
    argument : str, optional
        Name of the argument. With more than 1500 rows nothing is limited. By default BLAS is
        always limited, as for products of a matrix and a vector.

    Examples
    --------
    >>> import numpy as np
    >>> @one_thread("x")
    ... def gram(x):
    ...     return x.T @ x
    >>> gram(np.ones((2, 1)))
    array([[2.]])
    """

    def decorate(function: Callable[Given, Found]) -> Callable[Given, Found]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def limited(*args: Given.args, **options: Given.kwargs) -> Found:
            if argument is not None:
                rows = len(signature.bind(*args, **options).arguments[argument])
                if rows > _SMALL:
                    return function(*args, **options)
            with _limited():
                return function(*args, **options)

        return limited

    return decorate


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Limit BLAS to one thread, unless a thread of Python, or this one, has done so already.

    The limit is that of the process. A second one within would record the first as the number to
    restore, and might be the last to do it.
    """
    if not _asked.acquire(blocking=False):
        yield
        return
    try:
        with _libraries().limit(limits=1):
            yield
    finally:
        _asked.release()


@functools.cache
def _libraries() -> Any:
    """Return the BLAS libraries of numpy and scipy, loaded."""
    import scipy.linalg  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
