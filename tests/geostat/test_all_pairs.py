"""Semivariograms of all pairs of cells against sums over listed pairs, gstools and scikit-gstat."""

from __future__ import annotations

import gstools
import numpy as np
import pytest
import xarray as xr
from pyproj import Geod

import xdownscale as xd
from xdownscale.core.errors import DataError, GridError, OptionError, TimeAxisError
from xdownscale.core.grids import distances
from xdownscale.geostat import cross_semivariogram, semivariogram
from xdownscale.geostat._all_pairs import _survey, class_distances, pair_sums
from xdownscale.geostat._curve_bands import with_sampling_error
from xdownscale.geostat._lattice import layout, make_rows
from xdownscale.geostat._pair_choice import default_bins
from xdownscale.geostat._variogram_labels import range_ellipse

GRIDS = {
    "plain": (10 + 0.5 * np.arange(16), 0.7 * np.arange(15), 600),
    "descending": (10 + 0.5 * np.arange(16)[::-1], 0.7 * np.arange(15), 600),
    "across Greenwich": (np.arange(14.0), (0.5 * np.arange(12) + 357) % 360, 600),
    "across the dateline": (np.arange(14.0), (0.5 * np.arange(12) + 537) % 360 - 180, 600),
    "round the globe": (np.arange(-85, 90, 10.0), np.arange(0, 360, 10.0), 5000),
    "with poles": (np.arange(-90, 91, 15.0), np.arange(-180, 180, 12.0), 5000),
    "0 and 360": (np.arange(0, 60, 6.0), np.arange(0, 361, 20.0), 4000),
    "uneven rows": (np.array([0, 1, 2.5, 3, 5, 8, 9]), np.arange(30.0), 600),
    "one row": (np.array([40.0]), np.arange(110.0), 600),
    "one column": (0.5 * np.arange(110), np.array([7.0]), 600),
    "most of the circle": (60 + 2.0 * np.arange(8), 7.7 * np.arange(40), 3000),
    "a tenth missing": (60 + 3.0 * np.arange(8), 10.0 * np.arange(33), 2500),
    "missing columns": (np.arange(12.0), np.delete(np.arange(14.0), [3, 4]), 600),
    "many rows": (20 + 0.25 * np.arange(40), 0.25 * np.arange(7), 400),
    "float32": ((10 + np.arange(14) / 3).astype("f4"), (np.arange(14) / 3).astype("f4"), 600),
}


def listed(lat, lon, f, g=None, *, km, bins, weighted, bearings=(), tolerance=0.0):
    """Return semivariance, pair count and mean distance from a list of all pairs."""
    lon = np.asarray(lon, float)
    if np.unique(lon % 360).size < lon.size:  # 0 and 360 are one meridian
        lon, f = lon[:-1], f[:, :-1]
    lat = np.asarray(lat, float)
    la, lo = (c.ravel() for c in np.meshgrid(lat, lon, indexing="ij"))
    i, j = np.triu_indices(la.size, 1)
    east = (lo[j] - lo[i] + 180) % 360 - 180
    swap = (la[j] < la[i]) | ((la[j] == la[i]) & (east < 0))  # i: the southern or western cell
    i, j = np.where(swap, j, i), np.where(swap, i, j)
    bearing, _, far = Geod(ellps="WGS84").inv(lo[i], la[i], lo[j], la[j])
    far = far / 1000
    within = (far > 1e-3) & (far <= km)
    place = np.minimum(np.digitize(far, np.linspace(0, km, bins + 1)[1:]), bins - 1)
    size = bins
    if bearings:
        off = np.abs((bearing[:, None] - np.array(bearings) + 90) % 180 - 90)
        within &= off.min(axis=1) <= tolerance
        place = place + bins * off.argmin(axis=1)
        size = bins * len(bearings)
    weight = np.ones(lat.size)
    if weighted and lat.size > 1:
        up = np.sort(lat)
        inner = (up[1:] + up[:-1]) / 2
        edges = np.r_[2 * up[0] - inner[0], inner, 2 * up[-1] - inner[-1]].clip(-90, 90)
        weight[np.argsort(lat)] = np.diff(np.sin(np.radians(edges)))
    w = np.repeat(weight, lon.size)
    w = w[i] * w[j]
    f = f.ravel()
    g = f if g is None else g.ravel()
    product = (f[i] - f[j]) * (g[i] - g[j])
    good = within & np.isfinite(product)

    def sums(values, which):
        return np.bincount(place[which], np.broadcast_to(values, w.shape)[which], size)

    with np.errstate(invalid="ignore"):
        gamma = sums(w * product, good) / sums(w, good) / 2
        distance = sums(w * far, within) / sums(w, within)
    return gamma, sums(1.0, good), distance


