"""Compare the variational autoencoders on the twin: the literal one, the mended one, VDM.

python benchmarks/latent.py --rows literal literal-1e-6 mended vdm [--days 8] [--threads 1]

Small networks, one seed, a few hundred updates; test days are teacher-forced (the true fields
before each are given), and free-running for VDM too. All scores are in log10 units. `minutes` are
of CPU since the row was begun or taken up; `inside` is the variance of a realization inside patches
over the truth's; `gain` the share of the error on held-out days that latent numbers take away.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from common import (
    DAY,
    crps,
    fit_twin,
    log10,
    make_parser,
    parse,
    print_head,
    print_row,
    r2,
    semivariance,
    spread_days,
    spread_skill,
    stretches,
    torch_machine,
)

import xdownscale as xd

TRAINING: dict[str, Any] = {"epochs": 1, "pretrain_epochs": 3, "batch_days": 1}
SMALL: dict[str, dict[str, Any]] = {
    "data": {"patch_stride": 16, "early_stopping": 0.05},
    "network": {"channels": (16, 24, 32), "encoder_channels": (16,)},
    "training": TRAINING,
}
DENSE: dict[str, dict[str, Any]] = {
    "data": {"early_stopping": 0.05},
    "network": {"encoder_channels": (16,)},
    "training": {"epochs": 3, "epoch_batches": 100},
}


def literal(**training: Any) -> xd.DownscalerConfig:
    sections = {**SMALL, "training": {**TRAINING, **training}}
    for name, keys in xd.methods.LITERAL_VAE.items():
        sections[name] = {**sections.get(name, {}), **keys}
    return xd.preset("paper", method="vae", **sections)


ROWS = {
    "literal": literal,
    "literal-1e-6": lambda: literal(learning_rate=1e-6),
    "mended": lambda: xd.preset("paper", method="vae", **SMALL),
    "vdm": lambda: xd.preset("vdm", **DENSE),
}


def inside(fields: np.ndarray, side: int) -> float:
    """Return the variance inside squares of `side` pixels."""
    rows, columns = (n // side for n in fields.shape[-2:])
    cut = fields[..., : rows * side, : columns * side]
    squares = cut.reshape(-1, rows, side, columns, side)
    return float(squares.var((2, 4)).mean())


def scores(fields: np.ndarray, truth: np.ndarray, side: int) -> list[str]:
    mean = fields.mean(0)
    found = [
        r2(mean, truth),
        crps(fields, truth),
        float(np.abs(mean - truth).mean()),
        semivariance(fields[0], 1) / semivariance(truth, 1),
        inside(fields[0], side) / inside(truth, side),
        spread_skill(fields, truth),
    ]
    return [f"{each:.3f}" for each in found]


def rows_of(ds: xr.Dataset, model: xd.Downscaler, name: str, args: Any) -> dict[str, list[str]]:
    side = model.config_.data.patch_size
    days = spread_days(model.days("test"), args.days)
    given: dict[str, Any] = {"realizations": args.realizations, "seed": args.seed}
    forced = ds.dust.downscale.predict(
        model, time=days, mode="teacher_forced", history=ds.dust_fine, **given
    )
    found = {name: scores(log10(forced), log10(ds.dust_fine.sel(time=forced.time)), side)}
    if name == "vdm":
        run = stretches(model.days("test").values)[-1][: 3 * args.days]
        past = ds.dust_fine.sel(time=slice(None, run[0] - DAY))
        free = ds.dust.downscale.predict(model, time=run, history=past, **given)
        found[f"{name}, free-running"] = scores(
            log10(free), log10(ds.dust_fine.sel(time=run)), side
        )
    return found


def main() -> None:
    parser = make_parser(__doc__, "--realizations", "--seed", "--threads", threads=1)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--days", type=int, default=8, help="test days, spread over all")
    parser.add_argument("--checkpoints", type=Path, help="folder to go on from when interrupted")
    args = parse(parser)
    ds = xd.datasets.load_twin()
    print(f"{torch_machine(args)} Seed {args.seed}.\n")
    columns = ("r2 of the mean", "CRPS", "MAE of the mean", "texture", "inside", "spread-skill")
    print_head("row", *columns, "gain", "minutes", "weights")
    for name in args.rows:
        started = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
            folder = args.checkpoints / name if args.checkpoints else None
            model = fit_twin(ds, preset=ROWS[name](), seed=args.seed, checkpoint_dir=folder)
            minutes = (time.process_time() - started) / 60
            group = next(iter(model.models_.values()))
            gain = xd.methods.find(model.config_.method).latent_gain(group.state)
            for row, cells in rows_of(ds, model, name, args).items():
                print_row(row, *cells, f"{gain:.3f}", f"{minutes:.1f}", f"{group.parameters:,}")
    days = spread_days(model.days("test"), args.days)
    truth = log10(ds.dust_fine.sel(time=days))
    bicubic = log10(xd.baselines.interpolate(ds.dust, ds.dust_fine, time=days))
    error = f"{np.abs(bicubic - truth).mean():.3f}"
    texture = f"{semivariance(bicubic, 1) / semivariance(truth, 1):.3f}"
    print_row("bicubic", f"{r2(bicubic, truth):.3f}", error, error, texture, *["-"] * 5)


if __name__ == "__main__":
    main()
