"""Command ``inspect``: what stands between two records and a fit."""

from __future__ import annotations

from typing import Any

import click

from xdownscale.cli import _options as options
from xdownscale.cli import _records as records
from xdownscale.cli._app import FAILED, Command


@click.command(
    cls=Command,
    short_help="Show what stands between two records and a fit.",
    examples=[
        "xdownscale inspect merra2.nc g5nr.nc --static elevation.nc",
        "xdownscale inspect 'merra2/*.nc4' g5nr.zarr --variable DUEXTTAU --preset fast",
    ],
)
@click.argument("coarse")
@click.argument("fine")
@click.option("--static", metavar="FILE", help="Fields without time, such as elevation.")
@click.option("--preset", metavar="NAME", default="auto", show_default=True, help="As for fit.")
@options.variable_option(
    "Variable of both records; repeat it for several. Default: all with latitude, longitude and "
    "time."
)
@click.option("--seasons", metavar="NAMES", help="One model for each, such as DJF,MAM,JJA,SON.")
@options.regions_option
@options.transform_option
@click.option(
    "--outliers",
    type=click.Choice(["raise", "mask", "keep"]),
    default="raise",
    show_default=True,
    help="What to do about values far outside all others.",
)
@click.option("--no-cost", is_flag=True, help="Do not measure minutes and memory of a training.")
@options.device_option
@options.chunks_option
def command(
    coarse: str,
    fine: str,
    static: str | None,
    preset: str,
    variables: tuple[str, ...],
    seasons: str | None,
    regions: tuple[tuple[str, Any], ...],
    transform: str,
    outliers: str,
    no_cost: bool,
    device: str,
    chunks: dict[str, Any] | None,
) -> None:
    """Show facts of the COARSE and the FINE record, what a fit would cost, and every fault.

    Each fault has the line of code that mends it, where there is one. The exit code is 1 where fit
    would refuse the records.
    """
    from xdownscale.downscaler import inspect

    found = inspect(
        records.open_record(coarse, variables, chunks),
        records.open_record(fine, variables, chunks),
        None if static is None else records.open_record(static, static=True),
        preset=preset,
        seasons=options.words(seasons),
        regions=dict(regions) or None,
        transform=transform,
        outliers=outliers,
        device=device,
        measure=not no_cost,
    )
    click.echo(repr(found))
    if not found.ok:
        raise click.exceptions.Exit(FAILED)
