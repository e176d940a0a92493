"""Summary statistics: of fields by season and region, and of daily scores over days."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xdownscale.core.blocks import day_slices
from xdownscale.core.coords import find_axes, require_time
from xdownscale.core.errors import OptionError, check_whole
from xdownscale.core.moments import Moments
from xdownscale.core.quantiles import QuantileCounts
from xdownscale.core.time import days
from xdownscale.core.units import units_of
from xdownscale.core.values import check_values
from xdownscale.skill._groups import By, Group, Seasons, check_by, crops, make_groups
from xdownscale.skill._options import check_quantiles
from xdownscale.splits import SEASONS


def describe(
    fields: Mapping[str, xr.DataArray],
    by: By = ("season",),
    *,
    regions: Mapping[str, Any] | None = None,
    seasons: Seasons = SEASONS,
    quantiles: Sequence[float] = (0.25, 0.5, 0.75),
    n_days: bool = False,
    buffer_days: int = 0,
) -> pd.DataFrame:
    """Summarise fields by season and region: mean, standard deviation, minimum, quantiles, maximum.

    Parameters
    ----------
    fields : mapping of str to DataArray
        (time, lat, lon) and any further dims, each on its own grid and of its own days, in the
        units that are to be described. Pixels count once each; NaN is left out.
    by : {"season", "region"}, both in any order, or None
        Ways to group the rows.
    regions, seasons
        As for `table`.
    quantiles : sequence of float
        Between 0 and 1.
    n_days : bool
        Give the number of days of each row that have a value, as the first column ``n_days``.
    buffer_days : int
        Days before each year's season that count as days of it too, as far as the record has them.
        45 and ``n_days`` make table 1 of arXiv:2512.05139, where days of one season therefore
        stand in the row of the next as well.

    Returns
    -------
    DataFrame
        One row for each group and field; columns ``mean``, ``sd``, ``min``, ``p25`` and so on,
        ``max``. ``attrs["units"]`` gives the units of each field, ``attrs["count"]`` the number
        of values in each row.

    Raises
    ------
    OptionError
        If there is no field, a way of grouping is unknown, a quantile not between 0 and 1, or the
        buffer no whole number of 0 or more, or of use without seasons.
    GridError, TimeAxisError
        If a region holds no cell, a field has no time (with a buffer: or one twice), or no day
        lies in the seasons.
    DataError
        If a group of a field has no finite value.

    Notes
    -----
    Lazy records are read twice, a chunk at a time. Quantiles are exact for the values as float32.

    Examples
    --------
    >>> days = pd.date_range("2000-02-29", periods=2)
    >>> edges = {"time": days, "lat": [0.0], "lon": [0.0, 1.0]}
    >>> dust = xr.DataArray([[[1.0, 3.0]], [[2.0, 6.0]]], coords=edges)
    >>> describe({"dust": dust}, quantiles=[0.5])
                  mean        sd  min  p50  max
    season field
    DJF    dust    2.0  1.414214  1.0  2.0  3.0
    MAM    dust    4.0  2.828427  2.0  4.0  6.0
    >>> describe({"dust": dust}, quantiles=[0.5], n_days=True, buffer_days=45).n_days.tolist()
    [1, 2]
    """
    if not fields:
        raise OptionError("There is no field to describe; give a mapping of name to DataArray.")
    check_quantiles(quantiles)
    ways = check_by(by, regions)
    check_whole("buffer_days", buffer_days, least=0)
    if buffer_days and "season" not in ways:
        raise OptionError(
            f"buffer_days is {buffer_days} and by is {by!r}: the days before a season have no row "
            "without seasons. Give by='season', or leave buffer_days out."
        )
    fields = {name: check_values(da, f"The field {name!r}") for name, da in fields.items()}
    found: dict[tuple[str, ...], tuple[int, int, list[float]]] = {}
    for name, da in fields.items():
        grouping = (ways, regions, seasons, buffer_days)
        for group, values in _described(da, name, grouping, quantiles):
            found[(*group.words, name)] = values
    words = list(dict.fromkeys(label[:-1] for label in found))
    order = [(*w, name) for w in words for name in fields if (*w, name) in found]
    index = pd.MultiIndex.from_tuples(order, names=[*ways, "field"])
    columns = ["mean", "sd", "min", *[f"p{100 * q:g}" for q in quantiles], "max"]
    frame = pd.DataFrame([found[label][2] for label in order], index, columns)
    if n_days:
        frame.insert(0, "n_days", [found[label][1] for label in order])
    if not ways:
        frame.index = index.get_level_values("field")
    units = {name: units_of(da) or "" for name, da in fields.items()}
    counts = dict(zip(frame.index, [found[label][0] for label in order], strict=True))
    frame.attrs = {"units": units, "count": counts}
    return frame


def _described(
    da: xr.DataArray,
    name: str,
    grouping: tuple[tuple[str, ...], Mapping[str, Any] | None, Seasons, int],
    quantiles: Sequence[float],
) -> list[tuple[Group, tuple[int, int, list[float]]]]:
    """Summarise each group of a field; both passes read the field once for all groups.

    `grouping` has the ways of grouping, the regions, the seasons and the days before them.
    """
    ways, regions, seasons, buffer_days = grouping
    time = require_time(da, f"The field {name!r}")
    axes = find_axes(da)
    parts = crops(da, regions)
    groups = make_groups(da[time], ways, list(parts), seasons, buffer_days)
    order = da.transpose(time, ..., axes.y, axes.x)
    dates = days(da[time])

    def blocks() -> Iterator[list[tuple[Any, Any]]]:
        for part in day_slices([order], time):
            block = order.isel({time: part}).values
            yield [
                (parts[g.region].cut(block[g.days[part]]), dates[part][g.days[part]])
                for g in groups
            ]

    summaries = [_RunningSummary(quantiles) for _ in groups]
    for cut in blocks():
        for summary, (block, on) in zip(summaries, cut, strict=True):
            summary.first(block, on)
    for cut in blocks():
        for summary, (block, _) in zip(summaries, cut, strict=True):
            summary.counts.second(block)
    return [(group, summary.finished()) for group, summary in zip(groups, summaries, strict=True)]


class _RunningSummary:
    """Running moments, quantiles, minimum and maximum of blocks, and the days with a value."""

    def __init__(self, quantiles: Sequence[float]) -> None:
        self.counts = QuantileCounts(quantiles)
        self.moments = Moments()
        self.low = np.inf
        self.high = -np.inf
        self.days: set[int] = set()

    def first(self, block: Any, dates: Any) -> None:
        """Add a block (time, ...) of some dates; what is not finite is left out."""
        self.counts.first(block)
        known = np.isfinite(block)
        self.days.update(dates[known.any(axis=tuple(range(1, block.ndim)))].tolist())
        good = block[known].astype(float)
        self.moments.add(good)
        self.low = min(self.low, good.min(initial=np.inf))
        self.high = max(self.high, good.max(initial=-np.inf))

    def finished(self) -> tuple[int, int, list[float]]:
        """Return numbers of values and days; mean, spread, minimum, quantiles, maximum."""
        moments = self.moments
        middle = self.counts.result().tolist()
        numbers = (moments.mean, moments.spread(ddof=1), self.low, *middle, self.high)
        return moments.count, len(self.days), [float(x) for x in numbers]


def over_days(daily: xr.DataArray) -> xr.Dataset:
    """Return mean and standard deviation over time of daily scores.

    Parameters
    ----------
    daily : DataArray
        (time) and further dims, as scores of each day are; NaN days are left out.

    Returns
    -------
    Dataset
        ``mean``, ``sd`` (of the days, ddof 1) and ``days``, the number of days that are not
        NaN. Lazy where the input is.

    Raises
    ------
    TimeAxisError
        If there is no time.

    Examples
    --------
    >>> days = pd.date_range("2000-01-01", periods=3)
    >>> found = over_days(xr.DataArray([0.5, np.nan, 0.7], coords={"time": days}))
    >>> round(found["mean"].item(), 3), round(found.sd.item(), 3), found.days.item()
    (0.6, 0.141, 2)
    """
    time = require_time(daily, "The daily score")
    found = xr.Dataset({"mean": daily.mean(time), "sd": daily.std(time, ddof=1)})
    found["days"] = daily.count(time)
    found["sd"] = found["sd"].where(found["days"] > 1)
    for name in ("mean", "sd"):
        found[name].attrs = dict(daily.attrs)
    found["days"].attrs = {"long_name": "number of days scored", "units": "1"}
    return found
