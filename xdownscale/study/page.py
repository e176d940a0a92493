"""The page of a study: tables, figures with the command of each, and the paper's own numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from xdownscale.reports import html
from xdownscale.study import paper
from xdownscale.study.figures import FIGURES
from xdownscale.study.registry import SYSTEMS

_TABLES = {
    "table1": "Table 1. Values of both records by season and area: days, mean, standard "
    "deviation, minimum, quantiles and maximum. Days of other seasons are in no column.",
    "table2": "Table 2. Wasserstein distance of log10 values between the records, after scaling "
    "both to [0, 1] on each day: mean, 10 % and 90 % quantile over days; pooled: of all days "
    "together.",
    "table3": "Table 3. Squared correlation over the pixels of each test day (log10), mean over "
    "days (standard deviation). It does not see bias.",
    "table3_rmse": "Table 3, continued. RMSE of log10 values over the pixels of each test day.",
    "table3_rmse_physical": "Table 3, continued. RMSE in physical units.",
    "tableA1_mae": "Table A1. Mean absolute error of log10 values over the pixels of a test day.",
    "tableA1_nse": "Table A1, continued. NSE over the pixels of a test day (log10).",
    "tableA1_kge": "Table A1, continued. KGE (2009) over the pixels of a test day, physical units.",
    "systems": "All systems: means over areas, seasons and seeds. Texture is the semivariance of "
    "neighbouring pixels over the truth's (1 is right); spread-skill is 1 for a calibrated "
    "ensemble; minutes are those of training on this machine.",
}


def write(
    out: Path,
    source: str,
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, Path],
    lacking: Mapping[str, str],
    command: str,
) -> Path:
    """Write the page.

    Parameters
    ----------
    out : Path
        Folder of the study.
    source : str
        Where the records are from.
    tables : mapping of str to DataFrame
        By name.
    figures : mapping of str to Path
        PNG files by number.
    lacking : mapping of str to str
        Tables, figures and pieces that are not there, and why.
    command : str
        That made the study.

    Returns
    -------
    Path
        ``index.html``.
    """
    sections = [("How to read it", _reading())]
    sections += [
        (name, html.table(tables[name], words)) for name, words in _TABLES.items() if name in tables
    ]
    for number, path in figures.items():
        caption = f"Figure {number}. {FIGURES[number][1]}"
        body = html.image(path.read_bytes(), caption, caption)
        sections.append((f"Figure {number}", body + html.code(f"{command} --figure {number}")))
    sections.append(("The paper's own numbers", _paper()))
    if lacking:
        body = "".join(html.paragraph(f"{what}: {why}") for what, why in lacking.items())
        sections.append(("What is not there", body))
    lead = html.paragraph(f"Records: {source}.", "soft") + html.code(command)
    path = out / "index.html"
    path.write_text(html.page("Study of downscaling systems", lead, sections), encoding="utf-8")
    return path


def _reading() -> str:
    literal = [name for name, system in SYSTEMS.items() if system.literal]
    said = (
        "All systems are trained on the same days and judged on the same test days: the last tenth "
        "of each season, with no training day within the lags of one. Systems that see fine fields "
        "of the days before have two rows: teacher-forced, with true fields, which nobody has in a "
        "prediction; and free-running, with their own. Rows of an ensemble score its mean, one "
        "realization, and the ensemble. Baselines stand in the same tables."
    )
    if literal:
        said += (
            f" Literal rows ({', '.join(literal)}) are built as published, faults included; the "
            "mended row of the same system stands beside each."
        )
    return html.paragraph(said)


def _paper() -> str:
    shown = paper.SQUARED_CORRELATION.map("{:.2f}".format)
    caption = "Squared correlation as printed in its Table 3 (S: season, A: area)."
    return html.table(shown, caption) + "".join(map(html.paragraph, paper.NOTES))
