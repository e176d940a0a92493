"""The public functions `report` and `evidence`."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from xdownscale.core.errors import OptionError, StorageError
from xdownscale.core.files import as_path, write_whole
from xdownscale.core.optional import require
from xdownscale.reports import _page, _sections
from xdownscale.reports._conclusion import conclude
from xdownscale.reports._evidence import as_frame, judge
from xdownscale.reports._export import Figures, collecting
from xdownscale.reports._records import Records, gather


def report(
    prediction: xr.DataArray,
    coarse: xr.DataArray,
    fine: xr.DataArray | None = None,
    path: str | os.PathLike[str] = "report.html",
    *,
    model: Any = None,
    transform: str = "auto",
    draws: int = 400,
    seed: int = 0,
    figures: str | os.PathLike[str] | None = None,
    formats: Sequence[str] = ("pdf", "svg"),
) -> Path:
    """Write an HTML report on a prediction, as one file that needs no network.

    Days that `fine` and the prediction share are the truth: scores beside baselines. All other
    days need no truth: each curve of the prediction (semivariogram, spectrum, autocorrelation,
    R2 between successive days, distribution) is compared with those of the coarse record and of
    the rest of `fine`, in the months of the prediction. A sentence for each statistic says
    whether it lies inside the 95 % interval of stretches of as many days (see `evidence`).

    Parameters
    ----------
    prediction : DataArray
        ([realization,] time, lat, lon). Curves are those of the first realization.
    coarse : DataArray
        (time, lat, lon) that the prediction was made from; days and region in common with it.
    fine : DataArray, optional
        (time, lat, lon) on the grid of the prediction.
    path : str or path
        File to write; replaced only once the new one is whole.
    model : Downscaler, optional
        Its description becomes a section.
    transform : str
        Units that curves and scores are made in, as in `xdownscale.fit`.
    draws : int
        Resamples of the bootstrap over days, 20 or more.
    seed : int
        Of the bootstrap.
    figures : str or path, optional
        Folder that each figure is also written to, as ``figure_01.pdf`` and so on, with their
        captions in ``captions.txt``; made where it is missing. Texts stay texts.
    formats : sequence of str
        Of ``"pdf"``, ``"svg"`` and ``"png"`` (300 dots per inch).

    Returns
    -------
    Path
        Where the page is.

    Raises
    ------
    DataError
        If something is no DataArray, has further dimensions or other units.
    GridError
        If the records have no region, or `fine` not the grid, in common with the prediction.
    TimeAxisError
        If there is no time, or no day in common with the coarse record.
    OptionError
        Unknown transform or format, too few draws, or a model that cannot describe itself.
    MissingPackageError
        If matplotlib is not installed.
    StorageError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile, xdownscale as xd
    >>> ds = xd.datasets.load_twin().isel(time=slice(30), time_coarse=slice(1461, 1521))
    >>> maps = xd.baselines.interpolate(ds.dust, ds.dust_fine, time=ds.time_coarse[30:])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = report(maps, ds.dust, ds.dust_fine, f"{folder}/report.html", draws=20)
    ...     path.read_text()[:15]
    '<!DOCTYPE html>'
    """
    require("matplotlib", "A report")
    check_folder(path)
    about = _describe(model)
    records = _gathered(prediction, coarse, fine, transform, draws)
    drawn = Figures(figures, formats)
    with collecting(drawn):
        content = _html(records, about, draws, seed)
    write_whole(path, content.encode())
    drawn.write()
    return Path(path)


def evidence(
    prediction: xr.DataArray,
    coarse: xr.DataArray,
    fine: xr.DataArray | None = None,
    *,
    transform: str = "auto",
    draws: int = 400,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare each statistic of a prediction with the coarse and the fine record; no truth needed.

    Intervals: the reference's days are resampled in blocks of ten consecutive days (moving-block
    bootstrap, Kuensch 1989), as many days as the prediction has, and the statistic is read off the
    mean of each resample; the central 95 % are the interval. So a prediction that is
    a stretch of the reference lies inside 95 times in 100.

    Parameters
    ----------
    prediction, coarse, fine, transform, draws, seed
        As for `report`.

    Returns
    -------
    DataFrame
        A row for each statistic: ``diagnostic``, ``statistic``, ``prediction``; for each reference
        its value, ``_low``, ``_high`` and ``_verdict`` (inside, below, above, not comparable,
        too few days);
        ``sentence``.

    Examples
    --------
    >>> import xdownscale as xd
    >>> ds = xd.datasets.load_twin().isel(time=slice(30), time_coarse=slice(1461, 1521))
    >>> maps = xd.baselines.interpolate(ds.dust, ds.dust_fine, time=ds.time_coarse[30:])
    >>> evidence(maps, ds.dust, ds.dust_fine, draws=20).query("diagnostic == 'semivariogram'")[
    ...     "fine_verdict"
    ... ].iloc[0]
    'below'
    """
    return as_frame(judge(_gathered(prediction, coarse, fine, transform, draws), draws, seed))


def _gathered(
    prediction: xr.DataArray,
    coarse: xr.DataArray,
    fine: xr.DataArray | None,
    transform: str,
    draws: int,
) -> Records:
    if draws < 20:
        raise OptionError(f"draws is {draws}; a 95 % interval needs 20 or more.")
    return gather(prediction, coarse, fine, transform)


def check_folder(path: str | os.PathLike[str]) -> None:
    """Raise `StorageError` before anything is computed if there is no such folder."""
    folder = Path(os.path.realpath(as_path(path, "path"))).parent
    if not folder.is_dir():
        raise StorageError(
            f"{path} cannot be written: there is no folder {folder}. Make it, or give another path."
        )


def _describe(model: Any) -> str:
    """Return the HTML representation of a model."""
    if model is None:
        return ""
    describe = getattr(model, "_repr_html_", None)
    if describe is None or isinstance(model, type):
        raise OptionError(
            f"model is a {type(model).__name__}, which cannot describe itself; give the Downscaler "
            "that made the prediction, or leave it out."
        )
    return str(describe())


def _html(records: Records, about: str, draws: int, seed: int) -> str:
    findings = judge(records, draws, seed)
    scores = _sections.against_truth(records)
    listed = [
        ("What was judged", _sections.records_table(records)),
        ("One day", _sections.maps(records)),
        ("Against the truth", scores),
        *[(f.diagnostic.title, _sections.finding(f, records)) for f in findings],
        ("The model", about),
        ("Provenance", _sections.provenance(records)),
    ]
    name = records.prediction.attrs.get("long_name") or records.prediction.name or "a field"
    how = _page.paragraph(
        "Inside means inside the 95 % interval of stretches of as many days, drawn "
        f"{draws} times from the reference in blocks of ten days (seed {seed}). Outside is no "
        "error by itself: a fine field should differ from the coarse record at short distances, "
        "and a year may differ from those of the reference.",
        "soft",
    )
    opening = f'<p class="conclusion">{html.escape(conclude(findings, records))}</p>'
    lead = opening + _sections.summary(findings) + how
    sections = [(title, body) for title, body in listed if body]
    return _page.page(f"Report on {name}", lead, sections)
