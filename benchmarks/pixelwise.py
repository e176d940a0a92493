"""Compare method "asdm" on the twin with one linear equation for all pixels, in both modes.

Prints a Markdown table, which is in ``docs/benchmarks.md``: r2 of each test day (log10) as mean and
maximum, since the article that the method is from gives the largest; its collapse (standard
deviation of a map over the truth's) and its texture (semivariance of neighbours over the truth's).

OMP_NUM_THREADS=1 python benchmarks/pixelwise.py --threads 1
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import xarray as xr
from common import (
    daily_r2,
    fit_twin,
    log10,
    make_parser,
    parse,
    print_head,
    print_row,
    run_facts,
    semivariance,
)

import xdownscale as xd

MODES = ("teacher_forced", "autoregressive")
SYSTEMS: dict[str, dict[str, Any]] = {
    "asdm": {},
    "asdmte": {"network": {"encoder": "frozen"}},
    "asdm, day seen": {"options": {"target_day": True}},
    "asdm, day seen, skip": {"options": {"target_day": True, "driver_skip": True}},
}


def options() -> argparse.Namespace:
    parser = make_parser(__doc__, "--seed", "--set", "--threads", "--twin")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--systems", nargs="*", default=list(SYSTEMS), choices=list(SYSTEMS))
    return parse(parser)


def measures(field: xr.DataArray, truth: xr.DataArray) -> list[str]:
    """Return mean and largest r2 of a day, collapse and texture, of log10."""
    guess = log10(field).reshape(-1, *truth.shape[1:])
    real = log10(truth)
    scores = daily_r2(guess, real)
    collapse = float(np.mean(guess.std((-2, -1)) / real.std((-2, -1))))
    texture = semivariance(guess, 1) / semivariance(real, 1)
    return [f"{number:.3f}" for number in (scores.mean(), scores.max(), collapse, texture)]


def show(name: str, fields: dict[str, xr.DataArray], truth: xr.DataArray, *facts: Any) -> None:
    for mode, field in fields.items():
        print_row(name, mode.replace("_", "-"), *measures(field, truth), *facts)


def pointwise_rows(ds: xr.Dataset, train: xr.DataArray, truth: xr.DataArray) -> None:
    """Print the linear equation with the coarse field of the day, and without."""
    for seen in (False, True):
        started = time.process_time()
        fields = {
            mode: xd.baselines.pointwise(
                ds.dust,
                train,
                truth.time,
                static=ds.elevation,
                history=ds.dust_fine,
                mode=mode,
                target_day=seen,
            )
            for mode in MODES
        }
        taken = (time.process_time() - started) / 60
        name = "pointwise (linear)" + (", day seen" if seen else "")
        show(name, fields, truth, f"{taken:.1f}", 11 if seen else 10)


def trained_rows(ds: xr.Dataset, name: str, truth: xr.DataArray, args: argparse.Namespace) -> None:
    """Train a system and print its rows."""
    started = time.process_time()
    training = {"epochs": args.epochs, "pretrain_epochs": args.epochs}
    config = xd.preset("asdm", training=training).replace(**SYSTEMS[name]).replace(**args.set)
    model = fit_twin(ds, preset=config, seed=args.seed)
    taken = (time.process_time() - started) / 60
    fields = {
        mode: ds.dust.downscale.predict(model, time=truth.time, mode=mode, history=ds.dust_fine)
        for mode in MODES
    }
    weights = sum(group.parameters for group in model.models_.values())
    show(name, fields, truth, f"{taken:.1f}", weights)


def main() -> None:
    args = options()
    ds = xd.datasets.load_twin(seed=args.twin)
    split = xd.splits.chronological_split(ds.dust_fine.time, 1, seasons=xd.splits.SEASONS)
    days = ds.dust_fine.time[split.test]
    truth = ds.dust_fine.sel(time=days)
    train = ds.dust_fine.isel(time=np.union1d(split.train, split.stopping))
    print(run_facts(args.seed, f"twin {args.twin}", f"{truth.sizes['time']} test days"))
    print()
    print_head(
        "system", "mode", "r2 mean", "r2 best day", "collapse", "texture", "CPU min", "weights"
    )
    bicubic = xd.baselines.interpolate(ds.dust, ds.dust_fine, time=days)
    show("bicubic", {"-": bicubic}, truth, 0, 0)
    pointwise_rows(ds, train, truth)
    for name in args.systems:
        trained_rows(ds, name, truth, args)


if __name__ == "__main__":
    main()