def field(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).cumsum(0) + 3


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("gaps", [0.0, 0.2])
@pytest.mark.parametrize("name", GRIDS)
def test_equal_to_sums_over_listed_pairs(name, gaps, weighted):
    lat, lon, km = GRIDS[name]
    f = field((lat.size, lon.size))
    f[np.random.default_rng(1).random(f.shape) < gaps] = np.nan
    gamma, count, distance = listed(lat, lon, f, km=km, bins=7, weighted=weighted)
    if name == "0 and 360":
        f[:, -1] = f[:, 0]
    place = layout(np.asarray(lat, float), np.asarray(lon, float), km, 7, weighted=weighted)
    found = pair_sums(f[None], place)
    with np.errstate(invalid="ignore"):
        curve = found.products[0] / found.weights[0] / 2
    np.testing.assert_array_equal(found.counts[0], count)
    np.testing.assert_allclose(curve, gamma, rtol=1e-10)
    # float32 longitudes are taken for evenly spaced ones, one metre away
    rtol = 1e-5 if name == "float32" else 1e-9
    np.testing.assert_allclose(class_distances(place.geometry)[0], distance, rtol=rtol)


@pytest.mark.parametrize("bearings", [(0.0,), (90.0,), (0.0, 45.0, 90.0, 135.0)])
@pytest.mark.parametrize("name", ["plain", "uneven rows", "with poles", "most of the circle"])
def test_directions_are_those_of_listed_pairs(name, bearings):
    lat, lon, km = GRIDS[name]
    f = field((lat.size, lon.size))
    options = {"bins": 4, "weighted": True, "tolerance": 22.5}
    gamma, count, distance = listed(lat, lon, f, km=km, bearings=bearings, **options)
    place = layout(lat, lon, km, 4, directions=bearings, tolerance=22.5)
    found = pair_sums(f[None], place)
    np.testing.assert_array_equal(found.counts[0], count)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(found.products[0] / found.weights[0] / 2, gamma, rtol=1e-10)
    np.testing.assert_allclose(class_distances(place.geometry)[0], distance, rtol=1e-9)


@pytest.mark.parametrize("gaps", [0.0, 0.2])
@pytest.mark.parametrize("name", ["plain", "round the globe", "missing columns"])
def test_cross_products_are_those_of_listed_pairs(name, gaps):
    lat, lon, km = GRIDS[name]
    f = field((lat.size, lon.size))
    g = f + field(f.shape, seed=2)
    f[np.random.default_rng(1).random(f.shape) < gaps] = np.nan
    g[np.random.default_rng(2).random(f.shape) < gaps] = np.nan
    gamma, count, _ = listed(lat, lon, f, g, km=km, bins=5, weighted=True)
    found = pair_sums(f[None], layout(lat, lon, km, 5), g[None])
    np.testing.assert_array_equal(found.counts[0], count)
    # of both signs: rounding is measured against the largest
    curve = found.products[0] / found.weights[0] / 2
    np.testing.assert_allclose(curve, gamma, atol=1e-10 * np.abs(gamma).max())


