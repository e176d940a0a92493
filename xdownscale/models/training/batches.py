"""Batches of an epoch: their items and order depend on keys alone."""

from __future__ import annotations

import numpy as np

from xdownscale.models.diffusion import noise


def epoch_batches(count: int, size: int, *keys: int) -> list[list[int]]:
    """Return the batches of an epoch: all items, in an order that depends on the keys alone.

    Parameters
    ----------
    count, size : int
        Number of items, and items in a batch.
    *keys : int
        Seed, stage, epoch.

    Returns
    -------
    list of list of int

    Examples
    --------
    >>> sorted(sum(epoch_batches(5, 2, 0, 1, 7), []))
    [0, 1, 2, 3, 4]
    """
    order = np.random.Generator(np.random.Philox(noise.derive(*keys))).permutation(count)
    return [order[i : i + size].tolist() for i in range(0, count, size)]


def bounded_batches(
    count: int, size: int, most: int | None, seed: int, stage: int, epoch: int
) -> list[list[int]]:
    """Return the batches of an epoch of bounded length, which continues where the last one stopped.

    Parameters
    ----------
    count, size : int
        Number of items, and items in a batch.
    most : int or None
        Most batches of an epoch. None, or as many as there are: all items in every epoch.
    seed, stage, epoch : int
        What the order depends on.

    Returns
    -------
    list of list of int

    Examples
    --------
    >>> walk = [batch for epoch in range(3) for batch in bounded_batches(6, 1, 2, 0, 1, epoch)]
    >>> sorted(sum(walk, []))
    [0, 1, 2, 3, 4, 5]
    """
    whole = -(-count // size)
    if most is None or most >= whole:
        return epoch_batches(count, size, seed, stage, epoch)
    passes, places = np.divmod(np.arange(epoch * most, (epoch + 1) * most), whole)
    orders = {int(t): epoch_batches(count, size, seed, stage, int(t)) for t in np.unique(passes)}
    return [orders[int(number)][int(place)] for number, place in zip(passes, places, strict=True)]


def even_batches(count: int, size: int, most: int | None) -> list[list[int]]:
    """Return validation batches in the order of the items, at most `most`, evenly spread.

    Examples
    --------
    >>> even_batches(5, 2, None), even_batches(100, 2, 2)
    ([[0, 1], [2, 3], [4]], [[0, 33], [66, 99]])
    """
    items = np.arange(count)
    if most is not None and count > most * size:
        items = np.linspace(0, count - 1, most * size).astype(int)
    return [items[i : i + size].tolist() for i in range(0, len(items), size)]
