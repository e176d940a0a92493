"""Semivariograms against closed forms, scikit-gstat, gstools and hand-computed examples."""

from __future__ import annotations

import re
import tracemalloc
import warnings
from types import MappingProxyType

import dask
import gstools
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

import xdownscale as xd
from xdownscale.core.errors import DataError, GridError, OptionError
from xdownscale.core.grids import distances
from xdownscale.core.variogram_models import MODELS, SHAPES, fit_curve, fit_curves
from xdownscale.geostat import semivariogram
from xdownscale.geostat._pair_sampling import Pairs, sample_pairs
from xdownscale.geostat.variogram import block_length, daily_curves, mean_curve

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own imports
    import skgstat


def grid(size: int = 24, step: float = 0.25, lat: float = 10.0, lon: float = 40.0) -> xr.DataArray:
    degrees = step * np.arange(size)
    coords = {"lat": lat + degrees, "lon": lon + degrees}
    return xr.DataArray(np.zeros((size, size)), coords=coords)


def noise(days: int = 4, size: int = 24, seed: int = 0) -> xr.DataArray:
    """Uniform noise: semivariance 1/12 at any distance."""
    values = np.random.default_rng(seed).random((days, size, size))
    time = xr.date_range("2000-01-01", periods=days)
    return grid(size).expand_dims(time=time).copy(data=values)


def gaussian_field(model: str, reach: float, days: int, size: int = 24) -> xr.DataArray:
    """Draws with variance 2 and nugget 0.5, whose variogram is exactly the model's (Cholesky)."""
    da = grid(size)
    lat, lon = (c.ravel() for c in np.meshgrid(da.lat, da.lon, indexing="ij"))
    h = distances(lat[:, None], lon[:, None], lat, lon) / reach
    shape = {
        "spherical": lambda h: 1 - 1.5 * h + 0.5 * h**3,
        "exponential": lambda h: np.exp(-3 * h),
        "gaussian": lambda h: np.exp(-3 * h**2),
    }[model](h)
    rho = np.where((h < 1) | (model != "spherical"), shape, 0.0)
    root = np.linalg.cholesky(2 * rho + 0.5 * np.eye(h.shape[0]))
    draws = np.random.default_rng(3).standard_normal((days, h.shape[0])) @ root.T
    time = xr.date_range("2000-01-01", periods=days)
    return da.expand_dims(time=time).copy(data=draws.reshape(days, size, size))


class TestClosedForms:
    @pytest.mark.parametrize("estimator", ["matheron", "cressie", "dowd"])
    def test_white_noise_is_flat_at_its_variance(self, estimator):
        normal = noise(days=6).copy(data=np.random.default_rng(1).standard_normal((6, 24, 24)))
        v = semivariogram(normal, max_distance=500, bins=10, estimator=estimator)
        filled = v.semivariance[1:]
        np.testing.assert_allclose(filled, 1.0, atol=0.1)
        assert not v.fit_ok
        assert "pure nugget" in v.message.item()
        assert np.isnan([v.nugget, v.psill, v.sill, v.effective_range]).all()

    def test_genton_of_white_noise(self):
        normal = noise(days=6).copy(data=np.random.default_rng(1).standard_normal((6, 24, 24)))
        v = semivariogram(normal, max_distance=500, bins=4, pairs=1600, estimator="genton")
        np.testing.assert_allclose(v.semivariance, 1.0, atol=0.15)

    def test_uniform_noise(self):
        v = semivariogram(noise(days=20), max_distance=500, bins=10)
        np.testing.assert_allclose(v.semivariance[1:], 1 / 12, rtol=0.05)

    @pytest.mark.parametrize("model", ["spherical", "exponential", "gaussian"])
    def test_gaussian_field_gives_its_own_range_and_sill(self, model):
        da = gaussian_field(model, reach=250.0, days=400)
        v = semivariogram(da, max_distance=600, bins=20, model=model)
        assert v.fit_ok
        assert v.effective_range.item() == pytest.approx(250, rel=0.1)
        assert v.psill.item() == pytest.approx(2.0, rel=0.1)
        assert v.nugget.item() == pytest.approx(0.5, rel=0.15)
        # the plateau is psill + nugget: what scikit-gstat calls the sill is the psill alone
        plateau = v.semivariance.sel(lag=slice(400, None)).mean().item()
        assert v.sill.item() == pytest.approx(plateau, rel=0.03)
        assert v.fit[-1].item() == pytest.approx(v.sill.item(), rel=0.01)

    def test_linear_field_grows_with_the_square_of_the_distance(self):
        da = grid(30) + grid(30).lat * 2
        v = semivariogram(da, max_distance=300, bins=12, direction="N-S", pairs=20_000)
        # (2 degrees-of-latitude)^2 / 2 for a displacement h cos(bearing), bearing within 22.5
        spread = np.radians(22.5)
        cosines = 0.5 + np.sin(2 * spread) / (4 * spread)
        expected = 0.5 * (2 * v.distance / 110.6) ** 2 * cosines
        np.testing.assert_allclose(v.semivariance[2:], expected[2:], rtol=0.06)

    def test_four_points_by_hand(self):
        """1 . 3 / 6 . NaN-free square: six pairs, two classes."""
        pairs = Pairs(
            cells=np.arange(4),
            first=np.array([0, 2, 0, 1, 0, 1]),
            second=np.array([1, 3, 2, 3, 3, 2]),
            counts=np.array([4, 2]),
            distance=np.array([1.0, 2**0.5]),
        )
        field = np.array([[1.0, 3.0], [6.0, 2.0]])
        rows, columns = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
        places = {"rows": rows, "columns": columns, "pairs": pairs, "estimator": "matheron"}
        gamma, count, valid = daily_curves(field, **places)
        # (4 + 16 + 25 + 1) / 8 and (1 + 9) / 4
        np.testing.assert_allclose(gamma, [46 / 8, 10 / 4])
        np.testing.assert_array_equal(count, [4, 2])
        assert valid == 4


