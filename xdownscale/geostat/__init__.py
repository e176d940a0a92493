"""What the spatial and temporal structure of a gridded field is like: no torch, ever.

Every diagnostic is a public function here and a method of the accessor ``.geostat``. The packages
that do the heavy work are imported inside the functions that use them.
"""

from __future__ import annotations

from xdownscale.geostat._advice import advise_patch
from xdownscale.geostat._distribution import distribution
from xdownscale.geostat._seams import seams
from xdownscale.geostat._table import similarity_table
from xdownscale.geostat.comparison import compare
from xdownscale.geostat.lagcurves import lag_r2, lag_rmse
from xdownscale.geostat.pairing import diagnose_pairing
from xdownscale.geostat.similarity import wasserstein
from xdownscale.geostat.spectrum import power_spectrum
from xdownscale.geostat.temporal import acf, pacf
from xdownscale.geostat.variogram import semivariogram

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
