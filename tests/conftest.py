"""Fixtures that several rooms of the house need."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, settings

settings.register_profile(
    "house", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("house")

DATA = Path(os.environ.get("XDOWNSCALE_TEST_DATA", "../shared/data"))


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
