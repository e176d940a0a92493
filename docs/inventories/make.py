"""Write the inventories of numpy and torch: the names that these pages may link to.

python docs/inventories/make.py

Their own inventories cannot be had without a network. Those of Python, xarray and dask beside this
file are from Debian's documentation packages. Every name is looked up, so that none is invented.
"""

from __future__ import annotations

import importlib
import zlib
from pathlib import Path

PAGES = {
    "numpy": "reference/generated/{}.html",
    "torch": "generated/{}.html",
}
NAMES = {
    "numpy": ["numpy.ndarray", "numpy.random.Generator", "numpy.datetime64", "numpy.float32"],
    "torch": ["torch.compile", "torch.set_num_threads", "torch.nn.Module"],
}


def role_of(name: str) -> str:
    """Look a name up and return its role."""
    module, _, last = name.rpartition(".")
    found = getattr(importlib.import_module(module), last)
    return "py:class" if isinstance(found, type) else "py:function"


def main() -> None:
    for project, names in NAMES.items():
        version = importlib.import_module(project).__version__
        head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: {version}\n"
        head += "# The remainder of this file is compressed using zlib.\n"
        lines = [f"{n} {role_of(n)} 1 {PAGES[project].format(n)}#$ -\n" for n in names]
        path = Path(__file__).with_name(f"{project}.inv")
        path.write_bytes(head.encode() + zlib.compress("".join(lines).encode()))


if __name__ == "__main__":
    main()
