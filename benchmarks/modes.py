"""Compare sampling all days in parallel with sampling them in sequence.

python benchmarks/twin.py --save seed0.xd
python benchmarks/twin.py --save lags0.xd --set '{"data": {"fine_lags": 1}}'
python benchmarks/twin.py --save paper.xd --preset paper --budget 12
python benchmarks/modes.py seed0.xd lags0.xd paper.xd [--threads 2]

Each runs freely through every stretch of consecutive test days: the model sees no true fine field
after the first day. Time is that of one realization of a year, from the shortest of three runs over
some days that take turns.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from common import (
    DAY,
    Days,
    crps,
    load_models,
    log10,
    make_parser,
    parse,
    print_head,
    print_row,
    r2,
    shortest,
    stretches,
    torch_machine,
)

import xdownscale as xd


def sample(ds: xr.Dataset, model: xd.Downscaler, days: Days, count: int) -> xr.DataArray:
    """Generate days; a model with fine lags starts from the true fields before the first day."""
    sequential = model.config_.method == "diffusion" or model.config_.data.fine_lags > 0
    known = {"history": ds.dust_fine.sel(time=slice(None, days[0] - DAY))}
    fields: xr.DataArray = ds.dust.downscale.predict(
        model, time=days, realizations=count, seed=3, **(known if sequential else {})
    )
    return fields


def main() -> None:
    parser = make_parser(__doc__, "models", "--realizations", "--threads")
    parser.add_argument("--timed", type=int, default=20, help="days of the timing")
    args = parse(parser)
    ds = xd.datasets.load_twin()
    models = load_models(args.models)  # the parallel one comes first
    days = sorted(set.intersection(*(set(m.days("test").values) for m in models.values())))
    runs = stretches(np.array(days))
    truth = log10(ds.dust_fine.sel(time=days))
    timed = runs[-1][: args.timed]
    seconds = shortest(*(lambda m=m: sample(ds, m, timed, 1) for m in models.values()))
    print(
        f"{torch_machine(args)} "
        f"{len(days)} test days in {len(runs)} stretches, {args.realizations} realizations.\n"
    )
    print_head("model", "r2 of the mean", "CRPS (log10)", "s for 365 days", "over the first")
    for (name, model), time in zip(models.items(), seconds, strict=True):
        parts = [log10(sample(ds, model, run, args.realizations)) for run in runs]
        fields = np.concatenate(parts, axis=1)
        print_row(
            f"{name} ({model.config_.method}, {model.config_.sampling.steps} steps)",
            f"{r2(fields.mean(0), truth):.3f}",
            f"{crps(fields, truth):.4f}",
            f"{time / timed.size * 365:.0f}",
            f"{time / seconds[0]:.1f}",
        )


if __name__ == "__main__":
    main()
