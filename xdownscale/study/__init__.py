"""The paper's study: two areas, four seasons, every system, in one resumable call."""

from __future__ import annotations

from xdownscale.study.registry import names as systems
from xdownscale.study.running import figure, run

__all__ = ["figure", "run", "systems"]
