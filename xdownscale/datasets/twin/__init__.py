"""Synthetic nature run of dust emission, transport and deposition, at fine and coarse resolution.

``docs/explanation/twin.md`` describes it, and what of the fine fields can be predicted from it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xdownscale.core.errors import OptionError
from xdownscale.datasets.twin import dynamics, observation, packing
from xdownscale.datasets.twin.layout import Layout, label

_FORMAT = 1  # raised when the generator changes, so that caches are generated again


def load_twin(
    synchronised: bool = True, *, seed: int = 0, cache: str | os.PathLike[str] | None = None
) -> xr.Dataset:
    """Load the synthetic nature run of the default size.

    The run with seed 0 is part of the package. Any other seed is generated at its first use, which
    takes several minutes for each kind, and kept in a file.

    Parameters
    ----------
    synchronised : bool
        True: the coarse record sees the same weather as the fine one, day by day. False: it comes
        from another realization of the same climate.
    seed : int
        Seed of the weather and of the coarse record's errors; the ground is always the same.
    cache : path, optional
        Folder for runs with other seeds; by default the user's cache folder. Seed 0 needs none.

    Returns
    -------
    Dataset
        What `make_twin` returns, values rounded to 0.001 in log10 (0.12 %).

    Raises
    ------
    OptionError
        If `synchronised` is not a bool or `seed` not a whole number of 0 or more.
    StorageError
        If the folder of the cache cannot be written.
    ModelFormatError
        If a file is damaged.

    Examples
    --------
    >>> ds = load_twin()
    >>> dict(ds.dust_fine.sizes)
    {'time': 731, 'lat': 96, 'lon': 128}
    >>> dict(ds.dust.sizes)
    {'time_coarse': 3653, 'lat_coarse': 16, 'lon_coarse': 17}
    """
    _check_flag(synchronised)
    _check_whole("seed", seed, least=0)
    stored = _packaged(synchronised) if seed == 0 else _cached(synchronised, seed, cache)
    return _from_file(stored, synchronised, seed)


def make_twin(
    years: int = 10,
    fine_years: int = 2,
    shape: tuple[int, int] = (96, 128),
    synchronised: bool = True,
    seed: int = 0,
    progress: bool = True,
    *,
    days: int | None = None,
    fine_days: int | None = None,
    start: str = "2000-01-01",
) -> xr.Dataset:
    r"""Generate a synthetic nature run of dust.

    Dust :math:`c` is carried (semi-Lagrangian, 12 steps a day), raised and deposited:

    .. math:: \frac{\partial c}{\partial t} + m\,\mathbf{u} \cdot \nabla c
              = S\,\max(0, m|\mathbf{u}| - u_0)^2 + q - c / \tau(h),

    where the wind :math:`\mathbf{u}` is a mean flow with seasons plus a stream function whose
    Fourier modes are AR(1) processes, :math:`m(h)` slows it over high ground, :math:`S` are fixed
    sources with a seasonal and a daily cycle and :math:`q` is supply from afar. Reported is
    the daily mean of :math:`0.005 + c\,e^{-h/1500\,m}`. See ``docs/explanation/twin.md``.

    Parameters
    ----------
    years, fine_years : int
        Length of the coarse and of the fine record in calendar years. The fine record lies in
        the middle of the coarse one.
    shape : tuple of int
        Fine pixels (lat, lon), at least 8 each. The coarse record reaches two cells further on
        every side. The ground depends on the shape.
    synchronised : bool
        Whether the coarse record sees the weather of the fine one, or another realization.
    seed : int
        Seed of the weather and of the coarse record's errors.
    progress : bool
        Write the progress to standard error.
    days, fine_days : int, optional
        Lengths in days, instead of `years` and `fine_years`.
    start : str
        First day of the coarse record, 1971 or later. A day's weather depends on its date and the
        seed, not on where the run began, to within rounding (40 days of spin-up are not shown).

    Returns
    -------
    Dataset
        ``dust_fine`` (time, lat, lon), ``elevation`` (lat, lon) in m and ``dust``
        (time_coarse, lat_coarse, lon_coarse), daily means, optical depth ("1"), float32.

    Raises
    ------
    OptionError
        If a length, the shape, the seed or the first day cannot be used.

    Examples
    --------
    >>> ds = make_twin(days=3, fine_days=1, shape=(16, 20), progress=False)
    >>> dict(ds.dust_fine.sizes), dict(ds.dust.sizes)
    ({'time': 1, 'lat': 16, 'lon': 20}, {'time_coarse': 3, 'lat_coarse': 6, 'lon_coarse': 6})
    """
    _check_flag(synchronised)
    _check_whole("seed", seed, least=0)
    layout = Layout(_check_shape(shape))
    coarse_range, fine_range = _find_periods(
        _check_start(start), (years, fine_years), (days, fine_days)
    )
    fine, coarse = _simulate(layout, coarse_range, fine_range, synchronised, seed, progress)
    elevation = dynamics.make_geography(layout.plane).elevation[layout.fine_window]
    arrays = (fine, coarse, elevation)
    return label(layout, coarse_range, fine_range, arrays, synchronised, seed)


def _check_flag(synchronised: object) -> None:
    if not isinstance(synchronised, (bool, np.bool_)):
        raise OptionError(f"synchronised is {synchronised!r}; give True or False.")


def _check_whole(what: str, given: object, least: int) -> None:
    if not isinstance(given, (int, np.integer)) or isinstance(given, bool) or given < least:
        raise OptionError(f"{what} is {given!r}; give a whole number of {least} or more.")


def _check_shape(shape: tuple[int, int]) -> tuple[int, int]:
    sizes = tuple(shape)
    if len(sizes) != 2 or not all(isinstance(n, (int, np.integer)) and n >= 8 for n in sizes):
        raise OptionError(
            f"shape is {sizes}; give two whole numbers (lat, lon) of 8 or more pixels."
        )
    return int(sizes[0]), int(sizes[1])


def _check_start(start: str) -> pd.Timestamp:
    try:
        first = pd.Timestamp(start)
    except ValueError as err:
        raise OptionError(f"start is {start!r}; give a date such as '2000-01-01'.") from err
    if not 1971 <= first.year <= 2200:  # NaT's year is NaN
        raise OptionError(f"start is {start!r}; give a date between 1971 and 2200.")
    return first.normalize()


def _find_periods(
    first: pd.Timestamp, years: tuple[int, int], days: tuple[int | None, int | None]
) -> tuple[range, range]:
    """Return the days of the coarse and of the fine record, which lies in its middle."""
    if (days[0] is None) != (days[1] is None):
        raise OptionError(f"days is {days[0]} and fine_days {days[1]}; give both or neither.")
    if days[0] is not None and days[1] is not None:
        _check_lengths("days", "fine_days", days[0], days[1])
        rest = pd.Timedelta(days=(days[0] - days[1]) // 2)
        fine = first + rest
        coarse_days = _days(first, first + pd.Timedelta(days=days[0]))
        return coarse_days, _days(fine, fine + pd.Timedelta(days=days[1]))
    _check_lengths("years", "fine_years", *years)
    fine = first + pd.DateOffset(years=(years[0] - years[1]) // 2)
    coarse_days = _days(first, first + pd.DateOffset(years=years[0]))
    return coarse_days, _days(fine, fine + pd.DateOffset(years=years[1]))


def _check_lengths(long_name: str, short_name: str, long: int, short: int) -> None:
    _check_whole(long_name, long, least=1)
    _check_whole(short_name, short, least=1)
    if short > long:
        raise OptionError(
            f"{short_name} is {short}, more than {long_name} ({long}); the fine record lies within "
            f"the coarse one: give a {short_name} of at most {long}."
        )


def _days(first: pd.Timestamp, end: pd.Timestamp) -> range:
    epoch = pd.Timestamp("1970-01-01")
    return range((first - epoch).days, (end - epoch).days)


def _simulate(
    layout: Layout,
    coarse_days: range,
    fine_days: range,
    synchronised: bool,
    seed: int,
    progress: bool,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the fields of the fine record and those of the coarse record."""
    fine = np.empty((len(fine_days), *layout.shape), dtype=np.float32)
    cells = (layout.plane[0] // observation.CELL[0], layout.plane[1] // observation.CELL[1])
    average = np.empty((len(coarse_days), *cells), dtype=np.float32)
    realization = 0 if synchronised else 1
    for day, field in _run(layout, coarse_days, (seed, realization), progress):
        average[day - coarse_days.start] = observation.block_average(field, layout.plane_latitude)
        if synchronised and day in fine_days:
            fine[day - fine_days.start] = field[layout.fine_window]
    if not synchronised:
        for day, field in _run(layout, fine_days, (seed, 0), progress):
            fine[day - fine_days.start] = field[layout.fine_window]
    coarse = observation.distort(average, coarse_days, (seed, realization))
    return fine, coarse[(slice(None), *layout.coarse_window)]


def _run(layout: Layout, days: range, key: tuple[int, int], progress: bool) -> Any:
    fields = dynamics.run(layout.plane, days, key, dynamics.Climate(), _reporter(progress))
    return zip(days, fields, strict=True)


def _reporter(progress: bool) -> Callable[[int, int], None]:
    """Return a function that reports progress to standard error, at each whole percent."""

    def report(done: int, total: int) -> None:
        if progress and (done * 100 // total > (done - 1) * 100 // total or done == total):
            end = "\n" if done == total else ""
            sys.stderr.write(f"\rsynthetic nature run: day {done} of {total}{end}")
            sys.stderr.flush()

    return report


def to_file(ds: xr.Dataset) -> dict[str, NDArray[Any]]:
    """Return the arrays that a file of a run holds.

    Parameters
    ----------
    ds : Dataset
        What `make_twin` returned.

    Returns
    -------
    dict
        Packed dust, elevation and first days; seed and kind are the file's name.
    """
    return {
        "dust_fine": packing.pack(ds.dust_fine.values),
        "elevation": ds.elevation.values,
        "first_fine": ds.time.values[:1].astype("datetime64[D]"),
        "dust": packing.pack(ds.dust.values),
        "first_coarse": ds.time_coarse.values[:1].astype("datetime64[D]"),
    }


def _from_file(stored: dict[str, Any], synchronised: bool, seed: int) -> xr.Dataset:
    fine = packing.unpack(stored["dust_fine"])
    coarse = packing.unpack(stored["dust"])
    first = [int(stored[name].astype(np.int64)[0]) for name in ("first_coarse", "first_fine")]
    coarse_days = range(first[0], first[0] + len(coarse))
    fine_days = range(first[1], first[1] + len(fine))
    layout = Layout((fine.shape[1], fine.shape[2]))
    arrays = (fine, coarse, stored["elevation"])
    return label(layout, coarse_days, fine_days, arrays, synchronised, seed)


def packaged_names(synchronised: bool) -> tuple[str, str]:
    """Return the names of the packaged files: the shared fine one, and the coarse one of a kind."""
    kind = "synchronised" if synchronised else "unsynchronised"
    return "twin_fine.npz", f"twin_coarse_{kind}.npz"


_FINE_KEYS = ("dust_fine", "elevation", "first_fine")
_COARSE_KEYS = ("dust", "first_coarse")


def _packaged(synchronised: bool) -> dict[str, Any]:
    folder = resources.files("xdownscale.datasets") / "data"
    stored: dict[str, Any] = {}
    for name, keys in zip(packaged_names(synchronised), (_FINE_KEYS, _COARSE_KEYS), strict=True):
        with (folder / name).open("rb") as file:
            stored |= packing.read(file, name, keys)
    return stored


def _cached(synchronised: bool, seed: int, cache: str | os.PathLike[str] | None) -> dict[str, Any]:
    """Read a run from the cache, or generate it and write it there."""
    if cache is None:
        import pooch

        cache = pooch.os_cache("xdownscale")
    path = Path(cache) / f"twin_v{_FORMAT}_{seed}_{int(synchronised)}.npz"
    if not path.exists():
        probe = path.with_suffix(".probe")  # finds an unwritable folder before minutes are spent
        packing.write(probe, {})
        probe.unlink()
        packing.write(path, to_file(make_twin(synchronised=synchronised, seed=seed)))
    with path.open("rb") as file:
        return packing.read(file, str(path), _FINE_KEYS + _COARSE_KEYS)
