"""Check the accuracy claims of preset `fast` with saved models, on the test days of the twin.

python benchmarks/claims.py seed0.xd seed1.xd seed2.xd
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from common import (
    SHIFTS,
    Array,
    baseline_fields,
    crps,
    load_models,
    log10,
    make_parser,
    parse,
    print_measures,
    r2,
    semivariance,
    spread_skill,
)

import xdownscale as xd


def ranks(members: Array, truth: Array) -> Array:
    """Compute the rank histogram: the share of each rank of the truth, times M + 1."""
    rank = (members < truth).sum(axis=0)
    share: Array = np.bincount(rank.ravel(), minlength=len(members) + 1) / rank.size
    return share * (len(members) + 1)


def measure(ds: xr.Dataset, model: xd.Downscaler, realizations: int, many: int) -> dict[str, float]:
    """Compute all accuracy measures of one model, on all of its test days."""
    days = model.days("test").values
    truth = log10(ds.dust_fine.sel(time=days))

    def predicted(other: xd.Downscaler, count: int) -> Array:
        return log10(ds.dust.downscale.predict(other, time=days, realizations=count, seed=7))

    members = predicted(model, realizations)
    mean = members.mean(0)
    baselines = {name: log10(field) for name, field in baseline_fields(ds, model, days).items()}
    flat = ranks(members, truth)
    out = {
        "days": float(len(days)),
        "CRPS": crps(members, truth),
        "MAE of bicubic": float(np.abs(baselines["bicubic"] - truth).mean()),
        "r2 of the ensemble mean": r2(mean, truth),
        "r2 of one realization": r2(members[0], truth),
        "r2 of bicubic": r2(baselines["bicubic"], truth),
        "r2 of climatology": r2(baselines["climatology"], truth),
    }
    out["CRPS / MAE of bicubic"] = out["CRPS"] / out["MAE of bicubic"]
    if model.config_.method == "residual":
        regression = predicted(model.with_sampling(sampler="mean"), 1)[0]
        out["MAE of the regression"] = float(np.abs(regression - truth).mean())
        out["CRPS / MAE of the regression"] = out["CRPS"] / out["MAE of the regression"]
        out["r2 of the regression"] = r2(regression, truth)
        for shift in SHIFTS:
            name = f"semivariance of the regression at {shift} px"
            out[name] = semivariance(regression, shift) / semivariance(truth, shift)
    for shift in SHIFTS:
        ratio = semivariance(members[0], shift) / semivariance(truth, shift)
        out[f"semivariance of one realization at {shift} px"] = ratio
    out["spread-skill"] = spread_skill(members, truth)
    out["rank histogram, lowest"] = float(flat.min())
    out["rank histogram, highest"] = float(flat.max())
    if many and model.config_.method == "residual":
        some = slice(None, None, 4)
        long = model.with_sampling(steps=many)
        fields = ds.dust.downscale.predict(long, time=days[some], realizations=realizations, seed=7)
        ratio = crps(members[:, some], truth[some]) / crps(log10(fields), truth[some])
        out[f"CRPS, 8 over {many} steps, every fourth day"] = ratio
    return out


def main() -> None:
    parser = make_parser(__doc__, "models", "--realizations", "--threads", "--twin")
    parser.add_argument("--many", type=int, default=50, help="steps to compare 8 with; 0 skips")
    args = parse(parser)
    ds = xd.datasets.load_twin(seed=args.twin)
    models = load_models(args.models)
    rows = [measure(ds, model, args.realizations, args.many) for model in models.values()]
    print_measures(models, rows, ".4g")


if __name__ == "__main__":
    main()
