"""
Autocorrelation in time
=======================

Autocorrelation and partial autocorrelation of the regional mean, and R2 between fields some days
apart.
"""

import matplotlib.pyplot as plt

import xdownscale as xd

ds = xd.datasets.load_twin()
truth = ds.dust_fine[:200]
figure, axes = plt.subplots(1, 3, figsize=(12, 3.5), layout="constrained")
xd.plot.acf(truth, ax=axes[0])
xd.plot.pacf(truth, ax=axes[1])
xd.plot.lag_curve(truth, ax=axes[2])
