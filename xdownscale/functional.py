"""The main job as functions: fit, predict, load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import xarray as xr

from xdownscale.config import DownscalerConfig
from xdownscale.downscaler import Downscaler, require_model


def fit(
    coarse: xr.DataArray | xr.Dataset,
    fine: xr.DataArray | xr.Dataset,
    static: xr.DataArray | xr.Dataset | None = None,
    preset: str | DownscalerConfig = "fast",
    seasons: Sequence[str] | Mapping[str, Sequence[int]] | None = None,
    regions: Mapping[str, Any] | None = None,
    transform: str | Mapping[str, str] = "auto",
    seed: int = 0,
    device: str = "auto",
    checkpoint_dir: str | PathLike[str] | None = None,
    progress: bool = True,
    drivers: Mapping[str, str | None] | None = None,
    pairing: str = "auto",
    encoder: Downscaler | None = None,
) -> Downscaler:
    """Learn how a long coarse record looks on a fine grid that was observed for a short while.

    Two stages (arXiv 2512.05139): a small U-Net learns to forecast the long coarse record one
    step ahead; its encoder, frozen, feeds the networks that learn the short fine record. Under
    preset ``"fast"`` these are a regression, which gives the mean of the fine field given the
    coarse days around it and static fields, and a diffusion model of what the mean leaves open;
    under ``"paper"`` a diffusion model of the field, which sees the fine fields of the days before.

    Parameters
    ----------
    coarse : DataArray or Dataset (time, lat, lon)
        Long coarse record. Any dimension names and order, latitude order, longitude convention
        and calendar. It must cover the fine grid to half a coarse cell. Of a Dataset all
        variables are drivers: what the fine record is drawn from.
    fine : DataArray or Dataset (time, lat, lon)
        Short fine record of the same variable in the same units; of a Dataset all variables are
        drawn together. Cells that are always NaN are a mask; scattered NaN are left out of the
        loss.
    static : DataArray or Dataset (lat, lon), optional
        Time-independent fields on any grid, such as elevation; brought to the fine grid by area
        average.
    preset : str or DownscalerConfig
        ``"fast"`` or ``"paper"``, or a configuration from `xdownscale.preset`.
    seasons : sequence of str or mapping, optional
        ``("DJF", "MAM", "JJA", "SON")``, or name -> months: one model for each. None: one model.
    regions : mapping, optional
        Name -> (west, east, south, north) in degrees, or mask DataArray: one model for each.
        Where regions overlap, the first one named counts.
    transform : str or mapping
        ``"auto"``, ``"log10"``, ``"asinh"``, ``"log1p"``, ``"sqrt"`` or ``"identity"``; what
        ``"auto"`` chose, and why, stands in the model's repr. A mapping gives one to each variable
        by name.
    seed : int
        Seed of everything random.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    checkpoint_dir : str or path, optional
        Folder for a checkpoint after each epoch. Calling again with the same folder, data and
        options goes on where training was interrupted.
    progress : bool
        Show a progress bar.
    drivers : mapping, optional
        Fine variable -> the coarse variable that is the same quantity in the same units, or None
        where there is none. None: the one of the same name, or the only one.
    pairing : {"auto", "paired", "self"}
        Whether the records show the same days. ``"paired"``: the fine field of a day is learnt from
        the coarse one. ``"self"``: a free-running simulation has weather of its own, so its fine
        fields are learnt from their own averages over coarse cells, and the coarse record is
        mapped onto their climate, quantile by quantile, season by season. ``"auto"``:
        `xdownscale.geostat.diagnose_pairing` decides where there are 129 common days, and a
        warning says so if it finds them unpaired; shorter records are taken for paired.
    encoder : Downscaler, optional
        Fitted model, such as `xdownscale.load_pretrained` returns. Its encoder stands in for the
        first stage, which is left out: as it is under ``network=dict(encoder="frozen")``, as a
        first guess under ``"finetuned"``. Method family, lags, scaling, norm, encoder channels and
        number of drivers must be the same. Each group takes that of the group of the same name,
        else the only one. Values are transformed and scaled as the new records ask for, not as
        the other model's were.

    Returns
    -------
    Downscaler

    Raises
    ------
    GridError
        No latitude or longitude, a fine grid that the coarse one does not cover, a patch larger
        than the image.
    TimeAxisError
        Duplicate times, no common day, fewer days than ``lags + 2`` in the record or a split.
    DataError
        Units that differ, a record without values, values that the transform cannot take.
    OptionError
        Unknown preset, season, transform or option.
    ModelMismatchError
        If `encoder` is of another make, or `checkpoint_dir` holds another training.

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr, xdownscale as xd
    >>> time = pd.date_range("2000-01-01", periods=40)
    >>> def record(step, seed):
    ...     lat, lon = np.arange(0, 8, step), np.arange(0, 8, step)
    ...     values = np.random.default_rng(seed).normal(size=(40, lat.size, lon.size))
    ...     return xr.DataArray(values, coords={"time": time, "lat": lat, "lon": lon})
    >>> config = xd.preset(
    ...     "paper",
    ...     data=dict(lags=2, patch_size=8, extrapolate="nearest"),
    ...     network=dict(channels=(8, 8), encoder_channels=(8, 8)),
    ...     training=dict(epochs=1, pretrain_epochs=1),
    ...     sampling=dict(steps=2, size=8, stride=4),
    ... )
    >>> model = record(2.0, 0).downscale.fit(record(0.5, 1), preset=config, progress=False)
    >>> record(2.0, 0).downscale.predict(model, time=time[20:22], history=record(0.5, 1)).sizes
    Frozen({'realization': 1, 'time': 2, 'lat': 16, 'lon': 16})
    """
    model = Downscaler(
        preset=preset,
        seasons=seasons,
        regions=regions,
        transform=transform,
        seed=seed,
        device=device,
        checkpoint_dir=checkpoint_dir,
        progress=progress,
        pairing=pairing,
    )
    return model.fit(coarse, fine, static=static, drivers=drivers, encoder=encoder)


def predict(
    coarse: xr.DataArray | xr.Dataset,
    model: Downscaler,
    time: Any = None,
    realizations: int = 1,
    mode: str | None = None,
    history: xr.DataArray | None = None,
    stitching: str | None = None,
    seed: int = 0,
    chunks: Any = None,
) -> Any:
    """Draw the fine record of a coarse one.

    Parameters
    ----------
    coarse : DataArray or Dataset (time, lat, lon)
        Coarse record on the grid that the model was fitted with, with all of its drivers.
    model : Downscaler
        Fitted model.
    time : optional
        Days to draw: anything that ``coarse.sel(time=...)`` takes (labels, a slice, a
        coordinate). None: every day whose preceding days are in the record.
    realizations : int
        Fields for each day.
    mode : str
        ``"parallel"``: each day is drawn from the coarse days around it, in any order; the mode of
        all presets but ``"paper"``, and theirs alone.
        ``"autoregressive"``: each day is drawn from the fields drawn before it. A run starts after
        the last day of the history before its first target, and all days from there on are
        drawn; where there is no such day it starts cold, from the interpolated coarse record,
        with a warning.
        ``"teacher_forced"``: each day is drawn from the true fine fields before it.
    history : DataArray, optional
        Fine record that true lags are read from. None: the last fields of the training record,
        which the model carries.
    stitching : str
        ``"whole"``: the network sees the image in one piece. ``"patches"`` as in the paper: each is
        drawn by itself. ``"multidiffusion"``: patches are made to agree at every step. None:
        ``"patches"`` for preset ``"paper"``, else ``"whole"``.
    seed : int
        Seed of the noise. A field depends on (seed, realization, day) alone, not on the other
        days, the batch size or the number of realizations.
    chunks : "auto", int or mapping, optional
        Draw lazily, with dask, in pieces of so many days, or ``{"time": ..., "realization": ...}``
        (-1 for all); maps stay whole. None: ``"auto"`` (at most 64 days and 64 MB) where the coarse
        record is lazy, else everything is drawn now. A piece reads the days around its own; lazy
        chunks that cut maps are joined, with a warning.

    Returns
    -------
    DataArray (realization, time, lat, lon), or Dataset of several
        In the fine record's units, with its dimension names and order behind ``realization``, its
        horizontal coordinates, and its attributes with one more line of ``history``. NaN where the
        fine record never had a value, and on days without enough driver (with a warning). Where
        drawn lazily nothing is read but the labels; in the modes that need fine lags the coarse
        record is looked through once for gaps.

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    ModelMismatchError
        If record, history or units are not those of the model.
    TimeAxisError
        If days are asked for that the record does not have, or true lags are missing.
    OptionError
        Unknown mode or stitching, or fewer than one realization.

    Examples
    --------
    See `xdownscale.fit`.
    """
    return require_model(model).predict(
        coarse,
        time=time,
        realizations=realizations,
        mode=mode,
        history=history,
        stitching=stitching,
        seed=seed,
        chunks=chunks,
    )


def load(path: str | PathLike[str]) -> Downscaler:
    """Read a model that `Downscaler.save` wrote.

    Parameters
    ----------
    path : str or path
        Model file.

    Returns
    -------
    Downscaler

    Raises
    ------
    StorageError
        If there is no such file.
    ModelFormatError
        If the file is altered, truncated or not ours.

    Examples
    --------
    >>> import xdownscale as xd
    >>> xd.load("no/such/file.xd")
    Traceback (most recent call last):
    ...
    xdownscale.errors.StorageError: no/such/file.xd cannot be read: ...
    """
    return Downscaler.load(path)
