"""Split a record into training, early-stopping, validation and test time steps, and into seasons.

Seasons with context days before them, lag windows that never cross a gap, the chronological
split with a purge, regions, and the checks of time axes. Everything takes numpy and cftime
calendars.
"""

from __future__ import annotations

from xdownscale.core.time import (
    check_overlap,
    check_steps,
    check_time,
    is_subdaily,
    match_times,
    step_text,
    time_step,
)
from xdownscale.splits.chronological import Split, check_split, chronological_split
from xdownscale.splits.lags import Windows, day_first, lag_windows, windows_around
from xdownscale.splits.regions import normalise_regions, region_mask
from xdownscale.splits.seasons import (
    SEASONS,
    resolve_seasons,
    season_of,
    season_windows,
    split_seasons,
)

__all__ = [
    "SEASONS",
    "Split",
    "Windows",
    "check_overlap",
    "check_split",
    "check_steps",
    "check_time",
    "chronological_split",
    "is_subdaily",
    "lag_windows",
    "match_times",
    "normalise_regions",
    "region_mask",
    "resolve_seasons",
    "season_of",
    "season_windows",
    "split_seasons",
    "step_text",
    "time_step",
    "day_first",
    "windows_around",
]
