"""What the spatial and temporal structure of a gridded field is like: no torch, ever.

Every diagnostic is a public function here and a method of the accessor ``.geostat``. The packages
that do the heavy work are imported inside the functions that use them.
"""

from __future__ import annotations

from xdownscale.geostat.variogram import semivariogram

__all__ = ["semivariogram"]
