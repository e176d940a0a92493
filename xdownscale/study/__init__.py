"""The paper's study: two areas, four seasons, every system, in one resumable call."""

from __future__ import annotations

from xdownscale.study.run import figure, run
from xdownscale.study.systems import names as systems

__all__ = ["figure", "run", "systems"]
