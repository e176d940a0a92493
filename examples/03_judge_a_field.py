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
# # Judge a field: no network, no torch
#
# Somebody gives you fine maps that were made from a coarse record. Are they plausible? Here the
# product is bicubic interpolation of the built-in twin's coarse record, so the answer is known:
# right on large scales, far too smooth on small ones. Runs in about a minute, without a download.

# %%
import argparse
import time
from pathlib import Path

import numpy as np
import xarray as xr

import xdownscale as xd

parser = argparse.ArgumentParser()
parser.add_argument("--days", type=int, default=60, help="days to judge")
parser.add_argument("--draws", type=int, default=400, help="resamples for an interval")
parser.add_argument("--output", type=Path, default=Path("judge_output"))
options, _ = parser.parse_known_args()  # unknown arguments: a notebook kernel has its own
options.output.mkdir(parents=True, exist_ok=True)
started = time.perf_counter()

# %% [markdown]
# ## Three records
#
# The product covers the last days of 2005. The fine record before them is what is known of how
# fine fields look; the fine fields of the same days are the truth, which one rarely has.

# %%
ds = xd.datasets.load_twin()
days = ds.dust_fine.time[-options.days :]
product = xd.baselines.interpolate(ds.dust, ds.dust_fine, time=days)
known = ds.dust_fine.isel(time=slice(0, -options.days))
truth = ds.dust_fine.sel(time=days)
print(dict(product.sizes))

# %% [markdown]
# ## Look at it

# %%
axes = product.geostat.plot_maps(truth, ds.dust, time=days[options.days // 2].values)
axes[0].figure.savefig(options.output / "maps.png", dpi=130)

# %% [markdown]
# ## Structure in space
#
# The semivariogram says how much two places differ, by their distance. Dust is skewed, so it is
# taken in log10. Interpolated fields differ too little at short distances.


# %%
def log10(field: xr.DataArray) -> xr.DataArray:
    return np.log10(field).assign_attrs(units="1", long_name="log10 of dust")


season = known.sel(time=known.time.dt.month.isin(np.unique(days.dt.month)))
coarse_season = ds.dust.sel(time_coarse=days.values)
logs = {"coarse": log10(coarse_season), "fine": log10(season), "product": log10(product)}
variograms = {name: field.geostat.semivariogram() for name, field in logs.items()}
for name, v in variograms.items():
    print(
        f"{name:8} range {v.effective_range.item():4.0f} km, sill {v.sill.item():.3f}, "
        f"semivariance at 30 km {v.semivariance.sel(lag=30, method='nearest').item():.4f}"
    )
ax = xd.plot.semivariogram(variograms)
ax.figure.savefig(options.output / "semivariogram.png", dpi=130)

# %% [markdown]
# ## Scales
#
# The power spectrum tells at which wavelengths variance is missing.

# %%
spectra = {name: field.geostat.power_spectrum() for name, field in logs.items()}
ax = xd.plot.power_spectrum(spectra)
ax.figure.savefig(options.output / "spectrum.png", dpi=130)
at_50 = {
    name: s.power.sel(wavelength=50, method="nearest").item()
    for name, s in spectra.items()
    if name != "coarse"
}
print(f"power at 50 km: {at_50['product'] / at_50['fine']:.1e} of that of the fine record")

# %% [markdown]
# ## Autocorrelation
#
# Of the regional mean, and the similarity of each day's map to those before it.

# %%
lag = min(20, options.days - 2)
correlation = {name: field.geostat.acf(max_lag=lag) for name, field in logs.items()}
ax = xd.plot.acf({name: correlation[name] for name in ("fine", "product")})
ax.figure.savefig(options.output / "acf.png", dpi=130)
ax = xd.plot.lag_curve({name: logs[name].geostat.lag_r2(max_lag=5) for name in ("fine", "product")})
ax.figure.savefig(options.output / "lag_r2.png", dpi=130)

# %% [markdown]
# ## Values
#
# The 1-Wasserstein distance of each day's values to those of the truth.

# %%
distance = product.geostat.wasserstein(truth)
print(f"on the median day {distance.wasserstein.median().item():.4f} of the range of log10")

# %% [markdown]
# ## With truth: scores beside the baselines
#
# The product is the row `bicubic`; `coarse` and `train` make the others.

# %%
table = xd.skill.table({"bicubic": product}, truth, coarse=ds.dust, train=known)
print(xd.skill.to_markdown(table))

# %% [markdown]
# ## Without truth: every statistic against its interval
#
# Each statistic of the product is compared with the 95 % interval of samples of as many days of the
# coarse record and of the known fine record. No truth is used.

# %%
evidence = xd.reports.evidence(product, ds.dust, known, draws=options.draws)
for said in evidence.sentence:
    print(said)

# %% [markdown]
# ## One page to pass on
#
# All of it in one HTML file that needs no network.

# %%
target = options.output / "report.html"
path = xd.report(product, ds.dust, ds.dust_fine, target, draws=options.draws)
print(f"{path} after {(time.perf_counter() - started) / 60:.1f} minutes")
