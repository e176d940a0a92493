"""One style for all figures; colours that colour-blind readers tell apart."""

from __future__ import annotations

from itertools import combinations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgb

from xdownscale import plot
from xdownscale.plot._colours import DIVERGING, SEQUENTIAL, colour_scale

# Machado et al. (2009), severity 1; of linear RGB
BLIND = {
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}
XYZ = [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
]
WHITE = np.array([0.95047, 1.0, 1.08883])


def lab(colours, sight=None):
    """CIELAB (D65) of sRGB colours, as someone sees them."""
    rgb = np.array(colours, float)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    if sight is not None:
        linear = np.clip(linear @ np.array(BLIND[sight]).T, 0, 1)
    t = linear @ np.array(XYZ).T / WHITE
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def test_lab_is_that_of_the_standard():
    assert lab([[1, 1, 1], [1, 0, 0]]) == pytest.approx(
        np.array([[100, 0, 0], [53.24, 80.09, 67.20]]), abs=0.02
    )


@pytest.mark.parametrize("sight", [None, *BLIND])
def test_colours_of_curves_stay_apart(sight):
    shown = lab([to_rgb(c) for c in plot.COLOURS], sight)
    apart = [np.linalg.norm(a - b) for a, b in combinations(shown, 2)]
    assert min(apart) > 12  # just noticeable: 2.3
    white = lab([[1, 1, 1]], sight)
    assert np.linalg.norm(shown - white, axis=1).min() > 25


def test_red_and_green_would_not_pass():
    shown = lab([to_rgb("#d62728"), to_rgb("#8c6d00")], "deuteranopia")
    assert np.linalg.norm(shown[0] - shown[1]) < 12


@pytest.mark.parametrize("sight", [None, *BLIND])
def test_steps_of_the_map_of_positive_values_are_even(sight):
    shown = lab(mpl.colormaps[SEQUENTIAL](np.linspace(0, 1, 65))[:, :3], sight)
    assert (np.diff(shown[:, 0]) > 0).all()
    steps = np.linalg.norm(np.diff(shown, axis=0), axis=1)
    assert steps.max() / steps.mean() < 2
    assert steps.min() / steps.mean() > 0.5


@pytest.mark.parametrize("sight", [None, *BLIND])
def test_rain_darkens_and_signs_stay_apart(sight):
    rain = np.where(np.arange(1000) < 600, 0.0, np.linspace(0, 1, 1000) ** 6)
    blues = colour_scale([rain], "auto")[1]
    lightness = lab(blues(np.linspace(0, 1, 33))[:, :3], sight)[:, 0]
    assert (np.diff(lightness) < 0).all()
    both = lab(mpl.colormaps[DIVERGING](np.linspace(0, 1, 65))[:, :3], sight)
    assert (np.diff(both[:33, 0]) > -0.5).all()
    assert (np.diff(both[32:, 0]) < 0.5).all()
    for share in (0.1, 0.25):
        low, high = both[int(64 * share)], both[int(64 * (1 - share))]
        assert np.linalg.norm(low - high) > 20


def test_the_cycle_is_that_of_the_functions():
    with plot.style():
        cycle = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    assert tuple(f"#{c.lstrip('#')}" for c in cycle) == plot.COLOURS


def test_new_figures_have_the_style_and_given_axes_keep_theirs():
    field = xr.DataArray(
        np.random.default_rng(0).normal(size=(12, 12)),
        dims=("lat", "lon"),
        coords={"lat": np.arange(12.0), "lon": np.arange(12.0)},
    )
    before = dict(mpl.rcParams)
    ours = plot.semivariogram(field)
    assert ours.xaxis.label.get_size() == 9
    assert dict(mpl.rcParams) == before
    with mpl.rc_context({"axes.labelsize": 15}):
        own = plt.figure().add_subplot()
        plot.semivariogram(field, own)
    assert own.xaxis.label.get_size() == 15
    plt.close("all")


def test_texts_stay_texts(tmp_path):
    with plot.style():
        figure = plt.figure()
        figure.text(0.5, 0.5, "a word of text")
        figure.savefig(tmp_path / "a.svg")
        figure.savefig(tmp_path / "a.pdf")
    plt.close(figure)
    assert "a word of text" in (tmp_path / "a.svg").read_text()
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert b"/Type42" in pdf or b"/TrueType" in pdf or b"/CIDFontType2" in pdf
    assert b"/Type3" not in pdf
