"""Bad input to regridding, patches, splits, plots and reports."""

from __future__ import annotations

from functools import partial

import xdownscale as xd
from bad_input.changes import later, moved
from xdownscale import patches, plot, splits
from xdownscale.core import time
from xdownscale.core.errors import DataError, GridError, OptionError, StorageError, TimeAxisError
from xdownscale.skill import baselines


def regrid(w, *args, **options):
    return partial(xd.regrid, *args, **options)


SPACE = [
    (
        "regrid-method",
        lambda w: regrid(w, w.coarse, w.fine, "bicubik"),
        OptionError,
        r"Unknown regrid method: 'bicubik'\. Choose one.*Did you mean 'bicubic'",
    ),
    (
        "regrid-engine",
        lambda w: regrid(w, w.coarse, w.fine, engine="esmf"),
        OptionError,
        r"Unknown engine: 'esmf'\. Choose one of.*Did you mean 'xesmf'",
    ),
    (
        "regrid-no-grid",
        lambda w: regrid(w, w.coarse.drop_vars("lon"), w.fine),
        GridError,
        "No longitude found in t with.*or set its standard_name",
    ),
    (
        "regrid-target-no-grid",
        lambda w: regrid(w, w.coarse, w.fine.drop_vars("lat")),
        GridError,
        "No latitude found in t with.*or set its standard_name",
    ),
    (
        "regrid-target-is-word",
        lambda w: regrid(w, w.coarse, "0.5 degrees"),
        GridError,
        "The target grid is a str;.*with latitude and longitude",
    ),
    (
        "regrid-array",
        lambda w: regrid(w, w.coarse.values, w.fine),
        DataError,
        r"The field is a ndarray; give.*an xarray\.DataArray, with coordinates",
    ),
    (
        "regrid-beyond",
        lambda w: regrid(w, w.coarse, later(w.fine).assign_coords(lat=w.fine.lat + 30)),
        GridError,
        "The target grid reaches outside the.*target, or pass extrapolate='nearest'",
    ),
    (
        "regrid-extrapolate",
        lambda w: regrid(w, w.coarse, w.fine, extrapolate="linear"),
        OptionError,
        r"Unknown extrapolate: 'linear'\. Choose one of.*Did you mean 'nearest'",
    ),
    (
        "regrid-min-valid",
        lambda w: regrid(w, w.coarse, w.fine, min_valid=2),
        OptionError,
        "min_valid is 2; it is a.*between 0 and 1",
    ),
    (
        "layout-larger-than-map",
        lambda w: partial(patches.PatchLayout, (8, 8), 16),
        GridError,
        "Found a patch larger than the.*of at most 8",
    ),
    (
        "layout-halo",
        lambda w: partial(patches.PatchLayout, (32, 32), 8, 2, 4),
        GridError,
        "A halo of 4 leaves nothing.*of at most 3",
    ),
    (
        "layout-gaps",
        lambda w: partial(patches.PatchLayout, (32, 32), 8, 9, 0),
        GridError,
        "A stride of 9 leaves gaps.*stride allowed is 8",
    ),
    (
        "layout-stride-zero",
        lambda w: partial(patches.PatchLayout, (32, 32), 8, 0, 0),
        OptionError,
        "size 8, stride 0 and halo.*halo 0 or more",
    ),
    (
        "layout-size-fraction",
        lambda w: partial(patches.PatchLayout, (32, 32), 8.5, 2, 0),
        OptionError,
        r"size 8\.5, stride 2 and halo.*halo 0 or more",
    ),
    (
        "layout-shape-number",
        lambda w: partial(patches.PatchLayout, 32),
        OptionError,
        r"shape is 32; give the image's.*two sizes, \(ny, nx\)",
    ),
    (
        "layout-taper",
        lambda w: partial(patches.PatchLayout, (32, 32), taper="box"),
        OptionError,
        r"Unknown taper: 'box'\. Choose one of 'hann', 'triangle', 'uniform'",
    ),
    (
        "extract-other-map",
        lambda w: partial(patches.extract, w.fine, patches.PatchLayout((30, 30), 8, 4, 0)),
        GridError,
        r"The field has \(24, 20\) rows.*layout with shape=\(24, 20\)",
    ),
    (
        "stitch-no-patches",
        lambda w: partial(patches.stitch, w.fine, patches.PatchLayout((24, 20), 8, 4, 0)),
        GridError,
        r"Patches need the dimensions \('patch', 'patch_y',.*something computed from it",
    ),
    (
        "interpolate-method",
        lambda w: partial(baselines.interpolate, w.coarse, w.fine, method="cubic"),
        OptionError,
        r"Unknown regrid method: 'cubic'\. Choose one.*Did you mean 'bicubic'",
    ),
    (
        "persistence-lag",
        lambda w: partial(baselines.persistence, w.fine, lag=0),
        OptionError,
        r"lag is 0; give 1 \(yesterday\) or more days",
    ),
    (
        "climatology-window",
        lambda w: partial(baselines.climatology, w.fine, w.fine.time, -1),
        OptionError,
        "window_days is -1; give a number.*days, 0 or more",
    ),
]
SPLITS = [
    (
        "split-fractions",
        lambda w: partial(splits.chronological_split, w.fine.time, 2, (0.9, 0.3, 0.1)),
        OptionError,
        r"fractions is \(0\.9, 0\.3, 0\.1\); give.*the first above 0",
    ),
    (
        "split-two-fractions",
        lambda w: partial(splits.chronological_split, w.fine.time, 2, (0.9, 0.1)),
        OptionError,
        r"fractions is \(0\.9, 0\.1\); give three.*the first above 0",
    ),
    (
        "split-stopping",
        lambda w: partial(splits.chronological_split, w.fine.time, 2, early_stopping=1.0),
        OptionError,
        r"early_stopping is 1\.0; give a share in \[0, 1\)",
    ),
    (
        "split-too-few",
        lambda w: partial(splits.chronological_split, w.fine.time[:4], 3),
        TimeAxisError,
        r"The record has 4 days \(lag.*lags or other fractions",
    ),
    (
        "split-lags",
        lambda w: partial(splits.lag_windows, w.fine.time, -1),
        OptionError,
        "lags is -1; give a whole.*days, 0 or more",
    ),
    (
        "seasons-buffer",
        lambda w: partial(splits.split_seasons, w.fine, buffer_days=-1),
        OptionError,
        "buffer_days is -1; give a whole.*number, 0 or more",
    ),
    (
        "seasons-unknown",
        lambda w: partial(splits.split_seasons, w.fine, ("winter",)),
        OptionError,
        r"Unknown season: 'winter'\. Give the first.*of names to months",
    ),
    (
        "seasons-number",
        lambda w: partial(splits.resolve_seasons, 4),
        OptionError,
        "seasons is 4; give names such.*of names to months",
    ),
    (
        "match-other-calendar",
        lambda w: partial(time.match_times, w.fine.time, w.fine.lat),
        TimeAxisError,
        r"Times of type float64 are no.*for instance with xarray\.decode_cf",
    ),
    (
        "region-mask-elsewhere",
        lambda w: partial(splits.region_mask, w.fine, (50, 50, 60, 60)),
        GridError,
        "No cell of the grid lies.*centre of a cell",
    ),
]
SHOWN = [
    (
        "plot-day-not-there",
        lambda w: partial(plot.maps, w.fine, time="2031-01-01"),
        TimeAxisError,
        "t has no day 2031-01-01: it.*all records with time=",
    ),
    (
        "plot-scale",
        lambda w: partial(plot.maps, w.fine, scale="ln"),
        OptionError,
        r"Unknown scale: 'ln'\. Choose one of.*Did you mean 'linear'",
    ),
    (
        "plot-acf-of-variogram",
        lambda w: partial(plot.acf, w.fine.geostat.semivariogram()),
        DataError,
        r"What was given lacks 'acf'; give what geostat\.acf returns",
    ),
    (
        "plot-acf-of-one-map",
        lambda w: partial(plot.acf, w.fine.isel(time=0, drop=True).to_dataset(name="a")),
        DataError,
        r"What was given lacks 'lag'; give what geostat\.acf returns",
    ),
    (
        "plot-score",
        lambda w: partial(plot.lag_curve, w.fine, score="mae"),
        OptionError,
        r"Unknown score: 'mae'\. Choose one of.*Did you mean 'rmse'",
    ),
    (
        "report-no-folder",
        lambda w: partial(xd.report, w.fine, w.coarse, path=w.scratch / "no" / "r.html"),
        StorageError,
        "cannot be written: there is no.*or give another path",
    ),
    (
        "report-array",
        lambda w: partial(xd.report, w.fine.values, w.coarse, path=w.scratch / "r.html"),
        DataError,
        "prediction is a ndarray; give a.*variable of a Dataset",
    ),
    (
        "report-draws",
        lambda w: partial(xd.report, w.fine, w.coarse, path=w.scratch / "r.html", draws=0),
        OptionError,
        "draws is 0; a 95 %.*needs 20 or more",
    ),
    (
        "report-other-grid",
        lambda w: partial(xd.report, w.fine, w.coarse, moved(w.fine), w.scratch / "r.html"),
        GridError,
        "The fine record and the prediction.*Regrid one of them",
    ),
]
CASES = SPACE + SPLITS + SHOWN
