"""Two small fitted models, of either kind; run by path from the tests that need them."""

from __future__ import annotations

import functools
import runpy
from pathlib import Path

import xdownscale as xd

fast_record = runpy.run_path(str(Path(__file__).with_name("fast_record.py")))


@functools.cache
def fitted(kind):
    """Return a fitted model of preset `kind`."""
    coarse, fine = (record["t"] for record in fast_record["records"](60))
    if kind == "fast":
        config = fast_record["config"]()
    else:
        config = xd.preset(
            "paper",
            data={"lags": 2, "patch_size": 8, "patch_stride": 4, "extrapolate": "nearest"},
            network={"channels": (8, 8), "encoder_channels": (8, 8)},
            training={"epochs": 1, "pretrain_epochs": 1, "batch_days": 8},
            sampling={"steps": 2, "size": 8, "stride": 4, "halo": 1},
        )
    return coarse.downscale.fit(fine, preset=config, progress=False)
