"""Functions that several benchmarks share: measures, the twin, small records, timing, memory, text.

torch and xdownscale are imported inside functions: a script that only starts other processes does
not load them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    import xdownscale as xd

Array = np.ndarray[Any, np.dtype[np.float64]]
Days = np.ndarray[Any, np.dtype[np.datetime64]]

DAY = np.timedelta64(1, "D")
SHIFTS = (1, 2, 4, 8)  # pixels
SMALL_NETWORK: dict[str, Any] = {"channels": (8, 8), "encoder_channels": (8, 8)}
STORE_CHUNK = 10  # days
STORE_SEED = 7

# -- accuracy measures, written out so that they do not rely on xd.skill ------------------------


def log10(field: xr.DataArray) -> Array:
    """Return log10 of the values, as (..., y, x)."""
    return np.log10(field.transpose(..., "lat", "lon").values.astype(float))


def crps(members: Array, truth: Array) -> float:
    """Compute the fair CRPS of members (m, n, y, x), mean over all pixels."""
    count = len(members)
    error = np.abs(members - truth).mean()
    ranked = np.sort(members, axis=0)
    weight = 2 * np.arange(1, count + 1) - count - 1
    return float(error - np.einsum("m,m...->...", weight, ranked).mean() / (count * (count - 1)))


def daily_r2(guess: Array, truth: Array) -> Array:
    """Compute 1 - SSE/SST over the pixels of each day."""
    spread = ((truth - truth.mean((-2, -1), keepdims=True)) ** 2).sum((-2, -1))
    score: Array = 1 - ((guess - truth) ** 2).sum((-2, -1)) / spread
    return score


def r2(guess: Array, truth: Array) -> float:
    """Compute 1 - SSE/SST over the pixels of a day, mean over days."""
    return float(daily_r2(guess, truth).mean())


def semivariance(field: Array, lag: int) -> float:
    """Compute half the mean squared difference at a lag in pixels, along both axes."""
    steps = field[..., lag:, :] - field[..., :-lag, :], field[..., lag:] - field[..., :-lag]
    return float(np.mean([0.5 * (step**2).mean() for step in steps]))


def spread_skill(members: Array, truth: Array) -> float:
    """Compute sqrt(mean variance) sqrt(1 + 1/M) over the RMSE of the ensemble mean."""
    count = len(members)
    spread = np.sqrt(members.var(axis=0, ddof=1).mean() * (1 + 1 / count))
    return float(spread / np.sqrt(((members.mean(0) - truth) ** 2).mean()))


# -- the twin: days, models, baselines ----------------------------------------------------------


def spread_days(days: Any, count: int) -> Any:
    """Select so many days, evenly spread over all."""
    return days[np.unique(np.linspace(0, days.size - 1, count).astype(int))]


def stretches(days: Days) -> list[Days]:
    """Split days into runs of consecutive days."""
    return np.split(days, np.flatnonzero(np.diff(days) > DAY) + 1)


def load_models(paths: Iterable[Path]) -> dict[str, xd.Downscaler]:
    """Load saved models, by the name of the file."""
    import xdownscale as xd

    return {path.stem: xd.load(path) for path in paths}


def fit_twin(ds: xr.Dataset, fine: xr.DataArray | None = None, **options: Any) -> xd.Downscaler:
    """Train a model on the twin's coarse record and its fine record, or a part of that."""
    model: xd.Downscaler = ds.dust.downscale.fit(
        ds.dust_fine if fine is None else fine, static=ds.elevation, progress=False, **options
    )
    return model


def baseline_fields(ds: xr.Dataset, model: xd.Downscaler, days: Any) -> dict[str, xr.DataArray]:
    """Return the interpolated coarse record and the climatology of the training days."""
    import xdownscale as xd

    known = ds.dust_fine.sel(time=model.days("train"))
    return {
        "bicubic": xd.baselines.interpolate(ds.dust, ds.dust_fine, time=days),
        "climatology": xd.baselines.climatology(known, days),
    }


# -- synthetic records --------------------------------------------------------------------------


