"""Pretrained models: load one by name, publish one for others."""

from __future__ import annotations

from xdownscale.io.hub.load import load_pretrained
from xdownscale.io.hub.publish import publish

__all__ = ["load_pretrained", "publish"]
