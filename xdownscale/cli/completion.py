"""Command ``completion``: print what makes a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from xdownscale.cli._app import Command, app
from xdownscale.core.errors import check_option

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    cls=Command,
    short_help="Print the script for completion in a shell.",
    examples=[
        'eval "$(xdownscale completion bash)"   # in ~/.bashrc; zsh alike in ~/.zshrc',
        "xdownscale completion fish > ~/.config/fish/completions/xdownscale.fish",
    ],
)
@click.argument("shell")
def command(shell: str) -> None:
    """Print the script that lets a SHELL (bash, zsh or fish) complete commands and options."""
    check_option("shell", shell, _SHELLS)
    kind = get_completion_class(shell)
    if kind is not None:
        click.echo(kind(app, {}, "xdownscale", "_XDOWNSCALE_COMPLETE").source())