def reference(da: xr.DataArray, drawn: Pairs, **options: object) -> skgstat.Variogram:
    """scikit-gstat on the same pairs at the same distances."""
    lat, lon = (c.ravel()[drawn.cells] for c in np.meshgrid(da.lat, da.lon, indexing="ij"))
    low = np.minimum(drawn.first, drawn.second)
    high = np.maximum(drawn.first, drawn.second)
    km = distances(lat[low], lon[low], lat[high], lon[high])
    space = skgstat.MetricSpace(np.column_stack([lat, lon]), max_dist=1e9)
    space._dists = csr_matrix((km, (high, low)), shape=(lat.size, lat.size))
    edges = np.linspace(0, 500, 11)[1:]
    binning = {"maxlag": 500, "n_lags": 10, "bin_func": lambda *_: (edges, None)}
    values = da.values.ravel()[drawn.cells]
    return skgstat.Variogram(space, values, use_nugget=True, **{**binning, **options})


@pytest.fixture(scope="module")
def one_day() -> tuple[xr.DataArray, Pairs]:
    da = gaussian_field("spherical", reach=300.0, days=1).isel(time=0)
    return da, sample_pairs(da.lat.values, da.lon.values, 500, 10, 8000)


class TestOtherTools:
    @pytest.mark.parametrize("estimator", ["matheron", "cressie", "dowd"])
    def test_estimators_are_those_of_scikit_gstat(self, one_day, estimator):
        da, drawn = one_day
        theirs = reference(da, drawn, estimator=estimator)
        v = semivariogram(da, max_distance=500, bins=10, pairs=8000, estimator=estimator)
        np.testing.assert_array_equal(v.pair_count, theirs.bin_count)
        np.testing.assert_allclose(v.semivariance, theirs.experimental, rtol=1e-10)

    @pytest.mark.parametrize(("model", "name"), SHAPES.items())
    def test_fourth_parameter_has_its_name(self, one_day, model, name):
        v = semivariogram(one_day[0], max_distance=500, bins=10, pairs=2000, model=model)
        assert v.fit_ok
        assert v[name].units == "1"
        assert 0.05 <= v[name].item() <= {"matern": 20, "stable": 2}[model]

    @pytest.mark.parametrize("model", MODELS)
    def test_fit_is_that_of_scikit_gstat(self, one_day, model):
        da, drawn = one_day
        theirs = reference(da, drawn, model=model, fit_sigma=drawn.counts**-0.5)
        ours = fit_curve(theirs.bins, theirs.experimental, drawn.counts, model)
        assert ours.message == ""
        x = theirs.bins - 20
        curve = fit_curves(theirs.experimental, drawn.counts, theirs.bins, lag=x, model=model)[0]
        np.testing.assert_allclose(curve, theirs.fitted_model(x), rtol=2e-3)
        if model not in SHAPES:  # its smoothness and range can make up for each other
            psill, nugget = theirs.parameters[1], theirs.parameters[-1]
            # scikit-gstat's range of the gaussian model is where 98 % of the sill are reached
            reach = theirs.parameters[0] * (np.sqrt(3) / 2 if model == "gaussian" else 1)
            expected = [reach, psill, nugget]
            np.testing.assert_allclose(ours.parameters[:3], expected, rtol=0.01, atol=0.01)

    def test_gstools_on_all_pairs(self):
        """All pairs of a grid small enough; gstools on the sphere of the same size."""
        da = gaussian_field("exponential", reach=300.0, days=1, size=12).isel(time=0)
        v = semivariogram(da, max_distance=260, bins=4, pairs=20_000)
        lat, lon = (c.ravel() for c in np.meshgrid(da.lat, da.lon, indexing="ij"))
        edges = np.linspace(0, 260, 5)
        gamma, count = gstools.vario_estimate(
            (lat, lon), da.values.ravel(), edges, latlon=True, geo_scale=6371.0, return_counts=True
        )[1:]
        np.testing.assert_allclose(v.pair_count.sum(), count.sum(), rtol=0.02)
        np.testing.assert_allclose(v.semivariance, gamma, rtol=0.05)

    def test_fit_does_not_depend_on_units(self, one_day):
        da = one_day[0]
        plain = semivariogram(da, max_distance=500, bins=10)
        tiny = semivariogram(da * 1e-9, max_distance=500, bins=10)
        assert tiny.effective_range.item() == pytest.approx(plain.effective_range.item(), rel=1e-3)
        assert tiny.psill.item() == pytest.approx(1e-18 * plain.psill.item(), rel=1e-3)


