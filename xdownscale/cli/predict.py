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
from xdownscale.core.logs import without_secrets


@click.command(
    cls=Command,
    short_help="Generate fine fields from a coarse record.",
    examples=[
        "xdownscale predict dust.xd merra2.nc -o maps.zarr --realizations 8 --resume",
        "xdownscale predict dust.xd merra2.nc -o july.nc --time 2003-07-01 2003-07-31",
        "xdownscale predict dust-twin-tiny coarse.nc -o maps.nc --seed 1",
        "xdownscale predict dust.xd s3://us/merra2.zarr -o s3://us/maps.zarr --resume",
    ],
)
@click.argument("model")
@click.argument("coarse")
@click.option(
    "--output",
    "-o",
    type=results.Destination(),
    required=True,
    help="Zarr store (*.zarr; a path or a URL) or netCDF file (*.nc) to write.",
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
@click.option(
    "--shards",
    type=options.Pairs(),
    help="Time steps and realizations of a file of the store; --chunks are then those within it.",
)
@options.quiet_option
def command(
    model: str,
    coarse: str,
    output: Path | str,
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
    shards: dict[str, Any] | None,
    quiet: bool,
) -> None:
    """Generate fine fields from a COARSE record with a fitted MODEL.

    MODEL is a file of `xdownscale fit`, or a name of `xdownscale models list`. COARSE is a netCDF
    file, a Zarr store (a path or a URL) or a quoted glob; several are separated by commas.

    A Zarr store is filled piece by piece. Whatever stops the command (Ctrl-C, the end of a batch
    job, a kill), the same command with --resume goes on, and the store ends the same to the last
    bit. One process fills a store: tasks of a batch job take a store each, with --time.

    The store may be a URL such as s3://bucket/maps.zarr. Keys and servers are read from the
    environment and the files of the package for that kind of URL.
    """
    to_store = results.is_store(output)
    _check(output, resume, shards)
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
    record = records.open_record(coarse, variables, _reading(shards or chunks))
    from xdownscale.downscaler import predict, predict_to_zarr

    if to_store:
        again = results.this_command("--resume")
        hint = f"Finished pieces are in {without_secrets(str(output))}. Go on with:\n  {again}"
        with results.interruptible(hint):
            predict_to_zarr(fitted, record, output, progress=not quiet, shards=shards, **request)
    else:
        hint = "Nothing was written: a netCDF file cannot be resumed. A store (-o *.zarr) can."
        with results.interruptible(hint):
            maps = predict(record, fitted, **request)
            results.write_netcdf(maps, Path(output), progress=not quiet)
    click.echo(f"Wrote {without_secrets(str(output))}.", err=True)


def _check(output: Path | str, resume: bool, shards: dict[str, Any] | None) -> None:
    """Raise before any work where the output cannot be written, or holds something."""
    if isinstance(output, Path):
        results.check_output(output, ".zarr", ".nc")
    if not results.is_store(output):
        for option, given in (("--resume", resume), ("--shards", shards)):
            if given:
                raise click.UsageError(
                    f"{option} is for a Zarr store. Give -o *.zarr, or leave it out."
                )
        return
    from xdownscale.prediction.targets import find_target

    if not resume and find_target(output).exists():
        raise StorageError(
            f"{without_secrets(str(output))} exists. Add --resume to generate what it lacks, give "
            "another path, or remove it."
        )


def _reading(chunks: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return how the coarse record is read: as many time steps at a time as a piece has."""
    return {name: size for name, size in (chunks or {}).items() if name != "realization"} or None
