"""Find the commands, run one, and turn what goes wrong into a message and an exit code."""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import click

from xdownscale.core.errors import XDownscaleError, nearest_name

FAILED = 1  # exit codes; 2 is that of click for wrong usage
INTERRUPTED = 130
_DEBUG = "xdownscale.debug"
_PACKAGE = "xdownscale.cli"


class Failure(click.ClickException):
    """An error of the library: its message alone is shown."""

    exit_code = FAILED


class Interrupted(click.ClickException):
    """The user, or the batch system, stopped the command; the message says how to go on."""

    exit_code = INTERRUPTED

    def show(self, file: Any = None) -> None:
        """Write the message to standard error."""
        click.echo(f"\nInterrupted. {self.format_message()}", file=file, err=True)


class Command(click.Command):
    """A command with `--debug`, whose help ends with examples as they are typed.

    Parameters
    ----------
    *args, **kwargs
        As for `click.Command`.
    examples : sequence of str
        Lines of a shell.
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples
        self.params.append(_debug_option())

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, unwrapped."""
        if not self.examples:
            return
        formatter.write("\nExamples:\n")
        for line in self.examples:
            formatter.write(f"  {line}\n")


class Commands(click.Group):
    """All commands: the modules of this folder; a module is imported when its command is used."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(_debug_option())

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        found = pkgutil.iter_modules(importlib.import_module(_PACKAGE).__path__)
        return sorted(m.name.replace("_", "-") for m in found if not m.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name."""
        names = self.list_commands(ctx)
        if cmd_name not in names:
            return None
        module = importlib.import_module(f"{_PACKAGE}.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is named first; where there is none, name the nearest."""
        names = self.list_commands(ctx)
        if args and args[0] not in names and not args[0].startswith("-"):
            hint = nearest_name(args[0], names)
            ctx.fail(f"There is no command {args[0]!r}. There are: {', '.join(names)}.{hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; turn errors into messages, unless they are debugged."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except XDownscaleError as err:
            if ctx.meta.get(_DEBUG):
                raise
            raise Failure(_text(err)) from err
        except Exception as err:
            if ctx.meta.get(_DEBUG):
                raise
            raise Failure(
                f"{type(err).__name__}: {_text(err)}\nThis was not foreseen. Add --debug for the "
                "traceback, and report it with the command."
            ) from err


def _text(err: Exception) -> str:
    return "\n".join([str(err), *getattr(err, "__notes__", [])])


def _debug_option() -> click.Option:
    def note(ctx: click.Context, option: click.Parameter, value: bool) -> None:
        if value:
            ctx.meta[_DEBUG] = True

    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        callback=note,
        help="Show the traceback of an error.",
    )


def _show_version(ctx: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        from xdownscale import __version__

        click.echo(f"xdownscale {__version__}")
        ctx.exit()


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version.",
)
def app() -> None:
    """Downscale a long coarse gridded record with the help of a short fine one.

    Records are netCDF files or Zarr stores. `xdownscale COMMAND --help` explains a command, with an
    example. Exit codes: 0 done, 1 an error (its message is on standard error), 2 wrong usage, 130
    interrupted.
    """


def run(args: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit code.

    Parameters
    ----------
    args : sequence of str, optional
        Arguments behind the name of the program; None: those of this process.

    Returns
    -------
    int
        0 done, 1 error of the library, 2 wrong usage, 130 interrupted. Under ``--debug`` errors
        are raised.

    Examples
    --------
    >>> run(["--version"])
    xdownscale ...
    0
    """
    with _termination_interrupts(), _plain_warnings():
        try:
            given = None if args is None else list(args)
            code = app.main(args=given, prog_name="xdownscale", standalone_mode=False)
        except click.ClickException as err:
            err.show()
            return err.exit_code
        except (click.Abort, KeyboardInterrupt):
            click.echo("\nInterrupted.", err=True)
            return INTERRUPTED
    return code if isinstance(code, int) else 0


def main() -> None:
    """Run the command that this process was called with, and exit."""
    code = run()
    if code == INTERRUPTED:  # threads that still write are not waited for
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


@contextlib.contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Let SIGTERM, with which batch systems end a job, do what Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show a warning as one line without file and source."""
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        yield


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    click.echo(f"Warning: {message}", err=True)
