"""Synthetic nature runs of dust emission, transport and deposition, at two resolutions.

``docs/explanation/twin.md`` describes them, and what of the fine fields can be predicted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xdownscale.core.bars import Bar, open_bar
from xdownscale.core.errors import OptionError
from xdownscale.datasets.twin import dynamics, flow_dependent, observation, packing
from xdownscale.datasets.twin.layout import Layout, label

VERSIONS = (1, 2)
_FORMATS = {1: 1, 2: 1}  # raised when a generator changes, so that caches are generated again


def load_twin(
    synchronised: bool = True,
    *,
    seed: int = 0,
    cache: str | os.PathLike[str] | None = None,
    version: int = 1,
) -> xr.Dataset:
    """Load the synthetic nature run of the default size.

    Version 1 with seed 0 is part of the package. All other runs are generated at their first use
    and kept in a file: version 2 takes about half a minute, version 1 several minutes for each
    kind.

    Parameters
    ----------
    synchronised : bool
        True: the coarse record sees the same weather as the fine one, day by day. False: it comes
        from another realization of the same climate.
    seed : int
        Seed of the weather and of the coarse record's errors; the ground is always the same.
    cache : path, optional
        Folder for runs that are generated; by default the user's cache folder. Seed 0 of version
        1 needs none.
    version : int
        1: small scales are a passive tracer in turbulence, of which little but a constant bias
        can be predicted. 2: small scales depend on the flow, winds and temperature are there as
        drivers, and the best possible forecast is known (`twin_ensemble`).

    Returns
    -------
    Dataset
        What `make_twin` returns, values rounded to 0.001 in log10 (0.12 %), winds and temperature
        to 0.01.

    Raises
    ------
    OptionError
        If `synchronised` is not a bool, `seed` not a whole number of 0 or more, or `version` not 1
        or 2.
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
    _check_version(version)
    if version == 1 and seed == 0:
        stored = _packaged(synchronised)
    else:
        stored = _cached(synchronised, seed, version, cache)
    return _from_file(stored, synchronised, seed, version)


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
    version: int = 1,
) -> xr.Dataset:
    r"""Generate a synthetic nature run of dust.

    In version 1, dust :math:`c` is carried (semi-Lagrangian, 12 steps a day), raised and deposited:

    .. math:: \frac{\partial c}{\partial t} + m\,\mathbf{u} \cdot \nabla c
              = S\,\max(0, m|\mathbf{u}| - u_0)^2 + q - c / \tau(h),

    where the wind :math:`\mathbf{u}` is a mean flow with seasons plus a stream function whose
    Fourier modes are AR(1) processes, :math:`m(h)` slows it over high ground, :math:`S` are fixed
    sources with a seasonal and a daily cycle and :math:`q` is supply from afar. Reported is
    the daily mean of :math:`0.005 + c\,e^{-h/1500\,m}`.

    In version 2,

    .. math:: \log_{10} c = \log_{10} k(\mathbf{F}_t, \mathbf{F}_{t-1}, g)
              + a(\mathbf{F}_t, \mathbf{F}_{t-1}, g)\,\eta,

    where k, the predictable part, is a function of the large-scale flow F of the day and the day
    before and of the ground g: fronts that the flow sharpens, wind channelled and slowed by the
    ground, lee waves and shelter, dust raised where the wind near the ground exceeds a threshold.
    :math:`\eta` is intermittent turbulence that depends on nothing else, and the coarse record
    sees k alone. ``docs/explanation/twin.md`` has all equations.

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
        seed, not on where the run began, to within rounding (40 days of spin-up are not shown) in
        version 1, to the bit in version 2.
    version : int
        1 or 2.

    Returns
    -------
    Dataset
        ``dust_fine`` (time, lat, lon), ``elevation`` (lat, lon) in m and ``dust``
        (time_coarse, lat_coarse, lon_coarse), daily means, optical depth ("1"), float32. Version 2
        adds ``u10`` and ``v10`` in m s-1 and ``t850`` in K, with the dimensions of ``dust``, and
        ``dust_source`` ("1") and ``wind_threshold`` (m s-1), with those of ``elevation``.

    Raises
    ------
    OptionError
        If a length, the shape, the seed, the first day or the version cannot be used.

    Examples
    --------
    >>> ds = make_twin(days=3, fine_days=1, shape=(16, 20), progress=False)
    >>> dict(ds.dust_fine.sizes), dict(ds.dust.sizes)
    ({'time': 1, 'lat': 16, 'lon': 20}, {'time_coarse': 3, 'lat_coarse': 6, 'lon_coarse': 6})
    """
    _check_flag(synchronised)
    _check_whole("seed", seed, least=0)
    _check_version(version)
    layout = Layout(_check_shape(shape))
    coarse_range, fine_range = _find_periods(
        _check_start(start), (years, fine_years), (days, fine_days)
    )
    if version == 2:
        keys = (seed, 0 if synchronised else 1)
        report = _reporter(progress)
        records = flow_dependent.simulate(layout, coarse_range, fine_range, keys, report)
        ranges = (coarse_range, fine_range)
        return flow_dependent.label_records(layout, ranges, records, synchronised, seed)
    fine, coarse = _simulate(layout, coarse_range, fine_range, synchronised, seed, progress)
    elevation = dynamics.make_geography(layout.plane).elevation[layout.fine_window]
    arrays = (fine, coarse, elevation)
    return label(layout, coarse_range, fine_range, arrays, synchronised, seed)


