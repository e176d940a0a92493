"""`fit` and `predict` on projected and curvilinear grids."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xdownscale as xd
from projected import lambert_positions, on_plane, regular
from records import make_pair, tiny_config
from xdownscale.core.cells import cells_of
from xdownscale.core.errors import GridError, ModelMismatchError
from xdownscale.core.projection import find_projection
from xdownscale.prediction import predict as predicting
from xdownscale.prediction.constraints import cells_on

KINDS = ("lambert", "rotated", "curvilinear")
MAPPINGS = {"lambert": "crs", "rotated": "pole"}
DAYS = slice(40, 42)
pytestmark = pytest.mark.filterwarnings("ignore::xdownscale.core.errors.XDownscaleWarning")


def pair(kind, days=60, **options):
    return tuple(on_plane(ds, kind) for ds in make_pair(days, **options))


def fit(records, name="dressed", **options):
    options = {"preset": tiny_config(name), "pairing": "paired", "progress": False} | options
    return xd.fit(*records, **options)


@pytest.fixture(scope="module")
def fitted():
    models = {}

    def of(kind):
        if kind not in models:
            models[kind] = fit(pair(kind))
        return models[kind]

    return of


def assert_located_like(fields, fine, kind):
    """Assert that fields lie where the fine record lies, and say so."""
    for name in fine.t.dims:
        if name != "time" and name in fine.coords:
            np.testing.assert_array_equal(fields[name], fine[name])
    assert xd.grids.same_grid(fields, fine)
    if kind in MAPPINGS:
        assert fields.attrs["grid_mapping"] == MAPPINGS[kind]
        one, other = find_projection(fields), find_projection(fine)
        assert one.crs == other.crs
        assert fields[MAPPINGS[kind]].attrs["grid_mapping_name"]


@pytest.mark.parametrize("name", xd.methods.available().index)
def test_every_method_on_a_lambert_grid(name):
    records = pair("lambert")
    model = fit(records, name)
    fields = model.predict(records[0], time=records[0].time[DAYS], seed=2)
    assert np.isfinite(fields).all()
    assert_located_like(fields, records[1], "lambert")


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_network_on_grids_of_all_kinds(kind):
    records = pair(kind)
    fields = fit(records, "unet").predict(records[0], time=records[0].time[DAYS])
    assert_located_like(fields, records[1], kind)
    up = xd.regrid(records[0], records[1], "bilinear").t.isel(time=DAYS)
    assert np.corrcoef(fields.values.ravel(), up.values.ravel())[0, 1] > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_pixels_give_the_same_fields_as_on_any_plane(kind, fitted):
    """Nested cells of a plane: the spline sees the same numbers in each coordinate."""
    coarse = pair(kind)[0]
    fields = fitted(kind).predict(coarse, time=coarse.time[DAYS], seed=1)
    plane = pair("lambert")[0]
    other = fitted("lambert").predict(plane, time=plane.time[DAYS], seed=1)
    # indices of a curvilinear grid bend a little against the plane's coordinates
    tolerance = 0.02 if kind == "curvilinear" else 1e-5
    np.testing.assert_allclose(fields.values, other.values, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_columns_of_the_record_may_be_reversed(kind, fitted):
    coarse, _ = pair(kind)
    options = {"time": coarse.time[DAYS], "seed": 1}
    expected = fitted(kind).predict(coarse, **options)
    y, x = coarse.t.dims[-2:]
    turned = coarse.isel({y: slice(None, None, -1), x: slice(None, None, -1)})
    xr.testing.assert_identical(fitted(kind).predict(turned, **options), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_gives_the_same_fields(kind, fitted, tmp_path):
    coarse, fine = pair(kind)
    options = {"time": coarse.time[DAYS], "seed": 1}
    expected = fitted(kind).predict(coarse, **options)
    fitted(kind).save(tmp_path / "model.xd")
    found = xd.load(tmp_path / "model.xd").predict(coarse, **options)
    xr.testing.assert_identical(found, expected)
    assert_located_like(found, fine, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_holds_the_same_fields_where_they_are(kind, fitted, tmp_path):
    coarse, fine = pair(kind)
    expected = fitted(kind).predict(coarse, time=coarse.time[DAYS], seed=1)
    options = {"time": coarse.time[DAYS], "seed": 1, "progress": False}
    found = xd.predict_to_zarr(fitted(kind), coarse, tmp_path / "maps", **options)
    np.testing.assert_array_equal(found.t.values, expected.values)
    assert cells_of(found).kind == cells_of(fine).kind
    assert xd.grids.same_grid(found, fine)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_holds_the_fields_where_they_are(kind, fitted, tmp_path):
    coarse, fine = pair(kind)
    fields = fitted(kind).predict(coarse, time=coarse.time[DAYS])
    fields.to_netcdf(tmp_path / "maps.nc")
    with xr.open_dataset(tmp_path / "maps.nc") as found:
        assert cells_of(found).kind == cells_of(fine).kind
        assert xd.grids.same_grid(found, fine)


def test_a_projection_told_by_an_attribute_becomes_a_grid_mapping():
    wkt = find_projection(pair("lambert")[1]).crs.to_wkt()
    records = [ds.drop_vars("crs").assign_attrs(crs_wkt=wkt) for ds in pair("lambert")]
    for ds in records:
        ds.t.attrs.pop("grid_mapping")
    fields = fit(records).predict(records[0], time=records[0].time[DAYS])
    assert fields.attrs["grid_mapping"] == "spatial_ref"
    assert fields.spatial_ref.attrs["grid_mapping_name"] == "lambert_conformal_conic"
    assert xd.grids.same_grid(fields, records[1])


def test_positions_among_the_variables_are_coordinates():
    records = [
        ds.assign(
            lat=ds.lat.assign_attrs(standard_name="latitude"),
            lon=ds.lon.assign_attrs(standard_name="longitude"),
        ).reset_coords(["lat", "lon"])
        for ds in pair("curvilinear")
    ]
    fields = fit(records).predict(records[0], time=records[0].time[DAYS])
    assert xd.grids.same_grid(fields, records[1].set_coords(["lat", "lon"]))


# grids of two kinds


def degrees_around(fine, step=0.4):
    """Return a coarse grid in degrees that covers a projected one."""
    latitude, longitude = cells_of(fine).positions
    return regular(
        np.arange(latitude.min() - step, latitude.max() + 2 * step, step),
        np.arange(longitude.min() - step, longitude.max() + 2 * step, step),
    )


@pytest.fixture(scope="module")
def mixed():
    """Return a coarse record in degrees and a fine one on a Lambert grid, of the same weather."""
    coarse, fine = pair("lambert", days=200)
    grid = degrees_around(fine)
    own = xd.regrid(coarse, grid, "bilinear", extrapolate="nearest")
    return own, fine


def test_degrees_to_lambert(mixed):
    coarse, fine = mixed
    fields = fit(mixed).predict(coarse, time=coarse.time[DAYS], seed=1)
    assert_located_like(fields, fine, "lambert")
    truth = (
        fine.t.sel(time=fields.time[20:])
        if fields.time.size > 20
        else fine.t.isel(time=slice(20, 22))
    )
    assert np.corrcoef(fields.values.ravel(), truth.values.ravel())[0, 1] > 0.6


@pytest.mark.parametrize("kind", ["additive", "multiplicative", "softmax"])
def test_a_constraint_keeps_the_means_over_the_areas_that_cells_share(mixed, kind):
    coarse, fine = (ds.assign(t=np.exp(0.2 * ds.t).assign_attrs(ds.t.attrs)) for ds in mixed)
    preset = tiny_config("dressed").replace(sampling={"constraint": kind})
    model = fit((coarse, fine), preset=preset)
    fields = model.predict(coarse, time=coarse.time[DAYS], seed=1).isel(realization=0)
    averaged = xd.regrid(fields, coarse, "conservative", extrapolate="nearest")
    share = covered_share(fine, coarse)
    inner = (share > 0.5).values
    assert inner.sum() > 20
    wanted = coarse.t.sel(time=fields.time)
    np.testing.assert_allclose(averaged.values[:, inner], wanted.values[:, inner], rtol=2e-5)


def covered_share(fine, coarse):
    """Return which share of each coarse cell the fine grid covers, by sampling it."""
    grid = coarse.isel(time=0, drop=True).t
    lat, lon = grid.lat.values, grid.lon.values
    around = (np.arange(20) - 9.5) / 20
    points = [(axis[:, None] + around * (axis[1] - axis[0])).ravel() for axis in (lat, lon)]
    beyond = xd.grids.uncovered(fine, regular(*points)).values
    blocks = (~beyond).reshape(lat.size, 20, lon.size, 20).mean((1, 3))
    return grid.copy(data=blocks)


def test_records_of_other_days_are_paired_with_averages_of_the_fine_one(mixed):
    coarse, fine = mixed
    model = fit(mixed, pairing="self")
    fields = model.predict(coarse, time=coarse.time[DAYS])
    assert np.isfinite(fields).all()
    assert_located_like(fields, fine, "lambert")


def test_own_averages_on_one_projection():
    coarse, fine = pair("lambert", days=200)
    wide = coarse.pad(y=1, x=1, mode="edge")
    wide = wide.assign_coords(
        {
            n: (n, np.arange(wide.sizes[n]) * 48e3 + coarse[n].values[0] - 48e3, coarse[n].attrs)
            for n in ("y", "x")
        }
    )
    fields = fit((wide, fine), pairing="self").predict(wide, time=wide.time[DAYS])
    assert_located_like(fields, fine, "lambert")


# what is refused


def test_cells_outside_the_coarse_grid_are_named():
    coarse, fine = pair("lambert")
    with pytest.raises(GridError, match="80 of 400 fine cells lie outside the coarse grid"):
        fit((coarse.isel(x=slice(0, -1)), fine.isel(y=slice(0, 20))), preset=strict())


def strict():
    return tiny_config("dressed").replace(data={"extrapolate": None})


def test_the_line_that_crops_is_given():
    coarse, fine = pair("lambert")
    found = xd.inspect(coarse.isel(x=slice(0, -1)), fine, preset=strict()).faults
    code = found.loc[found.check == "grids", "code"].item()
    assert code == "fine = fine.isel(y=slice(0, 24), x=slice(0, 16))"


def test_swapped_records_are_named():
    coarse, fine = pair("rotated")
    with pytest.raises(GridError, match="Give the coarse record first"):
        fit((fine, coarse))


def test_another_grid_at_prediction_is_named(fitted):
    coarse, _ = pair("lambert")
    moved = coarse.assign_coords(y=coarse.y + 5e3)
    with pytest.raises(ModelMismatchError, match="values of y from"):
        fitted("lambert").predict(moved)


def test_a_lost_grid_mapping_is_named():
    coarse, fine = pair("lambert")
    with pytest.raises(GridError, match=r"names the grid mapping 'crs'.*give the Dataset"):
        fit((coarse.t, fine.t))


def test_inspect_tells_the_projection():
    facts = xd.inspect(*pair("lambert"), preset=tiny_config("dressed")).records
    assert facts.loc["grid", "fine"] == "24 x 20, Lambert Conic Conformal (1SP) (projected)"
    assert facts.loc["spacing", "coarse"] == "48 x 48 km"


def test_positions_of_the_fields_are_those_of_the_projection():
    coarse, fine = pair("lambert")
    fields = fit((coarse, fine)).predict(coarse, time=coarse.time[DAYS])
    lat, lon = lambert_positions(fine.y.values[:, None], fine.x.values[None, :])
    np.testing.assert_allclose(fields.lat, lat, atol=1e-7)
    np.testing.assert_allclose(fields.lon, lon, atol=1e-7)


# CF


@pytest.fixture(scope="module")
def both():
    """Return fields of two variables on each kind of grid."""
    found = {}
    for kind in KINDS:
        coarse, fine = pair(kind, names=("t", "u"))
        model = fit((coarse, fine))
        found[kind] = fine, model.predict(coarse, time=coarse.time[DAYS]).isel(realization=0)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_fields_pass_the_checker_and_keep_their_cells(kind, both, tmp_path, capsys):
    from compliance_checker.runner import CheckSuite, ComplianceChecker

    fine, fields = both[kind]
    CheckSuite.load_all_available_checkers()
    fields.to_netcdf(tmp_path / "maps.nc")
    # the checker would like coordinates, with an axis, for the indices of a curvilinear grid
    how = "lenient" if kind == "curvilinear" else "strict"
    passed, broken = ComplianceChecker.run_checker(str(tmp_path / "maps.nc"), ["cf:1.11"], 0, how)
    assert passed, capsys.readouterr().out
    assert not broken
    with xr.open_dataset(tmp_path / "maps.nc") as found:
        one, other = cells_of(found), cells_of(fine)
        assert (one.kind, one.names) == (other.kind, other.names)
        assert all(bounds is not None for bounds in one.bounds)
        np.testing.assert_allclose(one.areas(), other.areas(), rtol=1e-6)


def test_bounds_of_projected_coordinates_are_halfway(both):
    fields = both["lambert"][1]
    np.testing.assert_allclose(fields.y_bnds, fields.y.values[:, None] + [-6e3, 6e3])
    assert fields.y.attrs["standard_name"] == "projection_y_coordinate"
    assert fields.y.attrs["axis"] == "Y"
    assert "axis" not in fields.lat.attrs
    assert fields.t.attrs["grid_mapping"] == fields.u.attrs["grid_mapping"] == "crs"
    turned = both["rotated"][1]
    assert turned.rlon.attrs["standard_name"] == "grid_longitude"
    assert turned.rlon_bnds.shape == (20, 2)


def test_corners_of_curvilinear_cells_are_those_of_the_mesh(both):
    fields = both["curvilinear"][1]
    assert fields.lat_bnds.dims == ("j", "i", "vertices")
    rows, columns = 12e3 * (np.arange(24) - 11.5), 12e3 * (np.arange(20) - 11.5)
    corner = lambert_positions(rows[5] - 6e3, columns[7] - 6e3)
    near = np.hypot(fields.lat_bnds[5, 7] - corner[0], fields.lon_bnds[5, 7] - corner[1]).min()
    assert near < 1e-4  # of 0.1 degrees: between four centres lies the corner


def test_fields_predicted_chunk_by_chunk_lie_where_they_should(fitted):
    coarse, fine = pair("lambert")
    options = {"time": coarse.time[DAYS], "seed": 1}
    expected = fitted("lambert").predict(coarse, **options)
    lazy = fitted("lambert").predict(coarse.chunk(time=7), chunks={"time": 1}, **options)
    np.testing.assert_array_equal(lazy.values, expected.values)
    assert_located_like(lazy, fine, "lambert")


def test_a_record_that_lost_its_grid_mapping_takes_the_models(fitted):
    coarse, _ = pair("lambert")
    options = {"time": coarse.time[DAYS], "seed": 1}
    expected = fitted("lambert").predict(coarse, **options)
    xr.testing.assert_identical(fitted("lambert").predict(coarse.t, **options), expected)


def test_networks_see_spacing_and_orientation_and_closed_forms_do_not():
    records = pair("lambert")
    static = fit(records, "unet").models_["all"].static
    cells = cells_of(records[1])
    assert static.shape == (6, 24, 20)
    layers = [*cells.spacings, *cells.bearing]
    for seen, layer in zip(static[2:], layers, strict=True):
        assert np.corrcoef(seen.ravel(), layer.ravel())[0, 1] == pytest.approx(1)
    assert fit(records, "dressed").models_["all"].static.shape == (2, 24, 20)
    assert fit(make_pair(60), "unet").models_["all"].static.shape == (2, 24, 20)


@pytest.mark.parametrize("kind", KINDS)
def test_regions_are_boxes_in_degrees_and_blend_without_a_seam(kind):
    coarse, fine = pair(kind)
    lat, lon = cells_of(fine).positions
    middle = float(np.median(lon))
    boxes = {
        "west": (lon.min() - 1, middle, lat.min() - 1, lat.max() + 1),
        "east": (middle, lon.max() + 1, lat.min() - 1, lat.max() + 1),
    }
    model = fit((coarse, fine), "unet", regions=boxes)
    fields = model.predict(coarse, time=coarse.time[DAYS])
    assert np.isfinite(fields).all()
    assert_located_like(fields, fine, kind)


def test_shared_areas_are_found_once_for_all_pieces(mixed, monkeypatch, tmp_path):
    coarse, fine = mixed
    preset = tiny_config("dressed").replace(sampling={"constraint": "additive"})
    model = fit((coarse, fine), preset=preset)
    calls = []

    def counted(*grids):
        calls.append(1)
        return cells_on(*grids)

    monkeypatch.setattr(predicting, "cells_on", counted)
    for day in (40, 41, 42):
        model.predict(coarse, time=coarse.time[day : day + 1])
    assert len(calls) == 1