def test_interpolated_distances_are_geodesics():
    """Of a tall grid, where they are interpolated, and to the antipode, where they cannot be."""
    for lat, km in ((-60 + 0.5 * np.arange(200), 900), (np.arange(-80, 81, 4.0), 20_000)):
        geometry = layout(lat, 3.0 * np.arange(100), km, 10).geometry
        for row, found in make_rows(geometry):
            there = lat[row.first : row.last, None]
            true = distances(lat[row.first], 0.0, there, 3.0 * row.shifts)
            far = true > 1
            np.testing.assert_allclose(found[far], true[far], rtol=1e-9)
            assert (found[~far] < 1e-6 * km).all()  # one place


def test_several_fields_at_once_are_the_single_ones():
    lat, lon, km = GRIDS["plain"]
    fields = np.stack([field((16, 15), seed) for seed in range(5)])
    fields[2, 3, 4] = np.nan
    place = layout(lat, lon, km, 7)
    together = pair_sums(fields, place)
    for day, one in enumerate(fields):
        alone = pair_sums(one[None], place)
        np.testing.assert_array_equal(together.counts[day], alone.counts[0])
        np.testing.assert_allclose(together.products[day], alone.products[0], rtol=1e-10)


def record(values, lat, lon):
    time = xr.date_range("2000-01-01", periods=len(values))
    return xr.DataArray(values, {"time": time, "lat": lat, "lon": lon}, ("time", "lat", "lon"))


@pytest.fixture
def days():
    lat, lon, _ = GRIDS["plain"]
    return record(np.stack([field((16, 15), seed) for seed in range(4)]), lat, lon)


class TestRounding:
    @pytest.mark.parametrize("level", [0.0, 0.1, 1e8 / 3])
    @pytest.mark.parametrize("gaps", [False, True])
    def test_a_constant_field_has_exactly_no_semivariance(self, days, level, gaps):
        da = xr.full_like(days, level)
        da = da.where(days > 0) if gaps else da
        v = semivariogram(da, bins=6, average=None)
        assert (v.semivariance == 0).all()
        assert (v.message == "constant field: the semivariance is zero").all()

    @pytest.mark.parametrize("gaps", [False, True])
    def test_a_large_offset_spoils_nothing(self, days, gaps):
        da = (days * 2**20).round() / 2**20  # exact when 2^27 is added
        da = da.where(days > 0) if gaps else da
        plain = semivariogram(da, bins=6, average=None)
        moved = semivariogram(da + 2.0**27, bins=6, average=None)
        np.testing.assert_allclose(moved.semivariance, plain.semivariance, rtol=1e-10)

    def test_a_smooth_field_next_to_none(self):
        """Semivariance a millionth of the variance: what is left of sums that cancel is right."""
        lat, lon = 0.05 * np.arange(40), 0.05 * np.arange(40)
        f = np.sin(lat[:, None] / 3) + np.cos(lon / 3) * 100
        gamma, _, _ = listed(lat, lon, f, km=30, bins=5, weighted=True)
        v = semivariogram(xr.DataArray(f, {"lat": lat, "lon": lon}), 30, bins=5)
        np.testing.assert_allclose(v.semivariance, gamma, rtol=1e-9)


