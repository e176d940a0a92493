from __future__ import annotations

import pytest
import torch

from xdownscale.core.errors import OptionError
from xdownscale.models.device import resolve_device, resolve_precision


def test_auto_takes_the_best_device_there_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto") == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == "cuda"
    assert resolve_device("cpu") == "cpu"


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(OptionError, match=r"device='cuda' was asked for .* use 'auto' or 'cpu'"):
        resolve_device("cuda")


def test_an_unknown_device_is_refused():
    with pytest.raises(OptionError, match=r"Unknown device: 'cpuu'.*Did you mean 'cpu'"):
        resolve_device("cpuu")


@pytest.mark.parametrize(
    ("precision", "device", "able", "expected"),
    [
        ("auto", "cpu", True, "32-true"),
        ("auto", "cuda", False, "32-true"),
        ("auto", "cuda", True, "bf16-mixed"),
        ("bf16", "cpu", True, "bf16-mixed"),
        ("32", "cuda", True, "32-true"),
    ],
)
def test_bf16_is_taken_where_it_pays(monkeypatch, precision, device, able, expected):
    monkeypatch.setattr("xdownscale.models.device.has_bf16", lambda device: able)
    assert resolve_precision(precision, device) == expected


def test_bf16_is_refused_where_it_is_emulated(monkeypatch):
    monkeypatch.setattr("xdownscale.models.device.has_bf16", lambda device: False)
    with pytest.raises(OptionError, match="this cuda device does not compute with bf16"):
        resolve_precision("bf16", "cuda")
