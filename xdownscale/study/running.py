"""Run a study: its pieces one after another, resumable, then tables, figures and page."""

from __future__ import annotations

import json
import logging
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xdownscale.core import hashing, logs
from xdownscale.core.errors import (
    DataError,
    ModelMismatchError,
    OptionError,
    XDownscaleError,
    check_option,
)
from xdownscale.core.files import as_path, write_whole
from xdownscale.core.optional import installed_version
from xdownscale.models.training.plan import count, duration
from xdownscale.splits import resolve_seasons
from xdownscale.study import figures as drawing
from xdownscale.study import page, registry, tables
from xdownscale.study.groups import CLOSED, Effort, Piece, failure, run_piece
from xdownscale.study.records import Box, StudyRecords, read

SEASONS = ("DJF", "MAM", "JJA", "SON")
MAIN = "fast"  # whose fields are drawn
RECORDS = "records"  # folder of daily means of files
QUICK = {"minutes": 0.5, "members": 4, "hindcast": 40}
WHOLE = {"minutes": 4.0, "members": 8, "hindcast": 90}
_LOG = logs.logger("study")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a study consists of.

    Attributes
    ----------
    data : str
        ``"twin"`` or a folder.
    areas : mapping
        Name -> box.
    seasons, methods : tuple of str
        Of the study.
    seeds : tuple of int
    effort : Effort
    """

    data: str
    areas: Mapping[str, Box]
    seasons: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    effort: Effort

    def pieces(self) -> list[Piece]:
        """Return all pieces, the baselines of each group first."""
        return [
            Piece(area=area, season=season, system=system, seed=seed)
            for area in self.areas
            for season in self.seasons
            for seed in self.seeds
            for system in (CLOSED, *self.methods)
        ]


def run(
    data: str = "twin",
    *,
    out: str | Path = "study",
    areas: Mapping[str, Box] | Sequence[str] | None = None,
    seasons: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] = (0,),
    minutes: float | None = None,
    members: int | None = None,
    only: str | None = None,
    quick: bool = False,
    device: str = "auto",
    progress: bool = True,
) -> Path:
    """Run the paper's study: every system in every area and season, tables, figures and a page.

    A piece (area, season, system, seed) that is done is not trained again: call again after an
    interruption, or with more methods, seeds or seasons. Pieces can run as separate jobs that write
    to one folder (`only`); the last call without it makes tables and figures of all.

    Parameters
    ----------
    data : str
        ``"twin"``, or a folder with the folders ``merra2``, ``g5nr`` and ``elevation``, which
        `datasets.open_merra2`, `open_g5nr` and `open_elevation` read.
    out : path
        Folder of the study.
    areas : mapping or sequence of str, optional
        Name -> (west, east, south, north) in degrees, or some of the default ones. By default both
        halves of the twin (A0, A1), or all of the files (A0).
    seasons : sequence of str, optional
        Such as ``("JJA",)``; by default all four, JJA alone if `quick`.
    methods : sequence of str, optional
        Systems, as `systems` lists them; all by default. Baselines are always there.
    seeds : sequence of int
        Each piece is trained once for each.
    minutes : float, optional
        Training time of each network; 4 by default, 0.5 if `quick`.
    members : int, optional
        Realizations of each test day; 8 by default, 4 if `quick`.
    only : str, optional
        One group, such as ``"A0-JJA"``: train it and make no tables.
    quick : bool
        Short trainings; one area and one season, unless they are given.
    device : str
        As for `xdownscale.fit`.
    progress : bool
        Write the log to standard error too; it is always in ``study.log``.

    Returns
    -------
    Path
        ``index.html``; with `only` the folder. Beside it one CSV for each table, one PNG and PDF
        for each figure, and ``study.json``.

    Raises
    ------
    OptionError
        Unknown method, season, area or group.
    DataError
        If the folder lacks files, or no piece could be finished.
    ModelMismatchError
        If `out` belongs to a study of other records or of another effort.

    Notes
    -----
    Test days are the last tenth of each season's days in the fine record. See
    ``docs/study.md`` for what was run and what came out.
    """
    plan = _planned(data, areas, seasons, methods, seeds, minutes, members, quick, device)
    records = read(data, plan.areas or None, as_path(out, "out") / RECORDS)
    plan = _with_areas(plan, records, areas, quick)
    records = StudyRecords(**{**vars(records), "areas": dict(plan.areas)})
    folder = as_path(str(out), "out")
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, plan, records)
    with _logged(folder, progress):
        problems = _train(plan, records, folder, only)
        if only is not None:
            return folder
        return _finish(plan, records, folder, problems)


def _planned(
    data: str,
    areas: Any,
    seasons: Sequence[str] | None,
    methods: Sequence[str] | None,
    seeds: Sequence[int],
    minutes: float | None,
    members: int | None,
    quick: bool,
    device: str,
) -> Plan:
    """Check the options, before any record is read."""
    if seasons is None:
        seasons = ("JJA",) if quick else SEASONS
    resolve_seasons(list(seasons))
    for name in methods or ():
        check_option("system", name, registry.names())
    if not seasons or not list(seeds):
        raise OptionError("A study needs one season and one seed or more.")
    own = QUICK if quick else WHOLE
    effort = Effort(
        minutes=own["minutes"] if minutes is None else minutes,
        members=int(own["members"] if members is None else members),
        hindcast=int(own["hindcast"]),
        device=device,
    )
    if effort.members < 2:
        raise OptionError(f"members is {effort.members}; ensembles need 2 or more.")
    return Plan(
        data=data,
        areas=dict(areas) if isinstance(areas, Mapping) else {},
        seasons=tuple(seasons),
        methods=tuple(registry.names() if methods is None else methods),
        seeds=tuple(seeds),
        effort=effort,
    )


def _with_areas(plan: Plan, records: StudyRecords, areas: Any, quick: bool) -> Plan:
    """Return the plan with the boxes of its areas."""
    known = dict(records.areas)
    if areas is not None and not isinstance(areas, Mapping):
        for name in areas:
            check_option("area", name, known)
        known = {name: known[name] for name in areas}
    elif areas is None and quick:
        known = dict(list(known.items())[:1])
    return Plan(**{**vars(plan), "areas": known})


def _claim(folder: Path, plan: Plan, records: StudyRecords) -> None:
    """Write what the study is, or raise where the folder belongs to another one."""
    path = folder / "study.json"
    about = {
        "data": plan.data,
        "records": hashing.fingerprint(records.coarse.values, records.fine.values),
        "effort": asdict(plan.effort) | {"device": ""},
        "version": installed_version("xarray-downscale"),
        "areas": {name: list(box) for name, box in plan.areas.items()},
    }
    known: dict[str, Any] = {}
    if path.exists():
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as err:
            raise ModelMismatchError(
                f"{str(path)!r} is no study ({err}); give another folder with out=."
            ) from err
        _check_same(known, about, folder)
    about["areas"] = known.get("areas", {}) | about["areas"]
    write_whole(path, json.dumps(known | about, indent=1).encode())


def _check_same(known: Mapping[str, Any], about: Mapping[str, Any], folder: Path) -> None:
    """Raise unless a folder belongs to the same records and effort."""
    for name in ("data", "records", "effort"):
        if known.get(name) != about[name]:
            raise ModelMismatchError(
                f"The folder {str(folder)!r} belongs to a study with {name} {known.get(name)!r}, "
                f"and this one has {about[name]!r}. Give another folder with out=, or the options "
                "of that study."
            )
    for name, box in about["areas"].items():
        if known.get("areas", {}).get(name, box) != box:
            raise ModelMismatchError(
                f"In the folder {str(folder)!r} area {name!r} is {known['areas'][name]}, and here "
                f"{box}. Give the area another name, or another folder with out=."
            )


def _train(plan: Plan, records: StudyRecords, folder: Path, only: str | None) -> dict[Piece, str]:
    """Run what is not done, and return what failed."""
    pieces = plan.pieces()
    groups = dict.fromkeys(piece.group for piece in pieces)
    if only is not None:
        check_option("group", only, groups)
        pieces = [piece for piece in pieces if piece.group == only]
    todo = [piece for piece in pieces if not piece.is_done(folder)]
    _LOG.info(
        "%s, %d done before; about %s at most.",
        count(len(pieces), "piece"),
        len(pieces) - len(todo),
        duration(_seconds(todo, plan, [])),
    )
    spent: list[tuple[Piece, float]] = []
    problems: dict[Piece, str] = {}
    for number, piece in enumerate(todo, start=1):
        left = duration(_seconds(todo[number - 1 :], plan, spent))
        _LOG.info("%d of %d: %s; about %s left.", number, len(todo), piece.name, left)
        started = time.monotonic()
        try:
            run_piece(piece, records, plan.effort, folder, hindcast=piece.system == MAIN)
        except Exception as err:  # the other pieces are finished, and the page names this one
            problems[piece] = failure(err)
            _LOG.error("%s failed: %s", piece.name, failure(err), exc_info=True)
        spent.append((piece, time.monotonic() - started))
    return problems


def _seconds(todo: Sequence[Piece], plan: Plan, spent: Sequence[tuple[Piece, float]]) -> float:
    """Estimate the time for some pieces, by what pieces of the same system took so far."""
    guess = 60 * 1.3 * (plan.effort.minutes or 10)
    known: dict[str, list[float]] = {}
    for piece, seconds in spent:
        known.setdefault(piece.system, []).append(seconds)
    return sum(float(np.mean(known.get(piece.system, [guess]))) for piece in todo)


def _finish(plan: Plan, records: StudyRecords, folder: Path, problems: Mapping[Piece, str]) -> Path:
    """Make tables, figures and the page of all pieces that are done."""
    done = [piece for piece in plan.pieces() if piece.is_done(folder)]
    if not done:
        reasons = "; ".join(f"{piece.name}: {why}" for piece, why in problems.items())
        raise DataError(f"No piece of the study could be finished: {reasons}")
    lacking = {f"Piece {piece.name}": why for piece, why in problems.items()}
    made = _tables(plan, records, done, folder, lacking)
    for name, table in made.items():
        table.to_csv(folder / f"{name}.csv")
    scene = drawing.Scene(
        records=records,
        pieces=[piece for piece in done if piece.seed == plan.seeds[0]],
        out=folder,
        main=MAIN if MAIN in plan.methods else plan.methods[0],
    )
    drawn: dict[str, Path] = {}
    for number in drawing.FIGURES:
        try:
            drawn[number] = drawing.draw(scene, number, folder)
        except XDownscaleError as err:
            lacking[f"Figure {number}"] = str(err)
    _LOG.info("Tables: %s. Figures: %s.", ", ".join(made), ", ".join(drawn))
    path = page.write(folder, records.source, made, drawn, lacking, command_of(plan, folder))
    for what, why in lacking.items():
        _LOG.warning("Not there: %s: %s", what, why)
    _LOG.info("Written: %s", path)
    return path


def _tables(
    plan: Plan,
    records: StudyRecords,
    done: Sequence[Piece],
    folder: Path,
    lacking: dict[str, str],
) -> dict[str, pd.DataFrame]:
    made: dict[str, pd.DataFrame] = {}
    for name, make in (("table1", tables.summary), ("table2", tables.distances)):
        try:
            made[name] = make(records, plan.seasons)
        except XDownscaleError as err:
            lacking[name] = str(err)
    groups: dict[tuple[str, int], list[Piece]] = {}
    for piece in done:
        groups.setdefault((piece.group, piece.seed), []).append(piece)
    scores = tables.joined(
        {parts[0]: tables.scores_of(records, parts, folder) for parts in groups.values()}
    )
    facts = pd.DataFrame([piece.facts(folder) for piece in done])
    for name, column in (
        ("table3", "log10 pearson_r2"),
        ("table3_rmse", "log10 rmse"),
        ("table3_rmse_physical", "physical rmse"),
        ("tableA1_mae", "log10 mae"),
        ("tableA1_nse", "log10 nse_space"),
        ("tableA1_kge", "physical kge_space"),
    ):
        made[name] = tables.pivoted(scores, column)
    return made | {"systems": tables.systems(scores, facts), "scores": scores}


def command_of(plan: Plan, folder: Path) -> str:
    """Return the command that makes a study.

    Parameters
    ----------
    plan : Plan
        The study.
    folder : Path
        Where it is.
    """
    boxes = ";".join(f"{n}={','.join(f'{x:g}' for x in box)}" for n, box in plan.areas.items())
    words = ["xdownscale", "study", "--data", plan.data, "--areas", boxes]
    words += ["--seasons", ",".join(plan.seasons), "--methods", ",".join(plan.methods)]
    words += ["--seeds", ",".join(map(str, plan.seeds)), "--members", str(plan.effort.members)]
    words += ["--minutes", f"{plan.effort.minutes:g}", "--out", str(folder)]
    return shlex.join(words)


def figure(number: str, out: str | Path = "study", data: str = "twin", seed: int = 0) -> Path:
    """Draw one figure of a study that was run.

    Parameters
    ----------
    number : str
        ``"2"`` to ``"9"``, ``"A1"`` or ``"A2"``.
    out : path
        Folder of the study.
    data : str
        Records of the study.
    seed : int
        Whose fields are drawn.

    Returns
    -------
    Path
        Of the PNG; a PDF lies beside it.

    Raises
    ------
    OptionError
        For another number.
    DataError
        If `out` is no study, or lacks the piece that the figure shows.
    """
    check_option("figure", number, drawing.FIGURES)
    folder = as_path(str(out), "out")
    path = folder / "study.json"
    if not path.exists():
        raise DataError(f"{str(folder)!r} is no study: it has no study.json. Run one first.")
    about = json.loads(path.read_text(encoding="utf-8"))
    areas = {name: tuple(box) for name, box in about["areas"].items()}
    pieces = [
        Piece(area=area, season=season.name.partition("-")[2], system=system.name, seed=seed)
        for area in areas
        for season in sorted((folder / "pieces").glob(f"{area}-*"))
        for system in sorted((season / f"seed{seed}").glob("*"))
    ]
    done = [piece for piece in pieces if piece.is_done(folder)]
    known = {piece.system for piece in done} - {CLOSED}
    if not known:
        raise DataError(f"The study {str(folder)!r} has no finished piece of seed {seed}.")
    main = MAIN if MAIN in known else sorted(known)[0]
    records = read(data, areas, folder / RECORDS)
    scene = drawing.Scene(records=records, pieces=done, out=folder, main=main)
    return drawing.draw(scene, number, folder)


@contextmanager
def _logged(folder: Path, progress: bool) -> Iterator[None]:
    """Write the log to a file, and to standard error if asked."""
    handlers: list[logging.Handler] = [logging.FileHandler(folder / "study.log", encoding="utf-8")]
    if progress:
        handlers.append(logging.StreamHandler(sys.stderr))
    level = _LOG.level
    _LOG.setLevel(logging.INFO)
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        _LOG.addHandler(handler)
    try:
        yield
    finally:
        _LOG.setLevel(level)
        for handler in handlers:
            _LOG.removeHandler(handler)
            handler.close()
