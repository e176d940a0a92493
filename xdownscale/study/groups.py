"""One piece of a study: a system trained for one area and season with one seed, and its fields."""

from __future__ import annotations

import json
import shutil
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xdownscale import methods
from xdownscale.core.errors import XDownscaleError, XDownscaleWarning
from xdownscale.core.files import write_whole
from xdownscale.core.optional import installed_version
from xdownscale.core.time import months, seconds
from xdownscale.downscaler import Downscaler, load
from xdownscale.skill import baselines
from xdownscale.splits import resolve_seasons
from xdownscale.study.records import StudyRecords
from xdownscale.study.registry import config_of
from xdownscale.study.split import Period, period_of

CLOSED = "baselines"  # the piece that holds all of them
PURGE = 3  # days between training and test days; lags of the tiny networks
MARGIN = 4  # days at the ends of what may be generated
FREE, FORCED = "free-running", "teacher-forced"


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What is trained and generated on its own.

    Attributes
    ----------
    area, season, system : str
        Of which `system` is ``"baselines"`` for all of them.
    seed : int
        Of training and noise.
    """

    area: str
    season: str
    system: str
    seed: int

    @property
    def group(self) -> str:
        """Area and season, as ``--only`` names them."""
        return f"{self.area}-{self.season}"

    @property
    def name(self) -> str:
        """Name in the log."""
        return f"{self.group} {self.system} (seed {self.seed})"

    def folder(self, out: Path) -> Path:
        """Return its folder."""
        return out / "pieces" / self.group / f"seed{self.seed}" / self.system

    def is_done(self, out: Path) -> bool:
        """Whether it was finished."""
        return (self.folder(out) / "done.json").exists()

    def facts(self, out: Path) -> dict[str, Any]:
        """Return minutes, weights and rows of a finished piece."""
        found: dict[str, Any] = json.loads((self.folder(out) / "done.json").read_text())
        return found

    def fields(self, out: Path) -> dict[str, xr.DataArray]:
        """Return the generated fields of a finished piece, by row."""
        rows = self.facts(out)["rows"]
        return {row: open_field(self.folder(out) / name) for row, name in rows.items()}


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is trained and generated.

    Attributes
    ----------
    minutes : float or None
        Time for the training of one piece.
    members : int
        Realizations of each test day.
    hindcast : int
        Days outside the fine record that the main system generates, for figures 7 to 9.
    device : str
        Where.
    """

    minutes: float | None
    members: int
    hindcast: int
    device: str = "auto"


def open_field(path: Path) -> xr.DataArray:
    """Return a field that `run_piece` wrote, in memory."""
    with xr.open_dataarray(path) as opened:
        return opened.load()


def run_piece(
    piece: Piece, records: StudyRecords, effort: Effort, out: Path, *, hindcast: bool
) -> None:
    """Train a piece, generate the test days, and write both; the last file says that it is done.

    Parameters
    ----------
    piece : Piece
        What.
    records : StudyRecords
        From what.
    effort : Effort
        How much.
    out : Path
        Folder of the study.
    hindcast : bool
        Generate days outside the fine record too.
    """
    folder = piece.folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    fine = records.of(piece.area)
    days = period_of(fine[fine.dims[0]], piece.season, PURGE)
    started = time.perf_counter()
    if piece.system == CLOSED:
        fields, facts = _baselines(records, fine, days, piece.seed), {}
    else:
        model = _trained(piece, records, fine, days, effort, folder)
        facts = {"minutes": (time.perf_counter() - started) / 60, **_facts(model)}
        started = time.perf_counter()
        fields = _generated(model, piece, records, fine, days, effort.members)
        if hindcast:
            _write(folder / "hindcast.nc", _hindcast(model, piece, records, effort.hindcast))
    minutes = (time.perf_counter() - started) / 60
    rows = {}
    for number, (row, field) in enumerate(fields.items()):
        rows[row] = f"fields{number}.nc"
        _write(folder / rows[row], field)
    about = {
        **asdict(piece),
        "minutes_generating": minutes,
        "days": [str(days.test.values[0])[:10], str(days.test.values[-1])[:10], days.test.size],
        "version": installed_version("xarray-downscale"),
        "rows": rows,
        **facts,
    }
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    write_whole(folder / "done.json", json.dumps(about, indent=1).encode())


