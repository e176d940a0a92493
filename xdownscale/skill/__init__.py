"""Scores of a prediction against the truth, and tables of scores.

Over the pixels of each day: `r2`, `pearson_r2`, `rmse`, `mae`, `bias`, `crps`, and of whole fields
`energy_score`, `variogram_score`. Over time at each pixel, or over the pixels of each day: `nse`,
`kge`. Of ensembles:
`spread_skill`, `spread_skill_by_scale`, `rank_histogram`, `crps_decomposition`. Of extremes:
`events`, `fss`, `twcrps`; of their probabilities: `reliability`. Of rain: `sal`. Of
spectra: `ralsd`. Of several variables: `intervariable_correlation`. Tables: `table` of scores,
`describe` of fields. Climate indices: `indices`;
judged by a protocol: `protocol`. Of two models: `compare`.

NaN in truth or prediction leaves that pixel out, and so does an infinity; a day with fewer than
two pixels left scores NaN.
The arithmetic is in ``_kernels.py``; the labelled functions are in the modules beside it.
"""

from __future__ import annotations

from xdownscale.skill._compare import compare
from xdownscale.skill._describe import describe, over_days
from xdownscale.skill._ensemble import rank_histogram, spread_skill
from xdownscale.skill._events import events, fss
from xdownscale.skill._format import format_table, left_out_note, to_latex, to_markdown
from xdownscale.skill._indices import indices
from xdownscale.skill._multivariate import (
    energy_score,
    intervariable_correlation,
    variogram_score,
)
from xdownscale.skill._probabilistic import crps_decomposition, reliability, twcrps
from xdownscale.skill._protocol import Assessment, protocol
from xdownscale.skill._sal import sal
from xdownscale.skill._scales import ralsd, spread_skill_by_scale
from xdownscale.skill._scores import bias, crps, mae, pearson_r2, r2, rmse
from xdownscale.skill._table import per_day, table
from xdownscale.skill._temporal import kge, nse

__all__ = [
    "Assessment",
    "bias",
    "compare",
    "crps",
    "crps_decomposition",
    "describe",
    "energy_score",
    "events",
    "format_table",
    "indices",
    "intervariable_correlation",
    "left_out_note",
    "fss",
    "kge",
    "mae",
    "nse",
    "over_days",
    "pearson_r2",
    "per_day",
    "protocol",
    "r2",
    "ralsd",
    "rank_histogram",
    "reliability",
    "rmse",
    "sal",
    "spread_skill",
    "spread_skill_by_scale",
    "table",
    "to_latex",
    "to_markdown",
    "twcrps",
    "variogram_score",
]
