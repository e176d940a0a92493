"""The ESMF engine: with a stand-in that has the limits of ESMF, and with xesmf if there."""

from __future__ import annotations

import importlib
import sys
import threading
import warnings
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import xarray as xr

import xdownscale as xd
from records import make_pair, tiny_config
from xdownscale.core.errors import (
    GridError,
    MissingPackageError,
    OptionError,
    XDownscaleError,
    XDownscaleWarning,
)
from xdownscale.core.sphere import to_vectors
from xdownscale.regridding import _cache, regrid

LAT, LON = np.arange(35.0, 45.0, 1.5), np.arange(-9.0, 9.0, 2.0)


def can_import() -> bool:
    """Tell whether xesmf works here: from pip it lacks esmpy."""
    try:
        importlib.import_module("xesmf")
    except ImportError:
        return False
    return True


needs_xesmf = pytest.mark.skipif(not can_import(), reason="xesmf cannot be imported (conda only)")


def record(lat=LAT, lon=LON) -> xr.DataArray:
    values = np.arange(2.0 * lat.size * lon.size, dtype="f4").reshape(2, lat.size, lon.size)
    return xr.DataArray(
        values,
        dims=("time", "lat", "lon"),
        coords={"time": [0, 1], "lat": lat, "lon": lon},
        name="tas",
        attrs={"units": "degC"},
    )


def fine() -> xr.DataArray:
    lat, lon = np.arange(36.0, 43.0, 0.5)[::-1], np.arange(-8.0, 6.0, 0.5)
    return xr.DataArray(np.zeros((lat.size, lon.size)), coords={"latitude": lat, "longitude": lon})


def curvilinear(da: xr.DataArray) -> xr.DataArray:
    lat, lon = np.meshgrid(da.lat.values, da.lon.values, indexing="ij")
    bare = da.drop_vars(["lat", "lon"]).rename(lat="y", lon="x")
    return bare.assign_coords(lat=(("y", "x"), lat), lon=(("y", "x"), lon))


class Weights:
    """Sparse weights as xesmf has them: a DataArray round a ``sparse.COO``."""

    def __init__(self, dense):
        rows, columns = np.nonzero(dense)
        self.data = SimpleNamespace(coords=np.stack([rows, columns]), data=dense[rows, columns])


def ascending(values) -> bool:
    return bool((np.diff(values) > 0).all())


def lines(source, target, hold):
    """Return linear or nearest weights along an axis, none outside."""
    dense = np.zeros((target.size, source.size))
    for k, at in enumerate(target):
        if hold:
            dense[k, np.argmin(np.abs(source - at))] = 1
        elif source[0] - 1e-9 <= at <= source[-1] + 1e-9:
            low = min(max(np.searchsorted(source, at, side="right") - 1, 0), source.size - 2)
            share = (at - source[low]) / (source[low + 1] - source[low])
            dense[k, low], dense[k, low + 1] = 1 - share, share
    return dense


def shares(source, target):
    """Return how much of each target cell source cells cover, from edges."""
    low = np.maximum(target[:-1, None], source[:-1])
    high = np.minimum(target[1:, None], source[1:])
    return np.clip(high - low, 0, None)


class StandIn:
    """Gives weights under ESMF's limits: one thread, ascending axes, fills what is outside."""

    made: ClassVar[list] = []
    thread: ClassVar[list] = []

    def __init__(self, source, target, method, periodic=False):
        if self.thread and self.thread[0] != threading.get_ident():
            raise ValueError("ESMC_GridCreate failed with rc = 545. Please check the log files")
        self.thread[:] = [threading.get_ident()]
        self.made.append(SimpleNamespace(source=source, target=target, method=method))
        if source.lat.ndim == 2 or target.lat.ndim == 2:
            dense = self._scattered(source, target, method)
        else:
            dense = self._flat(source, target, method, periodic)
        self.weights = Weights(dense)

    def _flat(self, source, target, method, periodic):
        axes = [(source[n].values, target[n].values) for n in ("lat", "lon")]
        for _, values in axes:
            assert np.unique(values % 360).size == values.size, "degenerated"
        if method == "conservative_normed":
            lat, lon = ((source[n].values, target[n].values) for n in ("lat_b", "lon_b"))
            sines = [np.sin(np.radians(v)) for v in lat]
            along = sum(shares(lon[0], lon[1] + turn) for turn in (-360, 0, 360))
            dense = np.kron(shares(*sines), along)
            dense /= dense.sum(axis=1, keepdims=True)
        else:
            (y, at_y), (x, at_x) = axes
            at_x = at_x + np.round((x.mean() - at_x) / 360) * 360
            if periodic:
                x = np.concatenate([x[-1:] - 360, x, x[:1] + 360])
            along = lines(x, at_x, method == "nearest_s2d")
            if periodic:
                along[:, [1, -2]] += along[:, [-1, 0]]
                along = along[:, 1:-1]
            dense = np.kron(lines(y, at_y, method == "nearest_s2d"), along)
        turned = [not ascending(v) for _, v in axes]
        shape = (axes[0][1].size, axes[1][1].size, -1)
        # mirrored without a word
        return dense.reshape(shape)[:: -1 if turned[0] else 1, :: -1 if turned[1] else 1].reshape(
            dense.shape
        )

    def _scattered(self, source, target, method):
        points = []
        for grid in (source, target):
            lat, lon = grid.lat.values, grid.lon.values
            pair = np.meshgrid(lat, lon, indexing="ij") if lat.ndim == 1 else (lat, lon)
            points.append(to_vectors(*pair).reshape(-1, 3))
        dense = np.zeros((len(points[1]), len(points[0])))
        near = np.linalg.norm(points[1][:, None] - points[0], axis=-1)
        if method == "nearest_s2d":
            dense[np.arange(len(dense)), near.argmin(axis=1)] = 1
            return dense
        close = 1 / (near + 1e-9) ** 4  # any weights that add up to one
        return close / close.sum(axis=1, keepdims=True)


