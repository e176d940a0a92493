"""Records of different weather: the verdict on them, and what `pairing="self"` is worth.

python benchmarks/unpaired.py [--set '{"training": {"mean_epochs": 8}}'] [--seed 0] [--threads 2]

Asks `diagnose_pairing` about both twins, then trains on the unsynchronised one twice and draws the
test days, and every tenth day of the eight years without a fine record. There is no truth of a
day: the climate of what is drawn is compared with that of the test days, and of the fine record.
"""

from __future__ import annotations

import argparse
import json
import platform
from typing import Any

import numpy as np
import torch
import xarray as xr
from claims import log10

import xdownscale as xd
from xdownscale import geostat


def quantiles(field: xr.DataArray) -> np.ndarray[Any, np.dtype[np.float64]]:
    """99 % quantile of each pixel, over days and realizations."""
    values = log10(field)
    return np.quantile(values.reshape(-1, *values.shape[-2:]), 0.99, axis=0)


def spectrum(field: xr.DataArray) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Log of the power at all wavelengths, mean over days and realizations."""
    power = geostat.power_spectrum(np.log10(field)).power
    over = [d for d in power.dims if d != "wavelength"]
    return np.log(power.mean(over).values)


def tracking(drawn: xr.DataArray, coarse: xr.DataArray) -> float:
    """Correlation of day-to-day departures: drawn fields averaged to coarse cells, and coarse."""
    lat, lon = (slice(float(drawn[n].min()), float(drawn[n].max())) for n in ("lat", "lon"))
    coarse = coarse.sel(lat_coarse=lat, lon_coarse=lon)
    seen = drawn.isel(realization=0).downscale.regrid(coarse, method="conservative")
    ours, theirs = (
        np.log10(f.values.astype(float)) for f in (seen, coarse.sel(time_coarse=drawn.time.values))
    )
    held = np.isfinite(ours).all(0)
    ours, theirs = (f[:, held] - f[:, held].mean(0) for f in (ours, theirs))
    return float(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1])


def spans(ds: xr.Dataset, model: xd.Downscaler) -> list[tuple[str, Any, Any]]:
    """Return names, the days that are drawn, and the fine days that they are held against."""
    test, fine = model.days("test").values, ds.dust_fine.time.values
    long = ds.dust.time_coarse.values[10:-10:10]
    long = long[(long < fine[0]) | (long > fine[-1])]
    return [("test days", test, test), ("days of eight other years", long, fine)]


def coarse_bias(ds: xr.Dataset, days: Any, known: Any) -> float:
    """Bias of the coarse record's 99 % quantiles against those of the averaged truth, log10."""
    lat, lon = (slice(float(ds[n].min()), float(ds[n].max())) for n in ("lat", "lon"))
    coarse = ds.dust.sel(lat_coarse=lat, lon_coarse=lon)
    truth = ds.dust_fine.sel(time=known).downscale.regrid(coarse, method="conservative")
    ends = [
        np.quantile(np.log10(field.values.astype(float)), 0.99, axis=0)
        for field in (coarse.sel(time_coarse=days), truth)
    ]
    return float(np.nanmean(ends[0] - ends[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", type=json.loads, default={}, help="JSON of sections to change")
    parser.add_argument("--realizations", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print(f"Machine: {platform.machine()}, {asked.threads} threads. Seed {asked.seed}.\n")
    print("| twin | verdict of `diagnose_pairing` |\n|---|---|")
    for together in (True, False):
        ds = xd.datasets.load_twin(together)
        found = geostat.diagnose_pairing(ds.dust, ds.dust_fine)
        name = "synchronised" if together else "not synchronised"
        print(f"| {name} | {found.message.item()} |", flush=True)

    config = xd.preset("fast").replace(**asked.set)
    print(
        "\n| pairing | days | bias of the 99 % quantile (log10) | its mean absolute error "
        "| mean absolute log ratio of power | correlation with the coarse record |"
    )
    print("|---|---|---|---|---|---|", flush=True)
    for pairing in ("paired", "self"):
        model = ds.dust.downscale.fit(
            ds.dust_fine,
            static=ds.elevation,
            preset=config,
            seed=asked.seed,
            progress=False,
            pairing=pairing,
        )
        for name, days, known in spans(ds, model):
            truth = ds.dust_fine.sel(time=known)
            if pairing == "paired":
                own = coarse_bias(ds, days, known)
                print(f"| coarse record itself, on its cells | {name} | {own:+.4f} | - | - | - |")
            drawn = ds.dust.downscale.predict(
                model, time=days, realizations=asked.realizations, seed=5
            )
            off = quantiles(drawn) - quantiles(truth)
            error = np.abs(spectrum(drawn) - spectrum(truth)).mean()
            print(
                f"| {pairing} | {name} | {off.mean():+.4f} | {np.abs(off).mean():.4f} "
                f"| {error:.4f} | {tracking(drawn, ds.dust):.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
