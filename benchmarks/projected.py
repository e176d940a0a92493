"""The twin on a Lambert grid: skill beside that on a regular grid, same weather and same days.

Both records are interpolated to Lambert conformal conic grids of the same spacing, and, as a
control for what interpolation itself does, to regular grids between the cells of the twin's own.
The same presets are fitted on all three pairs. A score is a ratio to that of bicubic interpolation
on the same grid. The bar: Lambert and regular differ by less than two standard errors of their
difference (bootstrap of blocks of days), or by 0.02.

Run: python benchmarks/projected.py --presets dressed fast --minutes 2
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr
from common import Array, make_parser, parse, print_head, print_row, run_facts

import xdownscale as xd
from xdownscale.core.grids import cell_weights

MAPPING = {
    "grid_mapping_name": "lambert_conformal_conic",
    "standard_parallel": [24.0, 29.5],
    "latitude_of_projection_origin": 26.75,
    "longitude_of_central_meridian": 47.45,
    "earth_radius": 6371229.0,
}
STEP = 6950.0  # m, as the twin's fine cells
SHAPES = {"fine": (80, 104), "coarse": (14, 18)}
BLOCK = 5  # days of a bootstrap block
DRAWS = 1000
BAR = 0.02
TEST = slice("2005-08-01", "2005-12-31")


def lambert_grid(kind: str) -> xr.Dataset:
    """Return a grid around the middle of the twin's domain."""
    step = STEP * (1 if kind == "fine" else 7.2)
    axes = {
        name: step * (np.arange(n) - (n - 1) / 2)
        for name, n in zip("yx", SHAPES[kind], strict=True)
    }
    coords = {
        name: (name, values, {"units": "m", "standard_name": f"projection_{name}_coordinate"})
        for name, values in axes.items()
    }
    return xr.Dataset({"crs": ((), 0, MAPPING)}, coords=coords)


def shifted_grid(kind: str) -> xr.Dataset:
    """Return a regular grid of the same spacing that lies between the cells of the twin's own."""
    step = 0.0625 * (1 if kind == "fine" else 7.2)
    rows, columns = SHAPES[kind]
    return xr.Dataset(
        coords={
            "lat": 26.75 + step * (np.arange(rows) - (rows - 1) / 2),
            "lon": 47.45 + step * 1.12 * (np.arange(columns) - (columns - 1) / 2),
        }
    )


def pairs() -> dict[str, tuple[xr.Dataset, xr.Dataset]]:
    """Return coarse and fine record on the twin's grid, a regular and a Lambert one."""
    twin = xd.datasets.load_twin()
    fine = twin[["dust_fine"]].rename(dust_fine="dust")
    coarse = twin[["dust"]].rename(time_coarse="time", lat_coarse="lat", lon_coarse="lon")
    found = {}
    for name, grid in (("regular", shifted_grid), ("lambert", lambert_grid)):
        found[name] = tuple(
            xd.regrid(record, grid(kind), "bicubic").clip(min=float(record.dust.min()))
            for kind, record in (("coarse", coarse), ("fine", fine))
        )
    # the twin's own grid loses what lies wholly outside the Lambert one
    outside = xd.grids.uncovered(found["lambert"][1], fine)
    inner = {d: ~outside.all(o).values for d, o in (("lat", "lon"), ("lon", "lat"))}
    return {"own": (coarse, fine.isel(inner)), **found}


def daily(fields: xr.DataArray, truth: xr.DataArray) -> tuple[Array, Array]:
    """Return the fair CRPS and the squared error of the mean of each day, weighted by area."""
    rows = cell_weights(truth.isel(time=0, drop=True))
    share = (rows / rows.sum()).transpose(*truth.dims[1:]).values
    members = fields.transpose("realization", *truth.dims).values.astype(float)
    count = len(members)
    ranked = (2 * np.arange(1, count + 1) - count - 1)[:, None, None, None] * np.sort(members, 0)
    spread = ranked.sum(0) / max(count * (count - 1), 1)
    crps = np.abs(members - truth.values).mean(0) - spread
    square = (members.mean(0) - truth.values) ** 2
    return (crps * share).sum((1, 2)), (square * share).sum((1, 2))


def scores(
    pair: tuple[xr.Dataset, xr.Dataset], preset: xd.DownscalerConfig, members: int
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return the daily scores of a preset and of bicubic interpolation."""
    coarse, fine = pair
    train = fine.sel(time=slice(None, "2005-07-31"))
    model = xd.fit(coarse, train, preset=preset, progress=False, pairing="paired", seed=0)
    truth = fine.dust.sel(time=TEST)
    fields = model.predict(coarse, time=truth.time, realizations=members, seed=1)
    up = xd.regrid(coarse.sel(time=truth.time), fine, "bicubic").dust
    return daily(fields, truth), daily(up.expand_dims("realization"), truth)


def compared(both: dict[str, tuple]) -> Iterator[tuple[str, float, float, float, float]]:
    """Yield for each score: its name, the ratio on three grids, the error of the difference."""
    rng = np.random.default_rng(0)
    days = len(next(iter(both.values()))[0][0])
    starts = np.arange(days - BLOCK + 1)
    for k, (name, power) in enumerate((("CRPS", 1.0), ("RMSE", 0.5))):
        parts = [(both[grid][0][k], both[grid][1][k]) for grid in ("regular", "lambert")]
        own = (both["own"][0][k].mean() / both["own"][1][k].mean()) ** power
        draws = []
        for _ in range(DRAWS):
            chosen = rng.choice(starts, days // BLOCK)
            index = (chosen[:, None] + np.arange(BLOCK)).ravel()
            draws.append([(a[index].mean() / b[index].mean()) ** power for a, b in parts])
        one, other = ((a.mean() / b.mean()) ** power for a, b in parts)
        yield name, own, one, other, float(np.std(np.diff(draws, axis=1)))


def main() -> None:
    parser = make_parser(__doc__, "--threads", threads=2)
    parser.add_argument("--presets", nargs="+", default=["dressed", "fast"])
    parser.add_argument("--minutes", type=float, default=2.0, help="of training a network")
    parser.add_argument("--members", type=int, default=20)
    args = parse(parser)
    records = pairs()
    print(run_facts(0))
    print_head(
        "preset", "score", "own grid", "regular", "Lambert", "difference", "s.e.", "within the bar"
    )
    for name in args.presets:
        preset = xd.preset(name)
        if xd.methods.find(preset.method).networks:
            preset = preset.replace(training={"max_minutes": args.minutes})
        both = {kind: scores(pair, preset, args.members) for kind, pair in records.items()}
        for score, own, one, other, error in compared(both):
            good = abs(other - one) <= max(2 * error, BAR)
            row = (
                f"{own:.3f}",
                f"{one:.3f}",
                f"{other:.3f}",
                f"{other - one:+.3f}",
                f"{error:.3f}",
            )
            print_row(name, score, *row, "yes" if good else "no")


if __name__ == "__main__":
    main()
