"""Values that cannot be of a record: what is found, what is not, and what fit and predict say."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
import xarray as xr

import xdownscale as xd
from records import make_record
from xdownscale.core.errors import DataError, ModelMismatchError, OptionError
from xdownscale.preprocessing import outliers
from xdownscale.preprocessing.outliers import find_range, screened

RNG = np.random.default_rng(0)
HARMLESS = {
    "temperature": 280 + 10 * RNG.normal(size=(100, 200)),
    "celsius": 10 * RNG.normal(size=(100, 200)),
    "rain": np.where(RNG.random((100, 200)) < 0.9, 0, RNG.gamma(0.3, 20, (100, 200))),
    "dry": np.where(RNG.random((100, 200)) < 0.9995, 0, RNG.gamma(0.3, 20, (100, 200))),
    "dust": RNG.lognormal(-2, 3, (100, 200)),
    "plumes": RNG.pareto(0.7, (100, 200)),
    "columns of molecules": 1e15 * RNG.lognormal(0, 1, (100, 200)),
    "tiny": 1e-12 * RNG.lognormal(0, 2, (100, 200)),
    "constant": np.full((100, 200), 3.0),
    "zero": np.zeros((100, 200)),
    "elevation": RNG.uniform(-10_994, 8848, (100, 200)),
    "ones": (RNG.random((100, 200)) < 0.5).astype(float),
    "anomalies": RNG.standard_t(2, (100, 200)),
    "percent": RNG.integers(0, 101, (100, 200)).astype(float),
    "pressure": 101_325 + 800 * RNG.normal(size=(100, 200)),
}
BAD = [1e30, 1e20, -1e34, 9.96920997e36, 1e15, -9999.0, -32768.0, -999.0]


def labelled(values: np.ndarray, units: str = "1", **kind: str) -> xr.DataArray:
    da = xr.DataArray(
        values,
        dims=("lat", "lon"),
        coords={"lat": np.arange(len(values)), "lon": np.arange(values.shape[1])},
        attrs={"units": units},
    )
    return da.astype(kind.get("dtype", float))


@pytest.mark.parametrize("name", HARMLESS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_nature_does_is_left_alone(name, dtype):
    da = labelled(HARMLESS[name], "K" if name == "temperature" else "1", dtype=dtype)
    assert screened(da, "The record", "raise") is da


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.8], ids=["one cell", "land", "most"])
@pytest.mark.parametrize(
    "name", ["temperature", "celsius", "rain", "dust", "percent", "ones", "pressure", "anomalies"]
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_fill_values_are_found_whatever_their_share(name, share, bad, dtype):
    if (name, bad) in {("pressure", 9.99e9)}:
        pytest.skip("within reach")
    values = HARMLESS[name].copy()
    where = RNG.random(values.shape) < share
    where[5, 7] = True
    values[where] = bad
    da = labelled(values, dtype=dtype)
    with pytest.raises(DataError, match=r"far outside all others.*outliers='mask'"):
        screened(da, "The record", "raise")
    masked = screened(da, "The record", "mask")
    np.testing.assert_array_equal(np.isnan(masked.values), where)
    lazy = screened(da.chunk({"lat": 30}), "The record", "mask")
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy.values, masked.values)
    assert screened(da, "The record", "keep") is da or name == "zero"


def test_several_fill_values_at_once():
    found = find_range(np.array([1e20, 280.0, 1e30, 290.0, -9999.0, -1e34, np.inf, np.nan]))
    assert (found.low, found.high) == (280.0, 290.0)


def test_kelvin_below_and_at_zero():
    values = HARMLESS["temperature"].copy()
    values[3, 4] = 0.0
    for units, found in (("K", True), ("kelvin", True), ("1", False)):
        da = labelled(values, units)
        if found:
            with pytest.raises(DataError, match="0 at lat 3, lon 4"):
                screened(da, "The record", "raise")
        else:
            assert screened(da, "The record", "raise") is da
    differences = labelled(HARMLESS["celsius"], "K")
    assert screened(differences, "The record", "raise") is differences


def test_float32():
    with pytest.raises(DataError, match=r"values up to .*e\+39, more than float32"):
        screened(labelled(1e39 * HARMLESS["percent"] / 100), "The record", "keep")
    with pytest.raises(DataError, match=r"only tells steps of 8 apart\. Subtract a constant"):
        screened(labelled(1e8 + HARMLESS["celsius"] / 10), "The record", "keep")


class TestFit:
    """What fit and predict do about them."""

    COARSE, FINE = make_record(1.0, 60, margin=1), make_record(0.25, 40)

    def spoilt(self, da: xr.DataArray, value: float = 1e30) -> xr.DataArray:
        values = da.values.copy()
        values[3, 2, 1] = value
        return da.copy(data=values)

    @pytest.mark.parametrize("value", [1e30, 1e20, 1e15, -9999.0, -32768.0])
    def test_asks_and_names_cell_and_time(self, value):
        """Finding of a review: a single 1e30 gave a model of NaN without a word."""
        for which, pair in (
            ("coarse", (self.spoilt(self.COARSE, value), self.FINE)),
            ("fine", (self.COARSE, self.spoilt(self.FINE, value))),
        ):
            da = pair[which == "fine"]
            place = f"time 2000-01-04.*lat {da.lat.values[2]:g}, lon {da.lon.values[1]:g}"
            match = rf"The {which} record 'dust' has a value far outside.*: .* at .*{place}|{place}"
            with pytest.raises(DataError, match=match):
                xd.fit(*pair, preset="dressed", progress=False)

    def test_mask_is_missing(self):
        model = xd.fit(
            self.spoilt(self.COARSE),
            self.spoilt(self.FINE, -9999.0),
            preset="dressed",
            progress=False,
            outliers="mask",
        )
        expected = xd.fit(
            self.spoilt(self.COARSE, np.nan),
            self.spoilt(self.FINE, np.nan),
            preset="dressed",
            progress=False,
        )
        days = self.COARSE.time[50:52]
        found = model.predict(self.COARSE, time=days)
        assert np.isfinite(found).all()
        xr.testing.assert_equal(found, expected.predict(self.COARSE, time=days))
        with pytest.raises(ModelMismatchError, match=r"cannot be of it, the first 1e\+30 at 2000-"):
            model.predict(self.spoilt(self.COARSE), time=days)
        lazy = model.predict(self.spoilt(self.COARSE).chunk(time=7), time=self.COARSE.time[2:5])
        with pytest.raises(ModelMismatchError, match=r"cannot be of it, the first 1e\+30"):
            lazy.compute()

    def test_static_fields(self):
        height = self.FINE[0].drop_vars("time").rename("height") * 1000
        height[2, 3] = -32768.0
        with pytest.raises(DataError, match=r"static field .*-32768 at lat .*, lon"):
            xd.fit(self.COARSE, self.FINE, static=height, preset="fast", progress=False)
        with pytest.raises(DataError, match=r"static field 'height' .*-32768 at"):
            xd.fit(
                self.COARSE, self.FINE, static=height.to_dataset(), preset="fast", progress=False
            )

    def test_unknown_word(self):
        with pytest.raises(OptionError, match="Unknown outliers: 'drop'"):
            self.COARSE.downscale.fit(self.FINE, outliers="drop", progress=False)


@pytest.mark.parametrize("units", ["K", None])
@pytest.mark.parametrize("bad", [(), (1e30,), (-9999.0, 1e20), (0.0, -3.0), (-32768.0,), (999.0,)])
def test_one_reading_finds_what_two_found(bad, units):
    """The oracle looks at every value; only blocks that hold suspicious ones are read again."""
    rng = np.random.default_rng(len(bad))
    values = (280 + 10 * rng.standard_normal((200, 3, 4))).astype("f4")
    rows = rng.choice(200, len(bad), replace=False)
    values[rows, 1, 2] = bad
    values[5] = np.nan
    read = []

    def note(block):
        read.append(len(block))
        return block

    lazy = dask.array.from_array(values, chunks=(40, 3, 4))
    lazy = lazy.map_blocks(note, dtype=values.dtype, meta=values[:0])
    da = xr.DataArray(lazy, dims=("time", "y", "x"), attrs={"units": units} if units else {})
    sample, ends = outliers._surveyed(da)
    assert sum(read) == 200
    looked = np.unique(np.linspace(0, 199, 64).astype(int))
    np.testing.assert_array_equal(sample, values[looked].ravel())
    known = outliers.find_range(sample, units)
    suspects = known.suspects(values)
    count, first = outliers._search(da, known, ends)
    assert count == suspects.sum()
    assert first == (tuple(np.argwhere(suspects)[0]) if count else ())
    assert sum(read) == 200 + 40 * len(np.unique(np.flatnonzero(suspects.any((1, 2))) // 40))
    masked = outliers.screened(da, "It", "mask").values
    np.testing.assert_array_equal(masked, np.where(suspects, np.nan, values))
