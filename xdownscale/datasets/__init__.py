"""Data to learn and to test with."""

from __future__ import annotations

from xdownscale.datasets.twin import load_twin, make_twin

__all__ = ["load_twin", "make_twin"]
