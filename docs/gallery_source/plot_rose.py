"""
Rose of anisotropy
==================

Semivariance by distance and bearing. A line shows the axis with the longest range.
"""

import xdownscale as xd

ds = xd.datasets.load_twin()
xd.plot.rose(ds.dust_fine[:20])