LATTICE = np.arange(10, 40, 0.5), np.arange(-20, 20, 0.625)
PLANE = np.meshgrid(*LATTICE, indexing="ij")


@pytest.fixture(params=["rectilinear", "two-dimensional"])
def where(request) -> tuple[np.ndarray, np.ndarray]:
    return LATTICE if request.param == "rectilinear" else tuple(PLANE)


class TestPairs:
    lat, lon = PLANE

    def test_classes_are_filled_alike(self, where):
        drawn = sample_pairs(*where, 600, 8, 4000)
        assert drawn.counts.sum() == 4000
        assert drawn.counts.min() > 0.5 * 4000 / 8
        assert drawn.counts[1:].min() > 0.8 * 4000 / 8
        # the first class begins at the spacing of about 60 km
        np.testing.assert_allclose(drawn.distance[1:], 112.5 + 75 * np.arange(7), atol=6)

    def test_pairs_are_different_and_within_reach(self, where):
        drawn = sample_pairs(*where, 300, 5, 3000)
        one, other = drawn.cells[drawn.first], drawn.cells[drawn.second]
        keys = np.minimum(one, other) * self.lat.size + np.maximum(one, other)
        assert np.unique(keys).size == 3000
        lat, lon = self.lat.ravel(), self.lon.ravel()
        km = distances(lat[one], lon[one], lat[other], lon[other])
        assert 0 < km.min() < km.max() <= 300
        np.testing.assert_array_equal(np.bincount((km // 60).astype(int)), drawn.counts)

    @pytest.mark.parametrize("direction", ["N-S", "E-W"])
    def test_direction(self, where, direction):
        drawn = sample_pairs(*where, 600, 5, 2000, direction)
        lat, lon = self.lat.ravel()[drawn.cells], self.lon.ravel()[drawn.cells]
        north = np.abs(lat[drawn.first] - lat[drawn.second])
        east = np.abs(lon[drawn.first] - lon[drawn.second]) * np.cos(np.radians(lat[drawn.first]))
        along, across = (north, east) if direction == "N-S" else (east, north)
        assert np.all(across <= 1.2 * np.tan(np.radians(22.5)) * along + 1e-9)

    @pytest.mark.parametrize("flat", [True, False])
    def test_sampled_uniformly_over_the_area(self, flat):
        axes = np.arange(-89, 90, 2.0), np.arange(0, 360, 2.0)
        lat, lon = np.meshgrid(*axes, indexing="ij")
        drawn = sample_pairs(*(axes if flat else (lat, lon)), 1500, 5, 20_000)
        ends = np.concatenate([drawn.cells[drawn.first], drawn.cells[drawn.second]])
        sines = np.sin(np.radians(lat.ravel()[ends]))
        assert abs(sines.mean()) < 0.02
        assert np.histogram(sines, 4, (-1, 1))[0] == pytest.approx(10_000, rel=0.05)

    def test_a_small_grid_gives_all_its_pairs(self):
        lat, lon = np.meshgrid(np.arange(10.0), np.arange(10.0), indexing="ij")
        assert sample_pairs(lat, lon, 2000, 5, 5000).counts.sum() == 4950

    def test_seed(self, where):
        first, again, other = (sample_pairs(*where, 600, 5, 500, seed=s) for s in (1, 1, 2))
        np.testing.assert_array_equal(first.cells, again.cells)
        assert not np.array_equal(first.cells, other.cells)

    def test_cells_without_position_are_left_out(self):
        lat = self.lat.copy()
        lat[:30] = np.nan
        drawn = sample_pairs(lat, self.lon, 600, 5, 2000)
        assert np.isfinite(lat.ravel()[drawn.cells]).all()

    def test_max_distance_below_the_spacing(self):
        with pytest.raises(GridError, match=r"No two of the 3840 cells are within 5 km"):
            sample_pairs(self.lat, self.lon, 5, 3, 1000)


class TestDays:
    def test_average_is_the_mean_of_the_days(self):
        da = noise(days=5)
        options = {"max_distance": 400, "bins": 6, "pairs": 3000}
        daily = semivariogram(da, average=None, **options)
        mean = semivariogram(da, **options)
        assert daily.semivariance.dims == ("time", "lag")
        assert daily.fit_ok.dims == daily.message.dims == ("time",)
        np.testing.assert_allclose(mean.semivariance, daily.semivariance.mean("time"))
        one = semivariogram(da.isel(time=2), **options)
        np.testing.assert_allclose(one.semivariance, daily.semivariance[2])

    def test_nan_pairs_are_dropped_of_their_day(self):
        da = noise(days=2)
        da[1, :12] = np.nan
        v = semivariogram(da, average=None, max_distance=400, bins=6, pairs=3000)
        assert v.pair_count[0].sum() == 3000
        assert 0 < v.pair_count[1].sum() < 2500
        upper_half = semivariogram(da[1, 12:], max_distance=400, bins=6, pairs=50_000)
        np.testing.assert_allclose(v.semivariance[1, 1:], upper_half.semivariance[1:], rtol=0.25)

    @pytest.mark.parametrize("estimator", ["cressie", "dowd", "genton"])
    def test_nan_pairs_robust_estimators(self, estimator):
        pairs = Pairs(np.arange(4), np.array([0, 0, 0]), np.array([1, 2, 3]), np.array([3]), None)
        places = {"rows": np.zeros(4, int), "columns": np.arange(4), "pairs": pairs}
        field = np.array([[0.0, 1.0, 4.0, np.nan]])
        field3 = np.concatenate([field, np.full((1, 4), np.nan)])[:, None, :]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("xdownscale.geostat._pair_curves.MIN_CELLS", 3)
            gamma, count, _ = daily_curves(field3, **places, estimator=estimator)
        function = getattr(skgstat.estimators, estimator)
        assert gamma[0, 0] == pytest.approx(function(np.array([1.0, 4.0])))  # of one sign
        assert np.isnan(gamma[1, 0])
        np.testing.assert_array_equal(count[:, 0], [2, 0])

    def test_a_day_with_too_few_cells_is_left_out(self):
        da = noise(days=3)
        da[1] = np.nan
        da[1, 0, :5] = 1.0
        v = semivariogram(da, max_distance=400, bins=6)
        kept = semivariogram(da[[0, 2]], max_distance=400, bins=6)
        np.testing.assert_allclose(v.semivariance, kept.semivariance)
        np.testing.assert_allclose(v.pair_count, kept.pair_count)
        daily = semivariogram(da, max_distance=400, bins=6, average=None)
        assert "fewer than 100 valid" in daily.message[1].item()

    def test_realizations_are_kept(self):
        da = noise(days=2).expand_dims(realization=[0, 1, 2]).transpose("lat", "realization", ...)
        v = semivariogram(da, max_distance=400, bins=6)
        assert v.semivariance.dims == ("realization", "lag")
        assert v.fit_ok.dims == ("realization",)

    def test_band_holds_the_mean_and_is_seeded(self):
        da = noise(days=40, size=16)
        options = {"max_distance": 300, "bins": 5, "pairs": 2000}
        v = semivariogram(da, **options)
        assert np.all(v.lower[1:] < v.semivariance[1:])
        assert np.all(v.upper[1:] > v.semivariance[1:])
        xr.testing.assert_identical(v, semivariogram(da, **options))
        assert "lower" not in semivariogram(da, bootstrap=0, **options)

    def test_band_has_the_width_of_a_mean_of_independent_days(self):
        gamma = np.random.default_rng(0).standard_normal((400, 50))
        lower, upper = mean_curve(gamma, np.ones_like(gamma), draws=300, seed=0)[2:]
        assert np.mean(upper - lower) == pytest.approx(2 * 1.96 / 400**0.5, rel=0.1)

    def test_band_is_wider_where_days_are_alike(self):
        slow = np.repeat(np.random.default_rng(0).standard_normal((40, 50)), 10, axis=0)
        lower, upper = mean_curve(slow, np.ones_like(slow), draws=300, seed=0)[2:]
        assert np.mean(upper - lower) > 1.8 * 2 * 1.96 / 400**0.5

    def test_block_length(self):
        assert [block_length(n) for n in (2, 8, 27, 28, 1000)] == [2, 2, 3, 4, 10]


class TestRefusedFits:
    def fit(self, da):
        v = semivariogram(da, max_distance=500, bins=10)
        assert not v.fit_ok
        parameters = [v.nugget, v.psill, v.sill, v.effective_range]
        assert np.isnan(parameters).all()
        assert np.isnan(v.fit).all()
        return v, v.message.item()

    def test_constant_field(self):
        v, message = self.fit(grid() + 0.1)
        assert message == "constant field: the semivariance is zero"
        assert (v.semivariance[1:] == 0).all()

    def test_no_sill(self):
        assert "it still rises; raise max_distance" in self.fit(grid() + grid().lon)[1]

    def test_too_few_classes(self):
        v = semivariogram(noise(), max_distance=30, bins=20)
        assert re.match(r"only \d of|only \d distance classes have pairs; 4", v.message.item())

    def test_no_convergence(self, monkeypatch):
        def never(*args, **kwargs):
            raise RuntimeError("Optimal parameters not found")

        monkeypatch.setattr("scipy.optimize.curve_fit", never)
        assert "did not converge" in self.fit(noise())[1]


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"model": "sperical"}, "Did you mean 'spherical'"),
            ({"estimator": "mateeron"}, "Did you mean 'matheron'"),
            ({"direction": "NS"}, "Did you mean 'N-S'"),
            ({"average": "day"}, "Unknown average"),
            ({"max_distance": 0}, "max_distance is 0; give a positive number of km"),
            ({"max_distance": np.nan}, "max_distance is nan"),
            ({"max_distance": "600"}, "max_distance is '600'"),
            ({"bins": 2}, "bins is 2; give a whole number, 3 or more"),
            ({"bins": 3.5}, "bins is 3.5"),
            ({"pairs": 99}, "pairs is 99; give a whole number, 100 or more"),
            ({"seed": -1}, "seed is -1; give a whole number, 0 or more"),
            ({"bootstrap": -1}, "bootstrap is -1"),
        ],
    )
    def test_options(self, options, message):
        with pytest.raises(OptionError, match=message):
            semivariogram(noise(), **options)

    def test_small_grid(self):
        with pytest.raises(DataError, match="The grid has 81 cells; a semivariogram needs 100"):
            semivariogram(grid(9))

    def test_few_valid_cells(self):
        da = noise()
        da[:, 5:] = np.nan
        da[:, :, 10:] = np.nan
        with pytest.raises(DataError, match="At most 50 of the 576 cells"):
            semivariogram(da)
        lazy = semivariogram(da.chunk(time=1))
        with pytest.raises(DataError, match="At most 50 of the 576 cells"):
            lazy.compute()

    def test_no_latitude(self):
        with pytest.raises(GridError, match="No latitude found"):
            semivariogram(noise().rename(lat="row").drop_vars("row"))


