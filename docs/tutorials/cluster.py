# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A long record on a cluster
#
# `predict_to_zarr` generates a record of any length piece by piece into a Zarr store. It runs on
# dask clusters, and needs memory for one piece only. An interrupted run continues where it stopped.
# This page uses a cluster of one worker on this machine. On an HPC system use
# `dask_jobqueue.SLURMCluster` instead.

# %%
from pathlib import Path
from tempfile import mkdtemp

from dask.distributed import Client, LocalCluster

import xdownscale as xd

ds = xd.datasets.load_twin()
model = ds.dust.downscale.fit(ds.dust_fine[:200], preset="dressed", progress=False)
model.save("dust.xd")

# %% [markdown]
# ## Start

# %%
cluster = LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0")
client = Client(cluster)

# %%
store = Path(mkdtemp()) / "dust.zarr"
year = ds.time_coarse.sel(time_coarse="2003").values
result = xd.predict_to_zarr(
    model, ds.dust, store, time=year, realizations=2, seed=0, progress=False
)
result

# %% [markdown]
# ## Interrupted? Call again
#
# A second call with the same arguments checks the finished pieces against their hashes, and
# generates the missing ones. Other arguments than before raise an error, so that a store never
# mixes two records.

# %%
again = xd.predict_to_zarr(model, ds.dust, store, time=year, realizations=2, seed=0, progress=False)
bool((again.isel(time=slice(0, 5)) == result.isel(time=slice(0, 5))).all().to_array().all())

# %%
client.close()
cluster.close()

# %% [markdown]
# ## On SLURM
#
# ```python
# from dask_jobqueue import SLURMCluster
#
# cluster = SLURMCluster(cores=1, memory="4GB", walltime="02:00:00")
# cluster.scale(20)
# client = Client(cluster)
# xd.predict_to_zarr(xd.load("dust.xd"), coarse, "/scratch/me/dust.zarr", realizations=8)
# ```
#
# Or without dask, as a job array: each task predicts a part of the time axis into a store of its
# own ([how](../howto/command_line.md)).