class TestOtherTools:
    """Each with distances that both have: gstools knows great circles on a sphere alone."""

    @pytest.fixture
    def on_a_sphere(self, monkeypatch):
        """Let the distances of all pairs be great circles on a sphere of 6371 km."""

        def great_circles(lat1, lon1, lat2, lon2):
            y1, x1, y2, x2 = (np.radians(v) for v in (lat1, lon1, lat2, lon2))
            half = np.sin((y2 - y1) / 2) ** 2
            half = half + np.cos(y1) * np.cos(y2) * np.sin((x2 - x1) / 2) ** 2
            return 2 * 6371.0 * np.arctan2(np.sqrt(half), np.sqrt(1 - half))

        monkeypatch.setattr("xdownscale.geostat._lattice.distances", great_circles)
        _survey.cache_clear()
        yield
        _survey.cache_clear()

    @pytest.mark.parametrize("name", ["plain", "round the globe", "many rows", "missing columns"])
    @pytest.mark.parametrize("gaps", [0.0, 0.3])
    def test_gstools(self, on_a_sphere, name, gaps):
        lat, lon, km = GRIDS[name]
        f = field((lat.size, lon.size))
        f[np.random.default_rng(1).random(f.shape) < gaps] = np.nan
        edges = np.linspace(0, km, 8)
        la, lo = (c.ravel() for c in np.meshgrid(lat, lon, indexing="ij"))
        good = np.isfinite(f.ravel())
        _, gamma, count = gstools.vario_estimate(
            (la[good], lo[good]),
            f.ravel()[good],
            edges,
            latlon=True,
            geo_scale=6371.0,
            return_counts=True,
        )
        da = xr.DataArray(f, {"lat": lat, "lon": lon})
        v = semivariogram(da, max_distance=km, bins=7, weighted=False)
        np.testing.assert_array_equal(v.pair_count, count)
        filled = count > 0
        np.testing.assert_allclose(v.semivariance[filled], gamma[filled], rtol=1e-10)

    @pytest.mark.parametrize("gaps", [0.0, 0.3])
    def test_scikit_gstat_at_our_distances(self, gaps):
        """scikit-gstat takes any distances: those of all pairs of cells, each counted once."""
        import skgstat

        lat, lon, _ = GRIDS["plain"]
        f = field((lat.size, lon.size))
        f[np.random.default_rng(1).random(f.shape) < gaps] = np.nan
        la, lo = (c.ravel() for c in np.meshgrid(lat, lon, indexing="ij"))
        good = np.isfinite(f.ravel())
        la, lo, values = la[good], lo[good], f.ravel()[good]
        upper = np.linspace(0, 600, 11)[1:]
        theirs = skgstat.Variogram(
            np.column_stack([la, lo]),
            values,
            dist_func=lambda x, y: distances(x[0], x[1], y[0], y[1]).item(),
            maxlag=600,
            n_lags=10,
            bin_func=lambda *_: (upper, None),
        )
        da = xr.DataArray(f, {"lat": lat, "lon": lon})
        v = semivariogram(da, max_distance=600, bins=10, weighted=False, pairs="all")
        np.testing.assert_array_equal(v.pair_count, theirs.bin_count)
        np.testing.assert_allclose(v.semivariance, theirs.experimental, rtol=1e-10)


