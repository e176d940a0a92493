"""Draw the figure of the front page: one day, and skill beside what takes seconds.

python docs/images/front.py --minutes 4 --output docs/images/front.png

The twin, version 2; the month that is judged was not trained on, and its day is the middle one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.colors import LogNorm

import xdownscale as xd

DAY = "2005-11-15"
SHOWN = {
    "bicubic": "bicubic interpolation",
    "bilinear + bias": "bilinear + bias",
    "ridge": "ridge regression",
    "analogues": "analogues",
    "dressed": "ridge + residuals of similar days",
    "auto": "xdownscale",
    "ceiling": "best possible",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.5, help="training time")
    parser.add_argument("--output", type=Path, default=Path("front.png"))
    options = parser.parse_args()
    torch.set_num_threads(2)
    ds = xd.datasets.load_twin(version=2)
    drivers = ds[["dust", "u10", "v10", "t850"]]
    static = ds[["elevation", "dust_source", "wind_threshold"]]
    fine = ds.dust_fine.rename("dust")
    known = fine.sel(time=slice(None, "2005-10-31"))
    config = xd.preset(
        "auto",
        data={"fractions": (0.95, 0.0, 0.05)},
        training={"max_minutes": options.minutes},
    )
    model = drivers.downscale.fit(known, static=static, preset=config, seed=0, progress=False)
    month = pd.date_range("2005-11-01", "2005-11-30")
    members = drivers.downscale.predict(model, time=month, realizations=8, seed=1)
    ceiling = xd.datasets.twin_ensemble(8, time=month).rename("dust").compute()
    table = xd.skill.table(
        {"auto": members, "ceiling": ceiling},
        fine.sel(time=month),
        scores=["crps"],
        coarse=drivers,
        train=known,
    )
    print(xd.skill.to_markdown(table))
    dressed = xd.baselines.dressed(drivers, known, month, driver="dust")
    draw(ds, fine, members, dressed.mean("realization"), table, options.output)


def draw(ds, fine, members, cheap, table, path) -> None:
    """Draw six maps and a bar for each method."""
    figure = plt.figure(figsize=(11, 6.2), layout="constrained")
    axes = figure.subplot_mosaic("abcs;defs", width_ratios=[1, 1, 1, 0.95])
    shown = {
        "a": ("Coarse record", ds.dust.sel(time_coarse=DAY)),
        "b": ("Truth, never seen", fine.sel(time=DAY)),
        "c": ("Best cheap baseline, mean", cheap.sel(time=DAY)),
        "d": ("xdownscale, member 1", members.sel(time=DAY)[0]),
        "e": ("Member 2", members.sel(time=DAY)[1]),
        "f": ("Member 3", members.sel(time=DAY)[2]),
    }
    truth = fine.sel(time=DAY)
    norm = LogNorm(*truth.quantile([0.01, 0.99]).values)
    for key, (title, field) in shown.items():
        lat, lon = (next(d for d in field.dims if str(d).startswith(n)) for n in ("lat", "lon"))
        mesh = axes[key].pcolormesh(field[lon], field[lat], field, norm=norm, cmap="cividis")
        axes[key].set(xlim=(truth.lon[0], truth.lon[-1]), ylim=(truth.lat[0], truth.lat[-1]))
        axes[key].set_title(title, loc="left", fontsize=10)
        axes[key].set(xticks=[], yticks=[], aspect=1.1)
    figure.colorbar(
        mesh,
        ax=[axes[k] for k in "def"],
        location="bottom",
        shrink=0.5,
        aspect=40,
        label="dust aerosol optical depth",
    )
    bars(axes["s"], table)
    figure.savefig(path, dpi=130)


def bars(ax, table) -> None:
    """Draw the CRPS of each method: of its ensemble where it has one."""
    values = {}
    for row, value in table["log10", "crps"].items():
        own = [name for name in SHOWN if row == name or str(row).startswith(f"{name} (ensemble")]
        if own:
            values[own[0]] = float(value)
    ordered = [k for k in SHOWN if k in values]
    colours = [
        "#0072B2" if k == "auto" else "#999999" if k != "ceiling" else "#D9D9D9" for k in ordered
    ]
    ax.barh([SHOWN[k] for k in ordered], [values[k] for k in ordered], color=colours)
    for k, place in zip(ordered, range(len(ordered)), strict=True):
        ax.text(values[k], place, f" {values[k]:.3f}", va="center", fontsize=9)
    ax.invert_yaxis()
    ax.set(xlim=(0, 1.25 * max(values.values())), xticks=[])
    ax.tick_params(axis="y", length=0, labelsize=9)
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    ax.set_title("CRPS of log10, a month: less is better", loc="left", fontsize=10)


if __name__ == "__main__":
    main()
