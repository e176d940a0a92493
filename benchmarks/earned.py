"""What preset "auto" adds to the methods without networks, on real records.

python benchmarks/earned.py tas --train 560 --minutes 8
python benchmarks/earned.py wind --train 24 48 72 --minutes 4 --seeds 0 1 2

The last time steps of a record are judged; those before them train. A row says the CRPS of the best
method without networks (chosen by its score on the judged steps, to its advantage; for winds,
gradient boosting of the cells is among them) and of "auto", their ratio with its standard error
(moving-block bootstrap over time steps), both RMSE of the mean, spread over skill of the field and
of the domain mean, and what "auto" kept.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import xdownscale as xd
from xdownscale.core.resampling import ratio_with_error

CLOSED = ("dressed", "gaussian", "analogues")
BLOCKS = 6  # of time, of which boosting leaves one out
MEMBERS = 24
JUDGED = {"tas": 65, "pr": 65, "wind": 24}
TRANSFORMS = {"tas": "identity", "pr": "sqrt"}
DATA = Path(os.environ.get("XDOWNSCALE_TEST_DATA", "../shared/data"))


def iberia(name: str) -> tuple[xr.Dataset, xr.Dataset, Any]:
    """Return daily records of winters: drivers, one target, elevation."""
    with xr.open_dataset(DATA / "iberia_djf1990_1997.nc") as opened:
        ds = opened.load()
    units = {"tas": "degC", "pr": "mm"}
    coarse = {each: ds[f"{each}_coarse"].assign_attrs(units=units[each]) for each in units}
    fine = ds[[name]].map(lambda field: field.assign_attrs(units=units[name]))
    return xr.Dataset(coarse), fine, ds.elevation


def wind() -> tuple[xr.Dataset, xr.Dataset, Any]:
    """Return six-hourly wind, both components, coarsened 4 times in each direction."""
    with xr.open_dataset(DATA / "era5_europe_wind_6h_2020.nc") as opened:
        ds = opened.load()
    fine = ds[["u10", "v10"]]
    coarse = fine.coarsen(latitude=4, longitude=4, boundary="trim").mean()
    inside = fine.isel(
        latitude=slice(0, 4 * coarse.sizes["latitude"]),
        longitude=slice(0, 4 * coarse.sizes["longitude"]),
    )
    return coarse, inside, None


def fit(
    drivers: xr.Dataset, target: xr.Dataset, static: Any, name: str, minutes: float, seed: int
) -> xd.Downscaler:
    """Train on all given time steps."""
    config = xd.preset(
        name,
        data={"extrapolate": "nearest", "fractions": (1.0, 0.0, 0.0)},
        **({"training": {"max_minutes": minutes}} if name == "auto" else {}),
        **({"sampling": {"constraint": "nonnegative"}} if "pr" in target else {}),
    )
    transforms = {each: TRANSFORMS[each] for each in (*target, *drivers) if each in TRANSFORMS}
    model: xd.Downscaler = drivers.downscale.fit(
        target,
        static=static,
        preset=config,
        transform=transforms or "auto",
        seed=seed,
        progress=False,
    )
    return model


def boosted(drivers: xr.Dataset, target: xr.Dataset, truth: xr.Dataset) -> xr.Dataset:
    """Return members of gradient boosting on the cells, plus its out-of-fold residual fields.

    Each cell of each time step is a row: both components interpolated to it at the time step and
    the one before, its position and the hour.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    from xdownscale.models.statistical import Dressing, time_blocks

    y, x = [name for name in target.dims if name != "time"]
    near = drivers.interp({y: target[y], x: target[x]}, kwargs={"fill_value": "extrapolate"})
    before = near.shift(time=1).bfill("time")
    place = xr.broadcast(target[y], target[x], near.time.dt.hour, *near.values())[:3]
    dims = ("time", y, x)
    parts = [*near.values(), *before.values(), *place]
    features = np.stack([each.transpose(*dims).sel(time=near.time).values for each in parts], -1)
    row = {time: k for k, time in enumerate(near.time.values)}
    train, judged = (np.array([row[each] for each in ds.time.values]) for ds in (target, truth))
    out = {}
    means, fine = [], []
    for field in target.values():
        known = field.transpose(*dims).values

        def fitted(rows: Any, values: Any = known) -> Any:
            model = HistGradientBoostingRegressor(max_iter=200, min_samples_leaf=200)
            return model.fit(
                features[train[rows]].reshape(-1, features.shape[-1]), values[rows].ravel()
            )

        def predicted(model: Any, rows: Any, shape: Any = known.shape[1:]) -> Any:
            found = model.predict(features[rows].reshape(-1, features.shape[-1]))
            return found.reshape(-1, *shape).astype(np.float32)

        blocks = time_blocks(len(train), BLOCKS)
        left_out = np.empty_like(known)
        for number in np.unique(blocks):
            rest, own = (np.flatnonzero(each) for each in (blocks != number, blocks == number))
            left_out[own] = predicted(fitted(rest), train[own])
        means.append((left_out, predicted(fitted(np.arange(len(train))), judged)))
        fine.append(known)
    dressing = Dressing.fit(np.stack([m[0] for m in means], 1), np.stack(fine, 1))
    later = np.stack([m[1] for m in means], 1)
    members = [
        [dressing.member(dressing.similar(mean), 1, number, k) for k, mean in enumerate(later)]
        for number in range(MEMBERS)
    ]
    for k, (name, field) in enumerate(truth.items()):
        values = np.array(members)[:, :, k]
        out[name] = field.transpose(*dims).expand_dims(realization=MEMBERS).copy(data=values)
    return xr.Dataset(out)


