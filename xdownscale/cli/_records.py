"""Open records for commands: files or globs, netCDF or Zarr, read lazily."""

from __future__ import annotations

import glob
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from xdownscale.core.coords import find_time
from xdownscale.core.errors import (
    DataError,
    MissingPackageError,
    OptionError,
    StorageError,
    XDownscaleError,
    XDownscaleWarning,
    nearest_name,
)
from xdownscale.core.files import is_url
from xdownscale.core.grids import has_grid
from xdownscale.core.located import located_variables
from xdownscale.core.logs import without_secrets
from xdownscale.core.optional import require_for_url

Record = xr.DataArray | xr.Dataset
_ZARR = ("zarr.json", ".zgroup", ".zmetadata")
_MANY = 8  # names that a message lists


def open_record(
    given: str,
    variables: Sequence[str] = (),
    chunks: Mapping[str, Any] | None = None,
    *,
    static: bool = False,
) -> Record:
    """Open a record lazily.

    Parameters
    ----------
    given : str
        A file, a Zarr store or its URL, a glob, or several of them separated by commas.
    variables : sequence of str
        Variables to read; empty: all that have latitude, longitude and time.
    chunks : mapping, optional
        Dimension -> size of what is read at a time. Maps stay whole.
    static : bool
        Whether variables need no time.

    Returns
    -------
    DataArray or Dataset
        A Dataset where there are several variables.

    Raises
    ------
    StorageError
        If a file is missing or cannot be read.
    OptionError
        If there is no such variable or dimension.
    DataError
        If nothing has latitude, longitude and time, or files do not belong together.
    """
    files, given = find_files(given), _shown(given)
    for file in filter(is_url, files):
        require_for_url(file, f"Reading {given}")
    ds = _opened(files, given)
    mappings = [name for name, da in ds.data_vars.items() if "grid_mapping_name" in da.attrs]
    ds = ds.set_coords(mappings)
    if ds.attrs.get("progress") == "incomplete":
        warnings.warn(
            f"{given} is incomplete: it is still being filled, or its command was stopped and can "
            "be resumed. Time steps that are not there are NaN.",
            XDownscaleWarning,
            stacklevel=2,
        )
    names = _checked_names(ds, variables, given) or _fields(ds, given, static)
    record = ds[names[0]] if len(names) == 1 else ds[names]
    return _in_chunks(record, chunks, given)


def open_field(
    given: str,
    variables: Sequence[str] = (),
    chunks: Mapping[str, Any] | None = None,
    option: str = "--variable",
) -> xr.DataArray:
    """Open a record that has to be a single variable; as `open_record`.

    Parameters
    ----------
    given, variables, chunks
        As for `open_record`.
    option : str
        The option that chooses a variable, for the message.
    """
    record = open_record(given, variables, chunks)
    if isinstance(record, xr.Dataset):
        raise OptionError(
            f"{given} has the variables {_listed(record.data_vars)}; this command takes one. "
            f"Choose it with {option}."
        )
    return record


def find_files(given: str) -> list[str]:
    """Return the files and stores that a text stands for, sorted within each glob.

    Parameters
    ----------
    given : str
        A file, a Zarr store, a URL, a glob, or several of them separated by commas.

    Raises
    ------
    StorageError
        If there is no such file.

    Examples
    --------
    >>> find_files("no/such/file.nc")
    Traceback (most recent call last):
    ...
    xdownscale.core.errors.StorageError: There is no file no/such/file.nc...
    """
    if Path(given).exists():
        return [given]
    found: list[str] = []
    for part in (text.strip() for text in given.split(",")):
        there = is_url(part) or Path(part).exists()
        matching = [part] if there else sorted(glob.glob(part, recursive=True))  # noqa: PTH207
        if not matching:
            kind = "no file that matches" if glob.has_magic(part) else "no file"
            raise StorageError(
                f"There is {kind} {part}. Give a netCDF file, a Zarr store, or a quoted glob such "
                "as 'merra2/*.nc4'; several are separated by commas."
            )
        found += matching
    return found


def is_zarr(path: str) -> bool:
    """Tell whether a path is a Zarr store.

    Examples
    --------
    >>> is_zarr("record.nc"), is_zarr("record.zarr")
    (False, True)
    """
    there = Path(path.rstrip("/"))
    if is_url(path):
        return there.suffix == ".zarr"
    return there.suffix == ".zarr" or any((there / name).is_file() for name in _ZARR)


def _is_consolidated(path: str) -> bool:
    """Tell whether the metadata of a store are in one file."""
    if Path(path, ".zmetadata").is_file():
        return True
    root = Path(path, "zarr.json")
    return root.is_file() and b'"consolidated_metadata"' in root.read_bytes()


