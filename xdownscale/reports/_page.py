"""Self-contained HTML: style, tables, figures, without any network access."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import itertools
import re
from typing import Any

import pandas as pd

from xdownscale.core.optional import require
from xdownscale.reports._export import keep

_NUMBER = "<!--number of the figure-->"
_COPY = """
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  const text = button.parentElement.querySelector(".caption").textContent;
  let done = true;
  try { await navigator.clipboard.writeText(text); } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
  }
  button.textContent = done ? "Copied" : "Select the text and copy it";
  setTimeout(() => { button.textContent = "Copy caption"; }, 2000);
});
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #ffffff; --soft: #5a5a5a;
  --line: #d5d5d5; --band: #f3f5f7; --link: #0b5cad; --in: #00674a; --out: #a33c00; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec; --paper: #16181b; --soft: #b3b3b3;
  --line: #3c4046; --band: #20242a; --link: #8ec1ff; --in: #5fd3ae; --out: #ffb27a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; }
main, header { max-width: 62rem; margin: 0 auto; padding: 0 1.2rem; }
header { padding-top: 1.6rem; }
main { padding-bottom: 2.4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .4rem; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .4rem; border-top: 1px solid var(--line);
  padding-top: 1rem; }
p, li { max-width: 46rem; }
.conclusion { font-size: 1.15rem; font-weight: 600; }
.soft { color: var(--soft); }
.inside { color: var(--in); font-weight: 600; }
.below, .above { color: var(--out); font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; margin: .6rem 0; }
caption { text-align: left; color: var(--soft); padding: .2rem 0; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; vertical-align: top;
  border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; }
thead th { border-bottom: 2px solid var(--soft); }
figure { margin: 1rem 0; }
figure img { max-width: 100%; height: auto; background: #ffffff; border-radius: 4px;
  padding: .4rem; border: 1px solid var(--line); }
button.copy { font: inherit; font-size: .8rem; color: var(--link); background: var(--band);
  border: 1px solid var(--line); border-radius: 4px; padding: .1rem .5rem; cursor: pointer; }
.controls { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; }
.when { display: flex; gap: .4rem; align-items: center; flex: 1 1 18rem; max-width: 34rem; }
.when[hidden], label[hidden] { display: none; }
.when input { flex: 1; min-width: 4rem; }
.controls button, .controls select { font: inherit; color: var(--ink); background: var(--band);
  border: 1px solid var(--line); border-radius: 4px; padding: .15rem .6rem; cursor: pointer; }
#date { font-weight: 600; font-variant-numeric: tabular-nums; }
#map { display: block; aspect-ratio: var(--ratio); width: min(100%, calc(62vh * var(--ratio)));
  margin: .7rem 0 .3rem; cursor: crosshair;
  image-rendering: pixelated; border: 1px solid var(--line); touch-action: none; }
