"""Accuracy on the twin: test days beside the baselines; preset `paper` with and without true lags.

Trains a model, keeps it where asked, and prints a Markdown table; ``docs/benchmarks.md`` includes
it. The other benchmarks read models that this one kept:

python benchmarks/twin.py --seed 0 --save seed0.xd
python benchmarks/twin.py --seed 0 --save crps0.xd --set '{"method": "crps"}'

Run it alone: two processes that both use two threads crawl.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="fast", choices=list(REDUCED))
    parser.add_argument("--budget", type=float, help="minutes of training; all epochs without")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--twin", type=int, default=0, help="seed of the twin's weather")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--days", type=int, default=32, help="test days, teacher-forced")
    parser.add_argument("--realizations", type=int, default=4)
    parser.add_argument("--set", type=json.loads, default={}, help="JSON of sections to change")
    parser.add_argument("--save", type=Path, help="write the model here")
    parser.add_argument("--checkpoints", type=Path, help="folder to go on from when interrupted")
    return parser.parse_args()


def train(ds: xr.Dataset, asked: argparse.Namespace) -> xd.Downscaler:
    config = xd.preset(asked.preset).replace(**REDUCED[asked.preset])
    config = config.replace(training={"max_minutes": asked.budget}).replace(**asked.set)
    return ds.dust.downscale.fit(
        ds.dust_fine,
        static=ds.elevation,
        preset=config,
        seed=asked.seed,
        progress=False,
        checkpoint_dir=asked.checkpoints,
    )


def forced_rows(
    ds: xr.Dataset, model: xd.Downscaler, asked: argparse.Namespace
) -> dict[str, xr.DataArray]:
    """Draw test days spread over the test part; preset `paper` sees the true fields before them."""
    test = model.days("test")
    days = test[np.unique(np.linspace(0, test.size - 1, asked.days).astype(int))]
    known = ds.dust_fine.sel(time=model.days("train"))
    name, options = "fast", {}
    if asked.preset == "paper":
        name, options = "teacher-forced", {"mode": "teacher_forced", "history": ds.dust_fine}
    count = 1 if asked.preset == "fast" and model.config_.method == "unet" else asked.realizations
    drawn = ds.dust.downscale.predict(
        model, time=days, realizations=count, seed=asked.seed, **options
    )
    return {
        name: drawn,
        "bicubic": xd.baselines.interpolate(ds.dust, ds.dust_fine, time=days),
        "climatology": xd.baselines.climatology(known, days),
        "persistence (yesterday's truth)": xd.baselines.persistence(ds.dust_fine, days),
    }


def free_rows(
    ds: xr.Dataset, model: xd.Downscaler, asked: argparse.Namespace
) -> dict[str, xr.DataArray]:
    """Draw the last run of consecutive test days, from the true fields before it."""
    test = model.days("test").values
    gaps = np.flatnonzero(np.diff(test) > np.timedelta64(1, "D"))
    days = test[gaps[-1] + 1 if gaps.size else 0 :]
    past = ds.dust_fine.sel(time=slice(None, days[0] - np.timedelta64(1, "D")))
    drawn = ds.dust.downscale.predict(
        model, time=days, realizations=asked.realizations, history=past, seed=asked.seed
    )
    return {
        "free-running": drawn,
        "bicubic": xd.baselines.interpolate(ds.dust, ds.dust_fine, time=days),
        "persistence (last known field)": xd.baselines.persistence_from_start(past, days),
    }


def main() -> None:
    asked = options()
    torch.set_num_threads(asked.threads)
    ds = xd.datasets.load_twin(seed=asked.twin)
    started = time.perf_counter()
    model = train(ds, asked)
    trained = time.perf_counter()
    if asked.save:
        model.save(asked.save)
    config = model.config_
    stages = model.history_["stage"].sel(group="all").values.tolist()
    epochs = " + ".join(str(stages.count(name)) for name in dict.fromkeys(stages))
    print(
        f"Machine: {platform.machine()}, {asked.threads} threads. Seed {asked.seed}, "
        f"twin {asked.twin}."
    )
    print(
        f"Preset {asked.preset}, reduced: {json.dumps(config.to_dict()['network'])}; lags "
        f"{config.data.lags}; {epochs} epochs in "
        f"{(trained - started) / 60:.1f} minutes; {config.sampling.steps} "
        f"{config.sampling.sampler} steps, stride {config.sampling.stride}, halo "
        f"{config.sampling.halo}."
    )
    tables = {}
    if not config.data.fine_lags:
        title = "Test days" + (", teacher-forced" if asked.preset == "paper" else "")
        tables[title] = forced_rows(ds, model, asked)
    if config.data.fine_lags or asked.preset == "paper":
        tables["Consecutive test days, free-running"] = free_rows(ds, model, asked)
    for title, rows in tables.items():
        table = xd.skill.table(rows, ds.dust_fine, baselines=None)
        print(f"\n{title} ({table.attrs['days']} days)\n\n{xd.skill.to_markdown(table)}")
        crps = xd.skill.crps(next(iter(rows.values())), ds.dust_fine).mean()
        print(f"\nFair CRPS of the ensemble: {float(crps):.4f} (physical units)")
    print(f"\nTook {(time.perf_counter() - started) / 60:.1f} minutes.")


if __name__ == "__main__":
    main()