class TestChoice:
    def test_one_field_has_all_its_pairs(self, days):
        v = semivariogram(days[0], max_distance=400)
        assert (v.pairs_taken, v.weights) == ("all", "area")
        assert v.attrs["pairs"] == v.pair_count.sum()

    def test_many_fields_are_sampled(self, days, monkeypatch):
        monkeypatch.setattr("xdownscale.geostat._pair_choice.AFFORDABLE", 1.0)
        monkeypatch.setattr("xdownscale.geostat._pair_choice._SAMPLE", 1000)
        monkeypatch.setattr("xdownscale.geostat._pair_choice._FINE_SAMPLE", 2000)
        mean = semivariogram(days, bins=6)
        assert (mean.pairs_taken, mean.attrs["pairs"]) == ("sample", 1000)
        assert semivariogram(days, bins=6, average=None).attrs["pairs"] == 2000
        genton = semivariogram(days[:, :11, :11], bins=6, average=None, estimator="genton")
        assert genton.attrs["pairs"] == 1000
        assert semivariogram(days, bins=6, pairs="all").pairs_taken == "all"
        assert semivariogram(days[0], bins=6).pairs_taken == "all"
        xr.testing.assert_identical(mean, semivariogram(days, bins=6, pairs=1000))

    def test_the_choice_is_the_same_for_chunks(self, days):
        lazy = semivariogram(days.chunk(time=1, lat=5), bins=6)
        assert lazy.semivariance.chunks is not None
        xr.testing.assert_allclose(lazy.compute(), semivariogram(days, bins=6), rtol=1e-12)

    def test_a_sample_estimates_what_all_pairs_have(self):
        """By area: rows near a pole have as much noise as others, on a hundredth of the area."""
        lat, lon = np.arange(-89, 90, 2.0), np.arange(0, 360, 2.0)
        f = np.random.default_rng(0).standard_normal((90, 180)) * np.sin(np.radians(lat))[:, None]
        da = xr.DataArray(f, {"lat": lat, "lon": lon})
        options = {"max_distance": 3000, "bins": 3}
        every = semivariogram(da, **options)
        sample = semivariogram(da, pairs=60_000, **options)
        np.testing.assert_allclose(every.semivariance, sample.semivariance, rtol=0.06)
        alike = semivariogram(da, weighted=False, **options)
        assert (alike.semivariance > 1.3 * every.semivariance).all()

    def test_all_pairs_of_a_small_curvilinear_grid_are_listed(self, days):
        lat, lon = xr.broadcast(days.lat, days.lon)
        curved = days.drop_vars(["lat", "lon"]).rename(lat="y", lon="x")
        curved = curved.assign_coords(lat=(("y", "x"), lat.values), lon=(("y", "x"), lon.values))
        found = semivariogram(curved, bins=6, pairs="all", weighted=False)
        expected = semivariogram(days, bins=6, pairs="all", weighted=False)
        np.testing.assert_allclose(found.semivariance, expected.semivariance, rtol=1e-10)
        assert found.weights == "none"

    def test_all_pairs_of_another_estimator_are_listed(self, days):
        found = semivariogram(days, bins=6, pairs="all", estimator="dowd", bootstrap=0)
        assert found.attrs["pairs"] == semivariogram(days, bins=6).attrs["pairs"]

    def test_too_many_to_list(self):
        big = xr.DataArray(np.zeros((60, 60)), {"lat": np.arange(60) / 4, "lon": np.arange(60) / 4})
        with pytest.raises(GridError, match="pairs='all' lists the pairs of 3600 cells one by one"):
            semivariogram(big, pairs="all", estimator="dowd")

    def test_a_sample_cannot_count_alike(self, days):
        with pytest.raises(OptionError, match="weighted=False counts all pairs of cells alike"):
            semivariogram(days, pairs=300, weighted=False)

    @pytest.mark.parametrize("pairs", ["every", "1000"])
    def test_unknown_pairs(self, days, pairs):
        with pytest.raises(OptionError, match="Unknown pairs"):
            semivariogram(days, pairs=pairs)

    def test_nothing_within_reach(self, days):
        with pytest.raises(GridError, match="No two of the 240 cells are within 5 km"):
            semivariogram(days, max_distance=5)

    def test_few_valid_cells(self, days):
        with pytest.raises(DataError, match="At most 45 of the 240 cells that are in pairs"):
            semivariogram(days.where(days.lat < 11.5))

    def test_classes_are_no_narrower_than_the_grid(self):
        merra = 10 + 0.5 * np.arange(40), 0.625 * np.arange(40)
        assert default_bins(*merra, 600) == 9  # 65.5 km at the middle of the grid
        assert default_bins(*(axis / 10 for axis in merra), 600) == 30
        assert default_bins(*np.meshgrid(*merra, indexing="ij"), 600) == 9
        assert default_bins(np.array([0.0]), np.arange(100.0), 100) == 3

    def test_no_zigzag(self):
        """Noise on MERRA-2's grid: classes of 20 km alternate between few and many shifts."""
        lat, lon = 10 + 0.5 * np.arange(40), 0.625 * np.arange(40)
        smooth = np.sin(lat[:, None] / 2) + np.cos(lon / 2)
        v = semivariogram(xr.DataArray(smooth, {"lat": lat, "lon": lon}), max_distance=400)
        assert (np.diff(v.semivariance.dropna("lag")) > 0).all()


