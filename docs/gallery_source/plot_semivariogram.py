"""
Semivariogram
=============

Half the mean squared difference of two points, by distance. Interpolated fields have too little
semivariance at short distances: they are too smooth.
"""

import xdownscale as xd

ds = xd.datasets.load_twin()
truth = ds.dust_fine[:60]
fields = {"truth": truth, "bicubic": xd.baselines.interpolate(ds.dust, truth, time=truth.time)}
xd.plot.semivariogram(fields, max_distance=300)
