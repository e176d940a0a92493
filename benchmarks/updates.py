"""How many updates the networks of the quickstart get, and what they make of them.

python benchmarks/updates.py                           2.5 minutes, as the quickstart
python benchmarks/updates.py --epochs 2 --threads 1    as many updates on any machine

The twin, version 2; the month that the quickstart judges, eight realizations. The first update
comes after the methods without networks; seconds count from the beginning of `fit`.
"""

from __future__ import annotations

import time
from typing import Any

import pandas as pd
from common import make_parser, print_head, print_row

import xdownscale as xd


def main() -> None:
    """Print a table of one row."""
    parser = make_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=2.5)
    parser.add_argument("--epochs", type=int, help="of each network; the minutes are 60 then")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    torch.set_num_threads(options.threads)
    twin = xd.datasets.load_twin(version=2)
    drivers = twin[["dust", "u10", "v10", "t850"]]
    fine = twin.dust_fine.rename("dust")
    training = {"max_minutes": options.minutes}
    if options.epochs:
        training = {"max_minutes": 60, "mean_epochs": options.epochs}
    updates: list[float] = []

    def count(*_: Any) -> None:
        updates.append(time.perf_counter())

    register_optimizer_step_post_hook(count)
    started = time.perf_counter()
    model = drivers.downscale.fit(
        fine.sel(time=slice(None, "2005-10-31")),
        static=twin[["elevation", "dust_source", "wind_threshold"]],
        preset=xd.preset("auto", data={"fractions": (0.95, 0.0, 0.05)}, training=training),
        seed=0,
        progress=False,
    )
    seconds = time.perf_counter() - started
    month = pd.date_range("2005-11-01", "2005-11-30")
    maps = drivers.downscale.predict(model, time=month, realizations=8, seed=1)
    table = xd.skill.table({"auto": maps}, fine.sel(time=month), scores=["crps"])
    crps = table["log10", "crps"]["auto (ensemble of 8)"]
    print_head("updates", "seconds to the first", "seconds of fit", "log10 CRPS of the ensemble")
    print_row(len(updates), f"{updates[0] - started:.0f}", f"{seconds:.0f}", f"{crps:.18f}")


if __name__ == "__main__":
    main()
