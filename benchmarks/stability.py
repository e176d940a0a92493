"""A year drawn in one go: whether it drifts, and whether its residual remembers as it should.

python benchmarks/stability.py seed0.xd [seed1.xd ...] [--threads 2]

Drift: the trend over 365 days of what is drawn less the truth, in the mean of a day's field and in
the logarithm of its variance, over its standard error; days in a row are no independent ones, so
the error is that of an AR(1) series. The last year of the fine record has 72 test days and others
that were trained on, so the same is done for a year without a fine record (2008), less the
interpolated coarse record. Memory: autocorrelation of the residual (field less the regression's) on
test days, all pixels together, about zero, from days that lie just so far apart.
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from claims import log10

import xdownscale as xd

Array = np.ndarray[Any, np.dtype[np.float64]]
LAGS = range(1, 6)


def trend(series: Array) -> tuple[float, float]:
    """Change over the whole series (t,) by least squares, and its standard error."""
    when = np.linspace(-0.5, 0.5, series.size)
    slope = float(when @ series / (when @ when))
    left = series - series.mean() - slope * when
    memory = float(left[1:] @ left[:-1] / (left @ left))
    inflated = left.var(ddof=2) * (1 + memory) / (1 - memory)
    return slope, float(np.sqrt(inflated / (when @ when)))


def autocorrelation(residuals: Array, days: Any) -> list[float]:
    """Autocorrelation of (m, t, y, x) about zero, all pixels and realizations together."""
    found, number = [], (days - days[0]) // np.timedelta64(1, "D")
    for lag in LAGS:
        later = np.searchsorted(number, number + lag)
        known = (later < number.size) & (number[later.clip(max=number.size - 1)] == number + lag)
        pairs = residuals[:, known], residuals[:, later[known]]
        squares = [float((part**2).mean()) for part in pairs]
        found.append(float((pairs[0] * pairs[1]).mean()) / float(np.sqrt(squares[0] * squares[1])))
    return found


def measure(ds: xr.Dataset, model: xd.Downscaler, realizations: int) -> dict[str, str]:
    """Measure drift over the last 365 fine days, and memory on the test days."""

    def draw(days: Any, **sampling: Any) -> Array:
        other = model.with_sampling(**sampling) if sampling else model
        count = 1 if sampling else realizations
        fields = ds.dust.downscale.predict(other, time=days, realizations=count, seed=11)
        return log10(fields)

    out = {}
    last, other = ds.dust_fine.time.values[-365:], ds.dust.sel(time_coarse="2008").time_coarse
    coarse = xd.baselines.interpolate(ds.dust, ds.dust_fine, time=other)
    for title, year, given in (
        ("the last fine year, less the truth", last, ds.dust_fine.sel(time=last)),
        ("2008, less the coarse record", other.values[:365], coarse[:365]),
    ):
        fields, known = draw(year), log10(given)
        for name, of in (
            ("mean", lambda f: f.mean((-2, -1))),
            ("log of variance", lambda f: np.log(f.var((-2, -1)))),
        ):
            change, error = trend(of(fields).mean(0) - of(known))
            out[f"drift of the {name}, {title}"] = f"{change:+.4f} ± {error:.4f}"
            out[f"over its standard error ({name}, {title})"] = f"{abs(change) / error:.2f}"
    days = model.days("test").values
    mean = draw(days, sampler="mean")
    residuals = {
        "drawn": draw(days) - mean,
        "true": log10(ds.dust_fine.sel(time=days))[None] - mean,
    }
    found = {name: autocorrelation(field, days) for name, field in residuals.items()}
    for name, values in found.items():
        out[f"autocorrelation of the {name} residual, lags 1 to 5"] = ", ".join(
            f"{value:.3f}" for value in values
        )
    worst = max(abs(a - b) for a, b in zip(*found.values(), strict=True))
    out["largest difference"] = f"{worst:.3f}"
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--realizations", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    ds = xd.datasets.load_twin()
    rows = [measure(ds, xd.load(path), asked.realizations) for path in asked.models]
    print(f"Machine: {platform.machine()}, {asked.threads} threads, torch {torch.__version__}.\n")
    print(f"| measure | {' | '.join(path.stem for path in asked.models)} |")
    print("|---" * (len(rows) + 1) + "|")
    for name in rows[0]:
        print(f"| {name} | {' | '.join(row[name] for row in rows)} |")


if __name__ == "__main__":
    main()