def _opened(paths: list[str], given: str) -> xr.Dataset:
    for path in paths:
        if Path(path).is_dir() and not is_zarr(path):
            raise StorageError(
                f"{path} is a folder and no Zarr store. Give its files by a quoted glob, such as "
                f"'{path.rstrip('/')}/*.nc'."
            )
    stores = [is_zarr(path) for path in paths]
    if any(stores) and not all(stores):
        raise OptionError(f"{given} has files and Zarr stores; give either.")
    options: dict[str, Any] = {"decode_timedelta": False}
    if stores[0]:
        consolidated = None if any(map(is_url, paths)) else all(map(_is_consolidated, paths))
        options |= {"engine": "zarr", "consolidated": consolidated}
    try:
        with warnings.catch_warnings():  # stores without consolidated metadata are welcome
            warnings.filterwarnings("ignore", "Failed to open Zarr store with consol")
            if len(paths) == 1:
                return xr.open_dataset(paths[0], chunks=None, **options)
            return _combined(paths, options)
    except XDownscaleError:
        raise
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as err:
        raise StorageError(
            f"{given} cannot be read: {err}. Give files that xarray opens: netCDF or Zarr."
        ) from err
    except Exception as err:  # every file system of fsspec has exceptions of its own
        if not any(map(is_url, paths)):
            raise
        raise _unreachable(given, err) from err


def _shown(given: str) -> str:
    """Return what messages call a record: URLs without their secrets, and globs as they are."""
    parts = given.split(",")
    return ",".join(without_secrets(part) if is_url(part) else part for part in parts)


def _unreachable(given: str, err: Exception) -> XDownscaleError:
    """Return what is said of a URL that cannot be read."""
    if isinstance(err, ImportError):
        return MissingPackageError(
            f"Reading {given} needs a package that cannot be imported here: {err}."
        )
    return StorageError(
        f"{given} cannot be read ({type(err).__name__}: {without_secrets(str(err))}). Look at the "
        "address, the server and the keys."
    )


def _combined(paths: list[str], options: dict[str, Any]) -> xr.Dataset:
    """Open files that follow each other."""
    try:
        return xr.open_mfdataset(
            paths,
            chunks={},
            combine="by_coords",
            data_vars="minimal",
            coords="minimal",
            compat="equals",
            join="exact",
            combine_attrs="override",
            **options,
        )
    except ValueError as err:  # of xarray's alignment and combination
        shown = ", ".join(paths[:3]) + (" ..." if len(paths) > 3 else "")
        raise DataError(
            f"{len(paths)} files do not make one record: {err} ({shown}). Give files of the same "
            "variables on the same grid, for times that follow each other."
        ) from err


def _checked_names(ds: xr.Dataset, variables: Sequence[str], given: str) -> list[str]:
    names = [str(name) for name in ds.data_vars]
    for name in variables:
        if name not in names:
            raise OptionError(
                f"{given} has no variable {name!r}. There are: {_listed(names)}."
                f"{nearest_name(name, names)}"
            )
    return list(dict.fromkeys(variables))


def _fields(ds: xr.Dataset, given: str, static: bool) -> list[str]:
    """Return the variables that are fields: those with a grid and, but for static ones, times."""
    found = [
        name
        for name, da in located_variables(ds, given).items()
        if has_grid(da)
        and (find_time(da) is not None or (static and da.ndim == 2))
        and (not static or find_time(da) is None)
    ]
    if not found:
        wanted = "latitude and longitude, without time" if static else "latitude, longitude, time"
        raise DataError(
            f"No variable of {given} has {wanted}. It has: {_listed(ds.data_vars) or 'none'}. Give "
            "another file, or name the coordinates as CF does (standard_name, units)."
        )
    return found


def _in_chunks(record: Record, chunks: Mapping[str, Any] | None, given: str) -> Record:
    """Return a record in dask chunks that leave maps whole."""
    asked = dict(chunks or {})
    for name in asked:
        if name not in record.dims:
            dims = [str(dim) for dim in record.dims]
            raise OptionError(
                f"{given} has no dimension {name!r} to read in chunks. There are: "
                f"{', '.join(dims)}.{nearest_name(name, dims)}"
            )
    one = record if isinstance(record, xr.DataArray) else next(iter(record.data_vars.values()))
    time = find_time(one)
    sizes: dict[Any, Any] = {dim: -1 for dim in record.dims if dim != time}
    if time is not None and not record.chunks:
        sizes[time] = "auto"
    try:
        return record.chunk({**sizes, **asked})
    except (TypeError, ValueError) as err:
        raise OptionError(f"The chunks {asked} do not fit {given}: {err}.") from err


def _listed(names: Any) -> str:
    known = [str(name) for name in names]
    more = f" and {len(known) - _MANY} more" if len(known) > _MANY else ""
    return ", ".join(known[:_MANY]) + more
