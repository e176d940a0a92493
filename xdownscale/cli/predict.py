"""Command ``predict``: generate fine fields into a Zarr store or a netCDF file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from xdownscale.cli import _options as options
from xdownscale.cli import _records as records
from xdownscale.cli import _results as results
from xdownscale.cli._app import Command
from xdownscale.core.errors import StorageError


@click.command(
    cls=Command,
    short_help="Generate fine fields from a coarse record.",
    examples=[
        "xdownscale predict dust.xd merra2.nc -o maps.zarr --realizations 8 --resume",
        "xdownscale predict dust.xd merra2.nc -o july.nc --time 2003-07-01 2003-07-31",
        "xdownscale predict dust-twin-tiny coarse.nc -o maps.nc --seed 1",
    ],
)
@click.argument("model")
@click.argument("coarse")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    required=True,
    help="Zarr store (*.zarr) or netCDF file (*.nc) to write.",
)
@click.option(
    "--realizations",
    "-r",
    type=int,
    default=1,
    show_default=True,
    help="Ensemble members: fields for each time step.",
)
@click.option(
    "--time",
    nargs=2,
    metavar="START END",
    help="First and last time step, such as 2003-07-01 2003-07-31. Default: all that can be "
    "generated.",
)
@click.option(
    "--mode", metavar="NAME", help="parallel, autoregressive or teacher_forced; see the docs."
)
@click.option("--history", metavar="FILE", help="Fine record that true lags are read from.")
@click.option("--stitching", metavar="NAME", help="whole, patches or multidiffusion.")
@options.variable_option("Variable of the coarse record; repeat it for several. Default: all.")
@options.seed_option
@options.device_option
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with a store that an interrupted command left; begin it where there is none.",
)
@click.option(
    "--chunks",
    type=options.Pairs(),
    help="Time steps and realizations of a piece, such as time=30,realization=1. Default: at most "
    "64 time steps and 64 MB.",
)
@options.quiet_option
def command(
    model: str,
    coarse: str,
    output: Path,
    realizations: int,
    time: tuple[str, str] | None,
    mode: str | None,
    history: str | None,
    stitching: str | None,
    variables: tuple[str, ...],
    seed: int,
    device: str,
    resume: bool,
    chunks: dict[str, Any] | None,
    quiet: bool,
) -> None:
    """Generate fine fields from a COARSE record with a fitted MODEL.

    MODEL is a file of `xdownscale fit`, or a name of `xdownscale models list`. COARSE is a netCDF
    file, a Zarr store or a quoted glob; several are separated by commas.

    A Zarr store is filled piece by piece. Whatever stops the command (Ctrl-C, the end of a batch
    job, a kill), the same command with --resume goes on, and the store ends the same to the last
    bit. One process fills a store: tasks of a batch job take a store each, with --time.
    """
    _check(output, resume)
    fitted = results.open_model(model)
    fitted.device = device
    request: dict[str, Any] = {
        "time": slice(*time) if time else None,
        "realizations": realizations,
        "mode": mode,
        "history": None if history is None else records.open_field(history),
        "stitching": stitching,
        "seed": seed,
        "chunks": chunks or "auto",
    }
    record = records.open_record(coarse, variables, _reading(chunks))
    from xdownscale.downscaler import predict, predict_to_zarr

    if output.suffix == ".zarr":
        again = results.this_command("--resume")
        hint = f"Finished pieces are in {output}. Go on with:\n  {again}"
        with results.interruptible(hint):
            predict_to_zarr(fitted, record, output, progress=not quiet, **request)
    else:
        hint = "Nothing was written: a netCDF file cannot be resumed. A store (-o *.zarr) can."
        with results.interruptible(hint):
            maps = predict(record, fitted, **request)
            results.write_netcdf(maps, output, progress=not quiet)
    click.echo(f"Wrote {output}.", err=True)


def _check(output: Path, resume: bool) -> None:
    """Raise before any work where the output cannot be written, or holds something."""
    results.check_output(output, ".zarr", ".nc")
    if resume and output.suffix != ".zarr":
        raise click.UsageError(
            "Only a Zarr store can be resumed. Give -o *.zarr, or leave out --resume."
        )
    if output.suffix == ".zarr" and output.exists() and not resume:
        raise StorageError(
            f"{output} exists. Add --resume to generate what it lacks, give another path, or "
            "remove it."
        )


def _reading(chunks: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return how the coarse record is read: as many time steps at a time as a piece has."""
    return {name: size for name, size in (chunks or {}).items() if name != "realization"} or None
