"""Escape texts of users and files for Markdown, so that they show as they are."""

from __future__ import annotations


def prose(text: str) -> str:
    """Return Markdown in which HTML is text.

    Examples
    --------
    >>> prose("*dust* <script>alert(1)</script>")
    '*dust* &lt;script>alert(1)&lt;/script>'
    """
    return text.replace("<", "&lt;")


def cell(text: str) -> str:
    r"""Return a text as one cell of a Markdown table: one line, no HTML, links or images.

    Examples
    --------
    >>> print(cell("dust | [here](http://x)"))
    dust \| [here]\(http://x)
    """
    line = " ".join(prose(text).split())
    return line.replace("\\", "\\\\").replace("|", r"\|").replace("](", r"]\(")
