"""Where to compute, and how precisely."""

from __future__ import annotations

import torch

from xdownscale.errors import OptionError, check_option


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


def resolve_precision(precision: str, device: str) -> str:
    """Return Lightning's name of a precision; ``"auto"`` is bf16 on CUDA devices that have it.

    Examples
    --------
    >>> resolve_precision("auto", "cpu")
    '32-true'
    """
    able = device == "cuda" and torch.cuda.is_bf16_supported()
    mixed = precision == "bf16" or (precision == "auto" and able)
    return "bf16-mixed" if mixed else "32-true"
