"""Pretrained models: load one by name, publish one for others."""

from xdownscale.pretrained._loading import load_pretrained
from xdownscale.pretrained._publishing import publish

__all__ = ["load_pretrained", "publish"]
