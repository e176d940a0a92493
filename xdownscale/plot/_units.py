"""Units as text of a figure: exponents as superscripts, squares expanded."""

from __future__ import annotations

import re
from fractions import Fraction

_FUNCTIONS = ("log10", "log1p", "log", "ln", "sqrt", "asinh")
_TOKEN = re.compile(
    r"\s*(?:"
    r"(?P<power>(?:\*\*|\^)\s*[-+]?\d+(?:\.\d+)?|(?<=[)])[-+]?\d+)|"
    r"(?P<times>\*|[.·](?=[A-Za-z\u00b5\u03bcΩ°(]))|"
    r"(?P<per>/|per(?=\s))|"
    r"(?P<open>\()|(?P<close>\))|"
    rf"(?P<transform>(?:{'|'.join(_FUNCTIONS)})(?![A-Za-z\d]))|"
    r"(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![A-Za-z\d]))|"
    r"(?P<word>[A-Za-z\u00b5\u03bcΩ°%_]+)(?P<exponent>[-+]?\d+)?(?!\w|\.\d)"
    r")"
)
_NO_UNITS = ("", "1", "-", "unitless", "dimensionless")
_WORDS = {
    **dict.fromkeys(
        ("degC", "deg_C", "degree_C", "degrees_C", "degree_Celsius", "degrees_Celsius"), "°C"
    ),
    **dict.fromkeys(("celsius", "Celsius"), "°C"),
    **{"um": "µm", "ug": "µg", "percent": "%", "log10": "log$_{10}$"},
}
_Atom = tuple[str, Fraction]
_Token = tuple[str, str]


class _UnreadableError(ValueError):
    """The text is not a product of powers of units."""


def units_text(units: object) -> str:
    """Return units as a figure shows them, with exponents as superscripts (mathtext).

    Parameters
    ----------
    units : object
        Units as CF attributes spell them; None where there are none.

    Returns
    -------
    str
        Empty for pure numbers (``"1"``). Powers of products are multiplied out. What cannot be
        read as a product of powers stays as it is.

    Examples
    --------
    >>> units_text("kg m**-2 s-1"), units_text("(m s**-1)2 km2")
    ('kg m$^{-2}$ s$^{-1}$', 'm$^{2}$ s$^{-2}$ km$^{2}$')
    >>> units_text("1"), units_text("days since 2000-01-01")
    ('', 'days since 2000-01-01')
    """
    raw = " ".join(str(units or "").replace("\N{MINUS SIGN}", "-").split())
    if raw in _NO_UNITS:
        return ""
    try:
        tokens = _tokens(raw)
        atoms = _product(tokens)
        if tokens:
            raise _UnreadableError(raw)
    except _UnreadableError:
        return raw.replace("$", r"\$")
    return " ".join(_written(text, power) for text, power in atoms)


def _tokens(raw: str) -> list[_Token]:
    """Return kinds and texts, the last one first."""
    found: list[_Token] = []
    place = 0
    while place < len(raw):
        match = _TOKEN.match(raw, place)
        if match is None:
            raise _UnreadableError(raw)
        kind = "word" if match["word"] else str(match.lastgroup)
        found.append((kind, match[kind].strip()))
        if match["exponent"]:
            found.append(("power", match["exponent"]))
        place = match.end()
    return found[::-1]


def _product(tokens: list[_Token]) -> list[_Atom]:
    """Take a product off the tokens, up to a closing bracket or the end."""
    atoms = _factor(tokens)
    while tokens and tokens[-1][0] != "close":
        kind = tokens[-1][0]
        if kind in ("times", "per"):
            tokens.pop()
        sign = -1 if kind == "per" else 1
        atoms += [(text, sign * power) for text, power in _factor(tokens)]
    return atoms


def _factor(tokens: list[_Token]) -> list[_Atom]:
    """Take a number, a unit, a transform of units or a bracket with its power off the tokens."""
    kind, text = tokens.pop() if tokens else ("end", "")
    if kind == "open":
        atoms = _product(tokens)
        if not tokens or tokens.pop()[0] != "close":
            raise _UnreadableError(text)
    elif kind == "transform":
        atoms = [(_transformed(text, tokens), Fraction(1))]
    elif kind in ("word", "number"):
        atoms = _atoms(kind, text)
    else:
        raise _UnreadableError(text)
    power = _power(tokens)
    return [(text, own * power) for text, own in atoms]


def _atoms(kind: str, text: str) -> list[_Atom]:
    if kind == "word":
        return [(_WORDS.get(text, text), Fraction(1))]
    value = float(text)
    if value == 1:
        return []
    mantissa, _, exponent = text.lower().partition("e")
    if not exponent:
        return [(text, Fraction(1))]
    if float(mantissa) != 1:
        raise _UnreadableError(text)
    return [("10", Fraction(int(exponent)))]


def _power(tokens: list[_Token]) -> Fraction:
    if not tokens or tokens[-1][0] != "power":
        return Fraction(1)
    return Fraction(tokens.pop()[1].lstrip("*^").strip())


def _transformed(name: str, tokens: list[_Token]) -> str:
    """Take what a transform is of off the tokens: log10(K), log10 K, or nothing."""
    shown = _WORDS.get(name, name)
    if not tokens or tokens[-1][0] in ("close", "power"):
        return shown
    if tokens[-1][0] == "open":
        tokens.pop()
        atoms = _product(tokens)
        if not tokens or tokens.pop()[0] != "close":
            raise _UnreadableError(name)
    else:
        atoms = _product(tokens)
    inner = " ".join(_written(text, power) for text, power in atoms)
    return f"{shown}({inner})" if inner else shown


def _written(text: str, power: Fraction) -> str:
    if power == 1:
        return text
    if power == 2 and text.startswith("sqrt("):
        return text[len("sqrt(") : -1]
    base = f"({text})" if "(" in text or "_" in text or text in _FUNCTIONS else text
    shown = str(power.numerator) if power.denominator == 1 else f"{float(power):g}"
    return f"{base}$^{{{shown}}}$"
