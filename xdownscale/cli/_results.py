"""Check where results go before any work, write them whole, and say how to go on."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pandas as pd
import xarray as xr

from xdownscale.cli._app import Interrupted
from xdownscale.core.errors import StorageError
from xdownscale.core.files import as_path, is_url, local_path, write_whole
from xdownscale.core.logs import without_secrets

if TYPE_CHECKING:
    from xdownscale.downscaler import Downscaler


def check_output(path: Path, *kinds: str) -> Path:
    """Raise unless a file can be written there, before anything is computed.

    Parameters
    ----------
    path : Path
        File to write.
    *kinds : str
        Allowed endings; none: any.

    Raises
    ------
    click.UsageError
        If it ends otherwise.
    StorageError
        If there is no such folder, or it may not be written to.
    """
    if kinds and path.suffix not in kinds:
        raise click.UsageError(f"{path} should end in {' or '.join(kinds)}.")
    folder = as_path(path, "the output").absolute().parent
    if not folder.is_dir():
        raise StorageError(f"{path} cannot be written: there is no folder {folder}. Make it first.")
    if not os.access(folder, os.W_OK):
        raise StorageError(f"{path} cannot be written: {folder} may not be written to.")
    if path.is_dir() and path.suffix != ".zarr":
        raise StorageError(f"{path} cannot be written: it is a folder. Give another path.")
    return path


class Destination(click.ParamType):  # type: ignore[type-arg]
    """A path, or a URL of a Zarr store."""

    name = "path"

    def convert(self, value: Any, param: Any, ctx: Any) -> Path | str:
        """Return a URL as it is, and anything else as a path.

        Parameters
        ----------
        value : str or Path
            What the user gave.
        param, ctx
            Those of click.
        """
        if not isinstance(value, str) or not is_url(value):
            return Path(local_path(str(value)))
        if not is_store(value):
            self.fail(f"{without_secrets(value)} is a URL, which should end in .zarr.", param, ctx)
        return value


def is_store(output: Path | str) -> bool:
    """Tell whether an output is a Zarr store.

    Examples
    --------
    >>> is_store(Path("maps.zarr")), is_store("s3://us/maps.zarr"), is_store(Path("maps.nc"))
    (True, True, False)
    """
    return without_secrets(str(output)).removesuffix("?...").rstrip("/").endswith(".zarr")


@contextlib.contextmanager
def interruptible(hint: str) -> Iterator[None]:
    """Say how to go on where a command is interrupted.

    Parameters
    ----------
    hint : str
        What is kept and what to do.
    """
    try:
        yield
    except KeyboardInterrupt as err:
        raise Interrupted(hint) from err


def this_command(*further: str) -> str:
    """Return the command line of this process, with further options where they are missing."""
    words = ["xdownscale", *sys.argv[1:]]
    return shlex.join([*words, *(word for word in further if word not in words)])


def open_model(given: str) -> Downscaler:
    """Return a model by its file, or a pretrained one by its name.

    Parameters
    ----------
    given : str
        Model file, or a name that `xdownscale models list` lists.

    Raises
    ------
    StorageError, ModelFormatError, OptionError
        As `xdownscale.load` and `xdownscale.load_pretrained`.
    """
    from xdownscale.downscaler import load, load_pretrained

    is_name = not Path(given).exists() and "/" not in given and not given.endswith(".xd")
    return load_pretrained(given) if is_name else load(given)


def write_netcdf(maps: xr.DataArray | xr.Dataset, path: Path, *, progress: bool) -> None:
    """Compute fields piece by piece into a netCDF file, which is there only once it is whole.

    Parameters
    ----------
    maps : DataArray or Dataset
        Lazy or not.
    path : Path
        File to write; a file that was there is replaced.
    progress : bool
        Show a bar on standard error.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    from dask.diagnostics.progress import ProgressBar

    from xdownscale.io import cf

    ds = maps.to_dataset(name=maps.name or "fine") if isinstance(maps, xr.DataArray) else maps
    cf.without_missing(ds)
    encoding: dict[Any, Any] = {name: {"zlib": True, "complevel": 1} for name in ds.data_vars}
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    bar: Any = ProgressBar(1, out=sys.stderr) if progress else contextlib.nullcontext()
    try:
        with bar:
            _beside(lambda: ds.to_netcdf(temporary, engine="netcdf4", encoding=encoding))
        temporary.replace(path)
    except OSError as err:
        raise StorageError(
            f"{path} cannot be written: {err.strerror or err}. A file that was there is unchanged."
        ) from err
    finally:
        temporary.unlink(missing_ok=True)


def _beside(work: Callable[[], object]) -> None:
    """Do some work in a thread, and wait for it.

    An interruption that comes while a lock of the netCDF library is taken would leave it taken, and
    closing the file would wait for ever. So it comes here, where none is, and the thread is left.
    """
    raised: list[BaseException] = []

    def do() -> None:
        try:
            work()
        except BaseException as err:
            raised.append(err)

    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
    if raised:
        raise raised[0]


def write_text(text: str, path: Path | None) -> None:
    """Write a text to a file, or to standard output where there is none."""
    if path is None:
        click.echo(text.rstrip("\n"))
        return
    write_whole(path, (text.rstrip("\n") + "\n").encode())
    click.echo(f"Wrote {path}.", err=True)


def flat(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with one line of headings, for CSV."""
    columns: list[object] = list(frame.columns)
    names = [" ".join(map(str, c)) if isinstance(c, tuple) else str(c) for c in columns]
    return frame.set_axis(names, axis=1)
