"""Scores of a prediction against the truth, per day, and the table that sums them up.

NaN in truth or prediction leaves that pixel out; a day with fewer than two pixels left scores NaN.
The arithmetic is in ``_arrays.py``, the labelled functions in ``_scores.py``.
"""

from xdownscale.skill._scores import bias, crps, mae, pearson_r2, r2, rmse
from xdownscale.skill._table import format_table, per_day, table, to_markdown

__all__ = [
    "bias",
    "crps",
    "format_table",
    "mae",
    "pearson_r2",
    "per_day",
    "r2",
    "rmse",
    "table",
    "to_markdown",
]
