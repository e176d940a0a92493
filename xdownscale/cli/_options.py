"""Options that several commands have, and kinds of values that they take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class Pairs(click.ParamType):  # type: ignore[type-arg]
    """``NAME=VALUE``, several separated by commas, as a dict."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: Any, ctx: Any) -> dict[str, Any]:
        """Return the pairs; values are numbers where they can be."""
        if isinstance(value, dict):
            return value
        found: dict[str, Any] = {}
        for part in str(value).split(","):
            key, sign, text = (piece.strip() for piece in part.partition("="))
            if not (key and sign and text):
                self.fail(f"{part!r} is no NAME=VALUE.", param, ctx)
            found[key] = _number(text)
        return found


class Region(click.ParamType):  # type: ignore[type-arg]
    """``NAME=WEST,EAST,SOUTH,NORTH`` in degrees, as a name and four numbers."""

    name = "NAME=W,E,S,N"

    def convert(
        self, value: Any, param: Any, ctx: Any
    ) -> tuple[str, tuple[float, float, float, float]]:
        """Return the name and the edges."""
        name, _, text = str(value).partition("=")
        try:
            west, east, south, north = map(float, text.split(","))
        except ValueError:
            self.fail(
                f"{value!r} is no region; give NAME=WEST,EAST,SOUTH,NORTH in degrees, such as "
                "gulf=45,60,20,32.",
                param,
                ctx,
            )
        return name.strip(), (west, east, south, north)


class Assignment(click.ParamType):  # type: ignore[type-arg]
    """``KEY=VALUE``; the value is YAML."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, Any]:
        """Return the key and the value."""
        key, sign, text = str(value).partition("=")
        if not (key.strip() and sign):
            self.fail(f"{value!r} is no KEY=VALUE, such as max_lag=10.", param, ctx)
        from xdownscale.cli._configuration import parse

        return key.strip(), parse(text, f"The value of {key.strip()}")


def _number(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        return text


def words(text: str | None) -> list[str] | None:
    """Return words that are separated by commas; None of None.

    Examples
    --------
    >>> words("DJF, JJA")
    ['DJF', 'JJA']
    """
    if text is None:
        return None
    return [word.strip() for word in text.split(",") if word.strip()]


def variable_option(
    what: str = "Variable to read; repeat it for several. Default: all.",
) -> Callable[[F], F]:
    """Return the option ``--variable``."""
    return click.option("--variable", "-v", "variables", multiple=True, metavar="NAME", help=what)


chunks_option = click.option(
    "--chunks",
    type=Pairs(),
    help="Read so many time steps at a time, such as time=365. Default: what suits the memory.",
)
seed_option = click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of everything random."
)
device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="auto, cpu, cuda or mps.",
)
quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress on standard error.")
regions_option = click.option(
    "--regions",
    type=Region(),
    multiple=True,
    help="A region in degrees, such as gulf=45,60,20,32; repeat it for several.",
)
transform_option = click.option(
    "--transform",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="auto, log10, asinh, log1p, sqrt or identity.",
)