class CountingScheduler:
    def __init__(self) -> None:
        self.computes = 0

    def __call__(self, graph, keys, **kwargs):
        self.computes += 1
        return dask.get(graph, keys, **kwargs)


class TestLaziness:
    def test_nothing_is_computed_before_it_is_asked_for(self):
        counter = CountingScheduler()
        da = noise()
        with dask.config.set(scheduler=counter):
            v = semivariogram(da.chunk(time=2, lat=7), max_distance=400, bins=6)
            assert counter.computes == 0
            assert all(v[name].chunks is not None for name in v.data_vars)
            computed = v.compute()
            assert counter.computes == 1
        xr.testing.assert_identical(computed, semivariogram(da, max_distance=400, bins=6))

    @settings(max_examples=12)
    @given(
        time=st.integers(1, 5), lat=st.integers(3, 24), lon=st.integers(3, 24), gaps=st.booleans()
    )
    def test_any_chunks(self, time, lat, lon, gaps):
        da = noise(days=5)
        if gaps:
            da = da.where(da > 0.2)
        options = {"max_distance": 400, "bins": 6, "pairs": 1000, "average": None}
        lazy = semivariogram(da.chunk(time=time, lat=lat, lon=lon), **options).compute()
        xr.testing.assert_identical(lazy, semivariogram(da, **options))

    @pytest.mark.parametrize("days", [100, 400])
    def test_memory_does_not_grow_with_days(self, days):
        import dask.array

        random = dask.array.random.default_rng(0)
        values = random.random((days, 100, 100), chunks=(4, 100, 100))  # 0.3 MB a chunk
        coords = {"lat": 10 + np.arange(100) / 10, "lon": 40 + np.arange(100) / 10}
        coords["time"] = xr.date_range("2000-01-01", periods=days)
        da = xr.DataArray(values, coords=coords, dims=("time", "lat", "lon"))
        options = {"max_distance": 400, "bins": 6, "pairs": 2000, "bootstrap": 0}
        semivariogram(da[:4], **options).compute()  # imports
        tracemalloc.start()
        with dask.config.set(scheduler="single-threaded"):
            semivariogram(da, **options).compute()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 6e6  # 32 MB are read for 400 days

    def test_from_a_store_in_pieces(self, tmp_path):
        da = noise(days=6).rename("u")
        encoding = {"u": {"chunks": (2, 24, 24)}}
        da.to_dataset().to_zarr(tmp_path / "u.zarr", encoding=encoding, consolidated=False)
        options = {"max_distance": 400, "bins": 6}
        counter = CountingScheduler()
        with xr.open_zarr(tmp_path / "u.zarr", consolidated=False, chunks=None) as ds:
            with dask.config.set(scheduler=counter):
                found = semivariogram(ds.u, **options)
            assert counter.computes == 1
            assert not ds.u.variable._in_memory
        assert all(found[name].chunks is None for name in found.data_vars)
        xr.testing.assert_identical(found, semivariogram(da, **options))


