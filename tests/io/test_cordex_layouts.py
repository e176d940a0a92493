"""The layouts of CORDEX-ML-Bench, written as its files are: 16 x 16 predictors, 128 x 128 targets.

Alps on a Lambert grid, a European rotated pole, and a regular grid as of New Zealand.
"""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xdownscale as xd
from projected import RADIUS
from records import tiny_config
from xdownscale.core.cells import cells_of

DAYS = 40
LAMBERT = {
    "grid_mapping_name": "lambert_conformal_conic",
    "standard_parallel": [49.5],
    "longitude_of_central_meridian": 10.5,
    "latitude_of_projection_origin": 49.5,
    "earth_radius": RADIUS,
}
ROTATED = {
    "grid_mapping_name": "rotated_latitude_longitude",
    "grid_north_pole_latitude": 39.25,
    "grid_north_pole_longitude": -162.0,
    "north_pole_grid_longitude": 0.0,
}
LAYOUTS = {  # mapping variable, its attributes, names, standard names, units, centre, fine step
    "ALPS": ("crs", LAMBERT, ("y", "x"), "projection_{}_coordinate", "m", (-4e5, -1e5), 12.5e3),
    "EUR": ("rotated_pole", ROTATED, ("rlat", "rlon"), None, "degrees", (-4.0, -6.0), 0.11),
    "NZ": (None, None, ("lat", "lon"), None, None, (-41.0, 172.0), 0.11),
}


def grid(domain: str, size: int) -> xr.Dataset:
    mapping, attrs, names, words, unit, middle, fine = LAYOUTS[domain]
    step = fine * 128 / size
    ds = xr.Dataset()
    for name, word, centre in zip(names, "yx", middle, strict=True):
        values = centre + step * (np.arange(size) - (size - 1) / 2)
        told = {"units": unit} if unit else {}
        if words:
            told["standard_name"] = words.format(word)
        elif unit:
            told["standard_name"] = f"grid_{'latitude' if word == 'y' else 'longitude'}"
        ds = ds.assign_coords({name: (name, values, told)})
    return ds if mapping is None else ds.assign({mapping: ((), 0, attrs)})


def weather(domain: str, size: int, days: int) -> np.ndarray:
    """Return waves that move, the same weather at any resolution, (days, size, size)."""
    place = (np.arange(size) + 0.5) / size
    day = np.arange(days)[:, None, None]
    field = np.zeros((days, size, size))
    for k, (a, b, c) in enumerate(np.random.default_rng(3).uniform(0, 6.28, (5, 3)), start=1):
        field += np.cos(3 * k * place[:, None] + a + 0.3 * day) * np.cos(
            3 * k * place + b + c * day
        )
    return field


def write(tmp_path, domain: str) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    """Write predictors, target and orography as files, and open them as a user would."""
    coarse, fine = grid(domain, 16), grid(domain, 128)
    time = xr.date_range("1961-01-01", periods=DAYS)
    dims = tuple(LAYOUTS[domain][2])
    named = {} if LAYOUTS[domain][0] is None else {"grid_mapping": LAYOUTS[domain][0]}
    rng = np.random.default_rng(0)
    seen = weather(domain, 16, DAYS)
    predictors = {
        f"{name}_{level}": (
            ("time", *dims),
            (seen * scale + 0.1 * rng.normal(size=seen.shape)).astype("f4"),
            {"units": unit, **named},
        )
        for name, scale, unit in (("t", 8.0, "K"), ("q", 0.002, "kg kg-1"))
        for level in (850, 500)
    }
    coarse.assign(predictors).assign_coords(time=time).to_netcdf(tmp_path / "predictors.nc")
    height = np.hypot(*np.meshgrid(*[np.linspace(-1, 1, 128)] * 2)).astype("f4")
    truth = 280 + 8 * weather(domain, 128, DAYS) - 6 * height
    target = {"tasmax": (("time", *dims), truth.astype("f4"), {"units": "K", **named})}
    fine.assign(target).assign_coords(time=time).to_netcdf(tmp_path / "target.nc")
    fine.assign(orog=(dims, 1000 * height, {"units": "m", **named})).to_netcdf(tmp_path / "orog.nc")
    files = ("predictors.nc", "target.nc", "orog.nc")
    return tuple(xr.open_dataset(tmp_path / name) for name in files)


@pytest.mark.filterwarnings("ignore::xdownscale.core.errors.XDownscaleWarning")
@pytest.mark.parametrize("domain", LAYOUTS)
def test_files_of_the_benchmark_are_fitted_predicted_and_submitted(domain, tmp_path):
    predictors, target, static = write(tmp_path, domain)
    model = xd.fit(
        predictors,
        target,
        static=static,
        drivers={"tasmax": None},
        preset=tiny_config("dressed"),
        pairing="paired",
        progress=False,
    )
    time = predictors.time[30:33]
    fields = model.predict(predictors, time=time, realizations=10, seed=0)
    truth = target.tasmax.sel(time=time)
    assert fields.shape == (10, 3, 128, 128)
    error = np.sqrt(np.mean((fields.mean("realization").values - truth.values) ** 2))
    assert error < 0.5 * truth.std().item()
    assert xd.grids.same_grid(fields, target)
    assert cells_of(fields).kind == cells_of(target).kind
    mapping = LAYOUTS[domain][0]
    assert mapping is None or fields.attrs["grid_mapping"] == mapping
    submitted = fields.to_dataset(name="tasmax").assign(
        pr=xr.zeros_like(fields).assign_attrs(units="mm day-1")
    )
    file = xd.cordex.write_submission(
        submitted,
        tmp_path / "mine",
        domain="ALPS" if domain == "EUR" else domain,
        experiment="ESD_pseudo_reality",
        period="historical",
        condition="perfect",
        gcm="CNRM-CM5",
        template=target[["tasmax"] if mapping is None else ["tasmax", mapping]],
    )
    with xr.open_dataset(file) as found:
        assert xd.grids.same_grid(found, target)
        np.testing.assert_allclose(
            found.tasmax.transpose("member", ...).values, fields.values, rtol=1e-6
        )
