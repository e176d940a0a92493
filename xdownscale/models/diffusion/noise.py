"""Counter-based noise: a pure function of its key, never of a running stream.

A field is keyed by (seed, realization, time, step) and, for independent patches, by the patch. So
it is the same whatever the batch size, the order of the patches or the chunking.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from xdownscale.core.errors import OptionError

Floats = NDArray[np.float32]
Innovation = Callable[[int], Floats]
_MASK = (1 << 64) - 1
_NEGLIGIBLE = 1e-3  # weight of an innovation below which later times leave it out
_FAR = 0.1  # correlation of times that are moving averages of innovations
_CACHED = 64e6  # bytes of innovations that are kept for the times after


def _key_words(*keys: int) -> list[int]:
    # Two words for every key: SeedSequence pads with zeros, so lists of unequal length could
    # stand for the same entropy, and negative numbers are not allowed.
    masked = [int(key) & _MASK for key in keys]
    return [word for key in masked for word in (key & 0xFFFFFFFF, key >> 32)]


def derive(*keys: int) -> int:
    """Return a 63-bit seed that is a pure function of some integers.

    Parameters
    ----------
    *keys : int
        Any integers, negative ones too; always give the same number of them.

    Returns
    -------
    int
        A seed in [0, 2**63).

    Examples
    --------
    >>> derive(0, 1, -2) == derive(0, 1, -2), derive(0, 1, -2) == derive(0, -2, 1)
    (True, False)
    """
    state = np.random.SeedSequence(_key_words(*keys)).generate_state(1, np.uint64)
    return int(state[0]) >> 1


def field(
    seed: int,
    realization: int,
    time: int,
    step: int,
    shape: tuple[int, ...],
    patch: int | None = None,
) -> NDArray[np.float32]:
    """Return white noise of mean 0 and variance 1 that belongs to one key.

    Parameters
    ----------
    seed, realization, time, step : int
        The key. `time` is any integer that names the time step (seconds since an epoch) and may
        be negative. `step` is 0 for the initial noise and i + 1 for step i of an ancestral sampler.
    shape : tuple of int
        (y, x) of the whole domain, or of the patch where `patch` is given.
    patch : int, optional
        Number of the patch, for noise that is independent in every patch. None for the one field
        of the whole domain, from which patches are cropped.

    Returns
    -------
    ndarray of float32, `shape`

    Notes
    -----
    Philox 4x64 [1]_, keyed through `numpy.random.SeedSequence`.

    References
    ----------
    .. [1] Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".

    Examples
    --------
    >>> field(0, 1, -3, 0, (4, 5)).shape
    (4, 5)
    >>> bool((field(0, 1, -3, 0, (4, 5)) == field(0, 1, -3, 0, (4, 5))).all())
    True
    """
    own = -1 if patch is None else patch
    words = _key_words(seed, realization, time, step, own)
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))
    return generator.standard_normal(shape, dtype=np.float32)


def correlated_field(
    seed: int,
    realization: int,
    time: int,
    shape: tuple[int, int],
    *,
    rho: float,
    step: int,
    channel: int = 0,
) -> Floats:
    """Return noise that is white in space and correlated in time.

    An autoregression of order 1, ``z(t) = rho z(t - step) + sqrt(1 - rho^2) e(t)``, as a pure
    function of its key, so that any time may be asked for, in any order, each at the cost of about
    ten fields at most, whatever `rho`.

    Parameters
    ----------
    seed, realization : int
        Of the key.
    time : int
        Time, in seconds; any integer.
    shape : tuple of int
        (y, x) of the whole domain.
    rho : float
        Correlation of one time step with the next, in [0, 1).
    step : int
        Seconds from one time step to the next.
    channel : int
        Further fields of the same time, independent of each other.

    Returns
    -------
    ndarray of float32 (y, x)
        Mean 0 and variance 1. Do not write into it.

    Raises
    ------
    OptionError
        If `rho` is not in [0, 1).

    Notes
    -----
    Times far apart are moving averages of innovations, down to weights of a thousandth. Those
    between two of them are sampled given both, by halving: an autoregression of order 1 is a Markov
    chain, so that the middle of two times 2h apart has mean ``r (z1 + z2) / (1 + r^2)`` and
    variance ``(1 - r^2) / (1 + r^2)``, with ``r = rho^h``.

    Examples
    --------
    >>> one, next_one = (correlated_field(0, 0, t, (90, 90), rho=0.8, step=1) for t in (5, 6))
    >>> bool(abs(np.mean(one * next_one) - 0.8) < 0.05)
    True
    """
    if not 0 <= rho < 1:
        raise OptionError(
            f"rho is {rho!r}; the correlation of noise from one time step to the next must be 0 or "
            "more, and below 1."
        )
    own = derive(seed, channel)
    if rho == 0 or step <= 0:
        return _innovation(own, realization, time, shape)
    number, phase = divmod(time, step)

    def innovation(place: int) -> Floats:
        return _innovation(own, realization, phase + place * step, shape)

    return _between(number, rho, innovation)


def _between(number: int, rho: float, innovation: Innovation) -> Floats:
    """Return a time step between two that are far apart, by halving."""
    span = 2 ** max(0, math.ceil(math.log2(math.log(_FAR) / math.log(rho))))
    left = number // span * span
    before = _average(left, span, rho, innovation)
    if number == left:
        return before
    after = _average(left + span, span, rho, innovation)
    while True:
        span //= 2
        share = rho**span
        middle = (before + after) * np.float32(share / (1 + share**2))
        middle += np.float32(math.sqrt((1 - share**2) / (1 + share**2))) * innovation(left + span)
        if number == left + span:
            return middle
        if number < left + span:
            after = middle
        else:
            left += span
            before = middle


def _average(number: int, span: int, rho: float, innovation: Innovation) -> Floats:
    """Return one of the time steps that are `span` apart, as a moving average."""
    terms = 1 + math.ceil(math.log(_NEGLIGIBLE) / (span * math.log(rho)))
    weights = rho ** (span * np.arange(terms))
    weights /= np.sqrt(np.square(weights).sum())
    out = np.float32(weights[0]) * innovation(number)
    for k in range(1, terms):
        out += np.float32(weights[k]) * innovation(number - k * span)
    return out


class _Cache:
    """Least recently used cache of fields, up to a number of bytes; many threads may use it."""

    def __init__(self, most: float) -> None:
        self._most = most
        self._size = 0
        self._fields: OrderedDict[tuple[object, ...], Floats] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[object, ...]) -> Floats | None:
        with self._lock:
            if key in self._fields:
                self._fields.move_to_end(key)
            return self._fields.get(key)

    def put(self, key: tuple[object, ...], field: Floats) -> None:
        with self._lock:
            if key not in self._fields:
                self._size += field.nbytes
            self._fields[key] = field
            while self._size > self._most and self._fields:
                self._size -= self._fields.popitem(last=False)[1].nbytes


_CACHE = _Cache(_CACHED)


def _innovation(seed: int, realization: int, time: int, shape: tuple[int, int]) -> Floats:
    """Return the innovation of a time step, from the cache where it is there."""
    key = (seed, realization, time, shape)
    found = _CACHE.get(key)
    if found is None:
        found = field(seed, realization, time, 0, shape)
        found.flags.writeable = False
        _CACHE.put(key, found)
    return found
