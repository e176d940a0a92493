"""Figures of a study, each from its folder alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xdownscale import plot
from xdownscale.core.errors import DataError
from xdownscale.core.optional import require
from xdownscale.skill import baselines
from xdownscale.study.groups import PURGE, Piece, open_field
from xdownscale.study.records import StudyRecords
from xdownscale.study.split import period_of
from xdownscale.study.tables import labelled

MAX_LAG = 10  # of figure 3
LAGS = 16  # of figures 5 and 9
DPI = 130


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What figures are drawn from.

    Attributes
    ----------
    records : StudyRecords
        Both records.
    pieces : sequence of Piece
        Finished pieces of the study's first seed.
    out : Path
        Its folder.
    main : str
        System whose fields are drawn.
    literal : str
        System of figure A1.
    """

    records: StudyRecords
    pieces: Sequence[Piece]
    out: Path
    main: str
    literal: str = "vae_literal"

    def of(self, system: str) -> list[Piece]:
        """Return the pieces of a system, or raise where there is none."""
        found = [piece for piece in self.pieces if piece.system == system]
        if not found:
            raise DataError(
                f"There is no finished piece of system {system!r}, which this figure shows; run "
                f"the study with methods={system!r} among them."
            )
        return found

    def prediction(self, piece: Piece) -> tuple[xr.DataArray, xr.DataArray]:
        """Return a generated field (one realization) and the truth, of the test days."""
        fine = self.records.of(piece.area)
        time = str(fine.dims[0])
        truth = fine.sel({time: period_of(fine[time], piece.season, PURGE).test})
        field = list(piece.fields(self.out).values())[-1]  # free-running
        field = labelled(field, truth)
        if "realization" in field.dims:
            field = field.isel(realization=0, drop=True)
        return field.rename(truth.name).assign_attrs(truth.attrs), truth

    def hindcast(self, piece: Piece) -> xr.DataArray:
        """Return the fields outside the fine record."""
        path = piece.folder(self.out) / "hindcast.nc"
        if not path.exists():
            raise DataError(f"Piece {piece.name} has no fields outside the fine record.")
        fine = self.records.of(piece.area)
        field = open_field(path).isel(realization=0, drop=True)
        same = {d: fine[d] for d in fine.dims[1:]}
        return field.assign_coords(same).rename(fine.name).assign_attrs(fine.attrs)

    def driver(self, field: xr.DataArray) -> xr.DataArray:
        """Return the coarse record, interpolated to the days and cells of a field."""
        time = str(field.dims[0])
        coarse = self.records.coarse.sel({time: field[time].values})
        return baselines.interpolate(coarse, field.isel({time: 0}, drop=True))


def _logarithm(field: xr.DataArray) -> xr.DataArray:
    out: xr.DataArray = xr.apply_ufunc(np.log10, field.where(field > 0), dask="allowed")
    return out.assign_attrs(long_name=f"log10 of {field.attrs.get('long_name', field.name)}")


def records_beside(scene: Scene) -> Any:
    """Draw figure 2: both records on one day, each on its own grid."""
    fine = scene.records.fine
    day = fine[str(fine.dims[0])][len(fine) // 2]
    return plot.maps(fine, coarse=scene.records.coarse, time=day.values, titles=["coarse", "fine"])


def lag_curves(scene: Scene) -> Any:
    """Draw figure 3: R2 between a day and the days before it."""
    fields = {name: scene.records.of(name) for name in scene.records.areas}
    curves = {
        name: _logarithm(field).geostat.lag_r2(MAX_LAG, kind="pearson", weighted=False)
        for name, field in fields.items()
    }
    return plot.lag_curve(curves)


def _within(scene: Scene) -> tuple[str, xr.DataArray, xr.DataArray]:
    """Return the first area, its fine record, and the coarse one of the same days and cells."""
    area = next(iter(scene.records.areas))
    west, east, south, north = scene.records.areas[area]
    fine = scene.records.of(area)
    time, lat, lon = map(str, scene.records.coarse.dims)
    coarse = scene.records.coarse
    kept = {
        time: np.isin(coarse[time], fine[str(fine.dims[0])]),
        lat: ((coarse[lat] >= south) & (coarse[lat] <= north)).values,
        lon: ((coarse[lon] >= west) & (coarse[lon] <= east)).values,
    }
    return area, fine, coarse.isel(kept)


def semivariograms(scene: Scene) -> Any:
    """Draw figure 4: semivariograms of both records on their own grids."""
    _, fine, within = _within(scene)
    days = within[str(within.dims[0])]
    # all of the coarse record: an area may have too few of its cells
    coarse = scene.records.coarse.sel({str(within.dims[0]): days})
    some = fine.isel({str(fine.dims[0]): slice(None, None, 10)})
    less = coarse.isel({str(coarse.dims[0]): slice(None, None, 10)})
    return plot.semivariogram({"fine": _logarithm(some), "coarse": _logarithm(less)})


def _temporal(scene: Scene, fields: Mapping[str, xr.DataArray]) -> Any:
    plt = require("matplotlib.pyplot", "Drawing figures")
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), constrained_layout=True)
    plot.acf(dict(fields), ax=axes[0], max_lag=LAGS)
    plot.pacf(dict(fields), ax=axes[1], max_lag=LAGS)
    return figure


