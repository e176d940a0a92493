"""Models on other domains of the same family of grids."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xdownscale as xd
from projected import on_plane
from records import make_blocks, make_pair, tiny_config
from xdownscale.core.errors import DataError, GridError, OptionError

DAYS = slice(40, 42)
FREE = (
    "unet",
    "crps",
    "residual",
    "diffusion",
    "asdm",
    "patch_unet",
    "vae",
    "vdm",
    "latent_diffusion",
)
BOUND = ("dressed", "gaussian", "analogues", "kriging", "dressed_unet", "selected")
pytestmark = pytest.mark.filterwarnings("ignore::xdownscale.core.errors.XDownscaleWarning")


def fit(records, name="unet", **options):
    options = {"preset": tiny_config(name), "pairing": "paired", "progress": False} | options
    return xd.fit(*records, **options)


@pytest.fixture(scope="module")
def blocks():
    """Return a coarse and a fine record of 16 x 16 and 64 x 64 cells, and a model of them."""
    coarse, fine = (da.to_dataset(name="t") for da in make_blocks(60, 16, slice(0, 60)))
    return coarse, fine, fit((coarse, fine))


def predicted(model, coarse, **options):
    options = {"time": coarse.time[DAYS], "seed": 2} | options
    return model.predict(coarse, **options)


@pytest.mark.parametrize("name", FREE)
def test_the_own_domain_gives_the_own_fields(name):
    coarse, fine = make_pair(60)
    model = fit((coarse, fine), name)
    options = {} if "parallel" in model_modes(model) else {"mode": "autoregressive"}
    same = model.on_grid(coarse, fine)
    # lags of the fine record are not known elsewhere: both start without
    lonely = {"history": fine.t.isel(time=slice(0, 5)) * np.nan} if options else {}
    expected = predicted(model, coarse, **options, **lonely)
    found = predicted(same, coarse, **options)
    np.testing.assert_array_equal(found.values, expected.values)


def model_modes(model):
    return xd.methods.find(model.config_.method).modes(model.config_)


def test_a_part_of_the_domain_gives_the_fields_of_the_part(blocks):
    coarse, fine, model = blocks
    part = coarse.isel(lat=slice(4, 16), lon=slice(0, 12))
    inside = fine.isel(lat=slice(16, 64), lon=slice(0, 48))
    found = predicted(model.on_grid(part, inside), part)
    whole = predicted(model, coarse).sel(lat=inside.lat, lon=inside.lon)
    assert found.shape[-2:] == (48, 48)
    # what lies behind the new border is not seen any more: away from it nothing changes
    apart = np.abs(found - whole).max(["realization", "time"]).values
    assert apart[24:, :24].max() < 0.01 * apart.max()
    assert found.lat.identical(inside.lat.rename(found.lat.name)) or np.array_equal(
        found.lat, inside.lat
    )


def test_a_larger_domain_is_predicted_beyond_the_fitted_one(blocks):
    coarse, fine, _ = blocks
    part = (coarse.isel(lat=slice(0, 8)), fine.isel(lat=slice(0, 32)))
    model = fit(part)
    fields = predicted(model.on_grid(coarse, fine), coarse)
    assert fields.shape[-2:] == (64, 64)
    assert np.isfinite(fields).all()
    truth = fine.t.isel(time=DAYS)
    beyond = [
        np.corrcoef(fields[0, 0, 32:].values.ravel(), truth[k, 32:].values.ravel())[0, 1]
        for k in (0, 1)
    ]
    assert beyond[0] > 0.5 > abs(beyond[1])  # of the right day


@pytest.mark.parametrize("kind", ["lambert", "rotated", "curvilinear"])
def test_projected_grids_too(kind):
    coarse, fine = (on_plane(ds, kind) for ds in make_pair(60))
    y = fine.t.dims[-2]
    model = fit((coarse.isel({y: slice(0, 4)}), fine.isel({y: slice(0, 16)})))
    fields = predicted(model.on_grid(coarse, fine), coarse)
    assert xd.grids.same_grid(fields, fine)
    assert np.isfinite(fields).all()


def test_it_is_saved_stored_and_predicted_in_chunks(blocks, tmp_path):
    coarse, fine, model = blocks
    part, inside = coarse.isel(lat=slice(4, 16)), fine.isel(lat=slice(16, 64))
    moved = model.on_grid(part, inside)
    expected = predicted(moved, part)
    moved.save(tmp_path / "moved.xd")
    loaded = xd.load(tmp_path / "moved.xd")
    np.testing.assert_array_equal(predicted(loaded, part).values, expected.values)
    lazy = predicted(moved, part.chunk(time=5), chunks={"time": 1})
    np.testing.assert_array_equal(lazy.values, expected.values)
    options = {"time": part.time[DAYS], "seed": 2, "progress": False}
    stored = xd.predict_to_zarr(moved, part, tmp_path / "maps", **options)
    np.testing.assert_array_equal(stored.t.values, expected.values)


def test_static_fields_are_scaled_as_in_the_fit(blocks):
    coarse, fine, _ = blocks
    height = xr.DataArray(
        np.linspace(0, 3000, 64)[:, None] * np.ones(64),
        coords={"lat": fine.lat, "lon": fine.lon},
        name="height",
    )
    part = (coarse.isel(lat=slice(0, 8)), fine.isel(lat=slice(0, 32)))
    model = fit(part, static=height)
    moved = model.on_grid(coarse, fine, static=height)
    layer = moved.models_["all"].static[2]
    np.testing.assert_allclose(layer[:32], model.models_["all"].static[2], atol=1e-5)
    assert (layer[32:] == 1).all()  # held at the end of the range
    with pytest.raises(DataError, match="was fitted with 5 static channels, and static= gives 2"):
        model.on_grid(coarse, fine)
    with pytest.raises(DataError, match="Static channel 2 is not what the model was fitted with"):
        model.on_grid(coarse, fine, static=height**2)


@pytest.mark.parametrize("name", BOUND)
def test_methods_that_know_their_cells_are_refused(name):
    records = make_pair(60)
    model = fit(records, name)
    with pytest.raises(OptionError, match=f"method '{name}'.*cannot be applied elsewhere"):
        model.on_grid(*records)


def test_regions_and_own_averages_are_refused(blocks):
    coarse, fine, _ = blocks
    model = fit((coarse, fine), regions={"south": (0, 40, 0, 12)})
    with pytest.raises(OptionError, match="was fitted for regions"):
        model.on_grid(coarse, fine)
    with pytest.raises(OptionError, match="pairing='self'"):
        fit((coarse, fine), pairing="self").on_grid(coarse, fine)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c, f: (c.assign_coords(lat=c.lat + 0.3), f), "0.15 cells off the lattice"),
        (lambda c, f: (c, f.assign_coords(lat=f.lat * 1.1)), "A network knows one spacing"),
        (lambda c, f: (c.isel(lat=slice(0, 8)), f), "fine cells lie outside the coarse grid"),
        (lambda c, f: (on_plane(c, "lambert"), f), "coarse grid is projected and the model's is"),
    ],
    ids=["off", "wide", "bare", "projected"],
)
def test_grids_of_another_family_are_refused(blocks, change, said):
    coarse, fine, _ = blocks
    config = tiny_config("unet").replace(data={"extrapolate": None})
    model = fit((coarse, fine), preset=config)
    with pytest.raises(GridError, match=said):
        model.on_grid(*change(coarse, fine))


def test_another_projection_is_refused():
    records = tuple(on_plane(ds, "lambert") for ds in make_pair(60))
    model = fit(records)
    turned = records[1].assign(crs=records[1].crs.assign_attrs(longitude_of_central_meridian=-90.0))
    with pytest.raises(GridError, match="is in another projection than the model's"):
        model.on_grid(records[0], turned)


def test_a_curvilinear_grid_of_another_spacing_is_refused():
    coarse, fine = (on_plane(ds, "curvilinear") for ds in make_pair(60))
    model = fit((coarse, fine))
    with pytest.raises(GridError, match="A network knows one spacing"):
        model.on_grid(coarse, fine.isel(j=slice(None, None, 2)))
