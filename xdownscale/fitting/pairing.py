"""Decide whether coarse and fine record show the same weather, and pair them accordingly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from xdownscale.core.blocks import is_lazy
from xdownscale.core.coords import find_axes
from xdownscale.core.errors import DataError, GridError, check_option
from xdownscale.core.grids import uncovered
from xdownscale.core.record import Record
from xdownscale.geostat import diagnose_pairing
from xdownscale.preprocessing.validation import Pair, crop_to
from xdownscale.regridding import regrid

PAIRINGS = ("auto", "paired", "self")
_ENOUGH = 129  # common time steps that a verdict needs; see `diagnose_pairing`
_TESTED = 1 << 23  # coarse values that a verdict about a record on disc rests on, at most
_HELD = 500.0  # MB of averages that are kept in memory


def settle_pairing(pair: Pair, pairing: str, seed: int = 0) -> Pair:
    """Decide how the records are paired, and return the pair to train on.

    Parameters
    ----------
    pair : Pair
        The records as given.
    pairing : {"auto", "paired", "self"}
        ``"auto"``: `diagnose_pairing` decides, where there are 129 common days; else the days are
        taken for paired.
    seed : int
        Of the diagnosis.

    Returns
    -------
    Pair
        With `pairing`, `reason` and `long` as decided.

    Raises
    ------
    OptionError
        For another `pairing`.
    DataError
        If a driver is no target's own under ``"self"``: there is no fine field to average.
    GridError
        If the fine record covers fewer than 2 x 2 coarse cells under ``"self"``.
    """
    check_option("pairing", pairing, PAIRINGS)
    if pairing == "self":
        return _from_itself(pair, "as asked")
    if pairing == "paired":
        return replace(pair, reason="as asked")
    if pair.own[0] < 0:
        reason = "not tested: the first target has no coarse variable of its own"
        return replace(pair, reason=reason)
    if pair.rows.size < _ENOUGH:
        reason = f"not tested: {pair.rows.size} common days are fewer than {_ENOUGH}"
        return replace(pair, reason=reason)
    found = diagnose_pairing(pair.coarse.da, _tested(pair), seed=seed)
    message = str(found["message"].item())
    if found["paired"].item():
        return replace(pair, reason=message)
    return _from_itself(pair, message)


def _tested(pair: Pair) -> xr.DataArray:
    """Return the fine record, or of a large one on disc enough time steps from its middle."""
    steps = pair.rows.size
    cells = min(pair.coarse.grid.size, pair.fine.grid.size)
    wanted = max(_TESTED // cells, _ENOUGH)
    if not is_lazy(pair.fine.array) or steps <= wanted:
        return pair.fine.da
    first = (steps - wanted) // 2
    return pair.fine.isel(slice(first, first + wanted)).da


def _from_itself(pair: Pair, reason: str) -> Pair:
    """Pair a fine record with its own averages over coarse cells."""
    foreign = [n for k, n in enumerate(pair.names) if k not in pair.own]
    if foreign or min(pair.own) < 0:
        what = f"{foreign[0]!r} is no target's own" if foreign else "a target has no driver"
        raise DataError(
            f"pairing='self' learns from averages of the fine record, so each driver must be a "
            f"target's own; {what}. Leave it out, or use pairing='paired' if the records show the "
            "same days."
        )
    averaged = {own: _average(pair.targets[t], pair.drivers[own]) for t, own in enumerate(pair.own)}
    drivers = tuple(averaged[k] for k in range(len(pair.drivers)))
    grid = drivers[0].grid
    return replace(
        pair,
        coarse=drivers[pair.own[0]],
        rows=np.arange(pair.rows.size),
        drivers=drivers,
        pairing="self",
        reason=reason,
        long=tuple(Record(crop_to(driver.da, grid), driver.what) for driver in pair.drivers),
    )


def _average(fine: Record, coarse: Record) -> Record:
    """Average a fine record over the coarse cells whose centres it covers."""
    axes = find_axes(coarse.da)
    template = coarse.da.isel({str(coarse.time.name): 0}, drop=True)
    outside = uncovered(fine.da, template)
    rows = ~outside.all(axes.x).values
    columns = ~outside.all(axes.y).values
    if min(rows.sum(), columns.sum()) < 2:
        raise GridError(
            f"The fine record covers {rows.sum()} x {columns.sum()} coarse cells; pairing='self' "
            "needs 2 x 2 or more."
        )
    part = {axes.y: rows, axes.x: columns}
    averaged: xr.DataArray
    if axes.rectilinear and fine.axes.rectilinear:
        averaged = regrid(fine.da, template.isel(part), "conservative")
    else:  # no row of one grid is a row of the other: some cells of the part lie outside
        averaged = regrid(fine.da, template.isel(part), "conservative", extrapolate="nearest")
        averaged = averaged.where(~outside.isel(part).reset_coords(drop=True))
    if is_lazy(averaged.data) and averaged.nbytes <= 1e6 * _HELD:
        averaged = averaged.compute()  # else each use would read the fine record
    return Record(averaged.rename(coarse.name).assign_attrs(coarse.attrs), coarse.what)
