"""Writes files as their producers publish them: names, dims, attributes, fill values, packing.

MERRA-2: GMAO Office Note 9 (names, grid, times, fill value 1e15) and headers of published files.
G5NR: the file naming of the GEOS-5 wiki, grid and times as public readers of the run use them.
GMTED2010: int16 GeoTIFF in EPSG:4326.
"""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np

FILL = np.float32(1e15)
STREAMS = {1980: 100, 1992: 200, 2001: 300, 2011: 400}
LONG_NAMES = {
    "BCEXTTAU": "Black Carbon Extinction AOT [550 nm]",
    "DUEXTTAU": "Dust Extinction AOT [550 nm]",
    "DUSMASS": "Dust Surface Mass Concentration",
    "TOTEXTTAU": "Total Aerosol Extinction AOT [550 nm]",
}
MERRA2_GRID = (np.arange(361) * 0.5 - 90, np.arange(576) * 0.625 - 180)
G5NR_GRID = (np.arange(2881) * 0.0625 - 90, np.arange(5760) * 0.0625 - 180)


def small_grid(step=5.0, west=-180.0):
    """A global grid of few cells, poles included."""
    return np.arange(-90, 90 + step / 2, step), west + np.arange(0, 360, step)


def merra2_name(date, collection="tavg1_2d_aer_Nx", stream=None, suffix=""):
    year = int(date[:4])
    stream = stream or max(n for first, n in STREAMS.items() if first <= year)
    return f"MERRA2_{stream}.{collection}.{date}{suffix}.nc4"


def write_gmao(path, units, times, grid, fields, window=(slice(None), slice(None)), **options):
    """Write a file of a GMAO collection; cells outside `window` are fill values."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = options.get("dims", ("time", "lat", "lon"))
    with netCDF4.Dataset(path, "w", format="NETCDF4") as file:
        file.setncatts(
            {"Conventions": "CF-1", "Institution": "NASA GMAO", "Filename": path.name}
            | {"Format": "NetCDF-4/HDF-5", "SpatialCoverage": "global", "VersionID": "5.12.4"}
        )
        axes = (("lon", grid[1], "degrees_east"), ("lat", grid[0], "degrees_north"))
        for name, values, degrees in axes:
            file.createDimension(name, values.size)
            axis = file.createVariable(name, "f8", (name,))
            axis.setncatts(
                {"units": degrees, "long_name": {"lat": "latitude", "lon": "longitude"}[name]}
            )
            axis[:] = values
        file.createDimension("time", len(times))
        time = file.createVariable("time", "i4", ("time",))
        time.setncatts({"long_name": "time", "units": units})
        if options.get("clock", True):
            time.setncatts({"begin_time": 3000, "time_increment": 10000})
        time[:] = times
        for name in dict.fromkeys(["BCEXTTAU", *fields]):
            _variable(file, name, kind, fields.get(name), window, options)
    return path


def _variable(file, name, dims, values, window, options):
    only = options.get("fill_attributes", ("_FillValue", "missing_value", "fmissing_value"))
    chunks = tuple({"time": 1}.get(d, min(144, file.dimensions[d].size)) for d in dims)
    variable = file.createVariable(
        name,
        options.get("dtype", "f4"),
        dims,
        zlib=True,
        complevel=1,
        chunksizes=chunks,
        fill_value=options.get("fill", FILL) if "_FillValue" in only else None,
    )
    variable.set_auto_maskandscale(False)
    attrs = {
        "long_name": LONG_NAMES.get(name, name),
        "units": "kg m-3" if name.endswith("MASS") else "1",
        "missing_value": FILL,
        "fmissing_value": FILL,
        "scale_factor": np.float32(1),
        "add_offset": np.float32(0),
        "standard_name": LONG_NAMES.get(name, name),
        "vmax": FILL,
        "vmin": -FILL,
        "valid_range": np.array([-FILL, FILL]),
    } | options.get("attrs", {})
    dropped = {"missing_value", "fmissing_value"} - set(only)
    variable.setncatts({k: v for k, v in attrs.items() if k not in dropped and v is not None})
    if values is not None:
        variable[(..., *window)] = values


def write_merra2(folder, date, values, grid=MERRA2_GRID, *, name=None, hours=24, **options):
    """Write the hourly granule of a day: values (24, lat, lon) of DUEXTTAU or a dict of these."""
    fields = values if isinstance(values, dict) else {"DUEXTTAU": values}
    stamp = options.pop("stamp", f"{date[:4]}-{date[4:6]}-{date[6:]} 00:30:00")
    return write_gmao(
        Path(folder) / (name or merra2_name(date)),
        f"minutes since {stamp}",
        options.pop("times", np.arange(hours) * 60),
        grid,
        fields,
        **options,
    )


def g5nr_name(date, time, collection="inst30mn_2d_aer1_Nx"):
    return f"c1440_NR.{collection}.{date}_{time}z.nc4"


def g5nr_times(collection="inst30mn_2d_aer1_Nx"):
    """The 48 (24) times of a day, as HHMM."""
    step = 30 if "30mn" in collection else 60
    first = step // 2 if collection.startswith("tavg") else 0
    return [f"{m // 60:02d}{m % 60:02d}" for m in range(first, 1440, step)]


def write_g5nr(folder, date, time, values, grid=G5NR_GRID, **options):
    """Write the file of one time, in the folder that the run has for its day."""
    collection = options.pop("collection", "inst30mn_2d_aer1_Nx")
    days = f"Y{date[:4]}/M{date[4:6]}/D{date[6:]}"
    day = f"{date[:4]}-{date[4:6]}-{date[6:]}"
    stamp = options.pop("stamp", f"{day} {time[:2]}:{time[2:]}:00")
    return write_gmao(
        Path(folder) / days / g5nr_name(date, time, collection),
        f"minutes since {stamp}",
        [0],
        grid,
        {"DUEXTTAU": values[None]},
        **options,
    )


def write_gmted(path, values, west, north, step, **options):
    """Write a GMTED2010 GeoTIFF: int16, EPSG:4326, from the north-western corner southward."""
    import rasterio
    from rasterio.transform import Affine

    where = options.pop("transform", Affine(step, 0.0, west, 0.0, -step, north))
    options = {"crs": "EPSG:4326", "nodata": -32768, "dtype": "int16", "count": 1} | options
    options = {k: v for k, v in options.items() if v is not None}
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=values.shape[0],
        width=values.shape[1],
        transform=where,
        compress="lzw",
        **options,
    ) as file:
        for band in range(1, options["count"] + 1):
            file.write(values.astype(options["dtype"]), band)
    return Path(path)


LOGIN_PAGE = "<!DOCTYPE html>\n<html><head><title>Earthdata Login</title></head></html>"


def truncate(path, share=0.5):
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: int(len(content) * share)])
    return path