@pytest.fixture
def esmf(monkeypatch):
    """Put the stand-in in the place of xesmf."""
    monkeypatch.setitem(sys.modules, "xesmf", SimpleNamespace(Regridder=StandIn))
    StandIn.made.clear()
    StandIn.thread.clear()
    _cache.forget()
    yield StandIn.made
    _cache.forget()


@pytest.mark.skipif(can_import(), reason="xesmf can be imported")
def test_without_xesmf():
    with pytest.raises(MissingPackageError, match=r"engine='xesmf' needs .*conda-forge xesmf"):
        regrid(record(), fine(), "bilinear", engine="xesmf")


@pytest.mark.parametrize("method", ["bilinear", "nearest", "conservative"])
@pytest.mark.parametrize("turned", [False, True])
def test_results_are_those_of_the_separable_engine(esmf, method, turned):
    da = record(LAT[::-1], LON % 360).sortby("lon") if turned else record()
    # no ties: which of two equally near centres is nearest is not told
    target = fine().assign_coords(
        latitude=fine().latitude + 0.03, longitude=fine().longitude + 0.03
    )
    found = regrid(da.transpose("lon", "time", "lat"), target, method, engine="xesmf")
    expected = regrid(da.transpose("lon", "time", "lat"), target, method)
    assert found.dims == ("longitude", "time", "latitude")
    assert found.dtype == np.float32
    assert found.attrs == {"units": "degC"}
    xr.testing.assert_identical(found.latitude, target.latitude)
    np.testing.assert_allclose(found, expected, rtol=2e-6)


@pytest.mark.parametrize(
    ("lon", "source"),
    [
        ([0.0, 1, 2, 3, 357, 358, 359], np.arange(-10.0, 11)),
        ([177.0, 178, 179, -180, -179, -178], np.arange(170.0, 191)),
        ([3.0, 2, 1, 0, -1, -2], np.arange(-10.0, 11)),
        ([0.0, 90, 180, 270, 360], np.arange(0.0, 360, 5)),
    ],
)
@pytest.mark.parametrize("method", ["bilinear", "nearest", "conservative"])
def test_targets_across_a_seam_are_not_mirrored(esmf, lon, source, method):
    lat = np.arange(10.0, 20)
    da = xr.DataArray(
        np.broadcast_to(np.sin(np.radians(source)), (10, source.size)).copy(),
        coords={"lat": lat, "lon": source},
    )
    target = xr.DataArray(np.zeros((2, len(lon))), coords={"lat": [16.2, 12.2], "lon": lon})
    found = regrid(da, target, method, engine="xesmf")
    np.testing.assert_allclose(found, regrid(da, target, method), atol=1e-12)
    assert esmf[0].target.sizes["x"] == np.unique(np.mod(lon, 360)).size


def test_other_threads_only_multiply(esmf):
    da = record()
    first = regrid(da, fine(), "bilinear", engine="xesmf")
    found = []
    thread = threading.Thread(
        target=lambda: found.append(regrid(da + 1, fine(), "bilinear", engine="xesmf"))
    )
    thread.start()
    thread.join()
    np.testing.assert_allclose(found[0], first + 1, rtol=1e-6)
    lazy = regrid(da.chunk(time=1), fine(), "bilinear", engine="xesmf")
    np.testing.assert_array_equal(lazy.compute(scheduler="threads"), first)
    assert len(esmf) == 1  # built once for a pair of grids
    errors = []

    def other():
        try:
            regrid(da, fine() + 0, "nearest", engine="xesmf")
        except XDownscaleError as err:
            errors.append(str(err))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert "ESMF works in one thread of a process alone: regrid once" in errors[0]


