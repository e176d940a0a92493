"""What drawing costs, and what patches do to it: ratios of one run, on test days of the twin.

python benchmarks/sampling.py seed0.xd [--days 6] [--threads 2]

Every time is the shortest of a few runs that take turns, so that all meet the same machine.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from claims import crps, log10, r2
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import xdownscale as xd

PATCHES = {"size": 16, "stride": 2, "halo": 4}
MEASURED_STEPS = 20  # of the 1,000 of the paper's sampling


def shortest(*calls: Callable[[], Any], repeats: int = 3) -> list[float]:
    """Least wall time of each call, in seconds; the calls take turns."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, found in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            found.append(time.perf_counter() - start)
    return [min(found) for found in times]


class Drawing:
    """One model and some test days of the twin."""

    def __init__(self, path: Path, days: int) -> None:
        self.ds, self.model = xd.datasets.load_twin(), xd.load(path)
        test = self.model.days("test").values
        self.days = test[np.unique(np.linspace(0, test.size - 1, days).astype(int))]
        self.truth = log10(self.ds.dust_fine.sel(time=self.days))

    def draw(
        self, stitching: str = "whole", days: int | None = None, realizations: int = 1, **keys: Any
    ) -> xr.DataArray:
        """Return drawn fields of the first days."""
        return self.ds.dust.downscale.predict(
            self.model.with_sampling(**keys) if keys else self.model,
            time=self.days[:days],
            realizations=realizations,
            stitching=stitching,
            seed=7,
        )


def noise_rows(drawing: Drawing) -> dict[str, float]:
    """Residual of patches with noise of their own and with shared noise, over the whole's."""
    mean = log10(drawing.draw(sampler="mean"))[0]
    residuals = {
        name: log10(drawing.draw(realizations=2, **options)) - mean
        for name, options in (
            ("whole", {}),
            ("shared", {"stitching": "patches", **PATCHES}),
            ("independent", {"stitching": "patches", "noise": "independent", **PATCHES}),
        )
    }
    sd = {name: float(field.std()) for name, field in residuals.items()}
    # the part that differs between two realizations: what noise, and nothing else, has put there
    drawn = {name: float((field[1] - field[0]).std()) for name, field in residuals.items()}
    together = np.corrcoef(residuals["shared"].ravel(), residuals["whole"].ravel())[0, 1]
    return {
        "std of the residual, independent noise / whole domain": sd["independent"] / sd["whole"],
        "std of the residual, shared noise / whole domain": sd["shared"] / sd["whole"],
        "spread, independent noise / whole domain": drawn["independent"] / drawn["whole"],
        "spread, shared noise / whole domain": drawn["shared"] / drawn["whole"],
        "correlation, shared noise with whole domain": float(together),
    }


def cost_rows(drawing: Drawing, realizations: int) -> dict[str, float]:
    """Time of patches and of the paper's sampling over that of whole fields, and what it buys."""
    one, twice = 1, 2

    def steps(count: int) -> None:
        drawing.draw("patches", one, steps=count, **PATCHES)

    few, many = 2, 2 + MEASURED_STEPS
    drawing.draw(days=one)  # loads, allocates
    whole_one, whole_two, patched, short, long = shortest(
        lambda: drawing.draw(days=len(drawing.days)),
        lambda: drawing.draw(days=len(drawing.days), realizations=twice),
        lambda: steps(8),
        lambda: steps(few),
        lambda: steps(many),
        repeats=2,
    )
    # the second realization costs no reading, no mean and no digesting
    count = len(drawing.days)
    day, first = (whole_two - whole_one) / count, whole_one / count
    step = (long - short) / (many - few)
    whole, pieces = (
        log10(drawing.draw(stitching, days=2, realizations=realizations, **keys))
        for stitching, keys in (("whole", {}), ("patches", PATCHES))
    )
    truth = drawing.truth[:2]
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


def speed_rows(drawing: Drawing) -> dict[str, float]:
    """FLOP/s of drawing over that of the network's largest convolution alone."""
    config = drawing.model.config_
    with FlopCounterMode(display=False) as counter:
        drawing.draw()
        one = counter.get_total_flops()
    with FlopCounterMode(display=False) as counter:
        drawing.draw(realizations=2)
        two = counter.get_total_flops()
    drawn = two - one
    channels, block = config.network.channels, config.network.unshuffle
    shape = tuple(n // block for n in drawing.truth.shape[-2:])
    fields = max(1, (1 << 15) // (shape[0] * shape[1] * block**2))
    image = torch.randn(fields, channels[0], *shape).to(memory_format=torch.channels_last)
    weight = torch.randn(channels[0], channels[0], 3, 3).to(memory_format=torch.channels_last)
    bare = 2 * image.numel() * channels[0] * 9 * 20

    def convolve() -> None:
        with torch.inference_mode():
            for _ in range(20):
                functional.conv2d(image, weight, padding=1)

    single, double, alone = shortest(
        drawing.draw, lambda: drawing.draw(realizations=2), convolve, repeats=4
    )
    ours, theirs = drawn / (double - single) / 1e9, bare / alone / 1e9
    return {
        "GFLOP/s of drawing": ours,
        "GFLOP/s of the largest convolution alone": theirs,
        "ratio": ours / theirs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--days", type=int, default=6)
    parser.add_argument("--realizations", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    drawing = Drawing(asked.model, asked.days)
    print(f"Machine: {platform.machine()}, {asked.threads} threads, torch {torch.__version__}.")
    print("\n| measure | value |\n|---|---|")
    for rows in (
        noise_rows(drawing),
        cost_rows(drawing, asked.realizations),
        speed_rows(drawing),
    ):
        for name, value in rows.items():
            print(f"| {name} | {value:.4g} |", flush=True)


if __name__ == "__main__":
    main()
