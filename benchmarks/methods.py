"""Methods of preset `fast` beside each other: the residual sampler, `crps` and `unet`.

python benchmarks/twin.py --seed 0 --save fast0.xd
python benchmarks/twin.py --seed 0 --save crps0.xd --set '{"method": "crps"}'
python benchmarks/twin.py --seed 0 --save unet0.xd --set '{"method": "unet"}'
python benchmarks/methods.py fast0.xd crps0.xd unet0.xd [--threads 2]

Ratios are to the first model; its mean is that of its regressions. Cost is the time that one more
realization takes, the shortest of a few drawings that take turns.
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

import numpy as np
import torch
from claims import SHIFTS, crps, log10, r2, semivariance, spread_skill
from sampling import shortest

import xdownscale as xd


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--realizations", type=int, default=8)
    parser.add_argument("--timed", type=int, default=6, help="days of the timing")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    ds, models = xd.datasets.load_twin(), {path.stem: xd.load(path) for path in asked.models}
    days = next(iter(models.values())).days("test").values
    truth = log10(ds.dust_fine.sel(time=days))

    def draw(model: xd.Downscaler, count: int, some: slice = slice(None)) -> np.ndarray:
        fields = ds.dust.downscale.predict(model, time=days[some], realizations=count, seed=7)
        return log10(fields)

    def work(model: xd.Downscaler, count: int):
        return lambda: draw(model, count, slice(asked.timed))

    print(f"Machine: {platform.machine()}, {asked.threads} threads, torch {torch.__version__}.\n")
    lags = ", ".join(str(shift) for shift in SHIFTS)
    print(
        "| model | method | r2 of the mean | CRPS | over the first | spread-skill "
        f"| semivariance at {lags} px | ms for a realization | over the first |"
    )
    print("|---" * 9 + "|")
    drawers = {n: m for n, m in models.items() if m.config_.method != "unet"}
    times = iter(shortest(*(work(m, n) for m in drawers.values() for n in (1, 5)), repeats=5))
    costs = {n: (next(times) * -1 + next(times)) / 4 / asked.timed for n in drawers}
    first = None
    for name, model in models.items():
        method = model.config_.method
        if method == "unet":
            mean = draw(model, 1)[0]
            cells = [f"{r2(mean, truth):.4f}", *["-"] * 6]
        else:
            fields = draw(model, asked.realizations)
            score = crps(fields, truth)
            first = first or score
            mean = fields.mean(0)
            if method == "residual":
                mean = draw(model.with_sampling(sampler="mean"), 1)[0]
            texture = (semivariance(fields[0], s) / semivariance(truth, s) for s in SHIFTS)
            cells = [
                f"{r2(mean, truth):.4f}",
                f"{score:.4f}",
                f"{score / first:.3f}",
                f"{spread_skill(fields, truth):.2f}",
                ", ".join(f"{value:.2f}" for value in texture),
                f"{costs[name] * 1e3:.0f}",
                f"{costs[name] / next(iter(costs.values())):.3f}",
            ]
        print(f"| {name} | {method} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
