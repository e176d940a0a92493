"""Devices and numerical precision."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

import torch

from xdownscale.config import FORKS
from xdownscale.core.errors import OptionError, check_option


def resolve_device(device: str) -> str:
    """Return the device to use.

    Parameters
    ----------
    device : str
        ``"auto"`` (CUDA, else Apple's MPS, else the CPU), ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Returns
    -------
    str

    Raises
    ------
    OptionError
        For an unknown device, or one that is not there.

    Examples
    --------
    >>> resolve_device("cpu")
    'cpu'
    """
    check_option("device", device, ("auto", "cpu", "cuda", "mps"))
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next((name for name, found in there.items() if found), "cpu")
    if not there.get(device, True):
        raise OptionError(
            f"device={device!r} was asked for and torch finds none here; use 'auto' or 'cpu'."
        )
    return device


def check_devices(device: str, devices: int, strategy: str) -> None:
    """Raise unless enough devices are there, and can train together with a strategy.

    Parameters
    ----------
    device : str
        As for `resolve_device`.
    devices : int
        Their number; on the CPU processes, of which there may be as many as cores.
    strategy : str
        One of `xdownscale.config.STRATEGIES`.

    Raises
    ------
    OptionError

    Examples
    --------
    >>> check_devices("cpu", 1, "auto")
    """
    place = resolve_device(device)
    there = {"cuda": torch.cuda.device_count(), "mps": 1}.get(place, os.cpu_count() or 1)
    if devices > there:
        raise OptionError(
            f"training.devices is {devices}, and {there} can be had here (device {place!r}; on the "
            f"CPU one for each core). Give 1 to {there}."
        )
    if place == "cuda" and strategy in FORKS:
        raise OptionError(
            f"strategy={strategy!r} forks this process, which CUDA does not survive. Use 'ddp', "
            "from a script."
        )


def resolve_precision(precision: str, device: str) -> str:
    """Return Lightning's name of a precision; ``"auto"`` is bf16 on CUDA devices that have it.

    Examples
    --------
    >>> resolve_precision("auto", "cpu")
    '32-true'
    """
    check_precision(precision, device)
    able = device == "cuda" and has_bf16(device)
    mixed = precision == "bf16" or (precision == "auto" and able)
    return "bf16-mixed" if mixed else "32-true"


def has_bf16(device: str) -> bool:
    """Tell whether a device computes with bf16 in hardware.

    Examples
    --------
    >>> has_bf16("mps")
    False
    """
    if device == "cuda":
        able = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
        return bool(able)
    return device == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def check_precision(precision: str, device: str) -> None:
    """Raise if bf16 is asked of a device that has none.

    Raises
    ------
    OptionError
    """
    if precision == "bf16" and not has_bf16(device):
        raise OptionError(
            f"precision='bf16' was asked for, and this {device} device does not compute with bf16 "
            "in hardware: it would be slower, not faster. Use 'auto' or '32'."
        )


def autocast(precision: str, device: str) -> AbstractContextManager[object]:
    """Return a context in which networks compute with a precision; ``"auto"`` is bf16 on CUDA.

    Raises
    ------
    OptionError
        If the device has no bf16 and it is asked for.

    Examples
    --------
    >>> with autocast("auto", "cpu"):
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.float32
    """
    check_precision(precision, device)
    able = precision == "bf16" or (precision == "auto" and device == "cuda" and has_bf16(device))
    return torch.autocast(device, torch.bfloat16) if able else nullcontext()
