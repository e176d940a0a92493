"""Train the model that ships with the package, score it on the twin's test days, publish it.

Everything is fixed (seed, epochs, one thread), so that the same machine gives the same file:

taskset -c 1 python benchmarks/pretrained.py --folder published --checkpoints checkpoints

``published`` then holds the model file, its registry and its model card, as they are in
``xdownscale/pretrained/data``. With ``--model`` an earlier model is scored and published without
training.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import xarray as xr
from common import baseline_fields, fit_twin, make_parser, parse

import xdownscale as xd

NAME = "dust-twin-tiny"
NETWORK = {"channels": (32, 48, 64)}
EPOCHS = {"pretrain_epochs": 5, "mean_epochs": 10, "epochs": 14}
SUMMARY = "Dust of the built-in twin: ten coarse years, two fine ones; a small network."
USE = """Trying the library without training: `xd.datasets.load_twin()` has the records that it
draws from and is judged on. The twin is synthetic, made by a program: **no product for any real
region may come from this model.** Its encoder, which learnt how synthetic dust plumes move, may be
a first guess for another coarse record; whether it helps there has to be measured."""
LICENCE = "Apache-2.0, as the library; the twin that it learnt from is made by the library."


def options() -> argparse.Namespace:
    parser = make_parser(__doc__, "--realizations", "--threads", threads=1)
    parser.add_argument("--folder", type=Path, help="publish into this folder")
    parser.add_argument("--model", type=Path, help="take this model instead of training one")
    parser.add_argument("--save", type=Path, help="keep the trained model here")
    parser.add_argument("--checkpoints", type=Path, help="folder to go on from when interrupted")
    return parse(parser)


def train(ds: xr.Dataset, args: argparse.Namespace) -> xd.Downscaler:
    """Train a small network on the twin, for a fixed number of epochs."""
    config = xd.preset("fast", network=NETWORK, training=EPOCHS)
    return fit_twin(ds, preset=config, seed=0, device="cpu", checkpoint_dir=args.checkpoints)


def scores(ds: xr.Dataset, model: xd.Downscaler, args: argparse.Namespace) -> str:
    """Return a Markdown table of scores on all test days, in log10 of the values."""
    days = model.days("test")
    truth, scale = ds.dust_fine.sel(time=days), {"transform": "log10"}
    rows = {
        f"{NAME}, {args.realizations} realizations": ds.dust.downscale.predict(
            model, time=days, realizations=args.realizations, seed=0
        ),
        "its regression alone": ds.dust.downscale.predict(
            model.with_sampling(sampler="mean"), time=days
        ),
        **baseline_fields(ds, model, days),
    }
    lines = ["| | CRPS | r2 of the mean |", "|---|---|---|"]
    for name, fields in rows.items():
        members = fields if "realization" in fields.dims else fields.expand_dims("realization")
        if members.sizes["realization"] == 1:
            one = members.isel(realization=0, drop=True)
            error = xd.skill.mae(one, truth, **scale)
        else:
            error = xd.skill.crps(members, truth, **scale)
        r2 = xd.skill.r2(members.mean("realization"), truth, **scale)
        lines.append(f"| {name} | {float(error.mean()):.4f} | {float(r2.mean()):.4f} |")
    note = f"All {days.size} test days of the twin, log10 of the values, means over days. CRPS of "
    note += (
        "a single field is its mean absolute error. The days were looked at while preset `fast` "
    )
    note += "was made, not for this model."
    return f"{note}\n\n" + "\n".join(lines)


def main() -> None:
    args = options()
    ds = xd.datasets.load_twin()
    started = time.perf_counter()
    model = xd.load(args.model) if args.model else train(ds, args)
    print(f"{platform.machine()}: {(time.perf_counter() - started) / 60:.1f} minutes of training")
    if args.save:
        model.save(args.save)
    table = scores(ds, model, args)
    print(f"\n{table}\n")
    if args.folder:
        card = {"summary": SUMMARY, "intended_use": USE, "licence": LICENCE}
        file = xd.publish(model, args.folder, name=NAME, scores=table, **card)
        print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
