"""Print statistics of the synthetic nature runs as Markdown tables.

python benchmarks/twin_facts.py                   # version 1, and what can be reached on both
python benchmarks/twin_facts.py --skill           # the second of these alone
python benchmarks/twin_facts.py --figure out.png  # and a picture (needs matplotlib)
python benchmarks/twin_facts.py --package FOLDER  # make the packaged files anew (minutes)
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import xarray as xr
from common import crps, daily_r2, log10, make_parser, print_head, print_row
from scipy.interpolate import RectBivariateSpline
from scipy.stats import skew

from xdownscale.datasets import load_twin, make_twin, twin, twin_ensemble
from xdownscale.datasets.twin import packing
from xdownscale.splits import SEASONS, Split, chronological_split

MEMBERS = 64  # of the ceiling
PENALTIES = 10.0 ** np.arange(1, 7.5, 0.5)

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


def ridge(ds: xr.Dataset, residual: np.ndarray, known: np.ndarray, split: Split) -> np.ndarray:
    """Predict a residual from all coarse cells of the day before, the day and the day after.

    Dual form; drivers are standardised, the penalty is the best one on the validation days.
    """
    drivers = [np.log10(ds.dust)] + [ds[name] for name in ("u10", "v10") if name in ds]
    shifts = [np.timedelta64(k, "D") for k in (-1, 0, 1)]
    parts = [da.sel(time_coarse=ds.time.values + k).values for da in drivers for k in shifts]
    table = np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1).astype(float)
    table = (table - table[known].mean(0)) / table[known].std(0)
    wanted = residual.reshape(len(residual), -1)
    middle = wanted[known].mean(0)
    gram = table[known] @ table[known].T

    def predict(penalty: float, days: np.ndarray) -> np.ndarray:
        weights = np.linalg.solve(gram + penalty * np.eye(known.size), wanted[known] - middle)
        return table[days] @ (table[known].T @ weights) + middle

    errors = [
        np.mean((predict(p, split.validation) - wanted[split.validation]) ** 2) for p in PENALTIES
    ]
    best = PENALTIES[int(np.argmin(errors))]
    return predict(best, split.test).reshape(-1, *residual.shape[1:])


def reach(version: int) -> None:
    """Print what cheap methods reach on test days, and the ceiling where it is known."""
    ds = load_twin(version=version)
    split = chronological_split(ds.time, 1, seasons=SEASONS)
    known = np.sort(np.concatenate([split.train, split.stopping]))
    truth = log10(ds.dust_fine)
    guess = bicubic(ds)
    bias = (truth - guess)[known].mean(0)
    test = split.test
    fields = {
        "bicubic": guess[test],
        "bicubic + bias of each pixel": guess[test] + bias,
        "ridge": guess[test] + ridge(ds, truth - guess, known, split),
    }
    rows = {name: (field, np.abs(field - truth[test]).mean()) for name, field in fields.items()}
    if version == 2:
        members = log10(twin_ensemble(MEMBERS, time=ds.time[test]))
        rows[f"ceiling: {MEMBERS} members"] = members.mean(0), crps(members, truth[test])
    for name, (mean, score) in rows.items():
        r2 = daily_r2(mean, truth[test]).mean()
        rmse = np.sqrt(np.mean((mean - truth[test]) ** 2))
        print_row(version, name, f"{r2:.3f}", f"{rmse:.4f}", f"{score:.4f}")


def print_reach() -> None:
    print_head("version", "test days, log10", "r2 of the mean", "RMSE", "CRPS")
    for version in twin.VERSIONS:
        reach(version)


def figure(path: Path, version: int = 1, first: str = "2004-05-10") -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    ds = load_twin(version=version)
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
    parser.add_argument("--skill", action="store_true", help="print what can be reached, alone")
    parser.add_argument("--version", type=int, default=1, help="of the figure")
    options = parser.parse_args()
    if options.package:
        package(options.package)
    if not options.skill:
        print_head("what", "measured")
        for row in table():
            print_row(*row)
        print()
    print_reach()
    if options.figure:
        figure(options.figure, options.version)


if __name__ == "__main__":
    main()
