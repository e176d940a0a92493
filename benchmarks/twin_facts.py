"""Print statistics of the synthetic nature run as a Markdown table.

python benchmarks/twin_facts.py                   # the table
python benchmarks/twin_facts.py --figure out.png  # and a picture (needs matplotlib)
python benchmarks/twin_facts.py --package FOLDER  # make the packaged files anew (minutes)
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import xarray as xr
from common import daily_r2, make_parser, print_head, print_row
from scipy.interpolate import RectBivariateSpline
from scipy.stats import skew

from xdownscale.datasets import load_twin, make_twin, twin
from xdownscale.datasets.twin import packing

Rows = list[tuple[str, str]]


def bicubic(ds: xr.Dataset) -> np.ndarray:
    """Interpolate log10 of the coarse record to the fine grid and days, by not-a-knot splines."""
    days = ds.dust.sel(time_coarse=ds.time.values).values
    return np.array(
        [
            RectBivariateSpline(ds.lat_coarse, ds.lon_coarse, np.log10(day.astype(float)))(
                ds.lat, ds.lon
            )
            for day in days
        ]
    )


def semivariance(field: np.ndarray, lag: int) -> float:
    """Compute half the mean squared difference at a lag in pixels, along longitude only."""
    return float(0.5 * np.mean((field[:, :, lag:] - field[:, :, :-lag]) ** 2))


def anomaly_correlation(ds: xr.Dataset) -> float:
    """Correlate the domain means of the two records on fine days, monthly means removed."""
    coarse = np.log10(ds.dust.sel(time_coarse=ds.time.values))
    coarse = coarse.isel(lat_coarse=slice(2, -2), lon_coarse=slice(2, -2))
    means = np.log10(ds.dust_fine).mean(("lat", "lon")).values, coarse.mean(coarse.dims[1:]).values
    left = [mean - smooth_months(ds, mean) for mean in means]
    return float(np.corrcoef(*left)[0, 1])


def value_rows(ds: xr.Dataset) -> Rows:
    fine = ds.dust_fine.values
    marks = np.percentile(fine, [0, 5, 50, 95, 99.9, 100])
    mean = np.log10(fine).mean((1, 2))
    return [
        ("fine: least, 5 %, median, 95 %, 99.9 %, most", ", ".join(f"{m:.3f}" for m in marks)),
        ("fine: skewness, of log10", f"{skew(fine, None):.1f}, {skew(np.log10(fine), None):.2f}"),
        ("regional mean of log10: lag-1 autocorrelation", f"{lag_one(mean):.2f}"),
        ("the same, monthly means removed", f"{lag_one(mean - smooth_months(ds, mean)):.2f}"),
    ]


def smooth_months(ds: xr.Dataset, series: np.ndarray) -> np.ndarray:
    """Return the mean of each day's month."""
    month = ds.time.values.astype("datetime64[M]").astype(int)
    return (np.bincount(month, series) / np.bincount(month).clip(1))[month]


def lag_one(series: np.ndarray) -> float:
    return float(np.corrcoef(series[1:], series[:-1])[0, 1])


def skill_rows(ds: xr.Dataset) -> Rows:
    truth, guess = np.log10(ds.dust_fine.values.astype(float)), bicubic(ds)
    half = len(truth) // 2
    bias = (truth - guess)[:half].mean(0)
    score = daily_r2(guess, truth)
    ratios = [semivariance(guess, lag) / semivariance(truth, lag) for lag in (1, 2, 4, 8)]
    return [
        (
            "bicubic r2: mean, worst day, best day",
            f"{score.mean():.3f}, {score.min():.3f}, {score.max():.3f}",
        ),
        ("second year: bicubic r2", f"{score[half:].mean():.3f}"),
        (
            "second year: with the first year's bias per pixel",
            f"{daily_r2(guess[half:] + bias, truth[half:]).mean():.3f}",
        ),
        (
            "persistence of yesterday's fine field, r2",
            f"{daily_r2(truth[:-1], truth[1:]).mean():.3f}",
        ),
        (
            "climatology (mean of the first year's days), second year, r2",
            f"{daily_r2(truth[:half].mean(0) + 0 * truth[half:], truth[half:]).mean():.3f}",
        ),
        (
            "semivariance, bicubic / truth, at 1, 2, 4, 8 pixels",
            ", ".join(f"{r:.2f}" for r in ratios),
        ),
    ]


def table() -> Rows:
    pair, other = load_twin(), load_twin(synchronised=False)
    folder = resources.files("xdownscale.datasets") / "data"
    names = {n for kind in (True, False) for n in twin.packaged_names(kind)}
    size = sum(len((folder / n).read_bytes()) for n in names)
    quartiles = [
        ", ".join(f"{q:.3f}" for q in np.percentile(ds.dust, [5, 50, 95])) for ds in (pair, other)
    ]
    return [
        ("packaged files, both kinds", f"{size / 1e6:.1f} MB"),
        *value_rows(pair),
        *skill_rows(pair),
        ("coarse, synchronised: 5 %, median, 95 %", quartiles[0]),
        ("coarse, not synchronised: 5 %, median, 95 %", quartiles[1]),
        ("anomaly correlation of regional means, synchronised", f"{anomaly_correlation(pair):.2f}"),
        ("the same, not synchronised", f"{anomaly_correlation(other):.2f}"),
        ("bicubic r2, not synchronised", f"{skill_rows(other)[0][1]}"),
    ]


def figure(path: Path, first: str = "2004-05-10") -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    ds = load_twin()
    days = ds.time.sel(time=slice(first, None))[:3].values
    fig, axes = plt.subplots(4, 3, figsize=(15, 15), layout="constrained")
    look = {"vmin": -1.8, "vmax": 0.4, "cmap": "YlOrBr"}
    for k, day in enumerate(days):
        np.log10(ds.dust.sel(time_coarse=day)).plot(ax=axes[0, k], **look)
        np.log10(ds.dust_fine.sel(time=day)).plot(ax=axes[1, k], **look)
    ds.elevation.plot(ax=axes[2, 0], cmap="terrain")
    np.log10(ds.dust_fine).mean("time").plot(ax=axes[2, 1], cmap="YlOrBr")
    np.log10(ds.dust_fine).std("time").plot(ax=axes[2, 2])
    ds.dust_fine.mean(("lat", "lon")).plot(ax=axes[3, 0])
    ds.dust_fine[:120, 48, 32].plot(ax=axes[3, 1])
    ds.dust_fine[:120, 20, 100].plot(ax=axes[3, 1])
    ds.dust.mean(("lat_coarse", "lon_coarse")).plot(ax=axes[3, 2], lw=0.5)
    fig.savefig(path, dpi=60)


def package(folder: Path) -> None:
    """Write the files that ship with the package; the fine record is the synchronised run's."""
    for kind in (True, False):
        stored = twin.to_file(make_twin(synchronised=kind))
        fine_name, coarse_name = twin.packaged_names(kind)
        coarse = {name: stored.pop(name) for name in ("dust", "first_coarse")}
        packing.write(folder / coarse_name, coarse)
        if kind:
            packing.write(folder / fine_name, stored)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--package", type=Path)
    options = parser.parse_args()
    if options.package:
        package(options.package)
    print_head("what", "measured")
    for row in table():
        print_row(*row)
    if options.figure:
        figure(options.figure)


if __name__ == "__main__":
    main()
