"""Write tables of scores as ``mean (sd)``, Markdown or LaTeX."""

from __future__ import annotations

from typing import Any

import pandas as pd

from xdownscale.core import markdown
from xdownscale.skill._versus import is_best, leading, said

_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {sign: f"\\{sign}" for sign in "&%$#_{}"}


def format_table(scores: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """Write each score as ``mean (sd)``.

    Parameters
    ----------
    scores : DataFrame
        What `table` returned.
    digits : int
        Significant digits.

    Returns
    -------
    DataFrame
        Of texts; the mean alone where there is no standard deviation, as of one day. Last, where
        there are baselines, the column ``vs best``: the ratio to the best one's score, and its
        standard error (see `table`).

    Examples
    --------
    >>> frame = pd.DataFrame({"r2": [0.91]}, index=["bicubic"])
    >>> frame.attrs["sd"] = {"r2": {"bicubic": 0.02}}
    >>> format_table(frame).iloc[0, 0]
    '0.91 (0.02)'
    """
    spread = scores.attrs.get("sd", {})
    texts = {
        column: [
            _number(mean, digits) + _bracket(mean, spread.get(column, {}).get(row), digits)
            for row, mean in scores[column].items()
        ]
        for column in scores.columns
    }
    found = pd.DataFrame(texts, index=scores.index, columns=scores.columns)
    found = _with_best(found, scores, digits)
    found.attrs = {key: scores.attrs[key] for key in ("left_out",) if key in scores.attrs}
    return found


def _with_best(texts: pd.DataFrame, scores: pd.DataFrame, digits: int) -> pd.DataFrame:
    """Append the comparison with the best baseline, where a table has one."""
    versus = scores.attrs.get("vs_best", {})
    column = leading(list(versus.get("ratio", {})))
    if column is None or column not in scores.columns:
        return texts
    best = versus["best"][column]
    ratio = versus["ratio"][column]
    error = versus["error"][column]
    cells = [
        said(ratio[row], error[row], is_best=is_best(best, row), digits=digits)
        if row in ratio
        else ""
        for row in scores.index
    ]
    texts["vs best", " ".join(column)] = cells
    return texts


def to_markdown(scores: pd.DataFrame, digits: int = 3, *, spread: bool = True) -> str:
    """Write a table in Markdown.

    Parameters
    ----------
    scores : DataFrame
        Any table; column levels are joined by a space, row levels stand in columns of their own,
        and what repeats the row above is left blank. Below a table of scores stands which
        baselines are not in it, and what they need.
    digits : int
        Significant digits of numbers.
    spread : bool
        Write a table of scores as ``mean (sd)``, and ``vs best`` beside it; False writes the means
        alone.

    Returns
    -------
    str
        Special characters are escaped.

    Examples
    --------
    >>> print(to_markdown(pd.DataFrame({"r2": [0.91234]}, index=["bicubic"])))
    |  | r2 |
    |---|---|
    | bicubic | 0.912 |
    """
    head, rows = _cells(scores, digits, spread=spread)
    first, *lines = ["| " + " | ".join(map(markdown.cell, row)) + " |" for row in [head, *rows]]
    note = [f"\n{markdown.prose(text)}" for text in left_out_note(scores)]
    return "\n".join([first, "|" + "---|" * len(head), *lines, *note])


def to_latex(scores: pd.DataFrame, digits: int = 3, *, spread: bool = True) -> str:
    r"""Write a table in LaTeX, with the rules of the package booktabs.

    Parameters
    ----------
    scores : DataFrame
        Any table, as for `to_markdown`; needs no jinja2.
    digits : int
        Significant digits of numbers.
    spread : bool
        As for `to_markdown`.

    Returns
    -------
    str
        A tabular environment; special characters are escaped. Which baselines are not in it is a
        comment on the last line.

    Examples
    --------
    >>> print(to_latex(pd.DataFrame({"pearson_r2": [0.91234]}, index=["bicubic"])))
    \begin{tabular}{lr}
    \toprule
     & pearson\_r2 \\
    \midrule
    bicubic & 0.912 \\
    \bottomrule
    \end{tabular}
    """
    head, rows = _cells(scores, digits, spread=spread)
    body = [" & ".join(map(_escaped, row)) + r" \\" for row in [head, *rows]]
    layout = "l" * scores.index.nlevels + "r" * scores.shape[1]
    lines = [rf"\begin{{tabular}}{{{layout}}}", r"\toprule", body[0], r"\midrule", *body[1:]]
    note = [f"% {text}" for text in left_out_note(scores)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", *note])


def left_out_note(scores: pd.DataFrame) -> list[str]:
    """Return one sentence, or none, that names the baselines that are not in a table.

    Parameters
    ----------
    scores : DataFrame
        What `table` returned.

    Returns
    -------
    list of str

    Examples
    --------
    >>> scores = pd.DataFrame({"r2": [0.9]}, index=["fast"])
    >>> scores.attrs["left_out"] = {"climatology": "no training days were given"}
    >>> left_out_note(scores)
    ['Not in the table: climatology (no training days were given).']
    """
    lacking = scores.attrs.get("left_out", {})
    reasons: dict[str, list[str]] = {}
    for name, why in lacking.items():
        reasons.setdefault(why, []).append(name)
    named = ", ".join(f"{', '.join(names)} ({why})" for why, names in reasons.items())
    return [f"Not in the table: {named}."] if named else []


def _cells(scores: pd.DataFrame, digits: int, *, spread: bool) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of a table as texts."""
    if spread and "sd" in scores.attrs:
        scores = format_table(scores, digits)
    columns: list[Any] = list(scores.columns)
    heads = [" ".join(map(str, c)) if isinstance(c, tuple) else str(c) for c in columns]
    names = [str(name or "") for name in scores.index.names]
    labels = [tuple(map(str, x)) if isinstance(x, tuple) else (str(x),) for x in scores.index]
    rows = []
    for above, label, values in zip(
        [None, *labels[:-1]], labels, scores.itertuples(index=False), strict=True
    ):
        rows.append([*_sparse(above, label), *(_number(value, digits) for value in values)])
    return [*names, *heads], rows


def _sparse(above: tuple[str, ...] | None, label: tuple[str, ...]) -> list[str]:
    """Blank the outer labels that repeat those of the row above."""
    same = 0
    while above and same < len(label) - 1 and above[same] == label[same]:
        same += 1
    return [""] * same + list(label[same:])


def _number(value: Any, digits: int) -> str:
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def _bracket(mean: Any, value: float | None, digits: int) -> str:
    unknown = value is None or value != value or mean != mean
    return "" if unknown else f" ({_number(value, digits)})"


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)
