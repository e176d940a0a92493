"""A record small enough to train on in a second."""

from __future__ import annotations

import dataclasses
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

SMALL = runpy.run_path(str(Path(__file__).with_name("small_record.py")))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def arrays() -> Any:
    return SMALL["small_arrays"]()


@pytest.fixture
def config() -> Any:
    return SMALL["small_config"]()


@pytest.fixture
def conditions(arrays):
    from xdownscale.models.sampling.patches import Conditions

    return Conditions(
        driver=arrays.driver[arrays.stop_targets],
        coarse_lags=arrays.driver[arrays.stop_lags],
        fine_lags=arrays.fine[arrays.stop_lags],
        static=arrays.static,
        calendar=arrays.calendar[arrays.stop_targets],
    )


@pytest.fixture
def replaced():
    return dataclasses.replace
