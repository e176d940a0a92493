"""Published records that cannot be opened."""

from __future__ import annotations

from functools import partial

import numpy as np

from xdownscale import datasets
from xdownscale.core.errors import DataError, GridError, OptionError, StorageError, TimeAxisError


def merra2(w, *args, **options):
    return partial(datasets.open_merra2, *args, **options)


def granule(w, name, content=""):
    return w.text(f"merra2/{name}", content).parent


def half_granule(w):
    folder = w.merra2("20010101")
    for path in folder.glob("*.nc4"):
        w.files.truncate(path)
    return folder


def g5nr(w, **options):
    lat, lon = w.files.small_grid()
    values = np.ones((lat.size, lon.size), np.float32)
    for stamp in w.files.g5nr_times():
        w.files.write_g5nr(w.scratch / "g5nr", "20060101", stamp, values, (lat, lon))
    return partial(datasets.open_g5nr, w.scratch / "g5nr", **options)


NAME = "MERRA2_300.tavg1_2d_aer_Nx.20010101.nc4"
RECORDS = [
    (
        "merra2-no-file",
        lambda w: merra2(w, w.scratch / "none"),
        StorageError,
        r"does not exist\. Give a folder,.*pattern such as 'merra2/\*\.nc4'",
    ),
    (
        "merra2-empty-folder",
        lambda w: merra2(w, w.scratch),
        StorageError,
        r"No file is called like.*or the files themselves",
    ),
    (
        "merra2-empty-file",
        lambda w: merra2(w, granule(w, NAME)),
        DataError,
        r"is empty \(0 bytes\)\. Delete it,.*and download it again",
    ),
    (
        "merra2-login-page",
        lambda w: merra2(w, granule(w, NAME, w.files.LOGIN_PAGE)),
        DataError,
        "is an HTML page, not a.*and download it again",
    ),
    (
        "merra2-half-file",
        lambda w: merra2(w, half_granule(w)),
        DataError,
        "is truncated: it has 10191 of.*and download it again",
    ),
    (
        "merra2-missing-variable",
        lambda w: merra2(w, w.merra2("20010101"), variable="DUEXTAU"),
        DataError,
        "has no variable 'DUEXTAU'; it has.*Did you mean 'DUEXTTAU'",
    ),
    (
        "merra2-odd-name",
        lambda w: merra2(w, granule(w, "dust.nc4", "x")),
        StorageError,
        r"No file is called like.*or the files themselves",
    ),
    (
        "merra2-region-beyond",
        lambda w: merra2(w, w.merra2("20010101"), region=(0, 80, 20, 95)),
        OptionError,
        r"Region 'region' is the box \(west=0\.0,.*all must be finite",
    ),
    (
        "merra2-region-upside-down",
        lambda w: merra2(w, w.merra2("20010101"), region=(0, 40, 20, 10)),
        OptionError,
        r"Region 'region' is the box \(west=0\.0,.*all must be finite",
    ),
    (
        "merra2-margin-negative",
        lambda w: merra2(w, w.merra2("20010101"), margin=-1),
        OptionError,
        "margin is -1; give a whole.*cells, 0 or more",
    ),
    (
        "merra2-incomplete-unknown",
        lambda w: merra2(w, w.merra2("20010101"), incomplete="zero"),
        OptionError,
        r"Unknown incomplete: 'zero'\. Choose one of 'nan', 'raise'",
    ),
    (
        "merra2-day-missing",
        lambda w: merra2(w, w.merra2("20010101", "20010103"), incomplete="raise"),
        TimeAxisError,
        "1 of 3 days have no.*files, or pass incomplete='nan'",
    ),
    (
        "merra2-years-not-there",
        lambda w: merra2(w, w.merra2("20010101"), years=1999),
        DataError,
        "None of the 1 MERRA-2 files.*or give other files",
    ),
    (
        "merra2-nothing-named",
        lambda w: merra2(w),
        OptionError,
        "open_merra2 needs files: give paths, or years and download=<folder>",
    ),
    (
        "merra2-number",
        lambda w: merra2(w, 7),
        OptionError,
        "paths is 7; give a folder,.*a list of files",
    ),
    (
        "g5nr-no-file",
        lambda w: partial(datasets.open_g5nr, w.scratch),
        StorageError,
        r"No file is called like.*or the files themselves",
    ),
    (
        "g5nr-missing-variable",
        lambda w: g5nr(w, variable="DUSTAOD"),
        DataError,
        "has no variable 'DUSTAOD'; it has.*Did you mean 'DUEXTTAU'",
    ),
    (
        "g5nr-margin-fraction",
        lambda w: g5nr(w, margin=0.5),
        OptionError,
        r"margin is 0\.5; give a whole.*cells, 0 or more",
    ),
    (
        "elevation-no-file",
        lambda w: partial(datasets.open_elevation, w.scratch / "none.tif", w.fine),
        StorageError,
        "does not exist or is no.*GeoTIFF or netCDF file",
    ),
    (
        "elevation-text",
        lambda w: partial(datasets.open_elevation, w.text("height.tif"), w.fine),
        DataError,
        "is no GeoTIFF file: its 17.*and download it again",
    ),
    (
        "elevation-elsewhere",
        lambda w: partial(
            datasets.open_elevation,
            w.files.write_gmted(w.scratch / "h.tif", np.ones((40, 40)), 100.0, 60.0, 0.25),
            w.fine,
        ),
        GridError,
        "24 of the grid's 24 latitudes,.*give a larger file",
    ),
    (
        "elevation-grid-is-path",
        lambda w: partial(datasets.open_elevation, w.text("h.tif"), str(w.file)),
        GridError,
        "The grid is a str; give.*with latitude and longitude",
    ),
    (
        "twin-one-year",
        lambda w: partial(datasets.make_twin, years=0),
        OptionError,
        "years is 0; give a whole.*of 1 or more",
    ),
    (
        "twin-shape",
        lambda w: partial(datasets.make_twin, shape=(5, 7)),
        OptionError,
        r"shape is \(5, 7\); give two.*8 or more pixels",
    ),
]
CASES = RECORDS
