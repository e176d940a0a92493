"""Plan of a training: its stages, and what each costs at most. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

CHECKED = 1 / 3  # cost of a held-out batch, which has no gradient, over that of an update


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """A stage that a method will train.

    Attributes
    ----------
    task : Task
        As it will be trained, on a network of its own that may be changed.
    epochs : int
        Most epochs.
    share : float
        Part of the time for the group, where that is limited.
    kind : str
        An update of all stages of one kind costs the same: it is measured once.
    """

    task: Any
    epochs: int
    share: float
    kind: str


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """What a stage costs at most.

    Attributes
    ----------
    name : str
        Of the stage.
    epochs : int
        Most epochs.
    updates : int
        Updates of the weights in an epoch.
    seconds : float
        Of an update, with its part of the validation.
    most : float or None
        Seconds after which the stage is stopped.
    """

    name: str
    epochs: int
    updates: int
    seconds: float
    most: float | None = None

    @property
    def total(self) -> float:
        """Seconds of the whole stage, at most.

        Examples
        --------
        >>> cost = StageCost(name="pretrain", epochs=10, updates=20, seconds=0.1)
        >>> cost.total
        20.0
        >>> StageCost(name="pretrain", epochs=10, updates=20, seconds=0.1, most=5.0).total
        5.0
        """
        whole = self.epochs * self.updates * self.seconds
        return whole if self.most is None else min(whole, self.most)


def describe(costs: Sequence[StageCost]) -> str:
    """Describe stages, equal ones together.

    Parameters
    ----------
    costs : sequence of StageCost
        In the order of the training.

    Examples
    --------
    >>> first = StageCost(name="pretrain", epochs=10, updates=20, seconds=0.1)
    >>> others = [StageCost(name=f"regress{k}", epochs=5, updates=8, seconds=0.5) for k in range(2)]
    >>> for part in describe([first, *others]).split(", "):
    ...     print(part)
    pretrain (10 epochs of 20 updates of 0.10 s)
    regress0-1 (5 epochs of 8 updates of 0.50 s each)
    """
    parts: list[list[StageCost]] = []
    for cost in costs:
        if parts and _alike(parts[-1][-1], cost):
            parts[-1].append(cost)
        else:
            parts.append([cost])
    return ", ".join(map(_described, parts))


def _alike(one: StageCost, other: StageCost) -> bool:
    names = [each.name.rstrip("0123456789") for each in (one, other)]
    return names[0] == names[1] and (one.epochs, one.seconds) == (other.epochs, other.seconds)


def _described(alike: Sequence[StageCost]) -> str:
    first, last = alike[0], alike[-1]
    stem = last.name.rstrip("0123456789")
    name = first.name if len(alike) == 1 else f"{first.name}-{last.name[len(stem) :]}"
    updates = round(sum(each.updates for each in alike) / len(alike))
    each = "" if len(alike) == 1 else " each"
    return (
        f"{name} ({count(first.epochs, 'epoch')} of {count(updates, 'update')} of "
        f"{first.seconds:.2f} s{each})"
    )


def count(number: int, what: str) -> str:
    """Return a number and its noun.

    Examples
    --------
    >>> count(1, "epoch"), count(2400, "update")
    ('1 epoch', '2,400 updates')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a time as a user reads it.

    Examples
    --------
    >>> duration(0.4), duration(42.0), duration(250.0), duration(9000.0)
    ('1 s', '42 s', '4.2 min', '2.5 h')
    """
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