def small_records(
    days: int, shape: tuple[int, int], factor: int, seed: int = 3
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return a coarse and a fine record: white noise on coarse cells, weaker noise on fine ones."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(days, shape[0] // factor, shape[1] // factor))
    fine = coarse.repeat(factor, 1).repeat(factor, 2) + 0.3 * rng.normal(size=(days, *shape))
    lat, lon = (10 + 0.25 * np.arange(n) for n in shape)
    coords = {"time": xr.date_range("2000-01-01", periods=days), "lat": lat, "lon": lon}
    record = xr.DataArray(fine.astype(np.float32), coords, name="t")
    return record.coarsen(lat=factor, lon=factor).mean(), record


def write_store(
    path: Path, days: int, lat: Array, lon: Array, values: Callable[[Any], np.ndarray[Any, Any]]
) -> None:
    """Write a Zarr store of `values` of white noise (t, y, x), ten days in a chunk."""
    rng = np.random.default_rng(STORE_SEED)
    times = xr.date_range("2000-01-01", periods=days).values
    for start in range(0, days, STORE_CHUNK):
        part = times[start : start + STORE_CHUNK]
        noise = rng.standard_normal((part.size, lat.size, lon.size), dtype=np.float32)
        coords = {"time": part, "lat": lat, "lon": lon}
        field = values(noise).astype(np.float32)
        ds = xr.Dataset({"dust": (("time", "lat", "lon"), field)}, coords)
        if start:
            ds.to_zarr(path, append_dim="time", consolidated=False)
        else:
            encoding = {"dust": {"chunks": (STORE_CHUNK, lat.size, lon.size)}}
            ds.to_zarr(path, encoding=encoding, consolidated=False)


def open_store(path: str | Path) -> xr.DataArray:
    """Open what `write_store` wrote."""
    return xr.open_zarr(path, consolidated=False).dust


def read_once(da: xr.DataArray) -> Any:
    """Return a lazy sum that reads every chunk and keeps nothing of it."""
    touch = da.data.map_blocks(lambda _: np.zeros((1, 1, 1)), dtype=float, chunks=(1, 1, 1))
    return touch.sum()


def stored_bytes(folder: Path) -> int:
    """Return the size of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# -- time and memory ----------------------------------------------------------------------------


def shortest(
    *calls: Callable[[], Any], repeats: int = 3, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Measure the shortest time of each call, in seconds.

    The calls take turns, so that a busy spell of the machine meets all of them.
    """
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, found in zip(calls, times, strict=True):
            start = clock()
            call()
            found.append(clock() - start)
    return [min(found) for found in times]


def flops(call: Callable[[], Any]) -> int:
    """Count the floating-point operations of a call, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def resident() -> float:
    """Return the resident memory of this process, MB."""
    page = os.sysconf("SC_PAGESIZE") / 2**20
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * page


def cpu_and_memory(call: Callable[[], Any]) -> tuple[float, float]:
    """Measure CPU seconds of a call and its peak memory above that before it, MB."""
    before = resident()
    peak = [0.0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak.append(resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.process_time()
    call()
    taken = time.process_time() - start
    done.set()
    watcher.join()
    return taken, max(peak) - before


# -- other processes ----------------------------------------------------------------------------


def command(script: str, *words: Any) -> list[str]:
    """Return the command that runs a script with this interpreter."""
    return [sys.executable, script, *map(str, words)]


def output(script: str, *words: Any) -> str:
    """Run a script in a new process and return what it prints."""
    done = subprocess.run(command(script, *words), stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def one_thread() -> dict[str, str]:
    """Return the environment of a process with one thread."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


# -- command line -------------------------------------------------------------------------------

OPTIONS: dict[str, dict[str, Any]] = {
    "models": {"nargs": "+", "type": Path},
    "--realizations": {"type": int, "default": 8},
    "--seed": {"type": int, "default": 0},
    "--set": {"type": json.loads, "default": {}, "help": "JSON of sections to change"},
    "--threads": {"type": int, "default": 2},
    "--twin": {"type": int, "default": 0, "help": "seed of the twin's weather"},
}


def make_parser(doc: str | None, *options: str, **defaults: Any) -> argparse.ArgumentParser:
    """Return a parser with some of the options that several benchmarks have."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=doc, formatter_class=form)
    for name in options:
        parser.add_argument(name, **OPTIONS[name])
    parser.set_defaults(**defaults)
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line, and set the number of torch's threads."""
    import torch

    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    return args


# -- text ---------------------------------------------------------------------------------------

PYTHON = f"Python {platform.python_version()}"
NUMPY = f"numpy {np.__version__}"


def machine(*facts: str) -> str:
    """Return a sentence that names the machine."""
    return f"Machine: {', '.join([platform.machine(), *facts])}."


def torch_machine(args: argparse.Namespace) -> str:
    """Return a sentence that names the machine, torch's threads and its version."""
    import torch

    return machine(f"{args.threads} threads", f"torch {torch.__version__}")


def run_facts(seed: int, *facts: str) -> str:
    """Return sentences that name the machine, its cores, the seed and the command."""
    cores = f"{os.cpu_count()} cores"
    return f"{machine(cores, *facts)} Seed {seed}. Command: python {shlex.join(sys.argv)}"


def print_row(*cells: Any) -> None:
    """Print a row of a Markdown table."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def print_head(*names: Any) -> None:
    """Print the head of a Markdown table."""
    print_row(*names)
    print("|---" * len(names) + "|", flush=True)


def print_measures(names: Iterable[str], columns: Sequence[Mapping[str, Any]], form: str) -> None:
    """Print a table with a row for each measure and a column for each model."""
    print_head("measure", *names)
    for measure in columns[0]:
        print_row(measure, *(format(column[measure], form) for column in columns))
