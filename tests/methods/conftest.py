"""Small arrays and a configuration of the patch networks; one thread."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from records import small_arrays, small_config


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def arrays() -> Any:
    return small_arrays()


@pytest.fixture
def config() -> Any:
    return small_config()


@pytest.fixture
def replaced():
    return dataclasses.replace
