"""Measure what the encoder of the coarse record adds, by the length of the fine record.

python benchmarks/encoder.py [--shares 0.25 0.5 1] [--seed 0] [--threads 2]

Trains method `unet`, whose one regression is what the residual sampler's mean is made of, for every
encoder and share: the last days before the test days. All are judged on the same test days.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from common import fit_twin, log10, machine, make_parser, parse, print_head, print_row, r2

import xdownscale as xd

ENCODERS = ("none", "frozen", "finetuned")
TEST = 72  # last days of the fine record


def main() -> None:
    parser = make_parser(__doc__, "--seed", "--threads")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    parser.add_argument("--encoders", nargs="+", default=ENCODERS, choices=ENCODERS)
    parser.add_argument("--epochs", type=int, default=12, help="at 100 %%; as many steps at others")
    args = parse(parser)
    ds = xd.datasets.load_twin()
    test = ds.dust_fine.isel(time=slice(-TEST, None))
    # the gap between training and test days is as long as the lag window
    known = ds.dust_fine.isel(time=slice(-TEST - 5))
    truth = log10(test)
    print(f"{machine(f'{args.threads} threads')} Seed {args.seed}.\n")
    print_head("share of the fine record", "days", "encoder", "r2", "MAE (log10)", "minutes")
    for share in args.shares:
        some: Any = known.isel(time=slice(-round(share * known.sizes["time"]), None))
        for encoder in args.encoders:
            config = xd.preset(
                "fast",
                method="unet",
                data={"fractions": (0.9, 0.1, 0.0)},
                network={"encoder": encoder},
                training={"mean_epochs": round(args.epochs / share)},
            )
            start = time.perf_counter()
            model = fit_twin(ds, some, preset=config, seed=args.seed, pairing="paired")
            spent = (time.perf_counter() - start) / 60
            guess = log10(ds.dust.downscale.predict(model, time=test.time))[0]
            print_row(
                f"{share:.0%}",
                some.sizes["time"],
                encoder,
                f"{r2(guess, truth):.4f}",
                f"{np.abs(guess - truth).mean():.4f}",
                f"{spent:.1f}",
            )


if __name__ == "__main__":
    main()
