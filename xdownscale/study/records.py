"""The records of a study: the built-in twin, or folders of published files."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from xdownscale.core import hashing
from xdownscale.core.coords import find_axes
from xdownscale.core.errors import DataError, OptionError
from xdownscale.core.files import as_path, make_folder
from xdownscale.core.optional import installed_version

Box = tuple[float, float, float, float]
FOLDERS = ("merra2", "g5nr", "elevation")
_HALVES = 2


@dataclass(frozen=True, kw_only=True)
class StudyRecords:
    """Records of a study.

    Attributes
    ----------
    coarse, fine : DataArray
        The long and the short record of one variable.
    static : DataArray or None
        Elevation.
    areas : mapping of str to (west, east, south, north)
        Parts of the fine grid that are studied.
    source : str
        Where they are from, for the page.
    """

    coarse: xr.DataArray
    fine: xr.DataArray
    static: xr.DataArray | None
    areas: Mapping[str, Box]
    source: str

    def of(self, area: str) -> xr.DataArray:
        """Return the fine record of an area."""
        west, east, south, north = self.areas[area]
        lat, lon = self.fine.lat, self.fine.lon
        rows = (lat >= south) & (lat <= north)
        columns = (lon >= west) & (lon <= east)
        return self.fine.isel(lat=rows.values, lon=columns.values)


def read(
    data: str, areas: Mapping[str, Box] | None = None, cache: Path | None = None
) -> StudyRecords:
    """Read the records of a study.

    Parameters
    ----------
    data : str
        ``"twin"``, or a folder with the folders ``merra2``, ``g5nr`` and, if there is one,
        ``elevation``, which `xdownscale.datasets.open_merra2`, `open_g5nr` and `open_elevation`
        read.
    areas : mapping of str to (west, east, south, north), optional
        In degrees. By default the western (A0) and the eastern half (A1) of the twin, or the whole
        domain of files (A0).
    cache : path, optional
        Folder that daily means of files are kept in, so that the files are read once.

    Raises
    ------
    DataError
        If a folder is not there, or an area holds too few cells.
    """
    coarse, fine, static, source = _twin() if data == "twin" else _files(data, cache)
    coarse, fine = (_with_usual_names(da) for da in (coarse, fine))
    known = areas or (_halves(fine) if data == "twin" else {"A0": _extent(fine)})
    records = StudyRecords(coarse=coarse, fine=fine, static=static, areas=known, source=source)
    for name in known:
        shape = records.of(name).shape[1:]
        if min(shape) < 16:
            raise DataError(
                f"Area {name!r}, {known[name]} (west, east, south, north), holds {shape[0]} x "
                f"{shape[1]} cells of the fine record, which spans {_extent(fine)}; give 16 x 16 "
                "or more."
            )
    return records


def _with_usual_names(da: xr.DataArray) -> xr.DataArray:
    """Return a record with the dimensions time, lat and lon, in this order."""
    axes = find_axes(da)
    usual = {str(axes.time): "time", axes.y: "lat", axes.x: "lon"}
    named = da.rename({old: new for old, new in usual.items() if old != new})
    return named.transpose("time", "lat", "lon")


def _twin() -> tuple[xr.DataArray, xr.DataArray, xr.DataArray, str]:
    from xdownscale.datasets import load_twin

    ds = load_twin()
    fine = ds.dust_fine.rename("dust")
    return ds.dust, fine, ds.elevation, "the built-in twin, a synthetic nature run of dust"


def _files(
    data: str, cache: Path | None
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray | None, str]:
    from xdownscale.datasets import open_elevation, open_g5nr, open_merra2

    folder = as_path(data, "data")
    found = {name: _listed(folder / name) for name in FOLDERS}
    for name in FOLDERS[:2]:
        if not found[name]:
            raise DataError(
                f"There is no file in {str(folder / name)!r}; data= is 'twin', or a folder with "
                "the folders 'merra2' and 'g5nr', and 'elevation' if there is one, of the "
                "published files."
            )
    fine = _kept(lambda: _with_usual_names(open_g5nr(found["g5nr"])), found["g5nr"], cache)
    region = _extent(fine)
    coarse = _kept(
        lambda: open_merra2(found["merra2"], region=region, margin=2),
        [*found["merra2"], *found["g5nr"]],
        cache,
    )
    static = open_elevation(found["elevation"][0], fine) if found["elevation"] else None
    return coarse, fine, static, f"MERRA-2 and G5NR files of {folder}"


def _kept(
    make: Callable[[], xr.DataArray], files: Sequence[Path], cache: Path | None
) -> xr.DataArray:
    """Return a record in memory; what was made of the same files before is read from the cache."""
    if cache is None:
        return make().load()
    known = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    key = hashing.fingerprint(repr(known), installed_version("xarray-downscale") or "")
    path = cache / f"{key[:16]}.nc"
    if not path.exists():
        make_folder(cache)
        made = cache / f".{key[:16]}.{secrets.token_hex(6)}.part"  # jobs may do the same beside us
        try:
            make().drop_encoding().to_netcdf(made)
            made.replace(path)
        finally:
            made.unlink(missing_ok=True)
    with xr.open_dataarray(path) as opened:
        return opened.load()


def _listed(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))


def _extent(fine: xr.DataArray) -> Box:
    """Return west, east, south and north of the cell centres."""
    lat, lon = fine.lat, fine.lon
    return float(lon.min()), float(lon.max()), float(lat.min()), float(lat.max())


def _halves(fine: xr.DataArray) -> dict[str, Box]:
    west, east, south, north = _extent(fine)
    middle = (west + east) / _HALVES
    return {"A0": (west, middle, south, north), "A1": (middle, east, south, north)}


def parse_areas(text: str) -> dict[str, Box]:
    """Return areas from text.

    Parameters
    ----------
    text : str
        ``"gulf=43,52,23,30;asia=60,140,5,50"``.

    Raises
    ------
    OptionError

    Examples
    --------
    >>> parse_areas("gulf=43,52,23,30")
    {'gulf': (43.0, 52.0, 23.0, 30.0)}
    """
    areas: dict[str, Box] = {}
    for part in filter(None, text.split(";")):
        name, _, box = part.partition("=")
        try:
            west, east, south, north = (float(number) for number in box.split(","))
        except ValueError:
            raise OptionError(
                f"{part!r} is no area; give name=west,east,south,north in degrees, several "
                "with ';' between them."
            ) from None
        areas[name.strip()] = (west, east, south, north)
    return areas
