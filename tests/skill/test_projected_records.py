"""Scores, tables and baselines of projected and curvilinear records."""

from __future__ import annotations

import numpy as np
import pytest

import xdownscale as xd
from projected import on_plane
from records import make_pair

KINDS = ("lambert", "rotated", "curvilinear")
pytestmark = pytest.mark.filterwarnings("ignore::xdownscale.core.errors.XDownscaleWarning")


def records(kind):
    """Return coarse record, training and test days; these have left their grid mapping behind."""
    coarse, fine = (on_plane(ds, kind) for ds in make_pair(120))
    mapping = [name for name in ("crs", "pole") if name in fine]
    train = fine.set_coords(mapping).t.isel(time=slice(0, 90))
    return coarse.set_coords(mapping).t, train, fine.t.isel(time=slice(90, 120))


def flat():
    coarse, fine = make_pair(120)
    return coarse.t, fine.t.isel(time=slice(0, 90)), fine.t.isel(time=slice(90, 120))


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_has_the_rows_of_the_same_pixels_in_degrees(kind):
    coarse, train, truth = records(kind)
    prediction = (truth + 0.1).assign_coords({n: c for n, c in train.coords.items() if not c.ndim})
    prediction.attrs = dict(truth.attrs)
    found = xd.skill.table({"m": prediction}, truth, coarse=coarse, train=train)
    one, two, three = flat()
    other = (three + 0.1).assign_attrs(three.attrs)
    wanted = xd.skill.table({"m": other}, three, coarse=one, train=two)
    assert list(found.index) == list(wanted.index)
    exact = [row for row in ("m", "climatology", "persistence") if row in found.index]
    assert len(exact) == 3
    for row in exact:
        np.testing.assert_allclose(
            found.loc[row].astype(float), wanted.loc[row].astype(float), rtol=1e-6, atol=1e-9
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["climatology", "persistence", "bias_corrected", "ridge"])
def test_baselines_are_those_of_the_same_pixels(kind, name):
    def of(coarse, train, truth):
        if name in ("climatology", "persistence"):
            return getattr(xd.baselines, name)(train, train.time[5:])
        return getattr(xd.baselines, name)(coarse, train, truth.time)

    found, wanted = of(*records(kind)), of(*flat())
    # a curvilinear grid bends the spline of its indices a little
    tolerance = 0.02 if kind == "curvilinear" else 1e-5
    np.testing.assert_allclose(found.values, wanted.values, atol=tolerance)
    assert xd.grids.same_grid(found, records(kind)[1])


@pytest.mark.parametrize("kind", KINDS)
def test_indices_of_a_projected_record(kind):
    train = records(kind)[1]
    found = xd.skill.indices(train, ["Mean"])
    np.testing.assert_allclose(found.Mean.values, train.mean("time").values - 273.15)
    assert found.Mean.attrs["units"] == "degC"


@pytest.mark.parametrize("kind", KINDS)
def test_a_coarse_dataset_keeps_its_grid_mapping_beside_its_variables(kind):
    coarse = on_plane(make_pair(120)[0], kind)
    assert kind == "curvilinear" or {"crs", "pole"} & set(coarse.data_vars)
    _, train, truth = records(kind)
    found = xd.baselines.ridge(coarse, train, truth.time)
    wanted = xd.baselines.ridge(records(kind)[0], train, truth.time)
    np.testing.assert_array_equal(found.values, wanted.values)
