"""Submissions to CORDEX-ML-Bench: the layout of its instructions, members, units, errors."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xdownscale as xd
from xdownscale.core.errors import DataError, GridError, OptionError, StorageError, TimeAxisError

WHERE = {
    "domain": "ALPS",
    "experiment": "Emulator_hist_future",
    "period": "end_century",
    "condition": "imperfect",
    "gcm": "MPI-ESM-LR",
}


def prediction(members: int | None = 10, days: int = 5) -> xr.Dataset:
    rng = np.random.default_rng(0)
    edges = {
        "time": xr.date_range("2080-12-30", periods=days),
        "lat": [45.0, 46.0],
        "lon": [5.0, 6.0, 7.0],
    }
    shape = (days, 2, 3)
    dims = ("time", "lat", "lon")
    if members is not None:
        edges["realization"] = np.arange(members)
        shape, dims = (members, *shape), ("realization", *dims)
    pr = xr.DataArray(rng.gamma(1, 3, shape), coords=edges, dims=dims, attrs={"units": "mm day-1"})
    tasmax = xr.DataArray(
        rng.normal(15, 8, shape), coords=edges, dims=dims, attrs={"units": "degC"}
    )
    return xr.Dataset({"pr": pr, "tasmax": tasmax})


def test_the_file_lies_where_the_instructions_say_and_holds_ten_members(tmp_path):
    ds = prediction()
    file = xd.cordex.write_submission(ds, tmp_path / "mine", **WHERE)
    place = "mine/ALPS_Domain/Emulator_hist_future/end_century/imperfect"
    assert file == tmp_path / place / "Predictions_pr_tasmax_MPI-ESM-LR_2080-2081.nc"
    assert [f.name for f in file.parent.iterdir()] == [file.name]
    with xr.open_dataset(file) as found:
        for name in ("pr", "tasmax"):
            assert found[name].dims == ("time", "member", "lat", "lon")
            assert found[name].sizes["member"] == 10
            assert found[name].dtype == np.float32
        np.testing.assert_allclose(found.pr.transpose("member", ...), ds.pr, rtol=1e-6)
        np.testing.assert_allclose(
            found.tasmax.transpose("member", ...), ds.tasmax + 273.15, rtol=1e-6
        )
        assert found.pr.attrs["units"] == "mm day-1"
        assert found.tasmax.attrs["units"] == "K"
        assert (found.time.values == ds.time.values).all()


def test_a_deterministic_model_has_no_member_and_lazy_ones_are_written_too(tmp_path):
    ds = prediction(None)
    flux = (ds.pr / 86400).assign_attrs(units="kg m-2 s-1")
    file = xd.cordex.write_submission(
        ds.assign(pr=flux).chunk(time=2).rename(time="valid_time"),
        tmp_path,
        **WHERE,
        years="2080-2099",
    )
    assert file.name.endswith("_2080-2099.nc")
    with xr.open_dataset(file) as found:
        assert found.pr.dims == ("time", "lat", "lon")
        np.testing.assert_allclose(found.pr, ds.pr, rtol=1e-6)


def test_a_file_is_not_replaced_unless_asked(tmp_path):
    xd.cordex.write_submission(prediction(None), tmp_path, **WHERE)
    with pytest.raises(StorageError, match="overwrite=True"):
        xd.cordex.write_submission(prediction(None), tmp_path, **WHERE)
    file = xd.cordex.write_submission(prediction(), tmp_path, **WHERE, overwrite=True)
    with xr.open_dataset(file) as found:
        assert found.sizes["member"] == 10


def test_a_template_gives_coordinates_and_attributes(tmp_path):
    lat, lon = np.meshgrid([45.0, 46.0], [5.0, 6.0, 7.0], indexing="ij")
    model = xr.Dataset(
        {"pr": (("time", "y", "x"), np.zeros((1, 2, 3)), {"units": "mm", "cell": "x"})},
        coords={
            "lat": (("y", "x"), lat),
            "lon": (("y", "x"), lon),
            "y": [0.0, 1],
            "x": [0.0, 1, 2],
        },
    )
    curved = prediction().drop_vars(["lat", "lon"]).rename(lat="y", lon="x")
    curved = curved.assign_coords(lat=(("y", "x"), lat), lon=(("y", "x"), lon))
    file = xd.cordex.write_submission(curved, tmp_path, **WHERE, template=model)
    with xr.open_dataset(file) as found:
        assert found.pr.dims == ("time", "member", "y", "x")
        assert found.pr.attrs["cell"] == "x"
        np.testing.assert_array_equal(found.lat, lat)
    moved = curved.assign_coords(lat=curved.lat + 1)
    with pytest.raises(GridError, match="not those of the template"):
        xd.cordex.write_submission(moved, tmp_path / "b", **WHERE, template=model)
    with pytest.raises(GridError, match="grid of the domain"):
        xd.cordex.write_submission(curved.isel(x=slice(2)), tmp_path / "b", **WHERE, template=model)


def test_what_the_benchmark_would_refuse_is_an_error_and_leaves_no_file(tmp_path):
    ds = prediction()
    cases = [
        (ds.pr, {}, DataError, "give a Dataset"),
        (ds[["pr"]], {}, DataError, r"lacks \['tasmax'\]"),
        (prediction(4), {}, DataError, r"4 realizations.*10"),
        (ds.assign(pr=ds.pr.drop_attrs()), {}, DataError, "no units"),
        (ds.assign(tasmax=ds.tasmax.assign_attrs(units="mm")), {}, DataError, "convertible to K"),
        (ds.assign(pr=ds.pr.where(ds.pr > 0.1)), {}, DataError, "Values are missing"),
        (ds.assign(tasmax=ds.tasmax.isel(realization=0)), {}, GridError, "one grid"),
        (ds.expand_dims(level=2), {}, DataError, "further dimensions"),
        (ds.isel(time=0), {}, TimeAxisError, "time"),
        (ds, {"domain": "EUR"}, OptionError, "ALPS"),
        (ds, {"experiment": "mine"}, OptionError, "ESD_pseudo_reality"),
        (ds, {"period": "future"}, OptionError, "end_century"),
        (ds, {"condition": "good"}, OptionError, "imperfect"),
        (ds, {"gcm": "../x"}, OptionError, "letters"),
    ]
    for given, change, kind, text in cases:
        with pytest.raises(kind, match=text):
            xd.cordex.write_submission(given, tmp_path / "none", **(WHERE | change))
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be made"):
        xd.cordex.write_submission(prediction(), tmp_path / "file", **WHERE)
