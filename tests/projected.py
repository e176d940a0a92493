"""Grids in projections and curvilinear grids, for tests."""

from __future__ import annotations

import numpy as np
import xarray as xr

RADIUS = 6371229.0
LAMBERT = {
    "grid_mapping_name": "lambert_conformal_conic",
    "standard_parallel": np.array([38.5]),
    "latitude_of_projection_origin": 38.5,
    "longitude_of_central_meridian": -97.5,
    "earth_radius": RADIUS,
}
ROTATED = {
    "grid_mapping_name": "rotated_latitude_longitude",
    "grid_north_pole_latitude": 39.25,
    "grid_north_pole_longitude": -162.0,
}


def _record(values, shape, dims, name) -> np.ndarray:
    if values is None:
        return np.random.default_rng(0).normal(size=(2, *shape))
    return np.asarray(values)


def lambert(ny=14, nx=18, step=50e3, values=None, unit="m", mapping=LAMBERT) -> xr.Dataset:
    """Return fields on a Lambert grid with a CF grid mapping, without latitude and longitude."""
    size = 1000.0 if unit == "km" else 1.0
    y = (np.arange(ny) - ny // 2) * step / size
    x = (np.arange(nx) - nx // 2) * step / size
    values = _record(values, (ny, nx), ("time", "y", "x"), "t")
    dims = ("time", "y", "x") if values.ndim == 3 else ("y", "x")
    return xr.Dataset(
        {"t": (dims, values, {"grid_mapping": "crs", "units": "K"}), "crs": ((), 0, mapping)},
        coords={
            "y": ("y", y, {"standard_name": "projection_y_coordinate", "units": unit}),
            "x": ("x", x, {"standard_name": "projection_x_coordinate", "units": unit}),
        },
    )


def rotated(ny=12, nx=16, step=0.44, values=None) -> xr.Dataset:
    """Return fields on a grid with a rotated pole."""
    rlat = (np.arange(ny) - ny // 2) * step
    rlon = (np.arange(nx) - nx // 2) * step
    values = _record(values, (ny, nx), ("time", "rlat", "rlon"), "t")
    dims = ("time", "rlat", "rlon") if values.ndim == 3 else ("rlat", "rlon")
    return xr.Dataset(
        {"t": (dims, values, {"grid_mapping": "pole"}), "pole": ((), 0, ROTATED)},
        coords={
            "rlat": ("rlat", rlat, {"standard_name": "grid_latitude", "units": "degrees"}),
            "rlon": ("rlon", rlon, {"standard_name": "grid_longitude", "units": "degrees"}),
        },
    )


def lambert_positions(y, x) -> tuple[np.ndarray, np.ndarray]:
    """Return latitude and longitude of Lambert coordinates in metres, in closed form.

    Snyder (1987), Map Projections: A Working Manual, equations 15-1 to 15-5 (sphere, one standard
    parallel).
    """
    phi = np.radians(LAMBERT["latitude_of_projection_origin"])
    n = np.sin(phi)
    f = np.cos(phi) * np.tan(np.pi / 4 + phi / 2) ** n / n
    rho_0 = RADIUS * f / np.tan(np.pi / 4 + phi / 2) ** n
    rho = np.hypot(x, rho_0 - y)
    latitude = 2 * np.arctan((RADIUS * f / rho) ** (1 / n)) - np.pi / 2
    longitude = np.arctan2(x, rho_0 - y) / n
    return np.degrees(latitude), np.degrees(longitude) + LAMBERT["longitude_of_central_meridian"]


def curvilinear(ds: xr.Dataset, positions=None) -> xr.Dataset:
    """Return the same fields with two-dimensional latitude and longitude only."""
    dims = [d for d in ds.t.dims if d != "time"]
    if positions is None:
        y, x = (ds[d].values for d in dims)
        positions = lambert_positions(y[:, None], x[None, :])
    bare = ds.drop_vars([*dims, "crs", "pole"], errors="ignore")
    bare.t.attrs.pop("grid_mapping", None)
    names = {dims[0]: "j", dims[1]: "i"}
    bare = bare.rename_dims(names)
    coords = {n: (("j", "i"), v) for n, v in zip(("lat", "lon"), positions, strict=True)}
    return bare.assign_coords(coords)


def regular(lat, lon) -> xr.Dataset:
    """Return a grid in degrees, without fields."""
    return xr.Dataset(coords={"lat": np.asarray(lat, float), "lon": np.asarray(lon, float)})


def on_plane(ds: xr.Dataset, kind: str, step: float = 12e3) -> xr.Dataset:
    """Return a record in degrees, pixel by pixel, on a Lambert, a rotated or a curvilinear grid.

    Half a degree becomes `step` metres (or as many degrees of a rotated pole), counted from the
    same place for every record, so that nested cells stay nested.
    """
    rows, columns = ((ds[name].values - 6.0) * 2 * step for name in ("lat", "lon"))
    if kind == "rotated":
        names, mapping, label = ("rlat", "rlon"), ROTATED, "pole"
        words, unit, size = ("grid_latitude", "grid_longitude"), "degrees", 111.2e3
    else:
        names, mapping, label = ("y", "x"), LAMBERT, "crs"
        words, unit, size = ("projection_y_coordinate", "projection_x_coordinate"), "m", 1.0
    moved = ds.drop_vars(["lat", "lon"]).rename(lat=names[0], lon=names[1])
    for name, word, values in zip(names, words, (rows, columns), strict=True):
        attrs = {"standard_name": word, "units": unit}
        moved = moved.assign_coords({name: (name, values / size, attrs)})
    if kind == "curvilinear":
        positions = lambert_positions(rows[:, None], columns[None, :])
        moved = moved.drop_vars(names).rename_dims({"y": "j", "x": "i"})
        coords = {n: (("j", "i"), v) for n, v in zip(("lat", "lon"), positions, strict=True)}
        return moved.assign_coords(coords)
    for name in moved.data_vars:
        moved[name].attrs["grid_mapping"] = label
    return moved.assign({label: ((), 0, mapping)})
