"""Command ``report``: an HTML page that judges a prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from xdownscale.cli import _options as options
from xdownscale.cli import _records as records
from xdownscale.cli import _results as results
from xdownscale.cli._app import Command


@click.command(
    cls=Command,
    short_help="Judge a prediction, with truth or without.",
    examples=[
        "xdownscale report maps.zarr merra2.nc g5nr.nc -o report.html",
        "xdownscale report maps.nc merra2.nc -o report.html --model dust.xd",
    ],
)
@click.argument("prediction")
@click.argument("coarse")
@click.argument("fine", required=False)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="HTML page to write.",
)
@click.option("--model", metavar="MODEL", help="Model whose description becomes a section.")
@options.transform_option
@click.option(
    "--draws", type=int, default=400, show_default=True, help="Resamples of the bootstrap."
)
@options.seed_option
@options.variable_option("Variable of the prediction and of the fine record.")
@click.option("--coarse-variable", metavar="NAME", help="Default: that of --variable.")
@options.chunks_option
def command(
    prediction: str,
    coarse: str,
    fine: str | None,
    output: Path,
    model: str | None,
    transform: str,
    draws: int,
    seed: int,
    variables: tuple[str, ...],
    coarse_variable: str | None,
    chunks: dict[str, Any] | None,
) -> None:
    """Judge a PREDICTION from its COARSE record, with the truth (FINE) or without.

    Each is a netCDF file, a Zarr store or a quoted glob. Days that FINE and the prediction share
    are the truth: scores beside baselines. For other days each statistic of the prediction is
    compared with those of the coarse record and of the rest of FINE.
    """
    results.check_output(output)
    fields: dict[str, Any] = {
        "prediction": records.open_field(prediction, variables, chunks),
        "coarse": records.open_field(
            coarse,
            (coarse_variable,) if coarse_variable else variables,
            chunks,
            "--coarse-variable",
        ),
        "fine": None if fine is None else records.open_field(fine, variables, chunks),
    }
    described = None if model is None else results.open_model(model)
    from xdownscale.reports import report

    report(**fields, path=output, model=described, transform=transform, draws=draws, seed=seed)
    click.echo(f"Wrote {output}.", err=True)
