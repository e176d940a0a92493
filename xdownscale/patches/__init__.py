"""Extract overlapping patches from an image, and stitch patches to an image.

`extract` and `stitch` work on labelled arrays; `extract_array`, `stitch_array` and the streaming
`Stitcher` do the same on plain ``(..., y, x)`` arrays.
"""

from __future__ import annotations

from xdownscale.patches.arrays import Stitcher, extract_array, stitch_array
from xdownscale.patches.labelled import extract, stitch
from xdownscale.patches.layout import PatchLayout

__all__ = ["PatchLayout", "Stitcher", "extract", "extract_array", "stitch", "stitch_array"]