class TestBand:
    def test_sampling_error_of_pairs(self):
        """Days that are all alike: without it the band of a sample has no width."""
        lat, lon = 0.25 * np.arange(40), 0.25 * np.arange(40)
        one = np.random.default_rng(0).standard_normal((40, 40)).cumsum(0).cumsum(1)
        da = record(np.stack([one] * 10), lat, lon)
        true = semivariogram(da[0], 300, bins=5, weighted=False)
        options = {"max_distance": 300, "bins": 5, "pairs": 2000}
        hits, widths = [], []
        for seed in range(30):
            v = semivariogram(da, seed=seed, **options)
            hits.append((v.lower <= true.semivariance) & (true.semivariance <= v.upper))
            widths.append((v.upper - v.lower) / 2 / 1.96)
        spread = [semivariogram(da[0], seed=s, **options).semivariance for s in range(30)]
        assert 0.87 <= np.mean(hits) <= 1.0
        np.testing.assert_allclose(np.mean(widths, 0), np.std(spread, 0, ddof=1), rtol=0.35)
        every = semivariogram(da, max_distance=300, bins=5)
        np.testing.assert_allclose(every.lower, every.upper, rtol=1e-12)

    def test_half_widths_add_in_squares(self):
        groups = (
            np.random.default_rng(0).standard_normal((4000, 16, 1)) * 0 + np.arange(16.0)[:, None]
        )
        mean = groups.mean((0, 1))
        lower, upper = with_sampling_error(mean, mean - 3, mean + 4, groups)
        error = 1.959964 * np.std(np.arange(16), ddof=1) / 4
        np.testing.assert_allclose(
            [lower, upper], [mean - np.hypot(3, error), mean + np.hypot(4, error)]
        )

    def test_groups_of_pairs_change_no_curve(self, days):
        """The band alone is wider than the days' own."""
        v = semivariogram(days, bins=6, pairs=1000)
        daily = semivariogram(days, bins=6, pairs=1000, average=None)
        np.testing.assert_array_equal(v.semivariance, daily.semivariance.mean("time"))


class TestRose:
    @staticmethod
    def stretched(angle, seed=0, ratio=0.4):
        """Noise smoothed by an ellipse whose long axis bears `angle` degrees from north."""
        y = np.arange(96) - 48.0
        north, east = np.meshgrid(y, y, indexing="ij")
        turn = np.radians(angle)
        along = north * np.cos(turn) + east * np.sin(turn)
        across = -north * np.sin(turn) + east * np.cos(turn)
        kernel = np.exp(-(along**2 + (across / ratio) ** 2) / (2 * 4.0**2))
        noise = np.random.default_rng(seed).standard_normal((24, 96, 96))
        f = np.fft.ifft2(np.fft.fft2(noise) * np.fft.fft2(np.fft.ifftshift(kernel))).real
        degrees = 0.1 * np.arange(96)
        return record(f, degrees - 4.8, degrees)

    @pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, 140.0])
    def test_ratio_and_angle(self, angle):
        da = self.stretched(angle)
        v = semivariogram(da, 250, bins=20, model="gaussian", direction="all", bootstrap=0)
        assert v.semivariance.dims == ("direction", "lag")
        assert v.fit_ok.all()
        off = (v.anisotropy_angle.item() - angle + 90) % 180 - 90
        assert abs(off) < 5
        assert v.anisotropy_ratio.item() == pytest.approx(0.4, abs=0.08)

    def test_sampled_pairs_have_the_same_rose(self):
        da = self.stretched(60.0)
        options = {"max_distance": 120, "bins": 6, "direction": "all", "bootstrap": 0}
        every = semivariogram(da, **options)
        sample = semivariogram(da, pairs=40_000, **options)
        assert sample.pair_count.dims == ("direction", "lag")
        a, b = every.semivariance[:, 1:], sample.semivariance[:, 1:]
        np.testing.assert_allclose(a, b, rtol=0.25)
        assert abs(a.mean() / b.mean() - 1) < 0.03

    def test_days_and_chunks(self, days):
        v = semivariogram(days, 400, bins=4, direction="all", average=None)
        assert v.semivariance.dims == ("time", "direction", "lag")
        assert v.anisotropy_ratio.dims == ("time",)
        lazy = semivariogram(days.chunk(time=2), 400, bins=4, direction="all", average=None)
        xr.testing.assert_allclose(lazy.compute(), v)

    def test_one_direction_is_that_of_the_option(self, days):
        """N-S has 45 degrees, two halves of neighbours and the whole of its own of the rose."""
        north = semivariogram(days, 400, bins=4, direction="N-S")
        assert north.tolerance == "22.5 degrees"
        rose = semivariogram(days, 400, bins=4, direction="all")
        assert rose.tolerance == "11.25 degrees"
        assert (rose.pair_count[0] <= north.pair_count).all()
        assert rose.pair_count[0].sum() < north.pair_count.sum()
        every = semivariogram(days, 400, bins=4)
        np.testing.assert_allclose(rose.pair_count.sum("direction"), every.pair_count)

    def test_no_ellipse(self):
        reach = np.array([[100.0, np.nan, 50.0, np.nan], [np.nan] * 4])
        ratio, angle = range_ellipse(reach, bearing=np.array([0.0, 45, 90, 135]))
        assert np.isnan(ratio).all()
        assert np.isnan(angle).all()


