"""Arrange drivers, lagged fields and static fields as the input channels of a network."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Sizes(NamedTuple):
    """Numbers of variables, time steps and features in the data; they fix a network's channels.

    Attributes
    ----------
    drivers : int
        Coarse variables.
    window : int
        Coarse time steps that are seen on the fine grid, the target's own included.
    lags : int
        Preceding coarse time steps that the encoder sees.
    own : tuple of int
        For each fine variable the number of its own driver, -1 where it has none.
    fine_lags : int
        Preceding fine time steps.
    static, calendar : int
        Static fields, and calendar features.
    guess : int
        Channels of the first guess and of the climate, which come first.
    """

    drivers: int
    window: int
    lags: int
    own: tuple[int, ...]
    fine_lags: int
    static: int
    calendar: int
    guess: int = 0

    @property
    def targets(self) -> int:
        """Fine variables."""
        return len(self.own)

    @property
    def known(self) -> int:
        """Channels of the first guess and of `field_inputs`."""
        window = known_channels(self.window, self.drivers, self.own, self.fine_lags)
        return self.guess + window + self.static

    @property
    def coarse_lags(self) -> int:
        """Channels of the coarse record that the encoder sees."""
        return self.lags * self.drivers


def around(window: Floats, own: tuple[int, ...] = (0,)) -> Floats:
    """Return a window (..., n, d, y, x), the target's time step first, as channels (..., k, y, x).

    The targets' own drivers at that time step come first, 0 for a target that has none; then the
    others, in order.

    Examples
    --------
    >>> around(np.arange(3.0).reshape(3, 1, 1, 1)).ravel()
    array([0., 1., 2.])
    >>> around(np.arange(6.0).reshape(3, 2, 1, 1), own=(1, -1)).ravel()
    array([1., 0., 0., 2., 3., 4., 5.])
    """
    steps, drivers = window.shape[-4:-2]
    flat = window.reshape(*window.shape[:-4], steps * drivers, *window.shape[-2:])
    first = [d for d in own if d >= 0]
    rest = [k for k in range(steps * drivers) if k not in first]
    chosen = flat[..., [*first, *rest], :, :]
    if -1 not in own:
        return np.asarray(chosen, window.dtype)
    shape = (*chosen.shape[:-3], known_channels(steps, drivers, own), *chosen.shape[-2:])
    out = np.zeros(shape, window.dtype)
    known = [place for place, d in enumerate(own) if d >= 0]
    out[..., [*known, *range(len(own), shape[-3])], :, :] = chosen
    return out


def known_channels(steps: int, drivers: int, own: tuple[int, ...], fine_lags: int = 0) -> int:
    """Return the number of channels of `around` and `fine_channels`.

    Examples
    --------
    >>> known_channels(5, 1, (0,)), known_channels(5, 2, (1, -1)), known_channels(5, 1, (0,), 2)
    (5, 11, 7)
    """
    return steps * drivers + sum(d < 0 for d in own) + fine_lags * len(own)


def fine_channels(lags: Floats, stand_in: Floats) -> Floats:
    """Return lagged fine fields (..., k, t, y, x) as channels (..., k x t, y, x).

    Parameters
    ----------
    lags : ndarray (..., k, t, y, x)
        NaN where there is no field, or none at a pixel.
    stand_in : ndarray (..., t, y, x)
        What replaces NaN: the targets' own drivers at the time step itself.

    Examples
    --------
    >>> fine_channels(np.array([[[[1.0, np.nan]]]]), np.array([[[5.0, 6.0]]])).tolist()
    [[[1.0, 6.0]]]
    """
    filled = np.where(np.isnan(lags), stand_in[..., None, :, :, :], lags)
    return np.asarray(filled.reshape(*lags.shape[:-4], -1, *lags.shape[-2:]), np.float32)


def lagged(steps: Floats) -> Floats:
    """Return lagged coarse fields (..., lags, d, yc, xc) as channels (..., lags x d, yc, xc)."""
    return steps.reshape(*steps.shape[:-4], -1, *steps.shape[-2:])


def fill_inputs(
    driver: Floats, coarse_lags: Floats, fine_lags: Floats
) -> tuple[Floats, Floats, Floats]:
    """Replace NaN in the inputs of a network.

    A missing fine pixel takes the interpolated coarse value of its own time step; what is still
    missing takes 0, the middle of the scaled range.

    Parameters
    ----------
    driver : ndarray, (...)
        Driver at the target's time step.
    coarse_lags, fine_lags : ndarray, equal shapes
        Coarse (on the fine grid) and fine fields of the same time steps.

    Returns
    -------
    tuple of ndarray
        The three, filled.

    Examples
    --------
    >>> missing = np.array([np.nan, np.nan])
    >>> fill_inputs(np.zeros(1), np.array([2.0, np.nan]), missing)[2]
    array([2., 0.])
    """
    coarse = np.where(np.isnan(coarse_lags), np.float32(0), coarse_lags)
    fine = np.where(np.isnan(fine_lags), coarse, fine_lags)
    return np.where(np.isnan(driver), np.float32(0), driver), coarse, fine


def field_inputs(window: Floats, fine_lags: Floats, static: Floats, own: tuple[int, ...]) -> Floats:
    """Return the input channels (..., c, y, x) of a field U-Net.

    The targets' own drivers come first, then the window, the lagged fine fields and the static
    fields. A missing lagged pixel takes the driver of the time step itself.

    Parameters
    ----------
    window : ndarray (..., steps, d, y, x)
        Drivers on the fine grid, the time step itself first.
    fine_lags : ndarray (..., k, t, y, x)
        Fine fields before it; NaN where there is none.
    static : ndarray (..., s, y, x)
        Static fields.
    own : tuple of int
        Number of each target's own driver, -1 where it has none.
    """
    drivers = np.nan_to_num(around(window, own))
    lagged_fields = fine_channels(fine_lags, drivers[..., : len(own), :, :])
    return np.concatenate([drivers, lagged_fields, static], axis=-3)


def patch_inputs(window: Floats, fine_lags: Floats, static: Floats) -> tuple[Floats, Floats]:
    """Return the input channels of the paper's denoiser and of its encoder: two (..., c, y, x).

    Parameters
    ----------
    window, fine_lags, static
        As for `field_inputs`, of one variable.

    Returns
    -------
    known : ndarray (..., 1 + lags + s, y, x)
        Driver of the time step, drivers before it, static fields.
    lags : ndarray (..., lags, y, x)
        Fine fields before it, where known; else the drivers of the same time steps.
    """
    driver, coarse, fine = fill_inputs(
        window[..., :1, 0, :, :], window[..., 1:, 0, :, :], fine_lags[..., 0, :, :]
    )
    return np.concatenate([driver, coarse, np.nan_to_num(static)], axis=-3), fine