def twin_ensemble(
    members: int = 16,
    *,
    time: Any = None,
    seed: int = 0,
    shape: tuple[int, int] = (96, 128),
) -> xr.DataArray:
    """Return the best possible ensemble forecast of version 2's fine dust.

    The members share the large-scale flow, hence all that the coarse record and the static fields
    tell, and differ in their turbulence. ``dust_fine`` of `make_twin` and `load_twin` is one more
    of them. So this ensemble is the conditional distribution of the fine field given the coarse
    record: no method has a lower expected CRPS, or a lower mean squared error in log10, than the
    limit of many members. That the flow can be read off the coarse record is assumed: splines of
    ``u10``, ``v10`` and ``t850`` reproduce it to within 1 % of its standard deviation.

    Parameters
    ----------
    members : int
        Ensemble members, 1 or more.
    time : datetimes, optional
        Days, in any order, between 1971 and 2200; by default those of `load_twin`, 2004 and 2005.
    seed : int
        Seed of the run.
    shape : tuple of int
        Fine pixels (lat, lon), as in `make_twin`: the ground and the flow depend on it.

    Returns
    -------
    DataArray
        ``dust_fine`` (realization, time, lat, lon), optical depth ("1"), float32, computed when it
        is asked for, in chunks of members and days.

    Raises
    ------
    OptionError
        If the number of members, a time, the seed or the shape cannot be used.

    Examples
    --------
    >>> forecast = twin_ensemble(4, time=["2004-06-01", "2004-06-02"], shape=(16, 20))
    >>> dict(forecast.sizes)
    {'realization': 4, 'time': 2, 'lat': 16, 'lon': 20}
    """
    _check_whole("members", members, least=1)
    _check_whole("seed", seed, least=0)
    layout = Layout(_check_shape(shape))
    numbers = flow_dependent.RECORD + 1 + np.arange(members)
    return flow_dependent.members(layout, seed, numbers, _check_days(time))


def _check_days(time: Any) -> NDArray[np.int64]:
    """Return days since 1970-01-01."""
    if time is None:
        return np.array(_days(pd.Timestamp("2004-01-01"), pd.Timestamp("2006-01-01")))
    try:
        index = pd.DatetimeIndex(np.atleast_1d(np.asarray(time, dtype="datetime64[ns]")))
    except (TypeError, ValueError) as err:
        raise OptionError(f"time is {time!r}; give dates such as ['2004-06-01'].") from err
    years = index.year
    if not index.size or not ((years >= 1971) & (years <= 2200)).all():
        raise OptionError(f"time is {time!r}; give one or more dates between 1971 and 2200.")
    return index.normalize().values.astype("datetime64[D]").astype(np.int64)


def _check_version(version: object) -> None:
    if isinstance(version, bool) or version not in VERSIONS:
        raise OptionError(f"version is {version!r}; give 1 or 2.")


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
    """Return a function that reports progress to standard error."""
    bar: Bar | None = None

    def report(done: int, total: int) -> None:
        nonlocal bar
        if progress and bar is None:
            bar = open_bar(total, desc="synthetic nature run", unit="day")
        if bar is not None:
            bar.update(done - bar.n)
            if done == total:
                bar.close()
                bar = None

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
        Packed dust, elevation and first days, winds and temperature; seed, kind and version are
        the file's name.
    """
    drivers = {
        name: packing.pack_steps(ds[name].values) for name in flow_dependent.DRIVERS if name in ds
    }
    return drivers | {
        "dust_fine": packing.pack(ds.dust_fine.values),
        "elevation": ds.elevation.values,
        "first_fine": ds.time.values[:1].astype("datetime64[D]"),
        "dust": packing.pack(ds.dust.values),
        "first_coarse": ds.time_coarse.values[:1].astype("datetime64[D]"),
    }


def _from_file(stored: dict[str, Any], synchronised: bool, seed: int, version: int) -> xr.Dataset:
    fine = packing.unpack(stored["dust_fine"])
    coarse = packing.unpack(stored["dust"])
    first = [int(stored[name].astype(np.int64)[0]) for name in ("first_coarse", "first_fine")]
    coarse_days = range(first[0], first[0] + len(coarse))
    fine_days = range(first[1], first[1] + len(fine))
    layout = Layout((fine.shape[1], fine.shape[2]))
    if version == 2:
        drivers = {name: packing.unpack_steps(stored[name]) for name in flow_dependent.DRIVERS}
        records = flow_dependent.Records(fine, coarse, drivers)
        ranges = (coarse_days, fine_days)
        return flow_dependent.label_records(layout, ranges, records, synchronised, seed)
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


def _cached(
    synchronised: bool, seed: int, version: int, cache: str | os.PathLike[str] | None
) -> dict[str, Any]:
    """Read a run from the cache, or generate it and write it there."""
    if cache is None:
        import pooch

        cache = pooch.os_cache("xdownscale")
    path = Path(cache) / _file_name(synchronised, seed, version)
    if not path.exists():
        probe = path.with_suffix(".probe")  # finds an unwritable folder before time is spent
        packing.write(probe, {})
        probe.unlink()
        packing.write(path, to_file(_make_default(synchronised, seed, version)))
    keys = _FINE_KEYS + _COARSE_KEYS + (flow_dependent.DRIVERS if version == 2 else ())
    with path.open("rb") as file:
        return packing.read(file, str(path), keys)


def _file_name(synchronised: bool, seed: int, version: int) -> str:
    series = f"v{_FORMATS[1]}" if version == 1 else f"2_v{_FORMATS[2]}"
    return f"twin_{series}_{seed}_{int(synchronised)}.npz"


def _make_default(synchronised: bool, seed: int, version: int) -> xr.Dataset:
    """Generate the run that `load_twin` returns."""
    if version == 1:
        return make_twin(synchronised=synchronised, seed=seed)
    return make_twin(4, start="2003-01-01", synchronised=synchronised, seed=seed, version=2)
