"""The accessors ``.downscale`` and ``.geostat``: each method is one call of a public function."""

from xdownscale.accessors._downscale import DatasetDownscaleAccessor, DownscaleAccessor
from xdownscale.accessors._geostat import GeostatAccessor

__all__ = ["DatasetDownscaleAccessor", "DownscaleAccessor", "GeostatAccessor"]
