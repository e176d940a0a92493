"""What the spatial and temporal structure of a gridded field is like: no torch, ever.

Every diagnostic is a public function here and a method of the accessor ``.geostat``. The packages
that do the heavy work are imported inside the functions that use them.
"""

from __future__ import annotations

from xdownscale.geostat.autocorrelation import acf, pacf
from xdownscale.geostat.compare import compare
from xdownscale.geostat.distribution import distribution
from xdownscale.geostat.lag_scores import lag_r2, lag_rmse
from xdownscale.geostat.pairing import diagnose_pairing
from xdownscale.geostat.patch_size import advise_patch
from xdownscale.geostat.seams import seams
from xdownscale.geostat.spectrum import power_spectrum
from xdownscale.geostat.variogram import semivariogram
from xdownscale.geostat.wasserstein import similarity_table, wasserstein

__all__ = [
    "acf",
    "advise_patch",
    "compare",
    "diagnose_pairing",
    "distribution",
    "lag_r2",
    "lag_rmse",
    "pacf",
    "power_spectrum",
    "seams",
    "semivariogram",
    "similarity_table",
    "wasserstein",
]
