"""Model cards: training data, scores, intended use and licence of a published model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from xdownscale import skill
from xdownscale.core import markdown
from xdownscale.core.coords import find_axes
from xdownscale.fitting import fitted_model
from xdownscale.fitting.fitted_model import Fitted
from xdownscale.io.hub.registry import Entry

Scores = pd.DataFrame | Mapping[str, float] | str

_CARD = """# {name}

{summary}

## Training data

| | |
|---|---|
{facts}

## Scores

{scores}

## Intended use

{use}

It generates fields for the coarse record and the fine grid above, and for weather like that of its
training period; it says nothing about other variables, regions or climates. Its encoder
may be taken over elsewhere: `fit(..., encoder=xd.load_pretrained("{name}"))`.

## Licence

{licence}

## File

`{file}`, {size} bytes, SHA-256 `{sha256}`, written with xarray-downscale {version}.

```python
import xdownscale as xd

model = xd.load_pretrained("{name}")  # XDOWNSCALE_DATA_URL names this folder, or a server of it
```
"""


def write(
    name: str,
    fitted: Fitted,
    entry: Entry,
    *,
    scores: Scores | None,
    intended_use: str,
) -> str:
    """Return a model card in Markdown.

    Parameters
    ----------
    name : str
        Name of the model.
    fitted : Fitted
        The model.
    entry : Entry
        Its entry in the registry.
    scores : DataFrame, mapping, str or None
        A table of `xdownscale.skill.table`, score -> number, or Markdown; None: the scores that
        fitting measured.
    intended_use : str
        What it may be used for; empty where nothing was said.

    Returns
    -------
    str
    """
    facts = [*fitted_model.facts(fitted), *_grids(fitted)]
    return _CARD.format(
        name=name,
        summary=markdown.prose(entry.summary),
        facts="\n".join(f"| {word} | {markdown.cell(sentence)} |" for word, sentence in facts),
        scores=_scores(fitted, scores),
        use=markdown.prose(intended_use)
        or "Nothing was said of it: ask whoever published the model.",
        licence=markdown.prose(entry.licence) or "None was given: ask whoever published the model.",
        file=entry.file,
        size=entry.bytes,
        sha256=entry.sha256,
        version=fitted.about.version,
    )


def _grids(fitted: Fitted) -> list[tuple[str, str]]:
    """Return the extent and spacing of both grids."""
    fine = fitted.labels
    coarse = find_axes(fitted.coarse_grid)
    grids = {
        "fine grid": [fine.coords[n] for n in (fine.axes.latitude, fine.axes.longitude)],
        "coarse grid": [fitted.coarse_grid[n] for n in (coarse.latitude, coarse.longitude)],
    }
    return [(word, " x ".join(map(_span, parts))) for word, parts in grids.items()]


def _span(coordinate: npt.ArrayLike) -> str:
    values = np.asarray(coordinate, float)
    low = float(np.nanmin(values))
    high = float(np.nanmax(values))
    step = f", every {abs(values[1] - values[0]):g}" if values.ndim == 1 and values.size > 1 else ""
    return f"{low:g} to {high:g} degrees{step}"


def _scores(fitted: Fitted, scores: Scores | None) -> str:
    if isinstance(scores, str):
        return markdown.prose(scores)
    if isinstance(scores, pd.DataFrame):
        return skill.to_markdown(scores)
    given = fitted.about.skill if scores is None else scores
    rows = [
        f"| {markdown.cell(str(name))} | {float(value):.4g} |"
        for name, value in (given or {}).items()
    ]
    if not rows:
        return "None were given."
    note = "One realization of some validation days, transformed units.\n\n"
    return (note if scores is None else "") + "\n".join(["| score | |", "|---|---|", *rows])
