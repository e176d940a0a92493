"""Synthetic records and tiny configurations, shared by the tests of all packages.

The folder `tests` is on the path of pytest (`pythonpath` in pyproject.toml), so a test in any
folder says ``from records import make_record``. A subprocess gets the folder as `TESTS`.

`make_record`
    one smooth field that drifts eastward, on a grid of any step
`make_pair`
    a coarse and a fine dataset of random weather with a memory of one step
`make_blocks`
    a coarse and a fine record without any memory, in one array each
`label`
    an array with the labels of a small record
`random_field`
    independent lognormal values on a small grid
`small_arrays`, `small_config`
    the arrays below the label line, and a configuration, for the patch networks
`field_arrays`
    the arrays of two variables that are noise of known size, for the field networks
`latent_config`
    the same for the methods with latent numbers
`TINY`, `fast_config`
    what makes the presets `paper` and `fast` train in a second
`tiny_config`
    a configuration of any method that trains in a second
`fitted`, `fitted_of`
    a small fitted model of either preset, and what a model holds
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import xdownscale as xd
from xdownscale.config import PRESETS

TESTS = Path(__file__).parent

# records


def make_record(
    step: float, days: int = 80, start: str = "2000-01-01", seed: int = 0, margin: float = 0.0
) -> xr.DataArray:
    """Return a smooth positive field that drifts eastward, on a grid of `step` degrees.

    The same seed gives the same weather on any grid.
    """
    lat = np.arange(10 - margin + step / 2, 18 + margin, step)
    lon = np.arange(40 - margin + step / 2, 50 + margin, step)
    waves = np.random.default_rng(seed).uniform(0, 2 * np.pi, (6, 3))
    day = np.arange(days)[:, None, None]
    y, x = np.meshgrid(np.deg2rad(lat), np.deg2rad(lon), indexing="ij")
    log = np.zeros((days, lat.size, lon.size))
    for k, (a, b, c) in enumerate(waves, start=1):
        log += np.cos(12 * k * y + a) * np.cos(12 * k * x - 0.35 * day + b + 0.05 * c * day) / k
    values = np.exp(log - 1.5).astype(np.float32)
    return xr.DataArray(
        values,
        dims=("time", "lat", "lon"),
        coords={
            "time": xr.date_range(start, periods=days, freq="D"),
            "lat": ("lat", lat, {"units": "degrees_north", "standard_name": "latitude"}),
            "lon": ("lon", lon, {"units": "degrees_east", "standard_name": "longitude"}),
        },
        name="dust",
        attrs={"units": "1", "long_name": "dust"},
    )


def make_pair(
    days: int = 80, seed: int = 0, names: tuple[str, ...] = ("t",), freq: str = "D"
) -> tuple[xr.Dataset, xr.Dataset]:
    """Return a coarse dataset and a fine one of `days` time steps, paired.

    The coarse values are an AR(1) process; the fine ones add white noise to them. The coarse
    dataset is 30 steps longer: 20 before the fine one and 10 after it.
    """
    rng = np.random.default_rng(seed)
    time = pd.date_range("2000-01-01", periods=days + 30, freq=freq)
    lat = np.arange(0.25, 12, 0.5)
    lon = np.arange(0.25, 10, 0.5)
    fine = {}
    for name in names:
        coarse = rng.normal(size=(time.size, 6, 5))
        for day in range(1, time.size):
            coarse[day] = 0.6 * coarse[day - 1] + 0.8 * coarse[day]
        values = coarse.repeat(4, 1).repeat(4, 2) + 0.3 * rng.normal(size=(time.size, 24, 20))
        fine[name] = xr.DataArray(
            values, {"time": time, "lat": lat, "lon": lon}, name=name, attrs={"units": "K"}
        )
    both = xr.Dataset(fine)
    coarse = both.coarsen(lat=4, lon=4).mean().assign_attrs()
    for name in names:
        coarse[name].attrs = both[name].attrs
    return coarse, both.isel(time=slice(20, 20 + days))


def make_blocks(days: int, cells: int, overlap: slice) -> tuple[xr.DataArray, xr.DataArray]:
    """Return a coarse record of white noise and the fine one of the days in `overlap`.

    Each coarse cell is the mean of 4 by 4 fine ones; days are independent of each other.
    """
    rng = np.random.default_rng(0)
    time = pd.date_range("2000-01-01", periods=days)
    coarse = rng.normal(size=(days, cells, cells))
    values = coarse.repeat(4, 1).repeat(4, 2)
    values = values + 0.5 * rng.normal(size=(days, 4 * cells, 4 * cells))
    lat = np.arange(0.25, 2 * cells, 0.5)
    fine = xr.DataArray(values, {"time": time, "lat": lat, "lon": lat}, name="t")
    return fine.coarsen(lat=4, lon=4).mean(), fine.isel(time=overlap)


def label(
    values: np.ndarray,
    lat: np.ndarray,
    lon: np.ndarray,
    *,
    time: Any = "2000-01-01",
    units: str | None = "1",
) -> xr.DataArray:
    """Return `values` ([realization,] time, lat, lon) as the labelled array ``dust``.

    `time` is the first day of a daily record, or an index.
    """
    if isinstance(time, str):
        time = xr.date_range(time, periods=values.shape[-3])
    coords = {"time": time, "lat": lat, "lon": lon}
    if values.ndim == 4:
        coords = {"realization": np.arange(values.shape[0]), **coords}
    attrs = {} if units is None else {"units": units}
    return xr.DataArray(values, coords=coords, dims=tuple(coords), name="dust", attrs=attrs)


def random_field(
    periods: int = 5,
    start: str = "2000-01-01",
    seed: int = 0,
    members: int | None = None,
    shape: tuple[int, int] = (4, 6),
    calendar: str = "standard",
) -> xr.DataArray:
    """Return independent lognormal values: ([realization,] time, lat, lon)."""
    lat = np.linspace(20, 10, shape[0])
    lon = np.linspace(0, 5, shape[1])
    size = (periods, *shape) if members is None else (members, periods, *shape)
    values = np.random.default_rng(seed).lognormal(size=size)
    time = xr.date_range(start, periods=periods, calendar=calendar, use_cftime=None)
    return label(values, lat, lon, time=time, units="kg m-2")


LAGS = 2


def small_arrays(ny: int = 12, nx: int = 16, days: int = 12) -> Any:
    """Return training data of the patch networks, small enough to train on in a second."""
    from xdownscale.models.training.data import TrainingData

    rng = np.random.default_rng(1)
    fine = rng.normal(size=(days, ny, nx))
    for axis in (1, 2):
        fine = fine + np.roll(fine, 1, axis)
    for day in range(1, days):
        fine[day] += 0.8 * fine[day - 1]
    fine = (fine / np.abs(fine).max()).astype(np.float32)
    coarse = fine.reshape(days, ny // 4, 4, nx // 4, 4).mean((2, 4))
    driver = coarse.repeat(4, axis=1).repeat(4, axis=2)
    rows = np.arange(days)
    targets = rows[LAGS:]
    before = rows[:, None] + np.arange(-LAGS, 0)
    before[before < 0] = -1
    stop = targets >= days - 3
    y, x = np.meshgrid(np.linspace(-1, 1, ny), np.linspace(-1, 1, nx), indexing="ij")
    return TrainingData(
        coarse=coarse[:, None],
        coarse_targets=targets,
        coarse_lags=before[targets],
        coarse_stopping=stop,
        driver=driver[:, None],
        own=(0,),
        fine=fine[:, None],
        windows=np.concatenate([rows[:, None], before], axis=1),
        lags=before,
        fine_lags=before,
        static=rng.normal(size=(2, ny, nx)).astype(np.float32),
        calendar=rng.normal(size=(days, 3)).astype(np.float32),
        place=np.stack([x, y], axis=-1).astype(np.float32),
        keys=86400 * rows,
        step=86400,
        train_targets=targets[~stop],
        stop_targets=targets[stop],
        tune_targets=targets[:0],
        mask=np.ones((1, ny, nx), bool),
    )


def field_arrays(
    days: int = 200,
    shape: tuple[int, int] = (32, 32),
    rho: float = 0.6,
    scales: tuple[float, ...] = (0.3, 2.0),
) -> Any:
    """Return training data whose fine fields are autoregressive noise of known size.

    The driver is another noise.
    """
    from xdownscale.models.training.data import TrainingData

    rng = np.random.default_rng(0)
    noise = rng.normal(size=(days, len(scales), *shape))
    for day in range(1, days):
        noise[day] = rho * noise[day - 1] + np.sqrt(1 - rho**2) * noise[day]
    fine = noise * np.array(scales)[:, None, None]
    rows = np.arange(days)
    mask = np.ones((len(scales), *shape), bool)
    mask[0, :4] = False
    return TrainingData(
        coarse=np.zeros((days + 10, 1, 6, 6), np.float32),
        coarse_targets=np.arange(5, days),
        coarse_lags=np.arange(5, days)[:, None] - [3, 2, 1],
        coarse_stopping=np.zeros(days - 5, bool),
        driver=rng.normal(size=(days + 4, 1, *shape)).astype(np.float32),
        own=(0, -1),
        fine=np.where(mask, fine, np.nan).astype(np.float32),
        windows=rows[:, None] + np.arange(5),
        lags=np.clip(rows[:, None] - [3, 2, 1], 0, None),
        fine_lags=np.zeros((days, 0), np.int64),
        static=np.zeros((2, *shape), np.float32),
        calendar=np.zeros((days, 2), np.float32),
        place=np.zeros((*shape, 2), np.float32),
        keys=86400 * rows,
        step=86400,
        train_targets=rows[:160],
        stop_targets=rows[160:180],
        tune_targets=rows[180:],
        mask=mask,
    )


# configurations

TINY = {
    "data": {"lags": 2, "patch_size": 8, "patch_stride": 4},
    "network": {"channels": (8, 16), "encoder_channels": (8, 8)},
    "training": {"epochs": 2, "pretrain_epochs": 1, "batch_days": 8},
    "sampling": {"steps": 3, "size": 8, "stride": 4, "halo": 1},
}
TINY_NETWORK = {"channels": (8, 8), "encoder_channels": (8, 8)}
TINY_TRAINING = {"epochs": 2, "pretrain_epochs": 1, "mean_epochs": 1}
EPOCHS = {"epochs", "pretrain_epochs"}  # every method has them
# what a method needs besides `tiny_config`: method -> section -> keys
OWN: dict[str, dict[str, dict[str, Any]]] = {
    "asdm": {
        "data": {"lags": 2, "extrapolate": "nearest"},
        "network": {"encoder_channels": (8, 8)},
        "training": {"epochs": 2, "pretrain_epochs": 1},
    },
    "kriging": {"data": {"lags": 1}},
}


def fast_config(**sections: Any) -> xd.DownscalerConfig:
    """Return preset `fast` with networks that train in a second."""
    network = TINY_NETWORK | sections.pop("network", {})
    data = {"extrapolate": "nearest", "crop": 16} | sections.pop("data", {})
    method = sections.pop("method", "residual")
    used = xd.methods.find(method).uses.get("training", frozenset())
    training = {key: value for key, value in TINY_TRAINING.items() if key in used | EPOCHS}
    training |= sections.pop("training", {})
    return xd.preset(
        "fast", network=network, training=training, data=data, method=method, **sections
    )


def tiny_config(name: str, **sections: Any) -> xd.DownscalerConfig:
    """Return a configuration of a method, built in or not, that trains in a second.

    Patches where it has them, else whole fields; of each section what the method uses. What a new
    method needs besides stands in `OWN`.
    """
    uses = xd.methods.find(name).uses
    patches = "patch_size" in uses.get("data", ())
    used = {section: set(keys) for section, keys in uses.items()}
    used["training"] = used.get("training", set()) | EPOCHS | {"batch_days"}
    used["data"] = used.get("data", set()) | {"lags", "extrapolate"}
    whole: dict[str, dict[str, Any]] = {
        "data": {"extrapolate": "nearest", "crop": 16, "lags": 2},
        "network": TINY_NETWORK,
        "training": TINY_TRAINING,
        "sampling": {"steps": 2},
    }
    tiny = {**TINY, "data": {**TINY["data"], "extrapolate": "nearest"}} if patches else whole
    if name in PRESETS:
        base = xd.preset(name)
    else:
        base = xd.preset("paper" if patches else "fast", method=name)
    given: dict[str, dict[str, Any]] = {}
    for asked in (tiny, OWN.get(name, {}), sections):
        for section, keys in asked.items():
            kept = {k: v for k, v in keys.items() if k in used.get(section, ())}
            given[section] = {**given.get(section, {}), **kept}
    return base.replace(**given)


def small_config() -> xd.DownscalerConfig:
    """Return preset `paper` with networks for the arrays of `small_arrays`."""
    return xd.preset(
        "paper",
        data={"lags": LAGS, "patch_size": 8, "patch_stride": 4},
        network={"channels": (8, 16), "encoder_channels": (8, 8), "dropout": 0.2},
        training={"epochs": 4, "pretrain_epochs": 3, "plateau_patience": 1, "plateau_factor": 0.9},
        sampling={"steps": 4, "size": 8, "stride": 4, "halo": 1, "batch_size": 7},
    )


def latent_config(method: str, **sections: Any) -> xd.DownscalerConfig:
    """Return a configuration of a method with latent numbers that trains in a second."""
    data = {"lags": 2, "extrapolate": "nearest"}
    network: dict[str, Any] = {"encoder_channels": (8,)}
    sampling = {}
    if method == "vae":
        data |= {"patch_size": 8, "patch_stride": 8}
        network |= {"channels": (8, 8)}
        sampling = {"size": 8, "stride": 4, "halo": 1}
    given = {
        "data": data,
        "network": network,
        "training": {"epochs": 1, "pretrain_epochs": 1, "batch_days": 8},
        "sampling": sampling,
    }
    for section, keys in sections.items():
        given[section] = {**given.get(section, {}), **keys}
    if method == "vae":
        return xd.preset("paper", method=method, **given)
    return xd.preset(method, **given)


# models


@functools.cache
def fitted(kind: str) -> xd.Downscaler:
    """Return a fitted model of preset `kind`; tests must not change it."""
    coarse, fine = (record["t"] for record in make_pair(60))
    if kind == "fast":
        config = fast_config()
    else:
        config = xd.preset(
            "paper",
            data={"lags": 2, "patch_size": 8, "patch_stride": 4, "extrapolate": "nearest"},
            network=TINY_NETWORK,
            training={"epochs": 1, "pretrain_epochs": 1, "batch_days": 8},
            sampling={"steps": 2, "size": 8, "stride": 4, "halo": 1},
        )
    return coarse.downscale.fit(fine, preset=config, progress=False)


def fitted_of(model: xd.Downscaler) -> Any:
    """Return what a model holds, an `xdownscale.fitting.fitted_model.Fitted`.

    It has no public name: tests reach for it here and nowhere else.
    """
    return model._fitted


def silence_drift(model: xd.Downscaler, group: str = "all") -> xd.Downscaler:
    """Widen what the drift alarm allows: networks that trained for a second drift."""
    for name, array in model.models_[group].state.items():
        if name == "drift.spread":
            array *= 1e9
    return model