def autocorrelations(scene: Scene) -> Any:
    """Draw figure 5: autocorrelation and partial autocorrelation of the area mean."""
    _, fine, coarse = _within(scene)
    return _temporal(scene, {"fine": _logarithm(fine), "coarse": _logarithm(coarse)})


def _one_day(scene: Scene, system: str, place: int = -1) -> Any:
    """Draw prediction, truth and difference of one test day for each season of the first area."""
    pieces = [p for p in scene.of(system) if p.area == next(iter(scene.records.areas))]
    plt = require("matplotlib.pyplot", "Drawing figures")
    rows, columns = scene.records.of(pieces[0].area).shape[1:]
    width = 3.2 * min(max(columns / rows, 0.7), 2.0)
    figure, axes = plt.subplots(
        len(pieces),
        3,
        figsize=(3 * width + 0.8, 4.0 * len(pieces)),
        squeeze=False,
        constrained_layout=True,
    )
    for row, piece in zip(axes, pieces, strict=True):
        field, truth = scene.prediction(piece)
        day = truth[str(truth.dims[0])].values[place]
        plot.maps(field, truth, time=day, axes=row)
        row[0].set_ylabel(piece.season)
    return figure


def predictions(scene: Scene) -> Any:
    """Draw figure 6: prediction, truth and difference, one test day of each season."""
    return _one_day(scene, scene.main)


def outside(scene: Scene) -> Any:
    """Draw figure 7: coarse record and prediction of a day outside the fine record."""
    piece = scene.of(scene.main)[0]
    field = scene.hindcast(piece)
    day = field[str(field.dims[0])].values[len(field) // 2]
    names = ["coarse", "prediction"]
    return plot.maps(field, coarse=scene.records.coarse, time=day, titles=names)


def outside_semivariograms(scene: Scene) -> Any:
    """Draw figure 8: semivariograms outside the fine record, beside the fine record itself."""
    piece = scene.of(scene.main)[0]
    field = scene.hindcast(piece)
    fine = scene.records.of(piece.area)
    time = fine[str(fine.dims[0])]
    inside = time.dt.month.isin(np.unique(field[str(field.dims[0])].dt.month))
    some = fine.isel({str(fine.dims[0]): np.flatnonzero(inside)[::5]})
    few = field.isel({str(field.dims[0]): slice(None, None, 4)})
    return plot.semivariogram(
        {
            "prediction": _logarithm(few),
            "coarse, interpolated": _logarithm(scene.driver(few)),
            "fine record, same months": _logarithm(some),
        }
    )


def outside_autocorrelations(scene: Scene) -> Any:
    """Draw figure 9: autocorrelation of the area mean outside the fine record."""
    field = scene.hindcast(scene.of(scene.main)[0])
    fields = {"prediction": field, "coarse, interpolated": scene.driver(field)}
    return _temporal(scene, {name: _logarithm(each) for name, each in fields.items()})


def collapsed(scene: Scene) -> Any:
    """Draw figure A1: a day of the literal VAE beside the truth."""
    return _one_day(scene, scene.literal)


def other_days(scene: Scene) -> Any:
    """Draw figure A2: as figure 6, another day."""
    return _one_day(scene, scene.main, place=0)


FIGURES: dict[str, tuple[Callable[[Scene], Any], str]] = {
    "2": (records_beside, "Both records on one day, each on its own grid."),
    "3": (
        lag_curves,
        "Squared correlation of log10 fields with those some days earlier, over the pixels, by "
        "area. It does not see bias.",
    ),
    "4": (
        semivariograms,
        "Semivariograms of log10 fields, every tenth day, with spherical models, each record on "
        "its own grid: the fine one in the first area, the coarse one in all of its cells. It has "
        "no pair closer than its spacing.",
    ),
    "5": (
        autocorrelations,
        "Autocorrelation and partial autocorrelation of the area mean of log10 fields, with 95 % "
        "bounds for white noise.",
    ),
    "6": (predictions, "Prediction (one realization), truth and difference, last test day."),
    "7": (outside, "Coarse record and prediction on a day that the fine record does not have."),
    "8": (
        outside_semivariograms,
        "Semivariograms of log10 fields outside the fine record. The interpolated coarse field has "
        "no small scales by construction, so the fine record of the same months is drawn too.",
    ),
    "9": (
        outside_autocorrelations,
        "Autocorrelation of the area mean outside the fine record: one season of one year, so the "
        "bounds are wide.",
    ),
    "A1": (
        collapsed,
        "The VAE as published: what its latent numbers carry is nothing, and its fields are "
        "smooth.",
    ),
    "A2": (other_days, "As figure 6, first test day."),
}


def draw(scene: Scene, number: str, folder: Path) -> Path:
    """Draw a figure, and write it as PNG and PDF.

    Parameters
    ----------
    scene : Scene
        What it is drawn from.
    number : str
        A key of `FIGURES`.
    folder : Path
        Where to.

    Returns
    -------
    Path
        Of the PNG.

    Raises
    ------
    DataError
        If a piece that it shows was not finished.
    """
    plt = require("matplotlib.pyplot", "Drawing figures")
    drawn = FIGURES[number][0](scene)
    first = np.ravel(drawn)[0] if isinstance(drawn, np.ndarray | list | tuple) else drawn
    figure = getattr(first, "figure", None) or first
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"figure{number}.png"
    figure.savefig(path, dpi=DPI, bbox_inches="tight")
    figure.savefig(path.with_suffix(".pdf"), bbox_inches="tight")
    plt.close(figure)
    return path
