"""Zarr stores behind URLs, read and filled by commands: a server on this machine speaks S3."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import xdownscale as xd
from records import make_pair
from xdownscale.cli._records import open_record
from xdownscale.cli._results import Destination
from xdownscale.core.errors import MissingPackageError, OptionError, StorageError

COARSE = make_pair(60)[0]
TIMES = ("--time", "2000-02-01", "2000-02-20")


@pytest.fixture(scope="module")
def keys(s3):
    """Variables of the environment that reach the server."""
    return {
        "AWS_ACCESS_KEY_ID": s3["key"],
        "AWS_SECRET_ACCESS_KEY": s3["secret"],
        "AWS_ENDPOINT_URL": s3["endpoint_url"],
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@pytest.fixture(scope="module")
def bucket(s3):
    """Address of a folder that holds the coarse record."""
    address = f"s3://bucket/{uuid.uuid4().hex}"
    COARSE.to_zarr(f"{address}/coarse.zarr", storage_options=s3, consolidated=False, zarr_format=3)
    return address


def test_predict_from_a_url_into_a_url_and_go_on(command, fitted, folder, bucket, s3, keys):
    asked = ("predict", "model.xd", f"{bucket}/coarse.zarr", "-o", f"{bucket}/maps.zarr", "-q")
    asked += (*TIMES, "-r", "2", "--chunks", "time=5", "--shards", "time=10")
    done = command(*asked, **keys)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == f"Wrote {bucket}/maps.zarr."
    model = xd.load(folder / "model.xd")
    expected = COARSE.t.downscale.predict(model, time=slice(*TIMES[1:]), realizations=2)
    with xr.open_zarr(f"{bucket}/maps.zarr", storage_options=s3, consolidated=False) as ds:
        np.testing.assert_array_equal(ds.t, expected)
        assert ds.t.encoding["chunks"][1] == 5
        assert ds.t.encoding["shards"][1] == 10
    again = command(*asked, **keys)
    assert again.returncode == 1
    assert f"{bucket}/maps.zarr exists. Add --resume" in again.stderr
    resumed = command(*asked, "--resume", **keys)
    assert resumed.returncode == 0, resumed.stderr


def test_a_missing_record_and_a_dead_server_are_named(command, fitted, bucket, keys):
    asked = ("predict", "model.xd", f"{bucket}/none.zarr", "-o", "never.nc")
    missing = command(*asked, **keys)
    assert missing.returncode == 1
    assert f"{bucket}/none.zarr" in missing.stderr
    dead = command(*asked, **{**keys, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    assert dead.returncode == 1
    assert "cannot be read" in dead.stderr
    assert "word" not in dead.stderr


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingPackageError, match=r"Reading s3://.* pip .*xarray-downscale\[s3\]"):
        open_record("s3://bucket/coarse.zarr")
    # every other kind of URL: in the words of fsspec
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(MissingPackageError, match="install gcsfs"):
        open_record("gs://bucket/coarse.zarr")


def test_messages_show_globs_as_they_are_and_no_secrets(tmp_path):
    (tmp_path / "day_1.nc").write_text("no netCDF")
    with pytest.raises(StorageError, match=r"day_\?\.nc cannot be read"):
        open_record(f"{tmp_path}/day_?.nc")
    with pytest.raises(OptionError, match="has files and Zarr stores") as found:
        open_record(f"{tmp_path}/day_1.nc,s3://us:word@bucket/a.zarr")
    assert "word" not in str(found.value)


def test_addresses_of_files_are_paths():
    destination = Destination()
    assert destination.convert("file:///tmp/maps.nc", None, None) == Path("/tmp/maps.nc")
    assert destination.convert("maps.zarr", None, None) == Path("maps.zarr")
    assert destination.convert("s3://us/maps.zarr", None, None) == "s3://us/maps.zarr"


def test_urls_of_other_kinds_are_wrong_usage(command, fitted):
    done = command("predict", "model.xd", "coarse.nc", "-o", "s3://us:word@bucket/maps.nc")
    assert done.returncode == 2
    assert "which should end in .zarr" in done.stderr
    assert "word" not in done.stderr


@pytest.mark.parametrize("option", ["--resume", "--shards time=3"])
def test_options_of_stores_are_refused_for_a_file(option, command, fitted):
    done = command("predict", "model.xd", "coarse.nc", "-o", "never.nc", *option.split())
    assert done.returncode == 2
    assert f"{option.split()[0]} is for a Zarr store" in done.stderr
