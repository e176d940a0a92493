"""A process of its own that fills a store; run by the tests that kill it.

python predict_to_zarr.py MODEL STORE MODE
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import torch

    import xdownscale as xd
    from records import make_pair

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    record = make_pair()[0]
    xd.predict_to_zarr(
        xd.load(sys.argv[1]),
        record.chunk(time=20),
        sys.argv[2],
        realizations=2,
        chunks={"time": 8, "realization": 1},
        progress=False,
    )
