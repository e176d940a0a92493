"""Progress bars for terminals and notebooks, lines for log files, nothing from dask workers."""

from __future__ import annotations

import os
import sys
import time
import warnings
from typing import Any, Protocol

_EVERY = 30.0  # seconds between two lines of a log file


class Bar(Protocol):
    """What a caller uses of a bar: a part of tqdm's interface."""

    n: float
    total: float

    def update(self, n: float = 1) -> Any:
        """Move on by `n`."""

    def write(self, s: str, file: Any = None) -> Any:
        """Write a line above the bar."""

    def set_description_str(self, desc: str) -> Any:
        """Name what is done now."""

    def reset(self) -> Any:
        """Begin again."""

    def close(self) -> Any:
        """End, and take the bar away if it does not stay."""


def open_bar(total: float, **options: Any) -> Bar | None:
    """Return a progress bar for where standard error goes.

    In a terminal and in a notebook that is tqdm's. Elsewhere, such as in a log file, it is a line
    at the beginning, every 30 seconds and at the end, without carriage returns. In a task of a
    dask worker there is none.

    Parameters
    ----------
    total : float
        What the bar counts to.
    **options
        As tqdm takes them; lines use ``desc``, ``unit``, ``initial`` and ``leave``.

    Returns
    -------
    Bar or None

    Examples
    --------
    >>> import contextlib, io
    >>> with contextlib.redirect_stderr(io.StringIO()) as log:
    ...     bar = open_bar(4, desc="maps", unit="piece")
    ...     bar.update(4)
    ...     bar.close()
    >>> print(log.getvalue().splitlines()[0])
    maps: 0 of 4 pieces
    """
    if in_worker():
        return None
    if in_notebook() or _is_terminal():
        with warnings.catch_warnings():  # of a notebook without ipywidgets, where text does
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm

        bar: Bar = tqdm(total=total, **options)
        return bar
    known = {key: options[key] for key in ("desc", "initial", "leave") if key in options}
    # bytes are told as a share
    return _Lines(total, unit="" if options.get("unit_scale") else options.get("unit", ""), **known)


def in_worker() -> bool:
    """Tell whether this is a task of a worker of dask.distributed."""
    if "distributed" not in sys.modules:
        return False
    from distributed import get_worker

    try:
        get_worker()
    except ValueError:
        return False
    return True


def in_notebook() -> bool:
    """Tell whether the output of this process is shown in cells of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def stream() -> Any:
    """Return where lines go: what a notebook's kernel writes to standard error looks like one."""
    return sys.stdout if in_notebook() else sys.stderr


def _is_terminal() -> bool:
    return bool(sys.stderr.isatty()) and os.environ.get("TERM") != "dumb"


class _Lines:
    """A bar that writes a line from time to time."""

    def __init__(
        self, total: float, desc: str = "", unit: str = "", initial: float = 0, leave: bool = True
    ) -> None:
        self.total = total
        self.n = initial
        self._initial = initial
        self._desc = desc
        self._unit = unit
        self._leave = leave
        self._started = time.monotonic()
        self._said = self._started
        if desc:
            self.write(self._text().split(",")[0])

    def update(self, n: float = 1) -> None:
        self.n += n
        if time.monotonic() - self._said >= _EVERY:
            self._line()

    def write(self, s: str, file: Any = None) -> None:
        where = file or sys.stderr
        where.write(f"{s}\n")
        where.flush()

    def set_description_str(self, desc: str) -> None:
        if desc != self._desc:
            self._desc = desc
            self._line()

    def reset(self) -> None:
        self.n = 0

    def close(self) -> None:
        if self._leave:
            self._line()

    def _line(self) -> None:
        self._said = time.monotonic()
        self.write(self._text())

    def _text(self) -> str:
        """Return what is done, and when the rest will be if it goes on at the same speed."""
        spent = time.monotonic() - self._started
        done = self.n - self._initial
        share = f"{self.n / self.total if self.total else 1:.0%}"
        counted = f"{self.n:g} of {self.total:g} {self._unit}s, {share}" if self._unit else share
        text = f"{self._desc}: {counted}" if self._desc else counted
        left = spent / done * (self.total - self.n) if done > 0 else None
        rest = "" if not left else f", about {_clock(left)} left"
        return f"{text}, {_clock(spent)}{rest}"


def _clock(seconds: float) -> str:
    """Return a time as a bar shows it.

    Examples
    --------
    >>> _clock(75), _clock(7325)
    ('01:15', '2:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
