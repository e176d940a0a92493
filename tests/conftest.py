"""Fixtures that the tests of several packages need."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, settings

import xdownscale as xd
from records import TINY, make_record

settings.register_profile(
    "xdownscale", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("xdownscale")

# In CI every test runs, but for what the machine cannot have.
EXCUSES = ("xesmf", "GPU", "Chromium", "tmpfs", "BLAS whose threads")
# What the suite says bit for bit holds on a CPU; `make test-gpu` asks for the GPU.
if os.environ.get("XDOWNSCALE_TEST_GPU") != "1":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ.setdefault("XDOWNSCALE_WEIGHTS", "")  # tests keep no weights of regridding on disk
DATA = Path(os.environ.get("XDOWNSCALE_TEST_DATA", "../shared/data"))


_skipped: list[str] = []


class Figures:
    """Closes the figures of each test, those of docstrings too; matplotlib warns beyond twenty."""

    def pytest_runtest_teardown(self) -> None:
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is not None:
            pyplot.close("all")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Figures())


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(f"{report.nodeid}: {report.longrepr}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    unexcused = [line for line in _skipped if not any(word in line for word in EXCUSES)]
    if os.environ.get("CI") == "true" and unexcused:
        print("\nSkipped for no good reason:", *unexcused, sep="\n  ")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20251205)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real records; the test is skipped where it is not."""
    if not DATA.is_dir():
        pytest.skip(f"no real data at {DATA} (set XDOWNSCALE_TEST_DATA)")
    return DATA


@pytest.fixture(scope="session")
def iberia(real_data: Path) -> xr.Dataset:
    with xr.open_dataset(real_data / "iberia_djf1990_1997.nc") as ds:
        return ds.load()


@pytest.fixture(scope="session")
def coarse() -> xr.DataArray:
    """Long coarse record: 2 degrees, one cell beyond the fine domain on every side."""
    return make_record(2.0, days=120, margin=2.0)


@pytest.fixture(scope="session")
def fine() -> xr.DataArray:
    """Short fine record: 0.5 degrees, the last 80 of the coarse record's first 100 days."""
    return make_record(0.5, days=100).isel(time=slice(20, None))


@pytest.fixture(scope="session")
def tiny_config() -> xd.DownscalerConfig:
    return xd.preset("paper", **TINY)


@pytest.fixture(scope="session")
def model(
    coarse: xr.DataArray, fine: xr.DataArray, tiny_config: xd.DownscalerConfig
) -> xd.Downscaler:
    """A model that was trained for a moment; tests must not change it."""
    return coarse.downscale.fit(fine, preset=tiny_config, progress=False)


@pytest.fixture(scope="session")
def s3():
    """A server on this machine that speaks S3, and the options that reach it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {
        "key": "none",
        "secret": "word",
        "endpoint_url": f"http://{host}:{port}",
    }
    import boto3

    boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url=options["endpoint_url"],
        aws_access_key_id="none",
        aws_secret_access_key="word",
    ).create_bucket(Bucket="bucket")
    yield options
    server.stop()
