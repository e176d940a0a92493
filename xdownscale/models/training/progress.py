"""What a user sees of a training: its cost before it starts, and one bar for all its stages."""

from __future__ import annotations

import time
from collections.abc import Sequence

from xdownscale.core.bars import Bar, open_bar, stream
from xdownscale.models.training.plan import StageCost, count, describe, duration


class Progress:
    """Says what a training costs, and shows one bar with one estimate of the time that is left.

    Lines go to standard error, in a notebook to its output.

    Parameters
    ----------
    shown : bool
        Otherwise nothing is written.
    """

    def __init__(self, shown: bool = True) -> None:
        self.shown = shown
        self._started = time.monotonic()
        self._bar: Bar | None = None
        self._what = ""
        self._costs: dict[str, StageCost] = {}
        self._sizes: list[float] = [1.0]  # of the groups, over the first
        self._group = 0
        self._before = 0.0  # planned seconds of the stages before this one
        self._stage = 0.0  # and of this one

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._started

    def say(self, text: str) -> None:
        """Write a line, above the bar if there is one."""
        if not self.shown:
            return
        if self._bar is None:
            print(text, file=stream(), flush=True)
        else:
            self._bar.write(text, file=stream())

    def doing(self, what: str) -> None:
        """Name what is done now, beside the bar; as a line of its own before there is one."""
        self._what = what
        if self._bar is not None:
            self._bar.set_description_str(what)
        else:
            self.say(f"  {what}")

    def plan(
        self,
        costs: Sequence[StageCost],
        device: str,
        minutes: float | None,
        sizes: Sequence[float] = (1.0,),
    ) -> None:
        """Say what the stages cost, and open the bar.

        Parameters
        ----------
        costs : sequence of StageCost
            Stages of the first group; empty where nothing is known of them.
        device : str
            Where they are trained.
        minutes : float or None
            Time for the whole call.
        sizes : sequence of float
            Cost of each group, over the first.
        """
        if not self.shown or not costs:
            return
        self._costs = {cost.name: cost for cost in costs}
        self._sizes = list(sizes)
        total = sum(cost.total for cost in costs) * sum(sizes)
        several = f" for each of {len(sizes)} groups" if len(sizes) > 1 else ""
        self.say(f"  Stages{several}: {describe(costs)}.")
        self.say(f"  Cost: {limits(total, device, minutes)}")
        self._bar = open_bar(
            max(total, 1e-6),
            smoothing=0,
            bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed}, about {remaining} left",
            leave=False,
        )

    def group(self, number: int, name: str) -> None:
        """Begin a group."""
        self._group = number
        if len(self._sizes) > 1:
            self.doing(f"group {name!r}: reading")

    def stage(self, name: str) -> None:
        """Begin a stage of the group."""
        if self._bar is None:
            self.doing(name)
            return
        size = self._sizes[self._group]
        whole = sum(cost.total for cost in self._costs.values())
        self._before = sum(self._sizes[: self._group]) * whole
        self._stage = 0.0
        if name in self._costs:
            names = list(self._costs)
            place = names.index(name)
            self._before += size * sum(self._costs[each].total for each in names[:place])
            self._stage = size * self._costs[name].total
            name = f"{name} ({self._group * len(names) + place + 1} of {self._steps})"
        self.doing(name)
        self.advance(0.0)

    @property
    def _steps(self) -> int:
        return len(self._costs) * len(self._sizes)

    def advance(self, share: float) -> None:
        """Move the bar to a share of the stage, between 0 and 1."""
        if self._bar is not None:
            place = self._before + min(max(share, 0.0), 1.0) * self._stage
            step = min(place, self._bar.total) - self._bar.n
            if step > 0:
                self._bar.update(step)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def limits(total: float, device: str, minutes: float | None) -> str:
    """Say how long a training takes at most, and what ends it earlier.

    Parameters
    ----------
    total : float
        Seconds of all stages.
    device : str
        Where they are trained.
    minutes : float or None
        Time for the whole call.

    Examples
    --------
    >>> limits(3600, "cpu", 5)[:29]
    'stopped after 5 min (max_minu'
    """
    if minutes is not None and total > 0.9 * 60 * minutes:
        return (
            f"stopped after {minutes:g} min (max_minutes), before all epochs are trained; what is "
            f"learnt by then depends on this machine ({device})."
        )
    return (
        f"about {duration(total)} of training at most on this machine ({device}), measured on a "
        "batch of each kind. It ends earlier where held-out errors stop falling; reading, closed "
        "forms and calibration come on top."
    )


def header(
    name: str, variables: Sequence[str], days: Sequence[int], coarse: int, groups: int
) -> str:
    """Return the first line of a training.

    Parameters
    ----------
    name : str
        Of the method.
    variables : sequence of str
        Names of the fine variables.
    days : sequence of int
        Time steps to train on, for early stopping, validation and test.
    coarse : int
        Time steps of the coarse record.
    groups : int
        Number of groups.

    Examples
    --------
    >>> for part in header("unet", ["dust"], (300, 40, 40, 30), 3000, 1).split(", "):
    ...     print(part)
    Fitting 'unet' for dust: 300 time steps to train on
    40 for early stopping
    40 for validation
    30 for the test; 3,000 coarse ones.
    """
    kinds = ("to train on", "for early stopping", "for validation", "for the test")
    first, *others = (f"{n:,} {kind}" for n, kind in zip(days, kinds, strict=True))
    said = ", ".join([first.replace(" ", " time steps ", 1), *others])
    several = "" if groups == 1 else f" {count(groups, 'group')}."
    return f"Fitting {name!r} for {', '.join(variables)}: {said}; {coarse:,} coarse ones.{several}"
