"""Old module names that users may have typed: they work until 0.2, with a DeprecationWarning."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

RENAMED = {
    "xdownscale.baselines": "xdownscale.skill.baselines",
    "xdownscale.errors": "xdownscale.core.errors",
    "xdownscale.functional": "xdownscale.downscaler",
    "xdownscale.geostat.variogram_models": "xdownscale.core.variogram_models",
    "xdownscale.grids": "xdownscale.core.grids",
    "xdownscale.labels": "xdownscale.core.coords",
    "xdownscale.presets": "xdownscale.config",
    "xdownscale.pretrained": "xdownscale.downscaler",
    "xdownscale.production": "xdownscale.downscaler",
    "xdownscale.scaling": "xdownscale.core.normalization",
    "xdownscale.windows": "xdownscale.patches.layout",
}


class _Finder(MetaPathFinder, Loader):
    """Finds modules by their old names; their content is that of the new ones."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for an old name, None for any other."""
        return ModuleSpec(fullname, self) if fullname in RENAMED else None

    def exec_module(self, module: ModuleType) -> None:
        """Fill in the content of the new module."""
        new = RENAMED[module.__name__]
        warnings.warn(
            f"{module.__name__} is {new} now; the old name goes with version 0.2.",
            DeprecationWarning,
            stacklevel=2,
        )
        content = importlib.import_module(new)
        public = {k: v for k, v in vars(content).items() if not k.startswith("__")}
        vars(module).update(public)


def install() -> None:
    """Have Python find the old names, once."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
