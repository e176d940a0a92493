"""Time sampling on one GPU: size `base`, 561 x 721 cells. Without one: "not measured".

python benchmarks/gpu.py [--size base] [--shape 561 721] [--fields 16]
python benchmarks/gpu.py --train   # seconds of the last of three epochs of each stage, on the twin

The networks are not trained: their cost does not depend on the weights.
"""

from __future__ import annotations

import numpy as np
import torch
from common import fit_twin, flops, make_parser, print_head, print_row, shortest

import xdownscale as xd
from xdownscale.models.diffusion.calibration import BANDS
from xdownscale.models.diffusion.residual_statistics import ResidualStatistics
from xdownscale.models.diffusion.spectra import Spectrum
from xdownscale.models.diffusion.temporal_noise import RHOS
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.networks.field_unet import FieldNetworks
from xdownscale.models.sampling.fields import ResidualSampler
from xdownscale.models.sampling.request import Conditions, SampleRequest

SIZES = Sizes(drivers=1, window=5, lags=3, own=(0,), fine_lags=0, static=7, calendar=4)


def pieces(shape: tuple[int, int], days: int) -> tuple[ResidualStatistics, Conditions]:
    """Return a residual model, and noise as the conditions of some days."""
    frequency = np.linspace(0.01, 0.5, 30)
    spectra = (Spectrum(frequency, 0.02 / frequency**2),)
    even = np.ones((1, BANDS.size))
    shares = np.full((1, RHOS.size), 1 / RHOS.size)
    residual = ResidualStatistics(np.ones(1), shares, BANDS, even, spectra)
    rng = np.random.default_rng(0)
    place = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape[::-1])), -1)
    conditions = Conditions(
        window=rng.normal(size=(days, SIZES.window, 1, *shape)).astype(np.float32),
        fine_lags=np.zeros((days, 0, 1, *shape), np.float32),
        coarse=rng.normal(size=(days, SIZES.lags, 1, 71, 73)).astype(np.float32),
        static=rng.normal(size=(SIZES.static, *shape)).astype(np.float32),
        calendar=np.zeros((days, SIZES.calendar), np.float32),
        place=place.astype(np.float32),
        own=SIZES.own,
        keys=86400 * np.arange(days),
    )
    return residual, conditions


def measure(
    config: xd.DownscalerConfig, shape: tuple[int, int], fields: int
) -> tuple[float, float]:
    """Return seconds per field, and TFLOP/s."""
    networks = FieldNetworks(SIZES, 2, 1, config.network).cuda().eval()
    networks = networks.to(memory_format=torch.channels_last)
    if config.sampling.compile:
        networks.generator.compile()
    residual, conditions = pieces(shape, 1)
    request = SampleRequest(
        conditions=conditions,
        config=config,
        realizations=tuple(range(fields)),
        seed=0,
        step=86400,
        device="cuda",
        corner=(0, 0),
        domain=shape,
        stitching="whole",
    )
    sampler = ResidualSampler(networks, residual)

    def sample() -> None:
        sampler.sample(request)
        torch.cuda.synchronize()

    count = flops(sample)
    sample()
    (taken,) = shortest(sample, repeats=1)
    return taken / fields, count / taken / 1e12


TRAININGS = {
    "tiny, 32": {"training": {"precision": "32"}},
    "base": {"network": {"size": "base"}},
    "tiny, 16 days in a batch": {"training": {"batch_days": 16}},
}


def last_epochs(sections: dict[str, dict[str, object]], epochs: int) -> dict[str, float]:
    """Train preset `fast` on the twin; return seconds of the last epoch of each stage."""
    few = dict.fromkeys(("epochs", "mean_epochs", "pretrain_epochs"), epochs)
    training = {**few, **sections.get("training", {})}
    config = xd.preset("fast", **{**sections, "training": training})
    history = fit_twin(xd.datasets.load_twin(), preset=config, seed=0).history_.sel(group="all")
    spent = history["seconds"].groupby(history["stage"])  # of each stage, added up over its epochs
    return {str(name): float(part[-1] - part[-2]) for name, part in spent}


def time_training(epochs: int) -> None:
    """Print a row for each training."""
    print_head("training", "seconds of the last epoch of each stage")
    for name, sections in TRAININGS.items():
        taken = last_epochs(sections, epochs)
        print_row(name, ", ".join(f"{stage} {each:.1f}" for stage, each in taken.items()))


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--size", default="base")
    parser.add_argument("--shape", type=int, nargs=2, default=[561, 721])
    parser.add_argument("--fields", type=int, default=16)
    parser.add_argument("--train", action="store_true", help="time training instead")
    args = parser.parse_args()
    there = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if there else "no GPU"
    print(f"{name}, torch {torch.__version__}, size {args.size}, {args.shape} cells.\n")
    if args.train and there:
        time_training(epochs=3)
        return
    print_head("precision", "compiled", "seconds a field", "TFLOP/s")
    for precision in ("32", "bf16"):
        for compiled in (False, True):
            row = ["not measured"] * 2
            if there:
                config = xd.preset(
                    "fast",
                    network={"size": args.size},
                    sampling={"precision": precision, "compile": compiled},
                )
                seconds, speed = measure(config, tuple(args.shape), args.fields)
                row = [f"{seconds:.4f}", f"{speed:.1f}"]
            print_row(precision, "yes" if compiled else "no", *row)


if __name__ == "__main__":
    main()