def generated(drivers: xr.Dataset, model: xd.Downscaler, truth: xr.Dataset) -> xr.Dataset:
    """Return members of a model at the judged time steps."""
    maps = drivers.downscale.predict(model, time=truth.time, realizations=MEMBERS, seed=1)
    return maps.to_dataset() if isinstance(maps, xr.DataArray) else maps


class Scores:
    """Scores of members on judged time steps, averaged over targets."""

    def __init__(self, maps: xr.Dataset, truth: xr.Dataset) -> None:
        spread: dict[str, list[Any]] = {
            "crps": [],
            "error": [],
            "variance": [],
            "mean": [],
            "mean_variance": [],
        }
        octaves: list[Any] = []
        rough: list[float] = []
        for name, field in truth.items():
            known = field.values
            scales = xd.skill.spread_skill_by_scale(maps[name], field, max_missing=0.6)
            octaves.append(scales.spread_skill.values)
            dims = ("realization", *field.dims)
            members = maps[name].transpose(*dims).values.astype(np.float64)
            members = np.where(np.isfinite(known), members, np.nan)
            parts = _parts(members, known)
            for key, values in parts.items():
                spread[key].append(values)
            rough.append(semivariance(members) / semivariance(known))
        self.octaves = (float(np.nanmin(octaves)), float(np.nanmax(octaves)))
        self.roughness = float(np.mean(rough))
        found = {key: np.mean(values, axis=0) for key, values in spread.items()}
        self.crps = found["crps"]
        self.rmse = float(np.sqrt(found["error"].mean()))
        inflation = (MEMBERS + 1) / MEMBERS
        self.spread_skill = float(np.sqrt(inflation * found["variance"].mean())) / self.rmse
        self.domain = float(
            np.sqrt(inflation * found["mean_variance"].mean() / found["mean"].mean())
        )


def semivariance(fields: Any) -> float:
    """Return half the mean square of differences between neighbouring cells (..., y, x)."""
    steps = [np.nanmean(np.square(np.diff(fields, axis=axis))) for axis in (-2, -1)]
    return float(np.mean(steps)) / 2


def _parts(members: Any, known: Any) -> dict[str, Any]:
    """Return squares and scores of each time step."""
    error = np.abs(members - known).mean(0)
    weight = (2 * np.arange(1, MEMBERS + 1) - MEMBERS - 1)[:, None, None, None]
    half = (weight * np.sort(members, axis=0)).sum(0) / (MEMBERS * (MEMBERS - 1))
    axes = (1, 2)
    level = np.nanmean(members, axis=(2, 3))
    return {
        "crps": np.nanmean(error - half, axis=axes),
        "error": np.nanmean(np.square(members.mean(0) - known), axis=axes),
        "variance": np.nanmean(members.var(0, ddof=1), axis=axes),
        "mean": np.square(level.mean(0) - np.nanmean(known, axis=axes)),
        "mean_variance": level.var(0, ddof=1),
    }


def rows(record: str, count: int, minutes: float, seeds: list[int], skip: int) -> Iterator[str]:
    """Yield a row for each seed."""
    drivers, target, static = wind() if record == "wind" else iberia(record)
    target = target.isel(time=slice(0, target.sizes["time"] - skip))
    judged = JUDGED[record]
    truth = target.isel(time=slice(-judged, None))
    train = target.isel(time=slice(-judged - count, -judged))
    cheap = {
        name: Scores(
            generated(drivers, fit(drivers, train, static, name, minutes, 0), truth), truth
        )
        for name in CLOSED
    }
    if record == "wind":
        cheap["boosting"] = Scores(boosted(drivers, train, truth), truth)
    best = min(cheap, key=lambda name: float(cheap[name].crps.mean()))
    for seed in seeds:
        started, used = time.time(), time.process_time()
        model = fit(drivers, train, static, "auto", minutes, seed)
        passed = (time.time() - started) / 60
        spent = (time.process_time() - used) / 60
        own = Scores(generated(drivers, model, truth), truth)
        ratio, error = ratio_with_error(own.crps, cheap[best].crps)
        kept = next(line for line in repr(model).splitlines() if " kept: " in line).split()
        cells = (
            record,
            str(count),
            str(seed),
            f"{best} {cheap[best].crps.mean():.4f}",
            f"{own.crps.mean():.4f}",
            f"{ratio:.3f} +- {error:.3f}",
            f"{cheap[best].rmse:.3f}",
            f"{own.rmse:.3f}",
            f"{own.spread_skill:.2f}",
            f"{own.domain:.2f}",
            f"{own.octaves[0]:.2f} to {own.octaves[1]:.2f}",
            f"{own.roughness:.2f}",
            kept[kept.index("kept:") - 1],
            f"{passed:.1f} ({spent:.1f})",
        )
        yield "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("record", choices=sorted(JUDGED))
    parser.add_argument("--train", type=int, nargs="+", default=[560])
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--skip", type=int, default=0, help="last time steps that are not used")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    print(
        "| record | train | seed | best without networks | auto | ratio | its RMSE | auto's RMSE |"
    )
    print(
        "spread-skill | of the domain mean | of octaves | 1-px semivariance | kept | "
        "minutes (CPU minutes) |"
    )
    print("|" + "---|" * 14)
    for count in options.train:
        for row in rows(options.record, count, options.minutes, options.seeds, options.skip):
            print(row, flush=True)


if __name__ == "__main__":
    main()
