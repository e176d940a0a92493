"""Test `diagnose_pairing` and `pairing="self"` on coarse and fine records of different weather.

python benchmarks/unpaired.py [--set '{"training": {"mean_epochs": 8}}'] [--seed 0] [--threads 2]

Runs `diagnose_pairing` on both twins, then trains on the unsynchronised one, once with each
pairing, and generates the test days and every tenth day of the eight years without a fine record.
There is no truth for a single day: the climate of the generated fields is compared with that of the
test days, and of the fine record.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from common import Array, fit_twin, log10, machine, make_parser, parse, print_head, print_row

import xdownscale as xd
from xdownscale import geostat


def quantiles(field: xr.DataArray) -> Array:
    """Compute the 99 % quantile of each pixel, over days and realizations."""
    values = log10(field)
    return np.quantile(values.reshape(-1, *values.shape[-2:]), 0.99, axis=0)


def spectrum(field: xr.DataArray) -> Array:
    """Compute the log of the power at all wavelengths, mean over days and realizations."""
    power = geostat.power_spectrum(np.log10(field)).power
    over = [d for d in power.dims if d != "wavelength"]
    return np.log(power.mean(over).values)


def inside(coarse: xr.DataArray, fine: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """Select the coarse cells whose centres are inside the fine domain."""
    lat, lon = (slice(float(fine[n].min()), float(fine[n].max())) for n in ("lat", "lon"))
    return coarse.sel(lat_coarse=lat, lon_coarse=lon)


def tracking(fields: xr.DataArray, coarse: xr.DataArray) -> float:
    """Correlate anomalies of the fields, averaged to coarse cells, with those of the record."""
    coarse = inside(coarse, fields)
    seen = fields.isel(realization=0).downscale.regrid(coarse, method="conservative")
    ours, theirs = (
        np.log10(f.values.astype(float)) for f in (seen, coarse.sel(time_coarse=fields.time.values))
    )
    held = np.isfinite(ours).all(0)
    ours, theirs = (f[:, held] - f[:, held].mean(0) for f in (ours, theirs))
    return float(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1])


def spans(ds: xr.Dataset, model: xd.Downscaler) -> list[tuple[str, Any, Any]]:
    """Return names, the days to generate, and the fine days to compare them with."""
    test, fine = model.days("test").values, ds.dust_fine.time.values
    long = ds.dust.time_coarse.values[10:-10:10]
    long = long[(long < fine[0]) | (long > fine[-1])]
    return [("test days", test, test), ("days of eight other years", long, fine)]


def coarse_bias(ds: xr.Dataset, days: Any, known: Any) -> float:
    """Compute the bias (log10) of the coarse record's 99 % quantiles against the averaged truth."""
    coarse = inside(ds.dust, ds)
    truth = ds.dust_fine.sel(time=known).downscale.regrid(coarse, method="conservative")
    ends = [
        np.quantile(np.log10(field.values.astype(float)), 0.99, axis=0)
        for field in (coarse.sel(time_coarse=days), truth)
    ]
    return float(np.nanmean(ends[0] - ends[1]))


def main() -> None:
    options = ("--set", "--realizations", "--seed", "--threads")
    args = parse(make_parser(__doc__, *options, realizations=4))
    print(f"{machine(f'{args.threads} threads')} Seed {args.seed}.\n")
    print_head("twin", "verdict of `diagnose_pairing`")
    for together in (True, False):
        ds = xd.datasets.load_twin(together)
        found = geostat.diagnose_pairing(ds.dust, ds.dust_fine)
        print_row("synchronised" if together else "not synchronised", found.message.item())

    config = xd.preset("fast").replace(**args.set)
    print()
    print_head(
        "pairing",
        "days",
        "bias of the 99 % quantile (log10)",
        "its mean absolute error",
        "mean absolute log ratio of power",
        "correlation with the coarse record",
    )
    for pairing in ("paired", "self"):
        model = fit_twin(ds, preset=config, seed=args.seed, pairing=pairing)
        for name, days, known in spans(ds, model):
            truth = ds.dust_fine.sel(time=known)
            if pairing == "paired":
                own = coarse_bias(ds, days, known)
                print_row("coarse record itself, on its cells", name, f"{own:+.4f}", "-", "-", "-")
            fields = ds.dust.downscale.predict(
                model, time=days, realizations=args.realizations, seed=5
            )
            off = quantiles(fields) - quantiles(truth)
            error = np.abs(spectrum(fields) - spectrum(truth)).mean()
            print_row(
                pairing,
                name,
                f"{off.mean():+.4f}",
                f"{np.abs(off).mean():.4f}",
                f"{error:.4f}",
                f"{tracking(fields, ds.dust):.3f}",
            )


if __name__ == "__main__":
    main()
