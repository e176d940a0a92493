"""What is valid elsewhere is taken here: Datasets with bounds, conventions, NaN coordinates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xdownscale as xd
from records import make_record
from xdownscale.core.coords import auxiliary
from xdownscale.core.errors import GridError
from xdownscale.core.units import same_units
from xdownscale.preprocessing.validation import variables

COARSE, FINE = make_record(1.0, 60, margin=1), make_record(0.25, 40)


def with_company(da: xr.DataArray) -> xr.Dataset:
    """Return a record with everything that CF lets stand beside it in a file."""
    day = np.timedelta64(1, "D")
    half = abs(float(da.lat[1] - da.lat[0])) / 2
    edges = {name: np.stack([da[name] - half, da[name] + half], -1) for name in ("lat", "lon")}
    ds = xr.Dataset(
        {
            "dust": da.assign_attrs(grid_mapping="crs", cell_measures="area: areacella"),
            "time_bnds": (("time", "bnds"), np.stack([da.time.values, da.time.values + day], -1)),
            "lat_bnds": (("lat", "bnds"), edges["lat"]),
            "lon_bnds": (("lon", "bnds"), edges["lon"]),
            "areacella": (("lat", "lon"), np.ones(da.shape[1:])),
            "crs": ((), 0, {"grid_mapping_name": "latitude_longitude"}),
        },
        coords=da.coords,
    )
    for name in ("time", "lat", "lon"):
        ds[name].attrs["bounds"] = f"{name}_bnds"
    return ds


class TestDatasets:
    """One real variable, and what describes it."""

    def test_what_describes_others(self):
        ds = with_company(FINE)
        assert auxiliary(ds) == set(ds.data_vars) - {"dust"}
        plain = ds.copy()  # bounds that no attribute names, as many files have them
        for name in ("time", "lat", "lon"):
            plain[name].attrs.clear()
        assert auxiliary(plain) == set(ds.data_vars) - {"dust"}
        assert auxiliary(xr.Dataset({"a": FINE, "b": FINE})) == set()

    def test_single_values_and_texts_are_no_variables(self):
        """A grid mapping whose reference was lost by arithmetic; names of days."""
        names = ("time", [f"day {i}" for i in range(FINE.time.size)])
        ds = xr.Dataset({"dust": FINE, "spatial_ref": 0, "model": "x", "names": names})
        assert auxiliary(ds) == {"spatial_ref", "model", "names"}
        assert list(variables(ds, "The record")) == ["dust"]
        with pytest.raises(GridError, match="No latitude found in spatial_ref"):
            variables(ds[["spatial_ref"]], "The record")

    def test_fit_and_predict(self):
        expected = xd.fit(COARSE, FINE, preset="dressed", progress=False)
        model = xd.fit(with_company(COARSE), with_company(FINE), preset="dressed", progress=False)
        days = COARSE.time[50:53]
        found = model.predict(with_company(COARSE), time=days)
        np.testing.assert_array_equal(found, expected.predict(COARSE, time=days))

    def test_baselines_and_diagnostics(self):
        found = xd.baselines.bias_corrected(with_company(COARSE), FINE)
        np.testing.assert_array_equal(found, xd.baselines.bias_corrected(COARSE, FINE))
        ds = with_company(FINE)
        assert ds.geostat.distribution()["variable"].values.tolist() == ["dust"]
        assert ds.geostat.acf(max_lag=2)["variable"].values.tolist() == ["dust"]


@pytest.mark.parametrize("freq", ["12h", "6h", "18h"])
def test_daily_stamps_at_another_hour(freq):
    other = FINE.assign_coords(time=FINE.time + pd.Timedelta(freq).to_timedelta64())
    expected = xd.fit(COARSE, FINE, preset="dressed", progress=False)
    model = xd.fit(COARSE, other, preset="dressed", progress=False)
    days = COARSE.time[50:53]
    xr.testing.assert_equal(model.predict(COARSE, time=days), expected.predict(COARSE, time=days))


class TestGlobalLongitudes:
    """Records round the globe in both conventions."""

    LAT = np.arange(-85, 90, 10.0)
    G = xr.DataArray(
        np.random.default_rng(0).lognormal(size=(40, 18, 36)),
        coords={
            "time": pd.date_range("2000", periods=40),
            "lat": LAT,
            "lon": np.arange(0, 360, 10.0),
        },
        dims=("time", "lat", "lon"),
        name="g",
    )
    F = xd.regrid(
        G,
        xr.Dataset(coords={"lat": np.arange(-87.5, 90, 5), "lon": np.arange(2.5, 360, 5)}),
        "bilinear",
        extrapolate="nearest",
    )

    @staticmethod
    def turned(da: xr.DataArray) -> xr.DataArray:
        return da.assign_coords(lon=(da.lon + 180) % 360 - 180).sortby("lon")

    def test_fit_and_predict(self):
        days = self.G.time[3:5]
        model = xd.fit(self.G, self.F, preset="dressed", progress=False)
        expected = model.predict(self.G, time=days)
        xr.testing.assert_equal(model.predict(self.turned(self.G), time=days), expected)
        for coarse, fine in (
            (self.turned(self.G), self.F),
            (self.G, self.turned(self.F)),
            (self.turned(self.G), self.turned(self.F)),
        ):
            other = xd.fit(coarse, fine, preset="dressed", progress=False)
            found = other.predict(self.G, time=days)
            assert found.sizes == expected.sizes
            assert np.isfinite(found).all()

    def test_functions_of_two_records(self):
        g, f = self.turned(self.G), self.turned(self.F)
        assert float(xd.skill.rmse(f, self.F).max()) == 0
        assert float(f.geostat.wasserstein(self.F, transform=None).wasserstein.max()) == 0
        xr.testing.assert_allclose(
            xd.regrid(g, self.F, "bilinear"), xd.regrid(self.G, self.F, "bilinear")
        )
        xr.testing.assert_allclose(
            xd.baselines.bias_corrected(g, self.F), xd.baselines.bias_corrected(self.G, self.F)
        )
        found = f.geostat.compare(self.F, transform=None).semivariance_difference
        assert float(abs(found).max()) < 1e-12


def nemo(value: float = np.nan) -> xr.DataArray:
    """Return a curvilinear record whose grid has no coordinates on land, as NEMO writes it."""
    y, x = np.meshgrid(np.arange(14.0), np.arange(16.0), indexing="ij")
    lat, lon = 20 + 0.5 * y + 0.05 * x, 40 + 0.5 * x - 0.05 * y
    values = np.random.default_rng(0).lognormal(size=(40, 14, 16))
    values[:, :3, :4] = np.nan
    for degrees in (lat, lon):
        degrees[:3, :4] = degrees[:3, :4] if np.isfinite(value) else np.nan
    return xr.DataArray(
        values,
        dims=("time", "y", "x"),
        coords={
            "time": pd.date_range("2000", periods=40),
            "nav_lat": (("y", "x"), lat),
            "nav_lon": (("y", "x"), lon),
        },
        name="sst",
    )


NEMO = {
    "rmse": lambda c: xd.skill.rmse(c + c**2, c),
    "weighted": lambda c: xd.skill.rmse(c + c**2, c, weights=True),
    "acf": lambda c: c.geostat.acf(max_lag=3),
    "pacf": lambda c: c.geostat.pacf(max_lag=3),
    "lag_rmse": lambda c: c.geostat.lag_rmse(max_lag=3)["mean"],
    "lag_r2": lambda c: c.geostat.lag_r2(max_lag=3)["mean"],
    "distribution": lambda c: c.geostat.distribution()["mean"],
    "wasserstein": lambda c: c.geostat.wasserstein(c + 1, transform=None).wasserstein,
    "semivariogram": lambda c: c.geostat.semivariogram(max_distance=400, bins=5).semivariance,
    "region": lambda c: (xd.splits.region_mask(c, (40, 44, 21, 24)) & np.isfinite(c[0])).sum(),
    "nse": lambda c: xd.skill.nse(c + 0.1, c, weights=True),
    "weights": xd.grids.cell_weights,
}


@pytest.mark.parametrize("name", NEMO)
def test_cells_without_coordinates_are_cells_without_values(name):
    """The oracle is the same record with coordinates there: it has no values on them either."""
    found, expected = NEMO[name](nemo()), NEMO[name](nemo(0.0))
    if name == "weights":
        expected = expected.where(np.isfinite(nemo().nav_lat), 0)
    if name == "semivariogram":  # its pairs are drawn among other cells
        np.testing.assert_allclose(found, expected, rtol=0.3)
        return
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-12)
    assert np.isfinite(found.values[..., 1:]).all() if found.ndim else np.isfinite(found)


def test_maps_of_cells_without_coordinates():
    import matplotlib as mpl

    mpl.use("agg")
    axes = xd.plot.maps(nemo(), nemo())
    assert len(axes) == 3
    np.testing.assert_allclose(axes[0].get_xlim(), [39.35, 47.5])
    mpl.pyplot.close("all")


def test_an_auxiliary_latitude_beside_its_own_dimension():
    deg = {"standard_name": "latitude", "units": "degrees_north"}
    geodetic = FINE.assign_coords(lat_geodetic=("lat", FINE.lat.values + 0.1, deg))
    doubled = FINE.assign_coords(latitude=("lat", FINE.lat.values), longitude=FINE.lon * 1)
    plane = FINE.assign_coords(
        lat2d=(("lat", "lon"), np.broadcast_to(FINE.lat.values[:, None], FINE.shape[1:])),
        lon2d=(("lat", "lon"), np.broadcast_to(FINE.lon.values, FINE.shape[1:])),
    )
    for da in (geodetic, doubled, plane):
        axes = xd.labels.find_axes(da)
        assert (axes.latitude, axes.longitude) == ("lat", "lon")
        assert float(xd.skill.rmse(da, FINE).max()) == 0
    points = FINE.rename(lat="y", lon="x")
    points = points.assign_coords(latitude=("y", FINE.lat.values), longitude=("x", FINE.lon.values))
    points.y.attrs.clear()
    points.x.attrs.clear()
    assert xd.labels.find_axes(points).latitude == "latitude"
    assert float(xd.skill.rmse(points, FINE).max()) == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("degC", "C"),
        ("Celsius", "degrees_C"),
        ("degC", "deg C"),
        ("1", "-"),
        ("1", "unitless"),
        ("fraction", "1"),
        ("hPa", "mb"),
        ("DU", "dobson"),
        ("kt", "knots"),
        ("mm hr-1", "mm/h"),
        ("m2 s-2", "J kg-1"),
        ("1", "kg kg-1"),
    ],
)
def test_equivalent_units(one, other):
    assert same_units(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("mm", "kg m-2"), ("DU", "1"), ("C", "K"), ("-", "%"), ("ppm", "ppb"), ("mb", "Pa")],
)
def test_other_units(one, other):
    assert not same_units(one, other)
