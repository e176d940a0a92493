"""One HTML page that judges a prediction, against truth where there is some, and without.

`report` writes the page, `evidence` returns what its sentences say as a table. The records are
brought together in ``_records.py``, curves and intervals are made in ``_curves.py`` and
``_intervals.py``, sections in ``_sections.py``, and HTML in ``_page.py``.
"""

from __future__ import annotations

from xdownscale.reports._assembly import evidence, report

__all__ = ["evidence", "report"]
