"""Command ``methods``: list the downscaling methods."""

from __future__ import annotations

import click

from xdownscale.cli._app import Command


@click.command(
    cls=Command, short_help="List the downscaling methods.", examples=["xdownscale methods"]
)
def command() -> None:
    """List the downscaling methods, those of other packages too.

    A configuration names one as `method`; presets choose one.
    """
    from xdownscale.methods import available

    found = available()
    width = max(map(len, found.index))
    for name, line in found.items():
        click.echo(f"{name!s:{width}}  {line}")
