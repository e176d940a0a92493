"""Command ``models``: list, fetch and publish pretrained models."""

from __future__ import annotations

from pathlib import Path

import click

from xdownscale.cli import _options as options
from xdownscale.cli import _results as results
from xdownscale.cli._app import Command
from xdownscale.core.errors import StorageError
from xdownscale.core.files import write_whole


@click.group()
def command() -> None:
    """List, fetch and publish pretrained models.

    Besides those of the package there are those of the folder or server that the environment
    variable XDOWNSCALE_DATA_URL names.
    """


@command.command("list", cls=Command, examples=["xdownscale models list"])
def list_models() -> None:
    """List the pretrained models."""
    from xdownscale.io.hub.load import available

    for name, entry in available().items():
        click.echo(f"{name}  {entry.bytes / 1e6:.1f} MB  {entry.summary}  {entry.licence}".rstrip())


@command.command(
    "fetch", cls=Command, examples=["xdownscale models fetch dust-twin-tiny -o dust.xd"]
)
@click.argument("name")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="File to copy it to. Default: it stays in the cache, and its path is printed.",
)
@options.quiet_option
def fetch(name: str, output: Path | None, quiet: bool) -> None:
    """Download the model NAME, unless it is there, and print the path of its file."""
    if output is not None:
        results.check_output(output)
    from xdownscale.io.hub.load import find_model

    found = find_model(name, progress=not quiet)
    if output is not None:
        write_whole(output, found.read_bytes())
    click.echo(str(found if output is None else output))


@command.command(
    "publish",
    cls=Command,
    examples=[
        "xdownscale models publish dust.xd published --name dust-gulf-1 \\",
        "    --intended-use 'Daily dust over the Gulf. Not for warnings.' --licence 'CC BY 4.0'",
    ],
)
@click.argument("model")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--name", help="Default: the name of the folder.")
@click.option("--summary", default="", help="One sentence. Default: the facts of the model.")
@click.option(
    "--scores",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Markdown for the model card, such as `xdownscale score -o skill.md` writes.",
)
@click.option("--intended-use", default="", help="For the model card.")
@click.option("--licence", default="", help="Who may do what with it.")
def publish(
    model: str,
    folder: Path,
    name: str | None,
    summary: str,
    scores: Path | None,
    intended_use: str,
    licence: str,
) -> None:
    """Publish the file MODEL in FOLDER, from which others load it by its name."""
    text = None if scores is None else _read(scores)
    fitted = results.open_model(model)
    from xdownscale.downscaler import publish as to_folder

    path = to_folder(
        fitted,
        folder,
        name=name,
        summary=summary,
        scores=text,
        intended_use=intended_use,
        licence=licence,
    )
    click.echo(str(path))


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise StorageError(f"The scores {path} cannot be read: {err}. Give Markdown.") from err
