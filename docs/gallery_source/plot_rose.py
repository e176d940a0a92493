"""
Rose of anisotropy
==================

Semivariance over distance and bearing, with the longest axis.
"""

import xdownscale as xd

ds = xd.datasets.load_twin()
xd.plot.rose(ds.dust_fine[:20])
