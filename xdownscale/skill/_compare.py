"""Whether one model is better than another: any score of each day, by a block bootstrap."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.coords import require_time
from xdownscale.core.errors import DataError, OptionError, TimeAxisError, check_option, check_whole
from xdownscale.core.resampling import block_length, resampled_means
from xdownscale.core.time import check_overlap
from xdownscale.skill._multivariate import energy_score, variogram_score
from xdownscale.skill._scores import bias, crps, mae, pearson_r2, r2, rmse
from xdownscale.skill._temporal import nse

Score = Callable[[xr.DataArray, xr.DataArray], xr.DataArray]
SCORES: dict[str, Score] = {
    "r2": r2,
    "pearson_r2": pearson_r2,
    "rmse": rmse,
    "mae": mae,
    "bias": bias,
    "crps": crps,
    "energy": energy_score,
    "variogram": variogram_score,
    "nse_space": partial(nse, over="space", reduce=False),
}
_FEWEST = 4  # days that a difference is judged by


def compare(
    a: xr.DataArray,
    b: xr.DataArray,
    truth: xr.DataArray,
    score: str | Score = "rmse",
    *,
    level: float = 0.95,
    draws: int = 2000,
    block: int | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Tell whether two predictions differ in a score, by a block bootstrap over the days.

    The score is that of each day; the difference of the means is resampled in blocks of
    consecutive days, both predictions together, so that neither the dependence of neighbouring days
    nor that days are hard or easy for both makes it look surer than it is.

    Parameters
    ----------
    a, b : DataArray
        Predictions, with or without ``realization``, as the score takes them.
    truth : DataArray
        (time, lat, lon).
    score : str or callable
        Of ``"r2"``, ``"pearson_r2"``, ``"rmse"``, ``"mae"``, ``"bias"``, ``"crps"``,
        ``"energy"``, ``"variogram"``, ``"nse_space"``; or any function of (prediction, truth)
        that returns a DataArray over time, such as
        ``lambda p, t: xd.skill.reliability(p, t, 10).brier_daily.isel(threshold=0)``.
    level : float
        Of the interval.
    draws : int
        Resamples.
    block : int, optional
        Days in a block; by default as many as the autocorrelation of the difference asks, see
        `block_length`, 5 at least.
    seed : int
        Of the blocks.

    Returns
    -------
    Dataset
        ``a`` and ``b`` (mean scores on the days that both have), ``difference`` (a minus b),
        ``low`` and ``high`` (percentile interval of the difference), ``p_value`` (two-sided, of no
        difference); ``attrs`` name the score, the days and the block. Computed.

    Raises
    ------
    OptionError
        For an unknown score, or options out of range.
    DataError
        If a score is no DataArray over time alone.
    TimeAxisError
        If there are fewer than 4 days that both have.
    GridError
        As the score.

    Notes
    -----
    The p-value is twice the smaller share of resampled differences on one side of 0, each count
    plus one: it cannot be less than ``2 / (draws + 1)``. Where several scores or regions are
    compared some are significant by chance.

    References
    ----------
    Kuensch (1989), doi:10.1214/aos/1176347265; Carlstein (1986), doi:10.1214/aos/1176350057.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> edges = {"time": xr.date_range("2000-01-01", periods=60), "lat": [0.0], "lon": [0.0, 1.0]}
    >>> truth = xr.DataArray(rng.normal(size=(60, 1, 2)), coords=edges)
    >>> found = compare(truth + 1, truth + 2, truth)
    >>> found.difference.item(), found.p_value.item() < 0.01
    (-1.0, True)
    """
    _check(score, level, draws, block)
    name = score if isinstance(score, str) else getattr(score, "__name__", "score")
    compute = SCORES[score] if isinstance(score, str) else score
    daily = [_daily(compute, p, truth, what) for p, what in ((a, "a"), (b, "b"))]
    first, second = _on_common_days(daily)
    good = np.isfinite(first + second)
    if good.sum() < _FEWEST:
        raise TimeAxisError(
            f"Both predictions have a score on {int(good.sum())} days; a difference is judged by "
            f"{_FEWEST} or more. Give longer records."
        )
    both = np.stack([first[good], second[good]], axis=1)
    apart = both[:, 0] - both[:, 1]
    length = block or block_length(apart)
    drawn = resampled_means(apart[:, None], apart.size, draws, seed, length)[:, 0]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    sides = [int((drawn <= 0).sum()), int((drawn >= 0).sum())]
    p_value = min(1.0, 2 * (min(sides) + 1) / (draws + 1))
    means = both.mean(axis=0)
    return _labelled(
        {
            "a": means[0],
            "b": means[1],
            "difference": means[0] - means[1],
            "low": low,
            "high": high,
            "p_value": p_value,
        },
        daily[0].attrs,
        {"score": name, "days": apart.size, "block": length, "draws": draws, "level": level},
    )


def _check(score: Any, level: float, draws: int, block: int | None) -> None:
    if isinstance(score, str):
        check_option("score", score, SCORES)
    elif not callable(score):
        raise OptionError(
            f"score is {score!r}; give one of {list(SCORES)}, or a function of (prediction, truth)."
        )
    if not 0 < level < 1:
        raise OptionError(f"level is {level}; give a share between 0 and 1, such as 0.95.")
    check_whole("draws", draws, least=20)
    if block is not None:
        check_whole("block", block, least=1)


def _daily(compute: Score, prediction: xr.DataArray, truth: xr.DataArray, what: str) -> Any:
    """Return the score of each day."""
    require_time(truth, "The truth")
    found = compute(prediction, truth)
    if not isinstance(found, xr.DataArray) or found.ndim != 1:
        shape = f" over {found.dims}" if isinstance(found, xr.DataArray) else ""
        raise DataError(
            f"The score of {what!r} is a {type(found).__name__}{shape}; a score to compare by is a "
            "DataArray over time alone. Take the mean over realizations, or select one threshold."
        )
    require_time(found, f"The score of {what!r}")
    return found.compute()


def _on_common_days(daily: list[Any]) -> tuple[Any, Any]:
    """Return the values of two series on the days that both have, in the order of time."""
    first, second = (da.sortby(da.dims[0]) for da in daily)
    place = check_overlap(first[first.dims[0]], second[second.dims[0]], ("'a'", "'b'"))
    return first.values[place >= 0], second.values[place[place >= 0]]


def _labelled(values: dict[str, float], attrs: Any, about: dict[str, Any]) -> xr.Dataset:
    texts = {
        "a": "mean score of a",
        "b": "mean score of b",
        "difference": "a minus b",
        "low": "lower end of the interval of the difference",
        "high": "upper end of the interval of the difference",
        "p_value": "two-sided p-value of no difference",
    }
    units = {"units": attrs["units"]} if "units" in attrs else {}
    found = xr.Dataset()
    for name, value in values.items():
        own = {"units": "1"} if name == "p_value" else units
        found[name] = xr.DataArray(float(value)).assign_attrs(long_name=texts[name], **own)
    return found.assign_attrs(about)
