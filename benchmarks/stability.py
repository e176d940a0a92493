"""Check a generated year for drift, and its residual for the right autocorrelation.

python benchmarks/stability.py seed0.xd [seed1.xd ...] [--threads 2]

Drift: the trend over 365 days of generated field minus truth, in the mean of a day's field and in
the logarithm of its variance, relative to its standard error; successive days are not independent,
so the error is that of an AR(1) series. The last year of the fine record has 72 test days and
training days, so the same is done for a year without a fine record (2008), minus the interpolated
coarse record. Memory: autocorrelation of the residual (field minus the regression's) on test days,
all pixels together, about zero, from pairs of days at each lag.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from common import (
    Array,
    load_models,
    log10,
    make_parser,
    parse,
    print_measures,
    spread_days,
    torch_machine,
)

import xdownscale as xd

LAGS = range(1, 6)
SOME = 60  # days of each part that are generated


def trend(series: Array) -> tuple[float, float]:
    """Fit the change over a series (t,) by least squares; return it and its standard error."""
    when = np.linspace(-0.5, 0.5, series.size)
    slope = float(when @ series / (when @ when))
    left = series - series.mean() - slope * when
    memory = float(left[1:] @ left[:-1] / (left @ left))
    inflated = left.var(ddof=2) * (1 + memory) / (1 - memory)
    return slope, float(np.sqrt(inflated / (when @ when)))


def autocorrelation(residuals: Array, days: Any) -> list[float]:
    """Compute the autocorrelation of (m, t, y, x) about zero, over all pixels and realizations."""
    found, number = [], (days - days[0]) // np.timedelta64(1, "D")
    for lag in LAGS:
        later = np.searchsorted(number, number + lag)
        known = (later < number.size) & (number[later.clip(max=number.size - 1)] == number + lag)
        pairs = residuals[:, known], residuals[:, later[known]]
        squares = [float((part**2).mean()) for part in pairs]
        found.append(float((pairs[0] * pairs[1]).mean()) / float(np.sqrt(squares[0] * squares[1])))
    return found


class Maps:
    """Fields of the twin that a model generates, and the true ones, in log10."""

    def __init__(self, ds: xr.Dataset, model: xd.Downscaler, realizations: int) -> None:
        self.ds, self.model, self.realizations = ds, model, realizations

    def sample(self, days: Any, **sampling: Any) -> Array:
        """Generate fields of some days (m, t, y, x)."""
        other = self.model.with_sampling(**sampling) if sampling else self.model
        count = 1 if sampling else self.realizations
        fields = self.ds.dust.downscale.predict(other, time=days, realizations=count, seed=11)
        return log10(fields)

    def truth(self, days: Any) -> Array:
        """Return the fine record of some days (t, y, x)."""
        return log10(self.ds.dust_fine.sel(time=days))


def drift_rows(maps: Maps) -> dict[str, str]:
    """Measure trends over the last fine year, and over one without a fine record."""
    ds, out = maps.ds, {}
    last, other = ds.dust_fine.time.values[-365:], ds.dust.sel(time_coarse="2008").time_coarse[:365]
    coarse = xd.baselines.interpolate(ds.dust, ds.dust_fine, time=other)
    for title, year, known in (
        ("the last fine year, less the truth", last, maps.truth(last)),
        ("2008, less the coarse record", other.values, log10(coarse)),
    ):
        fields = maps.sample(year)
        for name, of in (
            ("mean", lambda f: f.mean((-2, -1))),
            ("log of variance", lambda f: np.log(f.var((-2, -1)))),
        ):
            change, error = trend(of(fields).mean(0) - of(known))
            out[f"drift of the {name}, {title}"] = f"{change:+.4f} ± {error:.4f}"
            out[f"over its standard error ({name}, {title})"] = f"{abs(change) / error:.2f}"
    return out


def variance_rows(maps: Maps) -> dict[str, str]:
    """Compare the variance of one realization on training and test days of the last fine year."""
    last, out = maps.ds.dust_fine.time.values[-365:], {}
    for part in ("train", "test"):
        days = maps.model.days(part).values
        days = days[np.isin(days, last)]
        days = spread_days(days, SOME)
        ratio = maps.sample(days)[0].var((-2, -1)) / maps.truth(days).var((-2, -1))
        error = np.log(ratio).std() / np.sqrt(ratio.size)
        name = f"log of variance over the truth's, {part} days of the last fine year"
        out[name] = f"{np.log(ratio).mean():+.3f} ± {error:.3f}"
    return out


def memory_rows(maps: Maps) -> dict[str, str]:
    """Compare the autocorrelation of generated and true residuals on test days."""
    days = maps.model.days("test").values
    mean = maps.sample(days, sampler="mean")
    residuals = {"drawn": maps.sample(days) - mean, "true": maps.truth(days)[None] - mean}
    found = {name: autocorrelation(field, days) for name, field in residuals.items()}
    out = {
        f"autocorrelation of the {name} residual, lags 1 to 5": ", ".join(
            f"{value:.3f}" for value in values
        )
        for name, values in found.items()
    }
    worst = max(abs(a - b) for a, b in zip(*found.values(), strict=True))
    return out | {"largest difference": f"{worst:.3f}"}


def main() -> None:
    parser = make_parser(__doc__, "models", "--realizations", "--threads", "--twin", realizations=4)
    parser.add_argument("--brief", action="store_true", help="leave out the two whole years")
    args = parse(parser)
    ds = xd.datasets.load_twin(seed=args.twin)
    parts = [variance_rows, memory_rows] if args.brief else [drift_rows, variance_rows, memory_rows]
    rows = []
    models = load_models(args.models)
    for model in models.values():
        maps = Maps(ds, model, args.realizations)
        rows.append({name: value for part in parts for name, value in part(maps).items()})
    print(f"{torch_machine(args)}\n")
    print_measures(models, rows, "")


if __name__ == "__main__":
    main()
