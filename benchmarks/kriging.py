"""Kriging beside other baselines on the twin and on Iberia: error, CRPS, coherence, CPU seconds.

python benchmarks/kriging.py twin
python benchmarks/kriging.py ../shared/data/iberia_djf1990_1997.nc

Bars, set before Iberia was looked at: averages over coarse cells equal the coarse field to 1e-5
standard deviations in transformed units (fields are float32); RMSE of kriging below bicubic's; CRPS
of simulations below the mean absolute error of the kriged field. That ridge or dressing, which
learn from both records, are beaten is not expected.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import common
import numpy as np
import statistical
import xarray as xr

import xdownscale as xd

MEMBERS = 8
Row = tuple[str, Callable[[], xr.DataArray]]


def rows(
    coarse: xr.DataArray | xr.Dataset,
    train: xr.DataArray,
    days: xr.DataArray,
    static: xr.DataArray | None,
    **options: str,
) -> Iterator[Row]:
    """Yield the names of baselines, and what makes them."""
    own = coarse[str(train.name)] if isinstance(coarse, xr.Dataset) else coarse
    fitted = xd.baselines
    many = {"realizations": MEMBERS, "seed": 1}
    yield "bicubic", lambda: fitted.interpolate(own, train, days, **options)
    yield "bilinear + bias", lambda: fitted.bias_corrected(coarse, train, days, **options)
    yield "ridge", lambda: fitted.ridge(coarse, train, days, **options)
    trends = ["constant", *([] if static is None else ["static"]), "climate"]
    for trend in trends:
        yield (
            f"kriging, trend {trend}",
            lambda trend=trend: fitted.kriging(
                coarse, train, days, static=static, trend=trend, **options
            ),
        )
    yield (
        "kriging, simulated",
        lambda: fitted.kriging(coarse, train, days, static=static, **many, **options),
    )
    yield "dressed", lambda: fitted.dressed(coarse, train, days, **many, **options)


def judge(field: xr.DataArray, truth: xr.DataArray, own: xr.DataArray) -> tuple[float, ...]:
    """Return RMSE, CRPS, spread-skill and the largest error of averages, all in given units."""
    members = field if "realization" in field.dims else field.expand_dims("realization")
    known = truth.notnull().values
    values = members.transpose("realization", *truth.dims).values[:, known].astype(float)
    true = truth.values[known].astype(float)
    count = len(values)
    rmse = float(np.sqrt(((values.mean(0) - true) ** 2).mean()))
    score = common.crps(values, true) if count > 1 else float(abs(values[0] - true).mean())
    skill = common.spread_skill(values, true) if count > 1 else np.nan
    means = xd.regrid(field, own, "conservative", min_valid=1.0)
    return rmse, score, skill, float(abs(means - own).max())


def inside(coarse: xr.DataArray, fine: xr.DataArray) -> xr.DataArray:
    """Return the coarse cells that lie within the fine grid."""
    for name in ("lat", "lon"):
        half = [abs(float(da[name][1] - da[name][0])) / 2 for da in (fine, coarse)]
        low = float(fine[name].min()) - half[0] + half[1] - 1e-3
        high = float(fine[name].max()) + half[0] - half[1] + 1e-3
        coarse = coarse.isel({name: (coarse[name].values >= low) & (coarse[name].values <= high)})
    return coarse


def print_table(
    coarse: xr.DataArray | xr.Dataset,
    fine: xr.DataArray,
    test: slice,
    transform: Callable[[xr.DataArray], xr.DataArray],
    static: xr.DataArray | None = None,
    **options: str,
) -> None:
    """Fit on the days before the test days, and print a row for each baseline."""
    first = range(fine.sizes["time"])[test][0]
    train = fine.isel(time=slice(0, first))
    truth = fine.isel(time=test)
    own = coarse[str(fine.name)] if isinstance(coarse, xr.Dataset) else coarse
    own = transform(own.sel(time=truth.time)).astype(float)
    own = inside(own, fine)
    spread = float(transform(truth).std())
    columns = ("row", "RMSE", "CRPS or MAE", "spread-skill", "averages off, in sd", "CPU s")
    common.print_head(*columns)
    for name, make in rows(coarse, train, truth.time, static, **options):
        started = time.process_time()
        field = make().load()
        seconds = time.process_time() - started
        *scores, off = judge(transform(field), transform(truth), own)
        numbers = [f"{value:.4f}" for value in scores]
        common.print_row(name, *numbers, f"{off / spread:.1e}", f"{seconds:.1f}")


def main() -> None:
    """Print a table for each record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("record", help="'twin', or Iberia's file")
    options = parser.parse_args()
    if options.record == "twin":
        ds = xd.datasets.load_twin()
        days = ds.sizes["time"]
        print("Twin, log10 of dust")
        coarse = ds.dust.rename(time_coarse="time", lat_coarse="lat", lon_coarse="lon")
        part = slice(int(0.9 * days), None, 3)
        print_table(coarse, ds.dust_fine, part, np.log10, ds.elevation)
        return
    usual = {"lat_c": "lat", "lon_c": "lon"}
    coarse, fine = (
        record.rename({old: new for old, new in usual.items() if old in record.dims})
        for record in statistical.records(Path(options.record))
    )
    roots = {"tas": lambda da: da, "pr": lambda da: np.sqrt(da.clip(min=0))}
    for name, transform in roots.items():
        print(f"Iberia, {name}" + (", square roots" if name == "pr" else ", degC"))
        part = slice(-statistical.JUDGED, None)
        print_table(coarse, fine[name], part, transform, extrapolate="nearest")


if __name__ == "__main__":
    main()
