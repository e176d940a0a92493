"""
Power spectrum
==============

Variance by wavelength. Interpolation has almost none below the resolution of the coarse record.
"""

import xdownscale as xd

ds = xd.datasets.load_twin()
truth = ds.dust_fine[:60]
fields = {"truth": truth, "bicubic": xd.baselines.interpolate(ds.dust, truth, time=truth.time)}
xd.plot.power_spectrum(fields)
