"""A process of its own that fills a store; run by the tests that kill it.

python draw_to_zarr.py MODEL STORE MODE
"""

from __future__ import annotations

import runpy
import sys
import warnings
from pathlib import Path

import torch

import xdownscale as xd

torch.set_num_threads(1)
warnings.simplefilter("ignore")

if __name__ == "__main__":
    kit = runpy.run_path(str(Path(__file__).parents[1] / "fast_record.py"))
    record = kit["records"]()[0]
    xd.predict_to_zarr(
        xd.load(sys.argv[1]),
        record.chunk(time=20),
        sys.argv[2],
        realizations=2,
        chunks={"time": 8, "realization": 1},
        progress=False,
    )