def test_a_model_is_fitted_and_stored_in_threads(esmf, tmp_path):
    """Prefetch and stores read in threads of their own; ESMF is asked in the caller's alone."""
    coarse, fields = make_pair(60)
    config = tiny_config("unet").replace(data={"engine": "xesmf", "regrid": "bilinear"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)
        model = xd.fit(coarse, fields, preset=config, pairing="paired", progress=False)
        expected = model.predict(coarse, time=coarse.time[40:44])
        found = []
        other = threading.Thread(
            target=lambda: found.append(
                xd.predict_to_zarr(
                    model, coarse, tmp_path / "maps", time=coarse.time[40:44], progress=False
                )
            )
        )
        other.start()
        other.join()
    assert len(esmf) == 1
    np.testing.assert_array_equal(found[0].t.values, expected.values)


def test_targets_outside_are_refused_in_two_dimensions(esmf):
    plane = curvilinear(record())
    south = curvilinear(record(LAT - 20, LON))
    for source, target in ((plane, south), (record(), south), (plane, record(LAT - 20, LON))):
        with pytest.raises(GridError, match="reaches outside the source grid"):
            regrid(source, target, "nearest", engine="xesmf")
    assert not esmf
    held = regrid(plane, south, "bilinear", engine="xesmf", extrapolate="nearest")
    assert np.isfinite(held).all()
    np.testing.assert_array_equal(held[0, 0], record()[0, 0])


def test_curvilinear_sources_have_a_margin(esmf):
    plane = curvilinear(record())
    point = xr.DataArray(np.zeros((1, 1)), coords={"lat": [LAT[0] - 0.7], "lon": [LON[3]]})
    found = regrid(plane, point, "bilinear", engine="xesmf")
    assert np.isfinite(found).all()
    assert esmf[0].source.sizes == {"y": LAT.size + 2, "x": LON.size + 2}
    far = point.assign_coords(lat=[LAT[0] - 0.9])
    with pytest.raises(GridError, match="half-cell margin"):
        regrid(plane, far, "bilinear", engine="xesmf")


def test_a_curvilinear_globe_has_no_gap(esmf):
    globe = curvilinear(record(np.arange(-80.0, 81, 10), np.arange(0.0, 360, 10)))
    target = xr.DataArray(np.zeros((1, 1)), coords={"lat": [3.0], "lon": [355.0]})
    regrid(globe, target, "bilinear", engine="xesmf")
    lon = esmf[0].source.lon.values[5]
    np.testing.assert_allclose(lon[[0, -1]] % 360, [350, 0], atol=1e-9)


def test_infinities_and_gaps_do_not_spread(esmf):
    da = record()
    da[0, 2, 3] = np.inf
    found = regrid(da, fine(), "bilinear", engine="xesmf")
    np.testing.assert_allclose(found, regrid(da, fine(), "bilinear"), rtol=2e-6)
    assert 0 < int(np.isnan(found[0]).sum()) < 30
    with pytest.warns(XDownscaleWarning, match="ESMF has no bicubic interpolation: its 'patch'"):
        patch = regrid(da, fine(), engine="xesmf")
    assert [made.method for made in esmf] == ["bilinear", "patch", "bilinear"]
    assert float(patch.max()) <= float(da.where(np.isfinite(da)).max()) + 1e-4


def test_conservative_between_curvilinear_grids_has_corners(esmf):
    plane = curvilinear(record())
    regrid(plane, plane, "conservative", engine="xesmf")
    assert esmf[0].source.lat_b.shape == (LAT.size + 1, LON.size + 1)
    np.testing.assert_allclose(esmf[0].target.lat_b[1, 1], (LAT[0] + LAT[1]) / 2, atol=0.02)


def test_refusals(esmf):
    with pytest.raises(OptionError, match="cannot extrapolate a conservative mean"):
        regrid(record(), fine(), "conservative", engine="xesmf", extrapolate="nearest")
    with pytest.raises(GridError, match=r"in the source grid here; it has 1 and 9"):
        regrid(record()[:, :1], fine(), "bilinear", engine="xesmf", extrapolate="nearest")
    with pytest.raises(GridError, match=r"in the source grid here; it has 1 and 9"):
        regrid(curvilinear(record())[:, :1], fine(), "bilinear", engine="xesmf")
    with pytest.raises(GridError, match=r"in the target grid here; it has 1 and 28"):
        regrid(record(), fine()[:1], "conservative", engine="xesmf")
    bad = curvilinear(record())
    with pytest.raises(GridError, match="'lat' beyond the poles"):
        regrid(bad.assign_coords(lat=bad.lat.where(bad.lat > 36, 1e20)), fine(), engine="xesmf")
    twice = bad.isel(y=[0, 2, 1, 3, 4, 5, 6])
    with pytest.raises(GridError, match="folded over their neighbours"):
        regrid(twice, fine(), "bilinear", engine="xesmf")
    gaps = record().to_dataset(name="t")
    gaps["edges"] = (("lat", "v"), np.stack([LAT - 0.2, LAT + 0.2], axis=1))
    gaps = gaps.assign_coords(lat=gaps.lat.assign_attrs(bounds="edges"))
    with pytest.raises(GridError, match="bounds of the source grid leave gaps"):
        regrid(gaps, fine(), "conservative", engine="xesmf")
    assert not esmf


@needs_xesmf
@pytest.mark.parametrize("method", ["bilinear", "nearest", "conservative"])
def test_both_engines_agree(method):
    da = record()
    target = fine().assign_coords(latitude=fine().latitude + 0.03)  # no ties
    found = regrid(da, target, method, engine="xesmf")
    expected = regrid(da, target, method)
    spread = float(expected.std())
    np.testing.assert_allclose(found.values, expected.values, atol=2e-2 * spread)