def _write(path: Path, field: xr.DataArray) -> None:
    field = field.drop_attrs().drop_encoding().astype("float32").rename("field")
    part = path.with_suffix(".part")
    field.to_netcdf(part)
    part.replace(path)


def _trained(
    piece: Piece,
    records: StudyRecords,
    fine: xr.DataArray,
    days: Period,
    effort: Effort,
    folder: Path,
) -> Downscaler:
    """Return the model of a piece: the one in its folder, else it is trained, or trained on."""
    path = folder / "model.xd"
    if path.exists():
        return load(path)
    model: Downscaler = records.coarse.downscale.fit(
        fine.sel({fine.dims[0]: days.train}),
        static=records.static,
        preset=config_of(piece.system, effort.minutes),
        seasons=(piece.season,),
        seed=piece.seed,
        device=effort.device,
        checkpoint_dir=folder / "checkpoints",
        progress=False,
    )
    model.save(path)
    return model


def _facts(model: Downscaler) -> dict[str, Any]:
    return {
        "method": model.config_.method,
        "weights": sum(group.parameters for group in model._fitted.models.values()),
        "repr": repr(model),
    }


def _generated(
    model: Downscaler,
    piece: Piece,
    records: StudyRecords,
    fine: xr.DataArray,
    days: Period,
    members: int,
) -> dict[str, xr.DataArray]:
    """Return fields of the test days, one for each mode of the method."""
    method = methods.find(model.config_.method)
    count = members if method.is_stochastic(model.config_) else 1
    options: dict[str, Any] = {"time": days.test, "realizations": count, "seed": piece.seed + 1}
    time_name = fine.dims[0]
    modes = method.modes(model.config_)
    if FORCED.replace("-", "_") not in modes:
        return {piece.system: _predict(model, records, options)}
    past = fine.sel({time_name: fine[time_name] < days.test[0]})
    return {
        f"{piece.system} [{FORCED}]": _predict(
            model, records, options | {"mode": "teacher_forced", "history": fine}
        ),
        f"{piece.system} [{FREE}]": _predict(
            model, records, options | {"mode": "autoregressive", "history": past}
        ),
    }


def _predict(model: Downscaler, records: StudyRecords, options: dict[str, Any]) -> xr.DataArray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)
        found = model.predict(records.coarse, **options)
    assert isinstance(found, xr.DataArray)
    return found


def _hindcast(model: Downscaler, piece: Piece, records: StudyRecords, count: int) -> xr.DataArray:
    """Return one realization of the last days of the season that the fine record does not have."""
    days = records.coarse[str(records.coarse.dims[0])]
    known = seconds(records.fine[str(records.fine.dims[0])])
    inside = (seconds(days) >= known.min()) & (seconds(days) <= known.max())
    season = np.isin(months(days), resolve_seasons([piece.season])[piece.season])
    chosen = days[season & ~inside]
    margin = chosen[MARGIN : chosen.size - MARGIN]  # windows reach beyond a day
    return _predict(model, records, {"time": margin[-count:], "realizations": 1, "seed": 1})


def _baselines(
    records: StudyRecords, fine: xr.DataArray, days: Period, seed: int
) -> dict[str, xr.DataArray]:
    """Return every baseline of the test days, learnt on the training days of the same season."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)
        return baselines.all(
            records.coarse,
            fine,
            records.static,
            {"train": days.train, "test": days.test},
            seed=seed,
        )


def failure(error: BaseException) -> str:
    """Return what the log and the page say of a piece that failed."""
    kind = "" if isinstance(error, XDownscaleError) else f"{type(error).__name__}: "
    return f"{kind}{error}"
