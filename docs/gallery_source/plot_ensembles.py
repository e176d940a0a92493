"""
Is an ensemble calibrated?
==========================

If it is, the rank histogram is flat and the spread equals the error. The ensemble is that of method
``dressed``, which is fitted in seconds.
"""

import matplotlib.pyplot as plt

import xdownscale as xd

ds = xd.datasets.load_twin()
known, later = ds.dust_fine[:300], ds.dust_fine[600:660]
model = ds.dust.downscale.fit(known, preset="dressed", progress=False)
members = ds.dust.downscale.predict(model, time=later.time, realizations=16)

figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
xd.plot.rank_histogram(xd.skill.rank_histogram(members, later), ax=axes[0])
xd.plot.spread_skill(xd.skill.spread_skill(members, later), ax=axes[1])
