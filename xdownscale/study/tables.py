"""Tables of a study: summary (1), distances of records (2), scores (3, A1), and all systems."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xdownscale import geostat, skill
from xdownscale.core.errors import XDownscaleWarning
from xdownscale.splits import resolve_seasons
from xdownscale.study.groups import CLOSED, PURGE, Piece
from xdownscale.study.records import StudyRecords
from xdownscale.study.split import period_of

SCORES = ("pearson_r2", "r2", "rmse", "mae", "crps", "spread_skill")
APPENDIX = ("mae", "nse_space", "kge_space")
FLOOR = 1e-7  # of the logarithm, as in the paper


def summary(records: StudyRecords, seasons: Sequence[str]) -> pd.DataFrame:
    """Return table 1: mean, standard deviation and quantiles of both records.

    Parameters
    ----------
    records : StudyRecords
        What is studied.
    seasons : sequence of str
        Of the study.
    """
    return skill.describe(
        {"coarse": records.coarse, "fine": records.fine},
        by=("season", "region"),
        regions=dict(records.areas),
        seasons=resolve_seasons(list(seasons)),
        quantiles=(0.05, 0.5, 0.95),
        n_days=True,
    )


def distances(records: StudyRecords, seasons: Sequence[str]) -> pd.DataFrame:
    """Return table 2: Wasserstein distances of coarse and fine record, in log10.

    Parameters
    ----------
    records, seasons
        As for `summary`.
    """
    rows = {}
    for area in records.areas:
        fine = records.of(area)
        time = str(fine.dims[0])
        coarse = records.coarse.sel({time: np.isin(records.coarse[time], fine[time])})
        coarse = _box(coarse, records.areas[area])
        for season in seasons:
            inside = _season(fine, season)
            pair = (_of(fine, inside), _of(coarse, inside))
            daily = geostat.wasserstein(*pair, transform="log10", floor=FLOOR)
            pooled = geostat.wasserstein(
                *pair, kind="pooled", bins=256, transform="log10", floor=FLOOR
            )
            summary_of_days = ("mean", "p10", "p90")
            rows[area, season] = {
                "days": daily["wasserstein"].size,
                **{name: float(daily[f"wasserstein_{name}"]) for name in summary_of_days},
                "pooled": float(pooled["wasserstein"]),
            }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(rows, names=["area", "season"])
    return table


def _season(da: xr.DataArray, season: str) -> xr.DataArray:
    time = da[str(da.dims[0])]
    return time[time.dt.month.isin(resolve_seasons([season])[season])]


def _of(da: xr.DataArray, days: xr.DataArray) -> xr.DataArray:
    return da.sel({str(da.dims[0]): days.values})


def _box(da: xr.DataArray, box: tuple[float, float, float, float]) -> xr.DataArray:
    west, east, south, north = box
    lat, lon = (str(d) for d in da.dims[1:])
    inside = {
        lat: ((da[lat] >= south) & (da[lat] <= north)).values,
        lon: ((da[lon] >= west) & (da[lon] <= east)).values,
    }
    return da.isel(inside)


def scores_of(records: StudyRecords, pieces: Sequence[Piece], out: Path) -> pd.DataFrame:
    """Return the scores of all rows of one area, season and seed.

    Parameters
    ----------
    records : StudyRecords
        With the truth.
    pieces : sequence of Piece
        Finished ones of one group and seed.
    out : Path
        Folder of the study.

    Returns
    -------
    DataFrame
        A row for each row of `skill.table`, columns (units, score) of means, then of standard
        deviations over days, then ``texture`` and ``minutes``.
    """
    first = pieces[0]
    fine = records.of(first.area)
    time = str(fine.dims[0])
    truth = fine.sel({time: period_of(fine[time], first.season, PURGE).test})
    learnt: dict[str, xr.DataArray] = {}
    closed: dict[str, xr.DataArray] = {}
    for piece in pieces:
        own = {row: labelled(field, truth) for row, field in piece.fields(out).items()}
        (closed if piece.system == CLOSED else learnt).update(own)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)
        table = skill.table(
            learnt or closed,
            truth,
            "log10",
            list(dict.fromkeys(SCORES + APPENDIX)),
            baselines=closed if learnt else None,
        )
    flat = pd.DataFrame(table).copy()
    flat.columns = [" ".join(column) for column in table.columns]
    sd = {" ".join(column): pd.Series(table.attrs["sd"][column]) for column in table.columns}
    flat = flat.join(pd.DataFrame(sd).add_suffix(" sd"))
    fields = learnt | closed
    flat["texture"] = [_texture(_named(row, fields), truth) for row in flat.index]
    return flat


def labelled(field: xr.DataArray, truth: xr.DataArray) -> xr.DataArray:
    """Give a field that was read the coordinates of the truth: files may round them."""
    dims = [d for d in field.dims if d in truth.dims]
    return field.assign_coords({d: truth[d] for d in dims}).assign_attrs(truth.attrs)


def _named(row: str, fields: Mapping[str, xr.DataArray]) -> tuple[xr.DataArray, str]:
    name = max((name for name in fields if row.startswith(name)), key=len)
    return fields[name], row


def _texture(made: tuple[xr.DataArray, str], truth: xr.DataArray) -> float:
    """Return the semivariance of neighbouring pixels over that of the truth, log10."""
    field, row = made
    values = np.log10(field.values)
    if "realization" in field.dims:
        axis = field.dims.index("realization")
        values = values.mean(axis) if "mean" in row else values.take(0, axis)
    found, true = (_neighbours(each) for each in (values, np.log10(truth.values)))
    return found / true if true > 0 else float("nan")


def _neighbours(values: Any) -> float:
    steps = [np.diff(values, axis=axis) for axis in (-1, -2)]
    return float(np.nanmean([np.nanmean(np.square(each)) for each in steps]) / 2)


def joined(parts: Mapping[Piece, pd.DataFrame]) -> pd.DataFrame:
    """Join the scores of groups and seeds, with area, season and seed as index.

    Parameters
    ----------
    parts : mapping of Piece to DataFrame
        Scores, by one piece of each group and seed.
    """
    keys = [(piece.area, piece.season, piece.seed) for piece in parts]
    names = ["area", "season", "seed", "row"]
    return pd.concat(list(parts.values()), keys=keys, names=names)


def pivoted(scores: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return one score: rows of the study down, areas and seasons across, ``mean (sd)``.

    Parameters
    ----------
    scores : DataFrame
        As `joined` returns it.
    column : str
        Such as ``"log10 pearson_r2"``.
    """
    mean = scores[column].groupby(level=["row", "area", "season"], sort=False).mean()
    sd = scores[f"{column} sd"].groupby(level=["row", "area", "season"], sort=False).mean()
    words = mean.map("{:.3f}".format) + sd.map(lambda x: f" ({x:.3f})" if np.isfinite(x) else "")
    said = words.where(mean.notna(), "").rename("said").reset_index()
    rows = list(dict.fromkeys(said["row"]))
    table: pd.DataFrame = said.pivot_table(
        "said", "row", ["area", "season"], aggfunc="first", sort=False
    )
    return table.reindex(rows).fillna("")


def systems(scores: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """Return the table of all systems: means over areas, seasons and seeds, with their cost.

    Parameters
    ----------
    scores : DataFrame
        As `joined` returns it.
    facts : DataFrame
        Minutes and weights of each piece.
    """
    columns = {
        "log10 pearson_r2": "squared correlation",
        "log10 r2": "r2",
        "log10 crps": "CRPS, log10",
        "log10 spread_skill": "spread-skill",
        "texture": "texture",
    }
    there = {old: new for old, new in columns.items() if old in scores}
    table = scores[list(there)].groupby(level="row", sort=False).mean().rename(columns=there)
    if len(scores.index.unique("seed")) > 1:
        by_seed = scores["log10 crps"].groupby(level=["row", "seed"], sort=False).mean()
        table["sd of seeds, CRPS"] = by_seed.groupby(level="row", sort=False).std()
    for name in ("minutes", "minutes_generating", "weights"):
        if name in facts:
            of = facts.groupby("system")[name].mean()
            table[name] = [of.get(_system(row, of.index), np.nan) for row in table.index]
    return table


def _system(row: str, known: pd.Index) -> str:
    found = [name for name in known if row == name or row.startswith((f"{name} [", f"{name} ("))]
    return max(found, key=len, default=CLOSED)
