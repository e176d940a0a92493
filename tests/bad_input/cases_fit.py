"""Bad records given to `fit`."""

from __future__ import annotations

from functools import partial

import numpy as np
import xarray as xr

import xdownscale as xd
from xdownscale.core.errors import DataError, GridError, OptionError, TimeAxisError


def fit(w, coarse=None, fine=None, **options):
    """One call of `fit`, with what is wrong put in place of what is right."""
    given = {"preset": w.config, "pairing": "paired", "progress": False, "device": "cpu"}
    coarse = w.coarse if coarse is None else coarse
    fine = w.fine if fine is None else fine
    return partial(xd.fit, coarse, fine, **(given | options))


def config(w, **sections):
    return {"preset": w.config.replace(**sections)}


def static(w, lat, lon):
    field = np.ones((lat.size, lon.size))
    return xr.DataArray(field, {"lat": lat, "lon": lon}, name="height", attrs={"units": "m"})


def empty_like(da):
    return da.copy(data=np.full(da.shape, np.nan))


def with_values(da, value, where):
    array = da.values.copy()
    array[where] = value
    return da.copy(data=array)


def two_dimensional(da):
    lat, lon = np.meshgrid(da.lat, da.lon, indexing="ij")
    return da.drop_vars(["lat", "lon"]).assign_coords(
        lat=(("lat", "lon"), lat + 0.1 * lon), lon=(("lat", "lon"), lon)
    )


def curved(da, change=lambda lat: lat):
    """Return a record whose latitude and longitude are two-dimensional, on the same cells."""
    lat, lon = np.meshgrid(da.lat, da.lon, indexing="ij")
    bare = da.drop_vars(["lat", "lon"]).rename(lat="j", lon="i")
    return bare.assign_coords(lat=(("j", "i"), change(lat)), lon=(("j", "i"), lon))


def folded(lat):
    turned = lat.copy()
    turned[[3, 4], :4] = turned[[4, 3], :4]
    return turned


def hollow(lat):
    return np.where(np.arange(lat.shape[0])[:, None] == 2, np.nan, lat)


def on_plane(da, mapping, unit="m"):
    """Return a record with projected coordinates and a grid mapping."""
    y, x = ((da[n].values - float(da[n].mean())) * 1e5 for n in ("lat", "lon"))
    bare = da.drop_vars(["lat", "lon"]).rename(lat="y", lon="x")
    coords = {"y": ("y", y, {"units": unit}), "x": ("x", x, {"units": unit})}
    return bare.assign_coords({**coords, "crs": xr.Variable((), 0, mapping)})


MERCATOR = {"grid_mapping_name": "mercator", "longitude_of_projection_origin": 0.0}


def other_calendar(da):
    time = xr.date_range("2000-01-01", periods=da.sizes["time"], calendar="360_day")
    return da.assign_coords(time=time)


def shuffled(da):
    return da.isel(lat=[0, 2, 1, 3, 5, 4])