class TestIndicatorAndMadogram:
    def test_indicator_is_the_semivariogram_of_zeros_and_ones(self, days):
        da = days.where(days > 0).assign_attrs(units="mm")
        v = semivariogram(da, bins=5, threshold=[2.0, 4.0])
        assert v.semivariance.dims == ("threshold", "lag")
        assert v.threshold.units == "mm"
        assert v.semivariance.units == "1"
        for level in (2.0, 4.0):
            ones = (da > level).astype(float).where(da.notnull())
            expected = semivariogram(ones, bins=5)
            np.testing.assert_allclose(
                v.semivariance.sel(threshold=level), expected.semivariance, rtol=1e-12
            )
        single = semivariogram(da, bins=5, threshold=2.0)
        np.testing.assert_allclose(single.semivariance, v.semivariance[0])

    def test_sampled(self, days):
        v = semivariogram(days, bins=5, threshold=2.0, pairs=2000, estimator="matheron")
        ones = semivariogram((days > 2).astype(float), bins=5, pairs=2000)
        np.testing.assert_array_equal(v.semivariance, ones.semivariance)

    @pytest.mark.parametrize("bad", ["high", [], [[1.0]], np.nan, [1.0, np.inf]])
    def test_bad_threshold(self, days, bad):
        with pytest.raises(OptionError, match="threshold is"):
            semivariogram(days, threshold=bad)

    def test_threshold_beside_a_dimension_of_that_name(self, days):
        with pytest.raises(OptionError, match="a dimension of the field already"):
            semivariogram(days.rename(time="threshold"), threshold=1.0)

    def test_madogram_is_half_the_mean_difference(self, days):
        da = days[0].assign_attrs(units="K")
        v = semivariogram(da, bins=5, estimator="madogram", pairs="all")
        values = da.values
        la, lo = (c.ravel() for c in np.meshgrid(da.lat, da.lon, indexing="ij"))
        i, j = np.triu_indices(la.size, 1)
        km = distances(la[i], lo[i], la[j], lo[j])
        gaps = np.abs(values.ravel()[i] - values.ravel()[j])
        place = (km / 120).astype(int)
        expected = [gaps[(place == k) & (km <= 600)].mean() / 2 for k in range(5)]
        np.testing.assert_allclose(v.semivariance, expected, rtol=1e-12)
        assert v.semivariance.units == "K"

    def test_madogram_of_normal_noise(self):
        """Differences are normal with variance 2: half their mean size is 1 / sqrt(pi)."""
        f = np.random.default_rng(0).standard_normal((20, 30, 30))
        da = record(f, 0.25 * np.arange(30), 0.25 * np.arange(30))
        v = semivariogram(da, 400, bins=5, estimator="madogram")
        np.testing.assert_allclose(v.semivariance, np.pi**-0.5, rtol=0.02)


