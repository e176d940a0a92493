"""What the encoder of the coarse record is worth, by the length of the fine record.

python benchmarks/encoder.py [--shares 0.25 0.5 1] [--seed 0] [--threads 2]

Trains method `unet`, whose one regression is what the residual sampler's mean is made of, for every
encoder and share: the last days before the test days. All are judged on the same test days.
"""

from __future__ import annotations

import argparse
import platform
import time
from typing import Any

import numpy as np
import torch
from claims import log10, r2

import xdownscale as xd

ENCODERS = ("none", "frozen", "finetuned")
TEST = 72  # last days of the fine record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    parser.add_argument("--encoders", nargs="+", default=ENCODERS, choices=ENCODERS)
    parser.add_argument("--epochs", type=int, default=12, help="at 100 %%; as many steps at others")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    ds = xd.datasets.load_twin()
    test = ds.dust_fine.isel(time=slice(-TEST, None))
    # between the last known day and the first test day lies the window of both
    known = ds.dust_fine.isel(time=slice(-TEST - 5))
    truth = log10(test)
    print(f"Machine: {platform.machine()}, {asked.threads} threads. Seed {asked.seed}.\n")
    print("| share of the fine record | days | encoder | r2 | MAE (log10) | minutes |")
    print("|---|---|---|---|---|---|", flush=True)
    for share in asked.shares:
        some: Any = known.isel(time=slice(-round(share * known.sizes["time"]), None))
        for encoder in asked.encoders:
            config = xd.preset(
                "fast",
                method="unet",
                data={"fractions": (0.9, 0.1, 0.0)},
                network={"encoder": encoder},
                training={"mean_epochs": round(asked.epochs / share)},
            )
            start = time.perf_counter()
            model = ds.dust.downscale.fit(
                some,
                static=ds.elevation,
                preset=config,
                seed=asked.seed,
                progress=False,
                pairing="paired",
            )
            spent = (time.perf_counter() - start) / 60
            guess = log10(ds.dust.downscale.predict(model, time=test.time))[0]
            print(
                f"| {share:.0%} | {some.sizes['time']} | {encoder} | {r2(guess, truth):.4f} "
                f"| {np.abs(guess - truth).mean():.4f} | {spent:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
