"""Write predictions as submissions to CORDEX-ML-Bench.

The layout is that of the public instructions (WCRP-CORDEX/ml-benchmark, submission/README.md):
``<submission>/<domain>_Domain/<experiment>/<period>/<condition>/
Predictions_pr_tasmax_<GCM>_<years>.nc``, precipitation and maximum temperature in one file, and of
a generative model 10 realizations along the dimension ``member``.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xdownscale.core.coords import find_axes, require_time
from xdownscale.core.errors import DataError, GridError, OptionError, StorageError, check_option
from xdownscale.core.files import as_path, make_folder
from xdownscale.core.located import located_variables
from xdownscale.core.time import check_time, rounded
from xdownscale.core.units import conversion, said, units_of
from xdownscale.core.values import check_some
from xdownscale.skill._index_units import factor_of_rain

DOMAINS = ("ALPS", "NZ", "SA")
EXPERIMENTS = ("ESD_pseudo_reality", "Emulator_hist_future")
PERIODS = ("historical", "mid_century", "end_century")
CONDITIONS = ("perfect", "imperfect")
MEMBERS = 10
_VARIABLES = {"pr": "mm day-1", "tasmax": "K"}
_ATTRS = {
    "pr": {"standard_name": "lwe_precipitation_rate", "long_name": "daily precipitation"},
    "tasmax": {"standard_name": "air_temperature", "long_name": "daily maximum temperature"},
}
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def write_submission(
    prediction: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    domain: str,
    experiment: str,
    period: str,
    condition: str,
    gcm: str,
    years: str | None = None,
    template: xr.Dataset | None = None,
    overwrite: bool = False,
) -> Path:
    """Write one prediction file of a submission to CORDEX-ML-Bench.

    Parameters
    ----------
    prediction : Dataset
        ``pr`` and ``tasmax`` (time, y, x), dims in any order, on the grid of the domain; of a
        generative model with 10 ``realization`` or ``member``. Units of rain are brought to mm a
        day, temperatures to K: what the thresholds of the benchmark's code (1 and 300) are in.
    path : str or path
        Folder of the submission, named as it was registered; made where it is not there.
    domain : {"ALPS", "NZ", "SA"}
    experiment : {"ESD_pseudo_reality", "Emulator_hist_future"}
    period : {"historical", "mid_century", "end_century"}
    condition : {"perfect", "imperfect"}
        Of the predictors.
    gcm : str
        The global model, spelled as in the file of the predictors, such as ``"CNRM-CM5"``.
    years : str, optional
        As in the file of the predictors, such as ``"1981-2000"``; by default first and last year
        of the prediction.
    template : Dataset, optional
        The benchmark's template of the domain (or both, merged): its coordinates take the place of
        the prediction's, after a check that they are the same cells, and its attributes theirs.
    overwrite : bool
        Replace a file that is there.

    Returns
    -------
    Path
        Of the NetCDF file. Lazy predictions are written chunk by chunk; a file is there whole or
        not at all.

    Raises
    ------
    DataError
        If a variable or its units are missing or cannot be converted, values are missing, or there
        are other than 1 or 10 realizations.
    OptionError
        For a name that the benchmark does not have.
    GridError
        If the variables are on different grids, or not on the template's.
    TimeAxisError
        If there is no time, or a day is there twice.
    StorageError
        If the file is there already.

    Notes
    -----
    What the instructions do not say is not guessed: which days a file must hold, and the names of
    the coordinates, come from the prediction or the template. Compress the folder to a zip file to
    submit it.

    Examples
    --------
    >>> import tempfile
    >>> edges = {"time": xr.date_range("1981-01-01", periods=2), "lat": [0.0], "lon": [0.0, 1.0]}
    >>> field = xr.DataArray(np.ones((2, 1, 2)), coords=edges)
    >>> both = {"pr": field.assign_attrs(units="mm"), "tasmax": field.assign_attrs(units="degC")}
    >>> where = {"domain": "NZ", "experiment": "ESD_pseudo_reality", "period": "historical"}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = write_submission(
    ...         xr.Dataset(both), folder, **where, condition="perfect", gcm="ACCESS-CM2"
    ...     )
    ...     xr.load_dataset(file).tasmax.values.max().item(), file.name
    (274.1499938964844, 'Predictions_pr_tasmax_ACCESS-CM2_1981-1981.nc')
    """
    check_option("domain", domain, DOMAINS)
    check_option("experiment", experiment, EXPERIMENTS)
    check_option("period", period, PERIODS)
    check_option("condition", condition, CONDITIONS)
    folder = as_path(path, "path")
    ds = _checked(prediction)
    years = years or _years(ds)
    for what, text in (("gcm", gcm), ("years", years)):
        if not _WORD.fullmatch(str(text)):
            raise OptionError(
                f"{what} is {text!r}; give letters, digits, dots and dashes, as in the name of the "
                "file of the predictors."
            )
    if template is not None:
        ds = _like_template(ds, template)
    place = folder / f"{domain}_Domain" / experiment / period / condition
    file = place / f"Predictions_pr_tasmax_{gcm}_{years}.nc"
    if file.exists() and not overwrite:
        raise StorageError(f"{file} is there already; give overwrite=True to replace it.")
    _write(ds, file)
    return file


def _checked(prediction: Any) -> xr.Dataset:
    """Return both variables, converted, with the dimension ``member`` where there are several."""
    if not isinstance(prediction, xr.Dataset):
        raise DataError(
            f"The prediction is a {type(prediction).__name__}; give a Dataset with the variables "
            "'pr' and 'tasmax'."
        )
    lacking = [name for name in _VARIABLES if name not in prediction.data_vars]
    if lacking:
        raise DataError(
            f"The prediction lacks {lacking}; a submission holds both 'pr' and 'tasmax'. It has "
            f"{list(map(str, prediction.data_vars))}: rename or add what is missing."
        )
    located = located_variables(prediction, "the prediction")
    parts = {name: _variable(located[name], name) for name in _VARIABLES}
    first, second = parts.values()
    if first.dims != second.dims or first.shape != second.shape:
        raise GridError(
            f"'pr' has {dict(first.sizes)} and 'tasmax' {dict(second.sizes)}; give both on one "
            "grid, of the same days and realizations."
        )
    return xr.Dataset(parts)


def _variable(da: xr.DataArray, name: str) -> xr.DataArray:
    da = check_some(da, repr(name))
    time = require_time(da, repr(name))
    record = check_time(da, repr(name))
    axes = find_axes(record)
    if "realization" in record.dims:
        record = record.rename(realization="member")
    further = [str(d) for d in record.dims if d not in (time, axes.y, axes.x, "member")]
    if further:
        raise DataError(f"{name!r} has the further dimensions {further}; select one of each first.")
    count = record.sizes.get("member", 1)
    if count not in (1, MEMBERS):
        raise DataError(
            f"{name!r} has {count} realizations; a generative model submits {MEMBERS}, a "
            f"deterministic one a single field. Predict with realizations={MEMBERS}."
        )
    if count == 1 and "member" in record.dims:
        record = record.isel(member=0, drop=True)
    order = ("time", *(("member",) if count > 1 else ()), axes.y, axes.x)
    record = record if time == "time" else record.rename({time: "time"})
    record = _converted(record.transpose(*order), name)
    if count > 1:
        record = record.assign_coords(member=("member", np.arange(MEMBERS)))
    return record


def _converted(da: xr.DataArray, name: str) -> xr.DataArray:
    """Return float32 values in the units of the benchmark."""
    wanted = _VARIABLES[name]
    units = units_of(da)
    rain = factor_of_rain(units) if name == "pr" else None
    change = conversion(units, wanted) if rain is None else (rain, 0.0)
    if change is None:
        raise DataError(
            f"{name!r} is in {said(units)}, which is not convertible to {wanted}. Set "
            f"attrs['units'], for instance to {wanted!r}."
        )
    scale, offset = change
    data = (da.data * scale + offset).astype(np.float32)
    return da.copy(data=data).rename(name).assign_attrs({**_ATTRS[name], "units": wanted})


def _years(ds: xr.Dataset) -> str:
    year = rounded(ds["time"]).dt.year.values
    return f"{year.min()}-{year.max()}"


def _like_template(ds: xr.Dataset, template: xr.Dataset) -> xr.Dataset:
    """Give a prediction the coordinates and attributes of the benchmark's template."""
    found = {}
    models = located_variables(template, "the template")
    for name, da in ds.data_vars.items():
        model = models.get(str(name), next(iter(models.values())))
        lead = [d for d in model.dims if d in ("time", "member")]
        model = model.isel(dict.fromkeys(lead, 0), drop=True)
        ours = da.dims[-2:]
        if tuple(da.shape[-2:]) != model.shape:
            raise GridError(
                f"{name!r} has {da.shape[-2:]} cells and the template {model.shape}; give the "
                "prediction on the grid of the domain."
            )
        _check_cells(da, model)
        bare = da.drop_vars([c for c in da.coords if set(da[c].dims) & set(ours)])
        moved = bare.rename(dict(zip(ours, model.dims, strict=True)))
        attrs = template[name].attrs if name in template else {}
        found[name] = moved.assign_coords(model.coords).assign_attrs(attrs)
    return xr.Dataset(found)


