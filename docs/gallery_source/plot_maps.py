"""
Maps of a day
=============

Coarse record, truth, prediction and difference, on one colour scale.
"""

import xdownscale as xd

ds = xd.datasets.load_twin()
truth = ds.dust_fine[400:403]
bicubic = xd.baselines.interpolate(ds.dust, truth, time=truth.time)
xd.plot.maps(bicubic, truth=truth, coarse=ds.dust, time="2005-02-05", scale="log")
