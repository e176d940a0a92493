"""The claims of preset `fast`, measured on test days of the twin with saved models.

python benchmarks/claims.py seed0.xd seed1.xd seed2.xd
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

import xdownscale as xd

Array = np.ndarray[Any, np.dtype[np.float64]]
SHIFTS = (1, 2, 4, 8)  # pixels


def log10(field: xr.DataArray) -> Array:
    """Values as (..., y, x), log10."""
    return np.log10(field.transpose(..., "lat", "lon").values.astype(float))


def crps(members: Array, truth: Array) -> float:
    """Fair CRPS of members (m, n, y, x), mean over all pixels; written out, not xd.skill's."""
    count = len(members)
    error = np.abs(members - truth).mean()
    ranked = np.sort(members, axis=0)
    weight = 2 * np.arange(1, count + 1) - count - 1
    return float(error - np.einsum("m,m...->...", weight, ranked).mean() / (count * (count - 1)))


def r2(guess: Array, truth: Array) -> float:
    """1 - SSE/SST over the pixels of a day, mean over days."""
    spread = ((truth - truth.mean((-2, -1), keepdims=True)) ** 2).sum((-2, -1))
    return float((1 - ((guess - truth) ** 2).sum((-2, -1)) / spread).mean())


def semivariance(field: Array, lag: int) -> float:
    """Half the mean squared difference at some pixels, along both axes."""
    steps = field[..., lag:, :] - field[..., :-lag, :], field[..., lag:] - field[..., :-lag]
    return float(np.mean([0.5 * (step**2).mean() for step in steps]))


def spread_skill(members: Array, truth: Array) -> float:
    """sqrt(mean variance) sqrt(1 + 1/M) over the RMSE of the ensemble mean."""
    count = len(members)
    spread = np.sqrt(members.var(axis=0, ddof=1).mean() * (1 + 1 / count))
    return float(spread / np.sqrt(((members.mean(0) - truth) ** 2).mean()))


def ranks(members: Array, truth: Array) -> Array:
    """Share of every rank of the truth, over 1 / (M + 1)."""
    rank = (members < truth).sum(axis=0)
    share: Array = np.bincount(rank.ravel(), minlength=len(members) + 1) / rank.size
    return share * (len(members) + 1)


def measure(ds: xr.Dataset, model: xd.Downscaler, realizations: int, many: int) -> dict[str, float]:
    """All accuracy claims of one model, on all of its test days."""
    days = model.days("test").values
    truth = log10(ds.dust_fine.sel(time=days))

    def drawn(other: xd.Downscaler, count: int) -> Array:
        return log10(ds.dust.downscale.predict(other, time=days, realizations=count, seed=7))

    members = drawn(model, realizations)
    mean = members.mean(0)
    bicubic = log10(xd.baselines.interpolate(ds.dust, ds.dust_fine, time=days))
    known = ds.dust_fine.sel(time=model.days("train"))
    climatology = log10(xd.baselines.climatology(known, days))
    flat = ranks(members, truth)
    out = {
        "days": float(len(days)),
        "CRPS": crps(members, truth),
        "MAE of bicubic": float(np.abs(bicubic - truth).mean()),
        "r2 of the ensemble mean": r2(mean, truth),
        "r2 of one realization": r2(members[0], truth),
        "r2 of bicubic": r2(bicubic, truth),
        "r2 of climatology": r2(climatology, truth),
    }
    out["CRPS / MAE of bicubic"] = out["CRPS"] / out["MAE of bicubic"]
    if model.config_.method == "residual":
        regression = drawn(model.with_sampling(sampler="mean"), 1)[0]
        out["MAE of the regression"] = float(np.abs(regression - truth).mean())
        out["CRPS / MAE of the regression"] = out["CRPS"] / out["MAE of the regression"]
        out["r2 of the regression"] = r2(regression, truth)
        for shift in SHIFTS:
            name = f"semivariance of the regression at {shift} px"
            out[name] = semivariance(regression, shift) / semivariance(truth, shift)
    for shift in SHIFTS:
        ratio = semivariance(members[0], shift) / semivariance(truth, shift)
        out[f"semivariance of one realization at {shift} px"] = ratio
    out["spread-skill"] = spread_skill(members, truth)
    out["rank histogram, lowest"] = float(flat.min())
    out["rank histogram, highest"] = float(flat.max())
    if many and model.config_.method == "residual":
        some = slice(None, None, 4)
        long = model.with_sampling(steps=many)
        fields = ds.dust.downscale.predict(long, time=days[some], realizations=realizations, seed=7)
        ratio = crps(members[:, some], truth[some]) / crps(log10(fields), truth[some])
        out[f"CRPS, 8 over {many} steps, every fourth day"] = ratio
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--realizations", type=int, default=8)
    parser.add_argument("--many", type=int, default=50, help="steps to compare 8 with; 0 skips")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--twin", type=int, default=0, help="seed of the twin's weather")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    ds = xd.datasets.load_twin(seed=asked.twin)
    rows = [measure(ds, xd.load(path), asked.realizations, asked.many) for path in asked.models]
    print(f"| measure | {' | '.join(path.stem for path in asked.models)} |")
    print("|---" * (len(rows) + 1) + "|")
    for name in rows[0]:
        print(f"| {name} | {' | '.join(f'{row[name]:.4g}' for row in rows)} |")


if __name__ == "__main__":
    main()
