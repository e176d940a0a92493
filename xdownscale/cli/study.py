"""Command ``study``: the paper's study, on the built-in twin or on published files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from xdownscale.cli import _options as options
from xdownscale.cli import _results as results
from xdownscale.cli._app import Command


@click.command(
    cls=Command,
    short_help="Run the paper's study: every system, area and season.",
    examples=[
        "xdownscale study --quick --out study",
        "xdownscale study --data files --areas 'gulf=43,52,23,30;asia=60,140,5,50' --out study",
        "xdownscale study --only A0-JJA --out study  # one job of a batch system",
        "xdownscale study --out study  # then tables, figures and page of all",
        "xdownscale study --out study --figure 6",
    ],
)
@click.option(
    "--data",
    default="twin",
    show_default=True,
    metavar="NAME",
    help="twin, or a folder with the folders merra2, g5nr and elevation of published files.",
)
@click.option(
    "--areas",
    metavar="BOXES",
    help="NAME=WEST,EAST,SOUTH,NORTH;..., or names of the default areas (A0,A1).",
)
@click.option("--seasons", metavar="NAMES", help="Default: DJF,MAM,JJA,SON; JJA under --quick.")
@click.option("--methods", metavar="NAMES", help="Systems; default: all. `--list` shows them.")
@click.option("--list", "listed", is_flag=True, help="List the systems.")
@click.option("--seeds", metavar="NUMBERS", default="0", show_default=True, help="Such as 0,1,2.")
@click.option("--minutes", type=float, help="Training time of each network. Default: 4; 0.5.")
@click.option("--members", type=int, help="Realizations of a test day. Default: 8; 4.")
@click.option("--only", metavar="GROUP", help="Train one area and season, such as A0-JJA.")
@click.option("--quick", is_flag=True, help="Short trainings; one area, one season.")
@click.option("--figure", metavar="NUMBER", help="Draw one figure of a study that was run.")
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("study"),
    show_default=True,
    help="Folder of the study.",
)
@options.device_option
@options.quiet_option
def command(
    data: str,
    areas: str | None,
    seasons: str | None,
    methods: str | None,
    listed: bool,
    seeds: str,
    minutes: float | None,
    members: int | None,
    only: str | None,
    quick: bool,
    figure: str | None,
    out: Path,
    device: str,
    quiet: bool,
) -> None:
    """Train every system in every area and season, and write tables, figures and a page.

    Finished pieces are not trained again, so the command goes on where it was stopped, and several
    jobs can write to one folder.
    """
    from xdownscale import study

    if listed:
        click.echo("\n".join(study.systems()))
        return
    if figure is not None:
        click.echo(str(study.figure(figure, out, data)))
        return
    with results.interruptible(
        f"Finished pieces are in {out}. Go on with: {results.this_command()}"
    ):
        path = study.run(
            data,
            out=out,
            areas=_areas(areas),
            seasons=options.words(seasons),
            methods=options.words(methods),
            seeds=_seeds(seeds),
            minutes=minutes,
            members=members,
            only=only,
            quick=quick,
            device=device,
            progress=not quiet,
        )
    click.echo(str(path))


def _areas(text: str | None) -> Any:
    """Return boxes by name, or names of default areas."""
    if text is None or "=" not in text:
        return options.words(text)
    from xdownscale.study.records import parse_areas

    return parse_areas(text)


def _seeds(text: str) -> list[int]:
    try:
        return [int(word) for word in options.words(text) or []]
    except ValueError:
        raise click.BadParameter(f"{text!r} are no numbers, such as 0,1,2.") from None
