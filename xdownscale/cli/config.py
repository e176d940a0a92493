"""Command ``config``: print the configuration of a preset as YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from xdownscale.cli import _options as options
from xdownscale.cli import _results as results
from xdownscale.cli._app import Command
from xdownscale.cli._configuration import as_yaml, read_config


@click.command(
    cls=Command,
    short_help="Print the configuration of a preset as YAML.",
    examples=[
        "xdownscale config > run.yaml",
        "xdownscale config fast --set network.size=base -o run.yaml",
        "xdownscale fit coarse.nc fine.nc -o model.xd --config run.yaml",
    ],
)
@click.argument("preset", default="auto")
@click.option(
    "--set",
    "changes",
    type=options.Assignment(),
    multiple=True,
    help="A key to change, such as training.max_minutes=5; repeat it for several.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="File to write. Default: standard output.",
)
def command(preset: str, changes: tuple[tuple[str, Any], ...], output: Path | None) -> None:
    """Print the configuration of a PRESET as YAML: every key that its method uses.

    Presets are auto (the default), fast, paper, dressed, gaussian and analogues. Change keys in the
    file, remove those that shall stay as the preset has them, and give it to `xdownscale fit
    --config`.
    """
    if output is not None:
        results.check_output(output)
    results.write_text(as_yaml(read_config(preset, None, changes), preset), output)
