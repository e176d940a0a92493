"""Write the help of each command to ``help/``, where `test_help.py` finds it.

python tests/cli/record_help.py
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import click

from xdownscale.cli import run
from xdownscale.cli._app import app

HERE = Path(__file__).parent / "help"


def commands() -> list[tuple[str, ...]]:
    """Return the names of all commands, those of groups too."""
    context = click.Context(app)
    found: list[tuple[str, ...]] = [()]
    for name in app.list_commands(context):
        found.append((name,))
        inner = app.get_command(context, name)
        if isinstance(inner, click.Group):
            found += [(name, each) for each in sorted(inner.commands)]
    return found


def help_of(names: tuple[str, ...]) -> str:
    """Return the help of a command at a width of 80."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"
    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            assert run([*names, "--help"]) == 0
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    return shown.getvalue()


def path_of(names: tuple[str, ...]) -> Path:
    """Return the file of a command's help."""
    return HERE / f"{'_'.join(names) or 'xdownscale'}.txt"


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for each in commands():
        path_of(each).write_text(help_of(each), encoding="utf-8")
