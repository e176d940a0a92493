"""Train a model on the twin and compare its accuracy on test days with that of the baselines.

Prints a Markdown table, which is in ``docs/benchmarks.md``. Preset `paper` is tested teacher-forced
and free-running. The other benchmarks read models that this one saved:

python benchmarks/twin.py --seed 0 --save seed0.xd
python benchmarks/twin.py --seed 0 --save crps0.xd --set '{"method": "crps"}'

Run it alone: two processes that both use two threads crawl.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import xarray as xr
from common import (
    DAY,
    baseline_fields,
    fit_twin,
    machine,
    make_parser,
    parse,
    spread_days,
    stretches,
)

import xdownscale as xd

REDUCED: dict[str, dict[str, dict[str, Any]]] = {
    "fast": {},
    "paper": {
        "data": {"patch_stride": 16},
        "training": {"epochs": 500, "pretrain_epochs": 10, "patience": 25, "batch_days": 1},
        "sampling": {"steps": 10, "stride": 8, "halo": 2},
    },
}


def options() -> argparse.Namespace:
    parser = make_parser(
        __doc__, "--realizations", "--seed", "--set", "--threads", "--twin", realizations=4
    )
    parser.add_argument("--preset", default="fast", choices=list(REDUCED))
    parser.add_argument("--budget", type=float, help="minutes of training; all epochs without")
    parser.add_argument("--days", type=int, default=32, help="test days, teacher-forced")
    parser.add_argument("--save", type=Path, help="write the model here")
    parser.add_argument("--checkpoints", type=Path, help="folder to go on from when interrupted")
    return parse(parser)


def train(ds: xr.Dataset, args: argparse.Namespace) -> xd.Downscaler:
    config = xd.preset(args.preset).replace(**REDUCED[args.preset])
    config = config.replace(training={"max_minutes": args.budget}).replace(**args.set)
    return fit_twin(ds, preset=config, seed=args.seed, checkpoint_dir=args.checkpoints)


def forced_rows(
    ds: xr.Dataset, model: xd.Downscaler, args: argparse.Namespace
) -> dict[str, xr.DataArray]:
    """Generate test days spread over all; preset `paper` is given the true fields before each."""
    days = spread_days(model.days("test"), args.days)
    name, options = "fast", {}
    if args.preset == "paper":
        name, options = "teacher-forced", {"mode": "teacher_forced", "history": ds.dust_fine}
    count = 1 if args.preset == "fast" and model.config_.method == "unet" else args.realizations
    fields = ds.dust.downscale.predict(
        model, time=days, realizations=count, seed=args.seed, **options
    )
    return {
        name: fields,
        **baseline_fields(ds, model, days),
        "persistence (yesterday's truth)": xd.baselines.persistence(ds.dust_fine, days),
    }


def free_rows(
    ds: xr.Dataset, model: xd.Downscaler, args: argparse.Namespace
) -> dict[str, xr.DataArray]:
    """Generate the last run of consecutive test days, from the true fields before it."""
    days = stretches(model.days("test").values)[-1]
    past = ds.dust_fine.sel(time=slice(None, days[0] - DAY))
    fields = ds.dust.downscale.predict(
        model, time=days, realizations=args.realizations, history=past, seed=args.seed
    )
    return {
        "free-running": fields,
        "bicubic": xd.baselines.interpolate(ds.dust, ds.dust_fine, time=days),
        "persistence (last known field)": xd.baselines.persistence_from_start(past, days),
    }


def main() -> None:
    args = options()
    ds = xd.datasets.load_twin(seed=args.twin)
    started = time.perf_counter()
    model = train(ds, args)
    trained = time.perf_counter()
    if args.save:
        model.save(args.save)
    config = model.config_
    stages = model.history_["stage"].sel(group="all").values.tolist()
    epochs = " + ".join(str(stages.count(name)) for name in dict.fromkeys(stages))
    print(f"{machine(f'{args.threads} threads')} Seed {args.seed}, twin {args.twin}.")
    print(
        f"Preset {args.preset}, reduced: {json.dumps(config.to_dict()['network'])}; lags "
        f"{config.data.lags}; {epochs} epochs in "
        f"{(trained - started) / 60:.1f} minutes; {config.sampling.steps} "
        f"{config.sampling.sampler} steps, stride {config.sampling.stride}, halo "
        f"{config.sampling.halo}."
    )
    tables = {}
    if not config.data.fine_lags:
        title = "Test days" + (", teacher-forced" if args.preset == "paper" else "")
        tables[title] = forced_rows(ds, model, args)
    if config.data.fine_lags or args.preset == "paper":
        tables["Consecutive test days, free-running"] = free_rows(ds, model, args)
    for title, rows in tables.items():
        table = xd.skill.table(rows, ds.dust_fine, baselines=None)
        print(f"\n{title} ({table.attrs['days']} days)\n\n{xd.skill.to_markdown(table)}")
        crps = xd.skill.crps(next(iter(rows.values())), ds.dust_fine).mean()
        print(f"\nFair CRPS of the ensemble: {float(crps):.4f} (physical units)")
    print(f"\nTook {(time.perf_counter() - started) / 60:.1f} minutes.")


if __name__ == "__main__":
    main()
