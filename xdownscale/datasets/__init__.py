"""Sample data for training and tests, and readers for MERRA-2, G5NR and elevation files."""

from __future__ import annotations

from xdownscale.datasets.elevation import open_elevation
from xdownscale.datasets.g5nr import open_g5nr
from xdownscale.datasets.merra2 import open_merra2
from xdownscale.datasets.twin import load_twin, make_twin, twin_ensemble

__all__ = [
    "load_twin",
    "make_twin",
    "open_elevation",
    "open_g5nr",
    "open_merra2",
    "twin_ensemble",
]
