"""
Reliability of probabilities
============================

How often dust exceeded a threshold, for each probability that the ensemble forecast.
"""

import xdownscale as xd

ds = xd.datasets.load_twin()
known, later = ds.dust_fine[:300], ds.dust_fine[600:660]
model = ds.dust.downscale.fit(known, preset="dressed", progress=False)
members = ds.dust.downscale.predict(model, time=later.time, realizations=16)
threshold = float(known.quantile(0.8))
xd.plot.reliability(xd.skill.reliability(members, later, threshold))
