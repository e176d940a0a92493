"""Compare the methods of preset `fast`: the residual sampler, `crps` and `unet`.

python benchmarks/twin.py --seed 0 --save fast0.xd
python benchmarks/twin.py --seed 0 --save crps0.xd --set '{"method": "crps"}'
python benchmarks/twin.py --seed 0 --save unet0.xd --set '{"method": "unet"}'
python benchmarks/methods.py fast0.xd crps0.xd unet0.xd [--threads 2]

Ratios are to the first model; its mean is that of its regressions. Cost is the time of one more
realization, the shortest of a few runs that take turns.
"""

from __future__ import annotations

import numpy as np
from common import (
    SHIFTS,
    crps,
    load_models,
    log10,
    make_parser,
    parse,
    print_head,
    print_row,
    r2,
    semivariance,
    shortest,
    spread_skill,
    torch_machine,
)

import xdownscale as xd


def main() -> None:
    parser = make_parser(__doc__, "models", "--realizations", "--threads")
    parser.add_argument("--timed", type=int, default=6, help="days of the timing")
    args = parse(parser)
    ds = xd.datasets.load_twin()
    models = load_models(args.models)
    days = next(iter(models.values())).days("test").values
    truth = log10(ds.dust_fine.sel(time=days))

    def sample(model: xd.Downscaler, count: int, some: slice = slice(None)) -> np.ndarray:
        fields = ds.dust.downscale.predict(model, time=days[some], realizations=count, seed=7)
        return log10(fields)

    def work(model: xd.Downscaler, count: int):
        return lambda: sample(model, count, slice(args.timed))

    print(f"{torch_machine(args)}\n")
    lags = ", ".join(str(shift) for shift in SHIFTS)
    print_head(
        "model",
        "method",
        "r2 of the mean",
        "CRPS",
        "over the first",
        "spread-skill",
        f"semivariance at {lags} px",
        "ms for a realization",
        "over the first",
    )
    samplers = {n: m for n, m in models.items() if m.config_.method != "unet"}
    times = iter(shortest(*(work(m, n) for m in samplers.values() for n in (1, 5)), repeats=5))
    costs = {n: (next(times) * -1 + next(times)) / 4 / args.timed for n in samplers}
    first = None
    for name, model in models.items():
        method = model.config_.method
        if method == "unet":
            mean = sample(model, 1)[0]
            cells = [f"{r2(mean, truth):.4f}", *["-"] * 6]
        else:
            fields = sample(model, args.realizations)
            score = crps(fields, truth)
            first = first or score
            mean = fields.mean(0)
            if method == "residual":
                mean = sample(model.with_sampling(sampler="mean"), 1)[0]
            texture = (semivariance(fields[0], s) / semivariance(truth, s) for s in SHIFTS)
            cells = [
                f"{r2(mean, truth):.4f}",
                f"{score:.4f}",
                f"{score / first:.3f}",
                f"{spread_skill(fields, truth):.2f}",
                ", ".join(f"{value:.2f}" for value in texture),
                f"{costs[name] * 1e3:.0f}",
                f"{costs[name] / next(iter(costs.values())):.3f}",
            ]
        print_row(name, method, *cells)


if __name__ == "__main__":
    main()