class TestRefusedFits:
    def test_no_sill(self):
        da = xr.DataArray(np.zeros((30, 30)), {"lat": np.arange(30) / 4, "lon": np.arange(30) / 4})
        v = semivariogram(da + da.lon, max_distance=500, bins=10)
        assert "no sill within" in v.message.item()
        assert np.isnan([v.effective_range, v.psill, v.nugget]).all()
        assert v.unreliable_range.item() == pytest.approx(v.distance.max().item(), rel=0.02)
        assert v.unreliable_psill.item() > 0
        assert v.unreliable_range.units == "km"

    def test_flat(self):
        f = np.random.default_rng(0).standard_normal((6, 30, 30))
        da = record(f, np.arange(30) / 4, np.arange(30) / 4)
        v = semivariogram(da, 400, bins=10, model="matern")
        assert "pure nugget" in v.message.item()
        level = v.unreliable_nugget + v.unreliable_psill
        assert level.item() == pytest.approx(1.0, abs=0.1)
        assert np.isfinite(v.unreliable_smoothness)

    def test_nothing_to_fit(self, days):
        v = semivariogram(xr.zeros_like(days), bins=6)
        assert np.isnan(v.unreliable_range)

    def test_a_good_fit_has_none(self):
        da = xd.datasets.load_twin().dust_fine[:8]
        v = semivariogram(np.log10(da), 600, bins=15)
        assert v.fit_ok
        assert np.isnan([v.unreliable_range, v.unreliable_psill, v.unreliable_nugget]).all()


class TestCross:
    def test_of_a_field_with_itself(self, days):
        v = cross_semivariogram(days, days, bins=6)
        alone = semivariogram(days, bins=6)
        np.testing.assert_allclose(v.semivariance, alone.semivariance, rtol=1e-10)
        np.testing.assert_allclose(v.codispersion, 1.0, rtol=1e-10)

    @pytest.mark.parametrize("pairs", ["all", 3000])
    def test_polarisation(self, days, pairs):
        """The semivariance of a sum has twice the cross-semivariance on top of both."""
        other = days[:, ::-1].copy(data=np.random.default_rng(5).standard_normal(days.shape))
        other = other.sortby("lat")
        gaps = other.where(np.random.default_rng(6).random(other.shape) > 0.1)
        options = {"bins": 6, "pairs": pairs, "bootstrap": 0}
        cross = cross_semivariogram(days, gaps, **options)
        both = semivariogram(days + gaps, **options)
        one = semivariogram(days.where(gaps.notnull()), **options)
        two = semivariogram(gaps, **options)
        expected = (both.semivariance - one.semivariance - two.semivariance) / 2
        scale = np.abs(one.semivariance).max().item()
        np.testing.assert_allclose(cross.semivariance, expected, atol=1e-10 * scale)
        np.testing.assert_allclose(
            cross.codispersion,
            cross.semivariance / np.sqrt(one.semivariance * two.semivariance),
            rtol=1e-9,
        )

    def test_common_days_and_order_of_the_second(self, days):
        other = (days * 2).isel(time=slice(1, None), lat=slice(None, None, -1))
        other = other.rename(lat="latitude", time="valid_time").transpose("lon", ...)
        v = cross_semivariogram(days, other, bins=6, bootstrap=0)
        expected = semivariogram(days[1:], bins=6, bootstrap=0)
        np.testing.assert_allclose(v.semivariance, 2 * expected.semivariance, rtol=1e-10)

    def test_lazy_and_units(self, days):
        one = days.assign_attrs(units="K")
        two = (days**2).assign_attrs(units="m")
        expected = cross_semivariogram(one, two, bins=6)
        assert expected.semivariance.units == "(K) (m)"
        for pairs in ("all", 2000):
            whole = cross_semivariogram(one, two, bins=6, pairs=pairs)
            lazy = cross_semivariogram(
                one.chunk(time=2, lat=4), two.chunk(time=1, lon=6), bins=6, pairs=pairs
            )
            assert lazy.semivariance.chunks is not None
            xr.testing.assert_allclose(lazy.compute(), whole)

    def test_other_grid(self, days):
        with pytest.raises(GridError, match="The records are on different grids"):
            cross_semivariogram(days, days[:, 1:])

    def test_one_without_time(self, days):
        with pytest.raises(TimeAxisError, match="The second record has no time axis"):
            cross_semivariogram(days, days[0].drop_vars("time"))
