"""Figures of a report: one colour for each record, values in their own units."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.colors import to_hex

from xdownscale import plot
from xdownscale.reports import _sections
from xdownscale.reports._evidence import judge
from xdownscale.reports._records import gather

mpl.use("agg")
ORDER = ("coarse", "fine", "prediction")


def records(make, transform):
    """Return records of which the coarse one has too few cells for a semivariogram."""
    noise = np.random.default_rng(0).normal(size=(30, 12, 16))
    time = pd.date_range("2000-01-01", periods=30)
    coords = {"time": time, "lat": np.arange(0.25, 6, 0.5), "lon": np.arange(0.25, 8, 0.5)}
    attrs = {"units": "mm day-1", "long_name": "rain"}
    fine = xr.DataArray(make(noise), coords, ("time", "lat", "lon"), name="pr", attrs=attrs)
    coarse = fine.coarsen(lat=4, lon=4).mean().assign_attrs(attrs)
    return gather(fine.isel(time=slice(20, 30)), coarse, fine.isel(time=slice(20)), transform)


@pytest.fixture(scope="module")
def drawn():
    found = records(np.exp, "log10")
    return found, {
        f.diagnostic.key: _sections._DRAW[f.diagnostic.key](
            f, _sections.new_axes(1, 1, (7.2, 4.2))[0], found
        )
        for f in judge(found, 20, 0)
    }


def test_each_record_has_one_colour_in_all_figures(drawn):
    _, axes = drawn
    assert set(axes) == {"semivariogram", "power_spectrum", "acf", "lag_curve", "distribution"}
    for ax in axes.values():
        handles, labels = ax.get_legend_handles_labels()
        lines = dict(zip(labels, handles, strict=True))
        for name, colour in zip(ORDER, plot.COLOURS, strict=False):
            line = lines.get(name) or lines[f"{name} (no result)"]
            assert to_hex(line.get_color()) == colour.lower()
    texts = [t.get_text() for t in axes["semivariogram"].get_legend().get_texts()]
    assert texts == ["coarse (no result)", "fine", "prediction", "95 % interval"]


def test_a_distribution_has_values_in_their_own_units(drawn):
    found, axes = drawn
    ax = axes["distribution"]
    assert ax.get_xlabel() == "rain [mm day$^{-1}$]"
    assert ax.get_xscale() == "log"
    line = next(line for line in ax.lines if line.get_label() == "prediction")
    values, share = line.get_data()
    truth = found.prediction.values.ravel()
    half = np.interp(0.5, share, values)
    assert half == pytest.approx(np.quantile(truth, 0.5), rel=0.02)


@pytest.mark.parametrize(
    ("make", "transform", "scale"),
    [
        (lambda noise: np.maximum(noise, 0) ** 2, "sqrt", "function"),
        (np.exp, "log1p", "function"),
        (lambda noise: noise, "identity", "linear"),
        (lambda noise: noise, "asinh", "function"),
    ],
)
def test_the_scale_of_a_distribution_is_that_of_its_transform(make, transform, scale):
    found = records(make, transform)
    finding = next(f for f in judge(found, 20, 0) if f.diagnostic.key == "distribution")
    ax = _sections._draw_distribution(finding, _sections.new_axes(1, 1, (7, 4))[0], found)
    ax.figure.canvas.draw()
    assert ax.get_xscale() == scale
    assert ax.get_xlabel() == "rain [mm day$^{-1}$]"
    x = finding.curves["prediction"].x
    np.testing.assert_allclose(ax.lines[-1].get_xdata(), found.space.untransform(x))
