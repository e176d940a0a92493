"""Command ``geostat``: diagnostics of a field, as a page, a table or a figure."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import click
import pandas as pd
import xarray as xr

from xdownscale.cli import _options as options
from xdownscale.cli import _records as records
from xdownscale.cli import _results as results
from xdownscale.cli._app import Command
from xdownscale.core.errors import check_option

DIAGNOSTICS = (
    "semivariogram",
    "acf",
    "pacf",
    "lag_r2",
    "lag_rmse",
    "power_spectrum",
    "distribution",
    "structure",
)


@click.command(
    cls=Command,
    short_help="Measure the structure of a field.",
    examples=[
        "xdownscale geostat maps.zarr --report field.html",
        "xdownscale geostat maps.nc --diagnostic semivariogram --set max_distance=600 -o gamma.csv",
        "xdownscale geostat maps.nc -d acf --set max_lag=10",
    ],
)
@click.argument("field")
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="HTML",
    help="Page with all diagnostics to write.",
)
@click.option(
    "--diagnostic",
    "-d",
    type=click.Choice(DIAGNOSTICS),
    metavar="NAME",
    help=f"One of {', '.join(DIAGNOSTICS)}.",
)
@click.option(
    "--set",
    "changes",
    type=options.Assignment(),
    multiple=True,
    help="An option of the diagnostic, such as max_lag=10; repeat it for several.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="Table to write (*.csv), or the whole result (*.nc). Default: standard output.",
)
@options.transform_option
@options.variable_option()
@options.chunks_option
def command(
    field: str,
    report: Path | None,
    diagnostic: str | None,
    changes: tuple[tuple[str, Any], ...],
    output: Path | None,
    transform: str,
    variables: tuple[str, ...],
    chunks: dict[str, Any] | None,
) -> None:
    """Measure the structure of a FIELD in space and time: no model and no truth are needed.

    FIELD is a netCDF file, a Zarr store or a quoted glob; several are separated by commas. The
    page's curves are made in units of --transform; a --diagnostic is made in the field's own units,
    unless it has an option of that name (--set).
    """
    if report is None and diagnostic is None:
        raise click.UsageError("Give --report HTML, --diagnostic NAME, or both.")
    if diagnostic is None and (changes or output is not None):
        raise click.UsageError("--set and --output belong to --diagnostic NAME; give one.")
    if report is not None:
        results.check_output(report)
    if output is not None:
        results.check_output(output, ".csv", ".nc")
    asked = dict(changes)
    if diagnostic is not None:
        _check_options(diagnostic, asked)
    record = records.open_record(field, variables, chunks)
    if diagnostic is not None:
        _write(_measured(record, diagnostic, asked), output)
    if report is not None:
        from xdownscale.reports import field_report

        field_report(record, report, transform=transform)
        click.echo(f"Wrote {report}.", err=True)


def _check_options(diagnostic: str, asked: dict[str, Any]) -> None:
    """Raise for an option that the diagnostic has not."""
    from xdownscale import geostat

    known = list(inspect.signature(getattr(geostat, diagnostic)).parameters)[1:]
    for name in asked:
        check_option(f"option of {diagnostic}", name, known)


def _measured(record: records.Record, diagnostic: str, asked: dict[str, Any]) -> xr.Dataset:
    from xdownscale import geostat

    found = getattr(geostat, diagnostic)(record, **asked)
    return found.to_dataset() if isinstance(found, xr.DataArray) else found


def _write(found: xr.Dataset, output: Path | None) -> None:
    if output is not None and output.suffix == ".nc":
        results.write_netcdf(found, output, progress=False)
        click.echo(f"Wrote {output}.", err=True)
        return
    frame = _table(found)
    text = frame.to_string(max_colwidth=60) if output is None else frame.to_csv()
    results.write_text(text, output)


def _table(found: xr.Dataset) -> pd.DataFrame:
    """Return the curves of a diagnostic as columns; what has no dimension stands in every row."""
    empty = [name for name, size in found.sizes.items() if size == 0]
    frame = found.drop_dims(empty).compute().to_dataframe()
    curves = [name for name in found.data_vars if name in frame]
    return frame[[*curves, *(name for name in frame if name not in curves)]]