#under { display: block; min-height: 1.6em; font-variant-numeric: tabular-nums; }
.bar { max-width: 34rem; margin: .6rem 0 0; }
.bar canvas { width: 100%; height: 1rem; display: block; border: 1px solid var(--line); }
.bar p { margin: .1rem 0; font-size: .9rem; }
.ticks { position: relative; height: 1.4rem; font-size: .85rem; }
.ticks span { position: absolute; transform: translateX(-50%); }
figcaption { color: var(--soft); font-size: .9rem; }
pre { overflow-x: auto; background: var(--band); padding: .7rem; font-size: .85rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }
a { color: var(--link); }
@media print { :root { --ink: #000; --paper: #fff; --soft: #444; --line: #bbb; --band: #f3f3f3;
  --in: #004d37; --out: #7a2d00; }
  h2 { break-after: avoid; } figure, tr { break-inside: avoid; }
  nav, button.copy { display: none; } }
"""


def page(title: str, lead: str, sections: list[tuple[str, str]], script: str = "") -> str:
    """Return a whole page; `lead` and section bodies are HTML, titles are text.

    The policy of the page admits `script` (JavaScript) and that of its buttons, and no other.
    """
    links = "".join(
        f'<li><a href="#s{i}">{html.escape(name)}</a></li>' for i, (name, _) in enumerate(sections)
    )
    links = f'<nav aria-label="Sections"><ul>{links}</ul></nav>' if len(sections) > 2 else ""
    bodies = "".join(
        f'<section aria-labelledby="s{i}"><h2 id="s{i}">{html.escape(name)}</h2>{body}</section>'
        for i, (name, body) in enumerate(sections)
    )
    numbers = itertools.count(1)
    bodies = re.sub(_NUMBER, lambda _: f"Figure {next(numbers)}.", bodies)
    script, policy = _scripted(bodies, script)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>"
        f"<header><h1>{html.escape(title)}</h1>{lead}</header><main>"
        f"{links}{bodies}</main>"
        f"{script}</body></html>\n"
    )


def _scripted(bodies: str, script: str) -> tuple[str, str]:
    """Return the scripts, that of buttons if there are any, and a policy that admits them."""
    known = [code for code in (script, _COPY if 'class="copy"' in bodies else "") if code]
    if not known:
        return "", _POLICY
    digests = [base64.b64encode(hashlib.sha256(code.encode()).digest()) for code in known]
    admitted = " ".join(f"'sha256-{digest.decode()}'" for digest in digests)
    text = "".join(f"<script>{code}</script>" for code in known)
    return text, f"{_POLICY}; script-src {admitted}"


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of plain text."""
    mark = f' class="{kind}"' if kind else ""
    return f"<p{mark}>{html.escape(text)}</p>"


def listing(items: list[tuple[str, dict[str, str]]]) -> str:
    """Return a list of sentences, each behind its verdicts by record, coloured."""
    rows = []
    for text, verdicts in items:
        marks = ", ".join(
            f'<span class="{html.escape(said.replace(" ", "-"))}">{html.escape(said)}</span>'
            f" ({html.escape(name)})"
            for name, said in verdicts.items()
        )
        rows.append(f"<li>{marks}{': ' if marks else ''}{html.escape(text)}</li>")
    return f"<ul>{''.join(rows)}</ul>"


def table(frame: pd.DataFrame, caption: str) -> str:
    """Return a table that scrolls where it is too wide; the index makes the row headings."""
    heads = [_joined(c) for c in frame.columns]
    head = "".join(f'<th scope="col">{html.escape(h)}</th>' for h in heads)
    rows = []
    for label, values in zip(frame.index, frame.itertuples(index=False), strict=True):
        cells = "".join(f"<td>{html.escape(_number(v))}</td>" for v in values)
        rows.append(f'<tr><th scope="row">{html.escape(_joined(label))}</th>{cells}</tr>')
    corner = html.escape(str(frame.index.name or ""))
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{html.escape(caption)}">'
        f"<table><caption>{html.escape(caption)}</caption><thead><tr>"
        f'<th scope="col">{corner}</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody>'
        "</table></div>"
    )


def figure(drawn: Any, words: str, caption: str = "") -> str:
    """Return a matplotlib figure as an image within the page.

    SVG, but PNG where there are maps: they have too many cells. Below it is a caption in plain
    text, with a button that copies it.
    """
    has_maps = any(ax.collections and ax.get_title(loc="left") for ax in drawn.axes)
    kind = "png" if has_maps else "svg"
    mime = "png" if has_maps else "svg+xml"
    buffer = io.BytesIO()
    context = require("matplotlib", "Drawing figures").rc_context
    with context({"svg.fonttype": "path", "svg.hashsalt": "xdownscale"}):
        about = {"Date": None} if kind == "svg" else {}
        drawn.savefig(buffer, format=kind, dpi=110, bbox_inches="tight", metadata=about)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    said = caption or words
    keep(drawn, said)
    below = (
        f'<figcaption><span class="caption">{_NUMBER} {html.escape(said)}</span> '
        '<button class="copy" type="button">Copy caption</button></figcaption>'
    )
    return (
        f'<figure><img src="data:image/{mime};base64,{data}" alt="{html.escape(words)}">'
        f"{below}</figure>"
    )


def _joined(label: Any) -> str:
    return " ".join(map(str, label)) if isinstance(label, tuple) else str(label)


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
