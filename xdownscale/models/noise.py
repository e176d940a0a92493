"""Counter-based noise: a pure function of its key, never of a running stream.

A field is keyed by (seed, realization, day, step) and, where every patch shall have its own, by
the patch. So it is the same whatever the batch size, the order of the patches or the chunking.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1


def _words(*keys: int) -> list[int]:
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
    state = np.random.SeedSequence(_words(*keys)).generate_state(1, np.uint64)
    return int(state[0]) >> 1


def field(
    seed: int,
    realization: int,
    day: int,
    step: int,
    shape: tuple[int, ...],
    patch: int | None = None,
) -> NDArray[np.float32]:
    """Return white noise of mean 0 and variance 1 that belongs to one key.

    Parameters
    ----------
    seed, realization, day, step : int
        The key. `day` is any integer that names the day (days or seconds since an epoch) and may
        be negative. `step` is 0 for the start and i + 1 for step i of an ancestral sampler.
    shape : tuple of int
        (y, x) of the whole domain, or of the patch where `patch` is given.
    patch : int, optional
        Number of the patch, for noise that every patch draws by itself. None for the one field
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
    words = _words(seed, realization, day, step, own)
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))
    return generator.standard_normal(shape, dtype=np.float32)
