"""Diagnostics of the spatial and temporal structure of gridded fields; no torch.

Every diagnostic is a public function here and a method of the accessors ``.geostat``. The packages
that do the heavy work are imported inside the functions that use them.

A diagnostic takes a DataArray, or a Dataset: then it is applied to each variable that has latitude
and longitude (curves over time: and a time axis), and the results are joined along the dimension
``variable``, with the units of the variables as the coordinate ``units``. Attributes that differ
between the variables are dropped. Areas of cells are those within the CF bounds of the Dataset,
which a variable that is taken out of it leaves behind. A Dataset without any variable has an empty
result, so that ``xr.map_over_datasets(semivariogram, tree)`` works on a DataTree with empty nodes.

`krige` is no diagnostic: it takes a coarse DataArray to a fine grid.
"""

from __future__ import annotations

from xdownscale.geostat.autocorrelation import acf, ljung_box, pacf
from xdownscale.geostat.compare import compare
from xdownscale.geostat.distribution import distribution
from xdownscale.geostat.kriging import krige
from xdownscale.geostat.lag_correlation import lag_correlation
from xdownscale.geostat.lag_scores import lag_r2, lag_rmse
from xdownscale.geostat.pairing import diagnose_pairing
from xdownscale.geostat.patch_size import advise_patch
from xdownscale.geostat.seams import seams
from xdownscale.geostat.spectrum import power_spectrum
from xdownscale.geostat.structure import structure
from xdownscale.geostat.variogram import cross_semivariogram, semivariogram
from xdownscale.geostat.wasserstein import similarity_table, wasserstein

__all__ = [
    "acf",
    "advise_patch",
    "compare",
    "cross_semivariogram",
    "diagnose_pairing",
    "distribution",
    "krige",
    "lag_correlation",
    "lag_r2",
    "lag_rmse",
    "ljung_box",
    "pacf",
    "power_spectrum",
    "seams",
    "semivariogram",
    "similarity_table",
    "structure",
    "wasserstein",
]
