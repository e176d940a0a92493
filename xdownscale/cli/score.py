"""Command ``score``: a table of scores of predictions, beside baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from xdownscale.cli import _options as options
from xdownscale.cli import _records as records
from xdownscale.cli import _results as results
from xdownscale.cli._app import Command
from xdownscale.core.errors import OptionError

_KINDS = (".csv", ".md", ".tex")


@click.command(
    cls=Command,
    short_help="Score predictions against the truth, beside baselines.",
    examples=[
        "xdownscale score maps.zarr g5nr.nc --coarse merra2.nc --train g5nr_2005.nc",
        "xdownscale score maps.zarr other.nc g5nr.nc --score rmse --score crps -o skill.csv",
        "xdownscale score maps.zarr g5nr.nc --by season -o skill.tex",
    ],
)
@click.argument("predictions", nargs=-1, required=True)
@click.argument("truth")
@click.option("--coarse", metavar="FILE", help="Coarse record of the days: makes baselines.")
@click.option("--train", metavar="FILE", help="Training days of the fine record: makes baselines.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="Table to write (*.csv, *.md or *.tex). Default: Markdown on standard output.",
)
@click.option(
    "--score",
    "names",
    multiple=True,
    metavar="NAME",
    help="r2, pearson_r2, rmse, mae, bias, crps, energy, variogram, nse, kge, spread_skill; repeat "
    "it for several. Default: r2, pearson_r2, rmse, mae.",
)
@click.option("--by", metavar="NAMES", help="Group rows by season, region or season,region.")
@click.option("--seasons", metavar="NAMES", help="Default: DJF,MAM,JJA,SON.")
@options.regions_option
@options.transform_option
@click.option("--weights", is_flag=True, help="Weight pixels by their areas.")
@options.variable_option("Variable to score, of all records that have it.")
@options.chunks_option
def command(
    predictions: tuple[str, ...],
    truth: str,
    coarse: str | None,
    train: str | None,
    output: Path | None,
    names: tuple[str, ...],
    by: str | None,
    seasons: str | None,
    regions: tuple[tuple[str, Any], ...],
    transform: str,
    weights: bool,
    variables: tuple[str, ...],
    chunks: dict[str, Any] | None,
) -> None:
    """Score PREDICTIONS against the TRUTH, which is named last, beside baselines.

    Each is a netCDF file, a Zarr store or a quoted glob. A row of the table has the name of its
    file. Scores are means over the common days; with --coarse and --train the table has baselines
    that are fitted on the training days.
    """
    if output is not None:
        results.check_output(output, *_KINDS)
    from xdownscale import skill
    from xdownscale.splits import SEASONS

    given: dict[str, Any] = {
        "truth": records.open_field(truth, variables, chunks),
        "transform": transform,
        "by": options.words(by),
        "regions": dict(regions) or None,
        "seasons": options.words(seasons) or SEASONS,
        "coarse": None if coarse is None else records.open_record(coarse, (), chunks),
        "train": None if train is None else records.open_field(train, variables, chunks),
        "weights": weights,
    }
    if names:
        given["scores"] = names
    table = skill.table(_rows(predictions, variables, chunks), **given)
    kind = ".md" if output is None else output.suffix
    results.write_text(_written(table, kind), output)


def _rows(
    predictions: tuple[str, ...], variables: tuple[str, ...], chunks: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the predictions by the names of their files."""
    found: dict[str, Any] = {}
    for given in predictions:
        name = Path(given).name.removesuffix(".zarr").removesuffix(".nc")
        if name in found:
            raise OptionError(
                f"Two predictions are called {name!r}; a row of the table has the name of its "
                "file. Rename one of them."
            )
        found[name] = records.open_field(given, variables, chunks)
    return found


def _written(table: Any, kind: str) -> str:
    from xdownscale import skill

    if kind == ".md":
        return skill.to_markdown(table)
    if kind == ".tex":
        return skill.to_latex(table)
    spread = table.attrs.get("sd", {})
    wide = results.flat(table)
    for column, name in zip(table.columns, wide.columns, strict=True):
        if column in spread:
            wide[f"{name} sd"] = [spread[column].get(row) for row in table.index]
    return str(wide.to_csv())
