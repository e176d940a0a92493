"""Parts of self-contained HTML pages, for reports and other pages."""

from __future__ import annotations

import base64
import html

from xdownscale.reports._page import page, paragraph, table

__all__ = ["code", "image", "page", "paragraph", "table"]


def image(png: bytes, words: str, caption: str = "") -> str:
    """Return an image within a page.

    Parameters
    ----------
    png : bytes
        Content of a PNG file.
    words : str
        What it shows, for those who do not see it.
    caption : str
        Below it.

    Examples
    --------
    >>> image(b"", "A map.")
    '<figure><img src="data:image/png;base64," alt="A map."></figure>'
    """
    data = base64.b64encode(png).decode("ascii")
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{html.escape(words)}">'
        f"{below}</figure>"
    )


def code(text: str) -> str:
    """Return lines of code.

    Parameters
    ----------
    text : str
        The lines.

    Examples
    --------
    >>> code("a < b")
    '<pre>a &lt; b</pre>'
    """
    return f"<pre>{html.escape(text)}</pre>"
