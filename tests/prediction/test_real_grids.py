"""Files that others wrote: a rotated pole, a polar stereographic projection, an ocean model.

They come with the package iris-sample-data (Met Office and others, for tests); each has one field,
so that a record is that field with a daily signal.
"""

from __future__ import annotations

from pathlib import Path

import iris_sample_data
import numpy as np
import pyproj
import pytest
import xarray as xr

import xdownscale as xd
from records import tiny_config
from xdownscale.core.cells import cells_of
from xdownscale.core.errors import GridError
from xdownscale.core.projection import find_projection

FOLDER = Path(iris_sample_data.path)
pytestmark = pytest.mark.filterwarnings("ignore::xdownscale.core.errors.XDownscaleWarning")


def opened(name: str) -> xr.Dataset:
    with xr.open_dataset(FOLDER / name) as ds:
        return ds.load()


FILES = {
    "rotated": ("rotated_pole.nc", "air_pressure_at_sea_level", "rotated_latitude_longitude"),
    "stereographic": ("toa_brightness_stereographic.nc", "data", "stereographic"),
}


def field(kind: str) -> xr.Dataset:
    """Return a real field on its grid: the middle of the larger one, where it has values."""
    name, variable, mapping = FILES[kind]
    ds = opened(name)[[variable, mapping]].drop_vars(
        ["forecast_period", "forecast_reference_time", "time"], errors="ignore"
    )
    if kind == "stereographic":
        ds = ds.isel(y=slice(20, 60), x=slice(40, 88))
    y, x = ds[variable].dims
    rows, columns = (ds.sizes[d] // 2 * 2 for d in (y, x))
    return ds.isel({y: slice(rows), x: slice(columns)}).rename({variable: "t"})


def records(kind: str, days: int = 60) -> tuple[xr.Dataset, xr.Dataset]:
    """Return a record on the real grid, and its averages over 2 x 2 cells."""
    ds = field(kind)
    ds["t"] = ds.t.fillna(float(ds.t.mean()))
    rng = np.random.default_rng(0)
    time = xr.date_range("2000-01-01", periods=days)
    signal = xr.DataArray(np.sin(np.arange(days)), coords={"time": time}, dims="time")
    attrs = dict(ds.t.attrs)
    y, x = ds.t.dims
    spread = float(ds.t.std())
    fine = ds.assign(t=(ds.t + spread * signal).transpose("time", y, x))
    fine["t"] = fine.t + 0.1 * spread * rng.normal(size=fine.t.shape)
    fine.t.attrs = attrs
    coarse = fine.coarsen({y: 2, x: 2}).mean()
    coarse.t.attrs = attrs
    for name in (y, x):
        coarse[name].attrs = dict(fine[name].attrs)
    return coarse.drop_vars(["lat", "lon"], errors="ignore"), fine


@pytest.mark.parametrize("kind", FILES)
def test_positions_are_those_of_pyproj(kind):
    ds = field(kind)
    mapping = ds[FILES[kind][2]]
    to_degrees = pyproj.Transformer.from_crs(
        pyproj.CRS.from_cf(dict(mapping.attrs)), "EPSG:4326", always_xy=True
    )
    y, x = (ds[d].values.astype(float) for d in ds.t.dims)
    lon, lat = to_degrees.transform(*np.meshgrid(x, y))
    cells = cells_of(ds)
    np.testing.assert_allclose(cells.positions[0], lat, atol=1e-6)
    np.testing.assert_allclose((cells.positions[1] - lon + 180) % 360 - 180, 0, atol=1e-6)
    total = xd.grids.area(ds).sum().item()
    square = cells.spacings[0].mean() * cells.spacings[1].mean()
    assert total == pytest.approx(square * ds.t.size, rel=0.03)


@pytest.mark.parametrize("kind", FILES)
def test_they_are_fitted_and_predicted_where_they_lie(kind, tmp_path):
    coarse, fine = records(kind)
    config = tiny_config("dressed")
    model = xd.fit(coarse, fine, preset=config, pairing="paired", progress=False)
    fields = model.predict(coarse, time=coarse.time[40:43], realizations=2)
    assert xd.grids.same_grid(fields, fine)
    assert fields.attrs["grid_mapping"] == FILES[kind][2]
    assert find_projection(fields).crs == find_projection(fine).crs
    truth = fine.t.sel(time=fields.time)
    error = np.sqrt(np.mean((fields.mean("realization").values - truth.values) ** 2))
    assert error < 0.4 * float(truth.std())
    fields.to_netcdf(tmp_path / "maps.nc")
    with xr.open_dataset(tmp_path / "maps.nc") as found:
        assert xd.grids.same_grid(found, fine)


def test_an_ocean_grid_with_folded_cells_is_named():
    ds = opened("orca2_votemper.nc")
    assert cells_of(ds).kind == "curvilinear"
    with pytest.raises(GridError, match=r"2 cells whose bounds are folded.*Correct the bounds"):
        xd.grids.area(ds)
