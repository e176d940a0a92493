"""How large a share of training time steps should see a window with missing ends.

python benchmarks/missing_ends.py --shares 0 0.1 0.2 0.4 --epochs 40 --seeds 0 1

Method "unet" (the mean of preset "fast") is trained on winters of Iberia, daily mean temperature,
once for each share of ``data.missing_ends``. The last 65 days but two are judged twice: inside the
record, and each as the last day of a record that ends with it. A row says the RMSE of both. A model
of share 0 refuses the ends; its records are continued by two copies of the last coarse field.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import xarray as xr
from earned import iberia

import xdownscale as xd
from xdownscale.core.errors import XDownscaleWarning

JUDGED = 65
AHEAD = 2
ONE = np.timedelta64(1, "D")


def trained(share: float, epochs: int, seed: int, days: int) -> xd.Downscaler:
    """Return the regression, trained on the days before those that are judged."""
    drivers, target, static = iberia("tas")
    known = target.isel(time=slice(-JUDGED - AHEAD - days, -JUDGED - AHEAD))
    config = xd.preset(
        "fast",
        method="unet",
        data={"missing_ends": share, "extrapolate": "nearest", "fractions": (0.9, 0.1, 0.0)},
        network={"channels": (32, 48, 64)},
        training={"epochs": epochs, "mean_epochs": epochs, "pretrain_epochs": 10},
    )
    model: xd.Downscaler = drivers.downscale.fit(
        known, static=static, preset=config, transform="identity", seed=seed, progress=False
    )
    return model


def errors(model: xd.Downscaler) -> tuple[float, float]:
    """Return the RMSE inside the record, and at its end."""
    drivers, target, _ = iberia("tas")
    truth = target.tas.isel(time=slice(-JUDGED - AHEAD, -AHEAD))
    inside = model.predict(drivers, time=truth.time).isel(realization=0)
    ends = []
    for day in truth.time.values:
        record = drivers.sel(time=slice(None, day))
        if not model.config_.data.missing_ends:
            last = record.isel(time=[-1])
            after = [last.assign_coords(time=last.time + k * ONE) for k in range(1, AHEAD + 1)]
            record = xr.concat([record, *after], "time")
        ends.append(model.predict(record, time=[day]).isel(realization=0))
    end = xr.concat(ends, "time")
    return tuple(float(np.sqrt(((field - truth.values) ** 2).mean())) for field in (inside, end))


def main() -> None:
    """Print a row for each share and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.1, 0.2, 0.4])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--days", type=int, default=360)
    options = parser.parse_args()
    warnings.simplefilter("ignore", XDownscaleWarning)
    print("seed share inside end minutes", flush=True)
    for seed in options.seeds:
        for share in options.shares:
            started = time.perf_counter()
            model = trained(share, options.epochs, seed, options.days)
            inside, end = errors(model)
            minutes = (time.perf_counter() - started) / 60
            print(f"{seed} {share:g} {inside:.4f} {end:.4f} {minutes:.1f}", flush=True)


if __name__ == "__main__":
    main()