class TestLabels:
    options = MappingProxyType({"max_distance": 400, "bins": 6, "pairs": 2000})

    @given(
        flip=st.booleans(),
        shift=st.sampled_from([0, 360, -360]),
        order=st.permutations(["time", "lat", "lon"]),
        names=st.sampled_from([("lat", "lon", "time"), ("latitude", "longitude", "valid_time")]),
    )
    @settings(max_examples=15)
    def test_any_orientation_order_and_names(self, flip, shift, order, names):
        da = noise(days=2).assign_coords(lon=noise().lon - 43)  # crosses Greenwich
        turned = da.isel(lat=slice(None, None, -1 if flip else 1))
        turned = turned.assign_coords(lon=turned.lon + shift)
        if shift == 360:
            turned = turned.assign_coords(lon=turned.lon % 360)
        turned = turned.transpose(*order).rename(
            dict(zip(("lat", "lon", "time"), names, strict=True))
        )
        before = turned.copy(deep=True)
        found = semivariogram(turned, **self.options)
        expected = semivariogram(da, **self.options)
        np.testing.assert_allclose(found.semivariance, expected.semivariance, rtol=1e-12)
        xr.testing.assert_identical(turned, before)

    def test_two_dimensional_coordinates(self):
        da = noise(days=2)
        lat, lon = xr.broadcast(da.lat, da.lon)
        curved = da.drop_vars(["lat", "lon"]).rename(lat="y", lon="x")
        curved = curved.assign_coords(lat=(("y", "x"), lat.values), lon=(("y", "x"), lon.values))
        found = semivariogram(curved.transpose("x", "time", "y"), **self.options)
        other_pairs = semivariogram(da, **self.options)
        np.testing.assert_allclose(found.semivariance[1:], other_pairs.semivariance[1:], rtol=0.2)
        turned = curved.isel(y=slice(None, None, -1))
        turned = turned.assign_coords(lon=(("y", "x"), turned.lon.values - 360))
        again = semivariogram(turned, **self.options)
        np.testing.assert_allclose(again.semivariance, found.semivariance, rtol=1e-12)

    def test_linear_field_on_two_dimensional_coordinates(self):
        """The places of cells are right: a wrong one would show in a field of its own latitude."""
        lat, lon = np.meshgrid(10 + np.arange(30) / 4, np.arange(20) / 4, indexing="ij")
        coords = {"lat": (("y", "x"), lat), "lon": (("y", "x"), lon)}
        da = xr.DataArray(lat, coords=coords, dims=("y", "x"))
        v = semivariogram(da, max_distance=300, bins=6, direction="E-W")
        steep = semivariogram(da, max_distance=300, bins=6, direction="N-S")
        bound = 0.5 * (v.distance * np.sin(np.radians(22.5)) / 110.6) ** 2
        assert np.all((v.semivariance < 1.02 * bound)[1:])
        np.testing.assert_allclose(
            steep.semivariance[1:], 0.475 * (v.distance[1:] / 110.6) ** 2, rtol=0.1
        )

    def test_a_single_row(self):
        da = noise(days=3, size=200)[:, :1]
        v = semivariogram(da, max_distance=400, bins=5, pairs=3000)
        assert v.pair_count.min() > 300
        np.testing.assert_allclose(v.semivariance, 1 / 12, rtol=0.2)

    def test_integers_and_units(self):
        da = (noise() * 100).astype(int).assign_attrs(units="m")
        v = semivariogram(da, **self.options)
        assert v.semivariance.units == v.sill.units == "(m)^2"
        assert v.lag.units == v.effective_range.units == "km"
        assert v.attrs["pairs"] == 2000
        assert v.attrs["seed"] == 0

    def test_round_trip_through_netcdf(self, tmp_path):
        v = semivariogram(noise(), direction="E-W", average=None, **self.options)
        v.to_netcdf(tmp_path / "v.nc", engine="netcdf4")
        with xr.open_dataset(tmp_path / "v.nc") as again:
            np.testing.assert_array_equal(again.message, v.message)
            assert again.attrs["direction"] == "E-W"


class TestRealFields:
    def test_zonal_dust_rises_without_a_sill_to_ten_degrees(self, real_data):
        with xr.open_dataset(real_data / "merra2_dust_bc_3days.nc") as ds:
            dust = np.log10(ds.DUSMASS25.load())
        v = semivariogram(dust, max_distance=1000, bins=10, direction="E-W")
        assert np.all(np.diff(v.semivariance) > 0)
        assert not v.fit_ok
        assert "no sill within" in v.message.item()

    def test_twin_fine_is_rougher_and_of_shorter_range_than_coarse(self):
        ds = xd.datasets.load_twin()
        fine = np.log10(ds.dust_fine[::8])
        coarse = ds.dust.sel(time_coarse=slice("2004", "2005"))[::8]
        coarse = coarse.sel(lat_coarse=slice(24, 29.7), lon_coarse=slice(43.6, 51.4))
        coarse = np.log10(coarse)
        curves = [semivariogram(da, max_distance=600, bins=15) for da in (fine, coarse)]
        one, other = (v.semivariance.sel(lag=slice(60, 160)) for v in curves)
        assert np.all(one > other)
        assert curves[0].fit_ok
        assert curves[0].effective_range < curves[1].effective_range