def _check_cells(da: xr.DataArray, model: xr.DataArray) -> None:
    """Raise `GridError` unless both are of the same cells in the same order."""
    own = find_axes(da)
    other = find_axes(model)
    for mine, theirs in ((own.latitude, other.latitude), (own.longitude, other.longitude)):
        one = da[mine].values
        two = model[theirs].values
        if one.shape != two.shape or np.abs((one - two + 180) % 360 - 180).max() > 1e-3:
            raise GridError(
                f"The cells of {da.name!r} are not those of the template: {mine!r} runs from "
                f"{one.min():g} to {one.max():g}, there from {two.min():g} to {two.max():g}. "
                "Give the prediction on the grid of the domain, in the template's order."
            )


def _write(ds: xr.Dataset, file: Path) -> None:
    """Write a file whole or not at all; refuse missing values."""
    make_folder(file.parent)
    try:
        _write_whole(ds, file)
    except OSError as err:
        raise StorageError(
            f"{file} cannot be written: {err.strerror or err}. What was there before is unchanged; "
            "give a path that may be written to, with enough free space."
        ) from err


def _write_whole(ds: xr.Dataset, file: Path) -> None:
    handle, name = tempfile.mkstemp(suffix=".nc", dir=file.parent)
    os.close(handle)
    try:
        options: Any = {n: {"zlib": True, "complevel": 4, "_FillValue": None} for n in ds.data_vars}
        ds.to_netcdf(name, engine="netcdf4", encoding=options, unlimited_dims=["time"])
        with xr.open_dataset(name, chunks={"time": 50}) as written:
            missing = {str(n): int(written[n].isnull().sum()) for n in ds.data_vars}
        if any(missing.values()):
            raise DataError(
                f"Values are missing in the prediction: {missing}; the benchmark scores every cell "
                "and day. Predict them all, or fill them."
            )
        Path(name).chmod(0o644)
        Path(name).replace(file)
    finally:
        Path(name).unlink(missing_ok=True)
