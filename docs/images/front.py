"""Draw the picture of the front page: one day, and skill beside what takes seconds.

python docs/images/front.py --minutes 60 --threads 1 --precision bf16 --output docs/images/front.png
python docs/images/front.py --redraw --output docs/images/front.png

The twin, version 2; the month that is judged was not trained on, and its day is the middle one.
What is drawn is kept beside the picture, so that another layout needs no training.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
import xarray as xr
from matplotlib.colors import LogNorm
from matplotlib.ticker import NullLocator, ScalarFormatter

import xdownscale as xd

DAY = "2005-11-15"
SHOWN = {
    "bicubic": "bicubic interpolation",
    "bilinear + bias": "bilinear + bias per cell",
    "ridge": "ridge regression",
    "analogues": "analogues",
    "dressed": "ridge + residuals of similar days",
    "auto": "xdownscale",
    "ceiling": "best that is possible",
}
MAPS = {
    "coarse": "coarse record",
    "truth": "truth, never seen",
    "cheap": "best cheap baseline, member 1",
    "member 1": "xdownscale, member 1",
    "member 2": "member 2",
    "member 3": "member 3",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="training time")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="auto", help="bf16 where the CPU multiplies it")
    parser.add_argument("--redraw", action="store_true", help="draw what an earlier run kept")
    parser.add_argument("--output", type=Path, default=Path("front.png"))
    options = parser.parse_args()
    kept = options.output.with_suffix(".nc")
    if not options.redraw:
        torch.set_num_threads(options.threads)
        computed(options.minutes, options.precision).to_netcdf(kept)
    with xd.plot.style(), xr.open_dataset(kept) as shown:
        draw(shown.load()).savefig(options.output, dpi=150)


def computed(minutes: float, precision: str) -> xr.Dataset:
    """Train, predict and judge; return the day's fields, and the CRPS of each method."""
    ds = xd.datasets.load_twin(version=2)
    drivers = ds[["dust", "u10", "v10", "t850"]]
    static = ds[["elevation", "dust_source", "wind_threshold"]]
    fine = ds.dust_fine.rename("dust")
    known = fine.sel(time=slice(None, "2005-10-31"))
    config = xd.preset(
        "auto",
        data={"fractions": (0.95, 0.0, 0.05)},
        training={"max_minutes": minutes, "precision": precision},
    )
    model = drivers.downscale.fit(known, static=static, preset=config, seed=0, progress=False)
    print(model)
    month = pd.date_range("2005-11-01", "2005-11-30")
    members = drivers.downscale.predict(model, time=month, realizations=8, seed=1).compute()
    ceiling = xd.datasets.twin_ensemble(8, time=month).rename("dust").compute()
    table = xd.skill.table(
        {"auto": members, "ceiling": ceiling},
        fine.sel(time=month),
        scores=["crps"],
        coarse=drivers,
        train=known,
    )
    print(xd.skill.to_markdown(table))
    cheap = xd.baselines.dressed(drivers, known, month, driver="dust")[0]
    crps = {}
    for row, value in table["log10", "crps"].items():
        own = [name for name in SHOWN if row == name or str(row).startswith(f"{name} (ensemble")]
        if own:
            crps[own[0]] = float(value)
    fields = {f"member {k + 1}": members.sel(time=DAY)[k] for k in range(3)}
    fields |= {"truth": fine.sel(time=DAY), "cheap": cheap.sel(time=DAY)}
    found = xr.Dataset({name: field.reset_coords(drop=True) for name, field in fields.items()})
    found["coarse"] = ds.dust.sel(time_coarse=DAY).reset_coords(drop=True)
    found["crps"] = "method", [crps[name] for name in SHOWN]
    return found.assign_coords(method=list(SHOWN)).drop_attrs()


def draw(shown: xr.Dataset) -> plt.Figure:
    """Draw six maps and a bar for each method."""
    figure = plt.figure(figsize=(11, 5.6))
    left, right = figure.subfigures(1, 2, width_ratios=[3.05, 1])
    axes = left.subplots(
        2,
        3,
        gridspec_kw={
            "left": 0.015,
            "right": 0.985,
            "top": 0.95,
            "bottom": 0.13,
            "wspace": 0.04,
            "hspace": 0.15,
        },
    )
    norm = LogNorm(*shown.truth.quantile([0.01, 0.99]).values)
    for ax, (key, title) in zip(axes.flat, MAPS.items(), strict=True):
        field = shown[key]
        lat, lon = (next(d for d in field.dims if str(d).startswith(n)) for n in ("lat", "lon"))
        mesh = ax.pcolormesh(field[lon], field[lat], field, norm=norm, cmap="cividis")
        ax.set(xlim=shown.lon[[0, -1]], ylim=shown.lat[[0, -1]], xticks=[], yticks=[])
        ax.set_title(title, loc="left", pad=4)
        mesh.set_rasterized(True)
    place = left.add_axes((0.38, 0.075, 0.4, 0.022))
    bar = left.colorbar(mesh, cax=place, orientation="horizontal", extend="both")
    bar.set_ticks([v for v in (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5) if norm.vmin < v < norm.vmax])
    bar.ax.xaxis.set_minor_locator(NullLocator())
    bar.ax.xaxis.set_major_formatter(ScalarFormatter())
    left.text(0.37, 0.086, f"dust aerosol optical depth, {DAY}", ha="right", va="center")
    bars(right.add_axes((0.02, 0.05, 0.9, 0.84)), shown.crps.to_series())
    right.text(0.02, 0.957, "error (CRPS), best baseline = 1", fontsize=10)
    return figure


def bars(ax: plt.Axes, crps: pd.Series) -> None:
    """Draw the CRPS of each method, of its ensemble where it has one, over that of the best."""
    crps = crps / crps["dressed"]
    colours = {"auto": "#0072B2", "ceiling": "#D9D9D9"}
    for place, (name, value) in enumerate(crps.items()):
        ax.barh(place, value, height=0.36, color=colours.get(name, "#999999"))
        weight = "bold" if name == "auto" else "normal"
        ax.text(0, place - 0.25, SHOWN[name], va="bottom", fontweight=weight)
        ax.text(value + 0.02, place, f"{value:.2f}", va="center", fontweight=weight)
    ax.set(xlim=(0, 1.12 * crps.max()), ylim=(len(crps) - 0.6, -0.75))
    ax.axis("off")


if __name__ == "__main__":
    main()