RECORDS = [
    (
        "fit-coarse-no-time",
        lambda w: fit(w, w.coarse.isel(time=0, drop=True)),
        TimeAxisError,
        "The coarse record has no time.*coordinate the attribute standard_name='time'",
    ),
    (
        "fit-fine-no-time",
        lambda w: fit(w, fine=w.fine.isel(time=0, drop=True)),
        TimeAxisError,
        "The fine record has no time.*coordinate the attribute standard_name='time'",
    ),
    (
        "fit-coarse-no-latitude",
        lambda w: fit(w, w.coarse.drop_vars("lat")),
        GridError,
        "No latitude found in t with.*or set its standard_name",
    ),
    (
        "fit-fine-no-longitude",
        lambda w: fit(w, fine=w.fine.drop_vars("lon")),
        GridError,
        "No longitude found in t with.*or set its standard_name",
    ),
    (
        "fit-coarse-is-array",
        lambda w: fit(w, w.coarse.values),
        DataError,
        "The coarse record is a ndarray;.*a Dataset of several",
    ),
    (
        "fit-fine-is-path",
        lambda w: fit(w, fine=str(w.file)),
        DataError,
        "The fine record is a str;.*a Dataset of several",
    ),
    (
        "fit-coarse-is-model",
        lambda w: fit(w, w.drawer),
        DataError,
        "The coarse record is a Downscaler;.*a Dataset of several",
    ),
    (
        "fit-coarse-empty-dataset",
        lambda w: fit(w, xr.Dataset()),
        DataError,
        "The coarse record is a Dataset.*one that has some",
    ),
    (
        "fit-other-units",
        lambda w: fit(w, fine=w.fine.assign_attrs(units="degC")),
        DataError,
        "The units of the coarse record.*where it is wrong",
    ),
    (
        "fit-other-standard-name",
        lambda w: fit(
            w,
            w.coarse.assign_attrs(standard_name="air_temperature"),
            w.fine.assign_attrs(standard_name="specific_humidity"),
        ),
        DataError,
        "The standard_name of the coarse record.*where it is wrong",
    ),
    (
        "fit-no-common-day",
        lambda w: fit(w, fine=w.fine.assign_coords(time=w.fine.time + np.timedelta64(9999, "D"))),
        TimeAxisError,
        r"The fine record \(2027-06-07T00:00:\S+ to.*Give records that overlap",
    ),
    (
        "fit-too-few-days",
        lambda w: fit(w, fine=w.fine.isel(time=slice(6))),
        TimeAxisError,
        "The training part has 0 days.*lags or other fractions",
    ),
    (
        "fit-one-day",
        lambda w: fit(w, fine=w.fine.isel(time=[4])),
        TimeAxisError,
        "The records have 1 days in.*record or fewer lags",
    ),
    (
        "fit-no-day",
        lambda w: fit(w, fine=w.fine.isel(time=slice(0))),
        TimeAxisError,
        r"The fine record \(empty\) and the.*Give records that overlap",
    ),
    (
        "fit-duplicate-times",
        lambda w: fit(w, w.coarse.isel(time=[0, 0, *range(1, 110)])),
        TimeAxisError,
        r"The coarse record has 1 duplicate.*for instance with \.drop_duplicates\('time'\)",
    ),
    (
        "fit-missing-time",
        lambda w: fit(
            w, w.coarse.assign_coords(time=w.coarse.time.where(w.coarse.time != w.coarse.time[3]))
        ),
        TimeAxisError,
        r"1 of 110 times are missing \(NaT\); drop them",
    ),
    (
        "fit-other-calendar",
        lambda w: fit(w, other_calendar(w.coarse)),
        TimeAxisError,
        r"The calendars of the fine record and the coarse record differ: 'standard' and"
        r".*to one with \.convert_calendar\(\.\.\.\)",
    ),
    (
        "fit-other-time-step",
        lambda w: fit(w, w.coarse.isel(time=slice(None, None, 2))),
        TimeAxisError,
        r"The coarse record has a time.*for instance with \.resample\(time='1D'\)\.mean\(\)",
    ),
    (
        "fit-fine-all-nan",
        lambda w: fit(w, fine=empty_like(w.fine)),
        DataError,
        "The fine record 't' has no.*mask and the region",
    ),
    (
        "fit-coarse-all-nan",
        lambda w: fit(w, empty_like(w.coarse)),
        DataError,
        r"No day of the coarse record.*values, or raise data=dict\(max_missing=\.\.\.\)",
    ),
    (
        "fit-infinite",
        lambda w: fit(w, fine=with_values(w.fine, np.inf, (slice(None), 3, 3))),
        DataError,
        "Of the training values, 18870 are.*mask and the days",
    ),
    (
        "fit-constant",
        lambda w: fit(w, fine=w.fine * 0 + 1),
        DataError,
        r"All training values are 1\.0 \(after.*mask and the floor",
    ),
    (
        "fit-text-values",
        lambda w: fit(w, w.coarse.astype(str)),
        DataError,
        r"The coarse record has values of.*for instance with record\.astype\('float32'\)",
    ),
    (
        "fit-complex-values",
        lambda w: fit(w, w.coarse.astype(complex)),
        DataError,
        r"The coarse record has values of.*for instance with record\.astype\('float32'\)",
    ),
    (
        "fit-log10-of-negative",
        lambda w: fit(w, transform="log10"),
        DataError,
        "10132 of 18870 values are 0.*'asinh', 'sqrt' or 'identity'",
    ),
    (
        "fit-sqrt-of-negative",
        lambda w: fit(w, transform="sqrt"),
        DataError,
        "10132 of 18870 values are negative.*use transform='asinh' or 'identity'",
    ),
    (
        "fit-extra-dimension",
        lambda w: fit(w, w.coarse.expand_dims(level=[500.0, 850.0])),
        GridError,
        r"The coarse record has the extra.*only, for example record\.isel\(level=0\)",
    ),
    (
        "fit-fine-elsewhere",
        lambda w: fit(
            w,
            fine=w.fine.assign_coords(lat=w.fine.lat + 40),
            **config(w, data={"extrapolate": None}),
        ),
        GridError,
        "The target grid reaches outside the.*target, or pass extrapolate='nearest'",
    ),
    (
        "fit-curvilinear-elsewhere",
        lambda w: fit(w, fine=two_dimensional(w.fine), **config(w, data={"extrapolate": None})),
        GridError,
        "fine cells lie outside the coarse grid.*crop the fine one",
    ),
    (
        "fit-curvilinear-folded",
        lambda w: fit(w, curved(w.coarse, folded)),
        GridError,
        "cells that are folded.*Correct",
    ),
    (
        "fit-curvilinear-without-positions",
        lambda w: fit(w, fine=curved(w.fine, hollow)),
        GridError,
        "cells without a position: 'lat' or 'lon' is not finite.*Fill these coordinates",
    ),
    (
        "fit-mapping-unknown",
        lambda w: fit(w, fine=on_plane(w.fine, {"grid_mapping_name": "plate_of_soup"})),
        GridError,
        "grid mapping 'crs', which is no coordinate reference system.*Correct it",
    ),
    (
        "fit-mapping-in-other-units",
        lambda w: fit(w, fine=on_plane(w.fine, MERCATOR, "degrees")),
        GridError,
        "has 'y' in 'degrees', and a projection whose coordinates are lengths",
    ),
    (
        "fit-mapping-contradicts-positions",
        lambda w: fit(
            w,
            fine=on_plane(w.fine, MERCATOR).assign_coords(
                lat=(("y", "x"), curved(w.fine).lat.values),
                lon=(("y", "x"), curved(w.fine).lon.values),
            ),
        ),
        GridError,
        "contradict its coordinates 'y' and 'x' under the grid mapping 'crs'.*drop what is wrong",
    ),
    (
        "fit-mapping-left-behind",
        lambda w: fit(
            w, fine=on_plane(w.fine, {}).drop_vars("crs").assign_attrs(grid_mapping="crs")
        ),
        GridError,
        "names the grid mapping 'crs', and has neither.*give the Dataset",
    ),
    (
        "fit-latitudes-shuffled",
        lambda w: fit(w, shuffled(w.coarse)),
        GridError,
        r"The source grid has latitudes in.*them, e\.g\. with \.sortby\('latitude'\)",
    ),
    (
        "fit-latitudes-beyond-pole",
        lambda w: fit(w, w.coarse.assign_coords(lat=w.coarse.lat * 30)),
        GridError,
        "The source grid has latitudes from.*latitudes in degrees north",
    ),
    (
        "fit-grids-swapped",
        lambda w: fit(w, w.fine, w.coarse),
        GridError,
        "The fine record has cells of.*then the fine one",
    ),
    (
        "fit-static-elsewhere",
        lambda w: fit(w, static=static(w, np.arange(50.0, 60), np.arange(50.0, 60))),
        GridError,
        "The target grid reaches outside the.*target, or pass extrapolate='nearest'",
    ),
    (
        "fit-static-all-nan",
        lambda w: fit(w, static=empty_like(static(w, w.fine.lat.values, w.fine.lon.values))),
        DataError,
        "The static field 'height' has no.*or leave it out",
    ),
    (
        "fit-static-with-time",
        lambda w: fit(w, static=w.fine),
        DataError,
        "The static field 't' has the.*has those two alone",
    ),
    (
        "fit-static-no-grid",
        lambda w: fit(w, static=xr.Dataset({"a": 1.0})),
        DataError,
        "static has no variable with latitude.*or leave it out",
    ),
    (
        "fit-static-is-number",
        lambda w: fit(w, static=3.0),
        DataError,
        "static is a float; give a.*or leave it out",
    ),
    (
        "fit-drivers-unknown-target",
        lambda w: fit(w, w.pair_coarse, w.pair_fine, drivers={"v": "t"}),
        DataError,
        "drivers= names 'v', which is no.*there are 't', 'u'",
    ),
    (
        "fit-drivers-unknown-variable",
        lambda w: fit(w, w.pair_coarse, w.pair_fine, drivers={"t": "tt"}),
        DataError,
        "drivers= names 'tt', which is no.*there are 't', 'u'",
    ),
    (
        "fit-two-fine-lags",
        lambda w: fit(w, w.pair_coarse, w.pair_fine, **config(w, data={"fine_lags": 1})),
        OptionError,
        "fine_lags is 1 and there are.*Give one, or fine_lags=0",
    ),
    (
        "fit-paper-two-variables",
        lambda w: fit(w, w.pair_coarse, w.pair_fine, preset="paper"),
        OptionError,
        r"Method 'diffusion' learns one.*or use preset 'fast'",
    ),
]

CASES = RECORDS
