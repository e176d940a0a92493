"""Compare the cost and quality of sampling whole fields and patches, on test days of the twin.

python benchmarks/sampling.py seed0.xd [--days 6] [--threads 2]

Each time is the shortest of a few runs that take turns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from common import (
    crps,
    flops,
    log10,
    make_parser,
    parse,
    print_head,
    print_row,
    r2,
    shortest,
    spread_days,
    torch_machine,
)
from torch.nn import functional

import xdownscale as xd

PATCHES = {"size": 16, "stride": 2, "halo": 4}
MEASURED_STEPS = 20  # of the 1,000 of the paper's sampling


class Sampler:
    """One model and some test days of the twin."""

    def __init__(self, path: Path, days: int) -> None:
        self.ds = xd.datasets.load_twin()
        self.model = xd.load(path)
        self.days = spread_days(self.model.days("test").values, days)
        self.truth = log10(self.ds.dust_fine.sel(time=self.days))

    def sample(
        self, stitching: str = "whole", days: int | None = None, realizations: int = 1, **keys: Any
    ) -> xr.DataArray:
        """Generate fields of the first days."""
        return self.ds.dust.downscale.predict(
            self.model.with_sampling(**keys) if keys else self.model,
            time=self.days[:days],
            realizations=realizations,
            stitching=stitching,
            seed=7,
        )


def noise_rows(sampler: Sampler) -> dict[str, float]:
    """Compare residuals of patches, with independent and with shared noise, with the whole's."""
    mean = log10(sampler.sample(sampler="mean"))[0]
    residuals = {
        name: log10(sampler.sample(realizations=2, **options)) - mean
        for name, options in (
            ("whole", {}),
            ("shared", {"stitching": "patches", **PATCHES}),
            ("independent", {"stitching": "patches", "noise": "independent", **PATCHES}),
        )
    }
    sd = {name: float(field.std()) for name, field in residuals.items()}
    # the difference between two realizations comes from noise alone
    spread = {name: float((field[1] - field[0]).std()) for name, field in residuals.items()}
    together = np.corrcoef(residuals["shared"].ravel(), residuals["whole"].ravel())[0, 1]
    return {
        "std of the residual, independent noise / whole domain": sd["independent"] / sd["whole"],
        "std of the residual, shared noise / whole domain": sd["shared"] / sd["whole"],
        "spread, independent noise / whole domain": spread["independent"] / spread["whole"],
        "spread, shared noise / whole domain": spread["shared"] / spread["whole"],
        "correlation, shared noise with whole domain": float(together),
    }


def cost_rows(sampler: Sampler, realizations: int) -> dict[str, float]:
    """Compare time and scores of patches, and time of the paper's sampling, with whole fields."""

    def steps(count: int) -> None:
        sampler.sample("patches", 1, steps=count, **PATCHES)

    few, many = 2, 2 + MEASURED_STEPS
    sampler.sample(days=1)  # loads, allocates
    whole_one, whole_two, patched, short, long = shortest(
        lambda: sampler.sample(days=len(sampler.days)),
        lambda: sampler.sample(days=len(sampler.days), realizations=2),
        lambda: steps(8),
        lambda: steps(few),
        lambda: steps(many),
        repeats=2,
    )
    # the second realization needs no reading, no mean and no features of its own
    count = len(sampler.days)
    day, first = (whole_two - whole_one) / count, whole_one / count
    step = (long - short) / (many - few)
    whole, pieces = (
        log10(sampler.sample(stitching, days=2, realizations=realizations, **keys))
        for stitching, keys in (("whole", {}), ("patches", PATCHES))
    )
    truth = sampler.truth[:2]
    return {
        "seconds for a day and realization, whole domain": day,
        "seconds for a day, its first realization": first,
        "time of patches (stride 2, 8 steps) / whole domain": patched / first,
        "CRPS of patches / whole domain": crps(pieces, truth) / crps(whole, truth),
        "r2 of patches less whole domain": r2(pieces.mean(0), truth) - r2(whole.mean(0), truth),
        f"seconds for 1000 steps of patches, from {MEASURED_STEPS} measured": short
        + step * (1000 - few),
        "the paper's sampling / whole domain": (short + step * (1000 - few)) / first,
    }


def speed_rows(sampler: Sampler) -> dict[str, float]:
    """Compare FLOP/s of sampling with those of the network's largest convolution alone."""
    config = sampler.model.config_
    one = flops(sampler.sample)
    more = flops(lambda: sampler.sample(realizations=2)) - one
    channels, block = config.network.channels, config.network.unshuffle
    shape = tuple(n // block for n in sampler.truth.shape[-2:])
    fields = max(1, (1 << 15) // (shape[0] * shape[1] * block**2))
    image = torch.randn(fields, channels[0], *shape).to(memory_format=torch.channels_last)
    weight = torch.randn(channels[0], channels[0], 3, 3).to(memory_format=torch.channels_last)
    bare = 2 * image.numel() * channels[0] * 9 * 20

    def convolve() -> None:
        with torch.inference_mode():
            for _ in range(20):
                functional.conv2d(image, weight, padding=1)

    single, double, alone = shortest(
        sampler.sample, lambda: sampler.sample(realizations=2), convolve, repeats=4
    )
    ours, theirs = more / (double - single) / 1e9, bare / alone / 1e9
    return {
        "GFLOP/s of drawing": ours,
        "GFLOP/s of the largest convolution alone": theirs,
        "ratio": ours / theirs,
    }


def main() -> None:
    parser = make_parser(__doc__, "--realizations", "--threads")
    parser.add_argument("model", type=Path)
    parser.add_argument("--days", type=int, default=6)
    args = parse(parser)
    sampler = Sampler(args.model, args.days)
    print(f"{torch_machine(args)}\n")
    print_head("measure", "value")
    for rows in (
        noise_rows(sampler),
        cost_rows(sampler, args.realizations),
        speed_rows(sampler),
    ):
        for name, value in rows.items():
            print_row(name, f"{value:.4g}")


if __name__ == "__main__":
    main()
