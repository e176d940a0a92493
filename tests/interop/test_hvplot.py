"""Interactive plots of predictions with hvplot, without a browser."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import xdownscale as xd
from records import make_pair

pytest.importorskip("hvplot", reason="pip install hvplot")
holoviews = pytest.importorskip("holoviews")


@pytest.fixture(scope="module")
def hvplot():
    import hvplot.xarray  # registers the accessor

    return hvplot


@pytest.fixture(scope="module")
def coarse_and_model():
    coarse, fine = make_pair(days=40)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
        return coarse.isel(time=slice(5)), xd.fit(coarse, fine, preset="dressed", progress=False)


def _maps(coarse_and_model, **options):
    coarse, model = coarse_and_model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
        return xd.predict(coarse, model, realizations=3, **options)


@pytest.mark.parametrize("options", [{}, {"chunks": 2}], ids=["in memory", "lazy"])
def test_a_slider_for_realizations_and_one_for_times(hvplot, coarse_and_model, options):
    maps = _maps(coarse_and_model, **options)
    drawn = maps.hvplot.quadmesh(x="lon", y="lat", dynamic=False)
    assert isinstance(drawn, holoviews.HoloMap)
    assert [each.name for each in drawn.kdims] == ["realization", "time"]
    assert len(drawn) == maps.sizes["realization"] * maps.sizes["time"]
    for number in (0, 2):
        day = maps.time.values[1]
        mesh = drawn[number, day]
        assert isinstance(mesh, holoviews.QuadMesh)
        assert [each.name for each in mesh.kdims] == ["lon", "lat"]
        assert [each.name for each in mesh.vdims] == [maps.name]
        values = mesh.dimension_values(maps.name, flat=False)
        np.testing.assert_array_equal(values, maps.sel(realization=number, time=day))
        np.testing.assert_array_equal(mesh.dimension_values("lat", expanded=False), maps.lat)


def test_the_sliders_are_widgets(hvplot, coarse_and_model):
    maps = _maps(coarse_and_model)
    page = maps.hvplot.quadmesh(x="lon", y="lat", groupby=["realization", "time"])
    assert isinstance(page, holoviews.DynamicMap)
    assert [each.name for each in page.kdims] == ["realization", "time"]
    first = page[1, maps.time.values[0]]
    np.testing.assert_array_equal(
        first.dimension_values(maps.name, flat=False), maps.sel(realization=1)[0]
    )
    panel = pytest.importorskip("panel")
    widgets, _ = panel.pane.HoloViews.widgets_from_dimensions(page)
    # panel numbers the names of widgets that it made before
    found = {each.name.split(" (")[0]: len(each.options) for each in widgets}
    assert found == {"realization": 3, "time": 4}


def test_scores_by_time_step_are_lines(hvplot, coarse_and_model):
    maps = _maps(coarse_and_model)
    scores = xd.skill.rmse(maps, maps.sel(realization=0, drop=True))
    drawn = scores.hvplot.line(x="time", by="realization")
    assert isinstance(drawn, holoviews.NdOverlay)
    np.testing.assert_array_equal(drawn.last.dimension_values("rmse"), scores[-1])
