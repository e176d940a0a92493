"""Protocol tables on the twin and on Iberia: indices and measures of VALUE and CORDEX-ML-Bench.

python benchmarks/protocols.py twin
python benchmarks/protocols.py ../shared/data/iberia_djf1990_1997.nc

Predictions that take no training but the days given: the bicubic coarse field, bilinear
interpolation with the bias of each cell and calendar month taken away, and dressing (8 members).
The last 180 days are judged, two winters of Iberia and half a year of a quarter of the twin; those
before them train.
Prints two Markdown tables for each record: indices (bias and ratio), and measures.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import statistical
import xarray as xr

import xdownscale as xd

MEMBERS = 8
SEED = 0
INDICES = {
    "pr": (
        *("Mean", "R01", "R10", "R20", "SDII", "P98Wet", "AC1", "lag1", "lag1_joined"),
        *("WWProb", "DWProb", "WetSpellMean", "DrySpellMean", "CDD", "CDD_joined", "CWD", "Rx1day"),
    ),
    "tas": (
        *("Mean", "Var", "Skewness", "P02", "P98", "AC1", "AC2", "AC3", "lag1", "lag1_joined"),
        *("TXx", "TXn", "interannual_sd"),
    ),
    "dust": ("Mean", "Var", "Skewness", "P02", "P98", "AC1", "AC2", "AC3", "lag1"),
}
MEASURES = (
    *("rmse", "pearson", "spearman", "ks", "cvm", "wasserstein", "wasserstein_pooled"),
    *("ralsd", "ralsd_mean_square", "ralsd_zero_filled"),
)


Record = tuple[xr.DataArray, xr.DataArray, int]


def twin() -> dict[str, Record]:
    """Return coarse and fine dust of a part of the twin, and how many last days are judged."""
    ds = xd.datasets.load_twin()
    fine = ds.dust_fine.isel(lat=slice(0, 48), lon=slice(0, 64))
    coarse = ds.dust.rename(time_coarse="time", lat_coarse="lat", lon_coarse="lon")
    return {"dust": (coarse, fine, 180)}


def iberia(path: Path) -> dict[str, Record]:
    """Return coarse and fine rain and temperature of winters, and how many days are judged."""
    coarse, fine = statistical.records(path)
    return {str(name): (coarse[name], fine[name], 180) for name in fine.data_vars}


def predictions(coarse: xr.DataArray, fine: xr.DataArray, judged: int) -> dict[str, xr.DataArray]:
    """Return predictions of the judged days by name."""
    asked = fine.time[-judged:]
    train = fine.isel(time=slice(0, -judged))
    near = {"time": asked, "extrapolate": "nearest"}
    ensemble = {"realizations": MEMBERS, "seed": SEED}
    return {
        "bicubic": xd.baselines.interpolate(coarse, fine, **near),
        "bilinear + bias": xd.baselines.bias_corrected(coarse, train, **near),
        f"dressed ({MEMBERS})": xd.baselines.dressed(coarse, train, **near, **ensemble),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record", help="'twin', or Iberia's file")
    given = parser.parse_args().record
    records = twin() if given == "twin" else iberia(Path(given))
    for name, (coarse, fine, judged) in records.items():
        report(name, coarse, fine, judged)


def report(name: str, coarse: xr.DataArray, fine: xr.DataArray, judged: int) -> None:
    """Print the tables of one variable."""
    start = time.process_time()
    truth = fine.isel(time=slice(-judged, None))
    by = None if name == "dust" else "season"
    tables: dict[str, Any] = {}
    measures: dict[str, Any] = {}
    for method, prediction in predictions(coarse, fine, judged).items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few years: said below
            found = xd.skill.protocol(
                prediction.assign_attrs(truth.attrs), truth, INDICES[name], by=by
            )
        own = found.indices if by is None else found.indices.loc["DJF"]
        tables["truth"] = own.truth
        tables[f"{method}: bias"] = own.bias
        tables[f"{method}: ratio"] = own.ratio
        measures[method] = found.measures.iloc[0]
    where = f"{truth.sizes['time']} days from {truth.indexes['time'][0]:%Y-%m-%d} on"
    print(f"\n## {name}, {where}\n")
    print(xd.skill.to_markdown(_named(pd.DataFrame(tables), "index")))
    print()
    kept = [n for n in measures["bicubic"].index if n in MEASURES or n.startswith(("brier", "roc"))]
    print(xd.skill.to_markdown(_named(pd.DataFrame(measures).loc[kept], "measure")))
    print(f"\nCPU seconds: {time.process_time() - start:.0f}")


def _named(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Name the rows of a table, and leave out those without any number."""
    kept = frame[np.isfinite(frame.to_numpy(float)).any(axis=1)]
    return kept.rename_axis(name)


if __name__ == "__main__":
    main()
