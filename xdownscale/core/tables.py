"""Tables with a sentence in each row, which are shown whole."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

SENTENCE = "sentence"


class SentenceTable(pd.DataFrame):
    """A DataFrame whose repr shows its numbers, then each sentence in full on a line of its own.

    pandas cuts long texts, and then the columns in the middle. Parts of it are shown alike;
    everything else is as of any DataFrame.

    Examples
    --------
    >>> SentenceTable({"value": [0.5], "sentence": ["Half of what it should be."]}, index=["drift"])
           value
    drift    0.5
    <BLANKLINE>
    drift: Half of what it should be.
    """

    @property
    def _constructor(self) -> Callable[..., SentenceTable]:
        return SentenceTable

    def __repr__(self) -> str:
        if SENTENCE not in self.columns:
            return pd.DataFrame(self).__repr__()
        numbers = pd.DataFrame(self).drop(columns=SENTENCE).to_string()
        lines = [f"{label}: {text}" for label, text in self[SENTENCE].items()]
        return "\n".join([numbers, "", *lines])

    def _repr_html_(self) -> str | None:
        with pd.option_context("display.max_colwidth", None, "display.max_rows", None):
            shown: str | None = pd.DataFrame(self)._repr_html_()  # type: ignore[operator]
        return shown
