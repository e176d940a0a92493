"""Plot labelled results with matplotlib: every function takes axes and returns them.

Curves take what `xdownscale.geostat` and `xdownscale.skill` return, a field to compute it from with
the defaults, a Dataset of fields, or a mapping of names to these, which are then compared in one
figure. Colours are safe for colour-blind readers (cividis; Okabe and Ito 2008). matplotlib is
imported late.
"""

from __future__ import annotations

from xdownscale.plot._coast import coastlines
from xdownscale.plot._ensemble import rank_histogram, reliability, spread_skill
from xdownscale.plot._maps import maps
from xdownscale.plot._rose import rose
from xdownscale.plot._sheet import style
from xdownscale.plot._spatial import power_spectrum, semivariogram
from xdownscale.plot._style import COLOURS, DASHES
from xdownscale.plot._temporal import acf, lag_curve, pacf

__all__ = [
    "COLOURS",
    "DASHES",
    "acf",
    "coastlines",
    "lag_curve",
    "maps",
    "pacf",
    "power_spectrum",
    "rank_histogram",
    "reliability",
    "rose",
    "semivariogram",
    "spread_skill",
    "style",
]
