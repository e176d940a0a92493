"""Functions and files of the package that one `fit` and one `predict` enter.

python benchmarks/journey.py [--list]

How it is counted: each preset runs once, in a new process, through the accessor, on small synthetic
records and networks, with two epochs per stage, no progress bar and no other option. A profile
function (`sys.setprofile`, `threading.setprofile`) in all threads of the process records the code
object of each Python function that is called and has its source in the package; child processes are
not seen. All modules are imported before, and bodies of modules and classes do not count, nor do
lambdas, comprehensions, generator expressions and code without a source file (what `dataclass`
generates). Methods, properties, nested functions and wrappers of decorators count, each once
however often it is called; a file counts if one of its functions does. `predict` runs after `fit`
in the same process: a cached function that only `fit` had to compute does not count again.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import multiprocessing
import pkgutil
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

from common import SMALL_NETWORK, make_parser, print_head, print_row, small_records

import xdownscale as xd

ROOT = Path(xd.__file__).parent
Functions = dict[str, list[str]]  # file -> names, in the order of its lines

DATA = {"extrapolate": "nearest"}  # the coarse record has no cells outside the fine domain
CONFIGS = {
    "fast": {
        "data": DATA | {"crop": 16},
        "network": SMALL_NETWORK,
        "training": {"epochs": 2, "pretrain_epochs": 2, "mean_epochs": 2},
    },
    "paper": {
        "data": DATA | {"patch_size": 8, "patch_stride": 4},
        "network": SMALL_NETWORK,
        "training": {"epochs": 2, "pretrain_epochs": 2, "batch_days": 8},
        "sampling": {"steps": 3, "size": 8, "stride": 4, "halo": 1},
    },
}


def import_all() -> None:
    """Import each module of the package whose dependencies are installed."""
    for module in pkgutil.walk_packages(xd.__path__, f"{xd.__name__}."):
        with contextlib.suppress(ImportError):
            importlib.import_module(module.name)


class Tracer:
    """Record the functions of the package that calls enter."""

    def __init__(self) -> None:
        self.found: set[tuple[str, int, str]] = set()

    def note(self, frame: FrameType, event: str, _: Any) -> None:
        """Record the function of a frame."""
        code = frame.f_code
        if event == "call" and code.co_flags & inspect.CO_OPTIMIZED:
            self.found.add((code.co_filename, code.co_firstlineno, code.co_qualname))

    def entered(self, call: Callable[[], Any]) -> tuple[Any, Functions]:
        """Return what a call returns, and the functions that it enters."""
        self.found = set()
        threading.setprofile(self.note)  # a thread that outlives this call keeps it for the next
        sys.setprofile(self.note)
        try:
            result = call()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]
        functions: Functions = {}
        for file, _, name in sorted(self.found):
            if Path(file).is_relative_to(ROOT) and not name.endswith(">"):
                functions.setdefault(str(Path(file).relative_to(ROOT)), []).append(name)
        return result, functions


def journey(preset: str) -> dict[str, Functions]:
    """Train a small model and predict with it; return the functions that each call enters."""
    warnings.simplefilter("ignore")
    import_all()
    coarse, fine = small_records(days=110, shape=(24, 20), factor=4)
    fine = fine.isel(time=slice(20, 100))
    config = xd.preset(preset, **CONFIGS[preset])
    tracer = Tracer()
    model, fit = tracer.entered(lambda: coarse.downscale.fit(fine, preset=config, progress=False))
    days = coarse.time[103:107]
    history = {"history": fine} if preset == "paper" else {}
    _, predict = tracer.entered(lambda: coarse.downscale.predict(model, time=days, **history))
    return {"fit": fit, "predict": predict}


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--list", action="store_true", help="print the functions of each file")
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        found = dict(zip(CONFIGS, pool.map(journey, CONFIGS), strict=True))
    calls = {f"`{c}`, preset `{p}`": f for p, both in found.items() for c, f in both.items()}
    print_head("call", "functions", "files")
    for call, functions in calls.items():
        print_row(call, sum(map(len, functions.values())), len(functions))
    if args.list:
        for call, functions in calls.items():
            print(f"\n{call}\n")
            for file, names in functions.items():
                print(f"{file}: {', '.join(names)}")


if __name__ == "__main__":
    main()
