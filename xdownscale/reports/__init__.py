"""HTML reports on a prediction, with truth and without, and on the structure of a field.

`report` writes the page, `evidence` returns the statistics in its sentences as a table. The records
are checked and matched in ``_records.py``, curves and intervals are made in ``_curves.py`` and
``_intervals.py``, sections in ``_sections.py``, and HTML in ``_page.py``.
`field_report` writes a page of diagnostics of one field (``_field.py``), `explore` an interactive
page of maps (``_explore.py``).
"""

from __future__ import annotations

from xdownscale.reports._assembly import evidence, report
from xdownscale.reports._explore import explore
from xdownscale.reports._field import field_report

__all__ = ["evidence", "explore", "field_report", "report"]
