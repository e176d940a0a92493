"""Sphinx extension: equations as MathML, which browsers draw without a script and offline."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert


def setup(app: Any) -> dict[str, Any]:
    """Register the renderer under the name ``mathml``."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


_BOLD = re.compile(r'<mi mathvariant="bold">([A-Za-z])</mi>')


def _as_mathml(text: str, display: str) -> str:
    """Return TeX as MathML; bold letters as characters of their own, as MathML Core has them."""
    return _BOLD.sub(_bold, convert(text, display=display))


def _bold(found: re.Match[str]) -> str:
    letter = found[1]
    first = 0x1D400 if letter.isupper() else 0x1D41A
    code = first + ord(letter) - ord("A" if letter.isupper() else "a")
    return f'<mi mathvariant="normal">{chr(code)}</mi>'


def _inline(self: Any, node: nodes.Node) -> None:
    self.body.append(_as_mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def _block(self: Any, node: nodes.Node) -> None:
    text = node.astext()
    if "\\\\" in text and "\\begin" not in text:
        text = f"\\begin{{aligned}}{text}\\end{{aligned}}"
    self.body.append(f'<div class="equation">{_as_mathml(text, "block")}</div>\n')
    raise nodes.SkipNode
