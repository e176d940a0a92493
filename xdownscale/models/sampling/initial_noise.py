"""Initial noise of the samplers: one field of the whole domain, or one for each patch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from xdownscale.models.diffusion import noise
from xdownscale.models.diffusion.noise_scales import noise_inputs
from xdownscale.models.diffusion.residual_statistics import ResidualStatistics
from xdownscale.models.diffusion.spectra import coloured
from xdownscale.models.diffusion.temporal_noise import RHOS

Floats = NDArray[np.float32]
Pairs = Sequence[tuple[int, int]]  # realization and time step
_THREADS = 16  # at most, that draw noise ahead
_MARGIN = 64  # pixels of noise around the domain, so that opposite edges are not neighbours


@dataclass(frozen=True, kw_only=True)
class InitialNoise:
    """Initial noise of samplers, which depends on seed, realization, time and place alone.

    Attributes
    ----------
    measured : ResidualStatistics or None
        Its spectrum and temporal correlation are those of the noise; None for white noise.
    seed : int
        Of the noise.
    keys : ndarray of int (n,)
        Time, in seconds, of each time step.
    step : int
        Seconds from one time step to the next.
    channels : int
        Fields of one time step.
    corner, domain : tuple of int
        Where the image lies in a larger one, and the larger one's size.
    shape, pad : tuple of int
        Rows and columns of the image, and those that are added to them.
    sigma_max : float
        Noise level that sampling begins at.
    scales : bool
        Give each channel at the three scales of `noise_inputs`, for networks trained with them.

    Examples
    --------
    >>> known = dict(seed=1, keys=np.array([0, 86400]), step=86400, channels=1, corner=(0, 0))
    >>> image = dict(domain=(6, 8), shape=(6, 8), pad=(2, 0))
    >>> noise_of = InitialNoise(measured=None, sigma_max=5.0, **image, **known)
    >>> noise_of.fields([0, 0], [0, 1]).shape
    (2, 1, 8, 8)
    """

    measured: ResidualStatistics | None
    seed: int
    keys: NDArray[np.int64]
    step: int
    channels: int
    corner: tuple[int, int]
    domain: tuple[int, int]
    shape: tuple[int, int]
    pad: tuple[int, int]
    sigma_max: float
    scales: bool = False

    def fields(
        self, realizations: Sequence[int], steps: Sequence[int] | NDArray[np.intp]
    ) -> Floats:
        """Return the noise of each realization and time step (m, channels, y, x), padded.

        Larger scales are means over squares of the domain, so that images which overlap share them.
        """
        pairs = zip(realizations, steps, strict=True)
        return np.stack([self.field(r, int(step)) for r, step in pairs])

    def batches(self, batches: Sequence[Pairs], *, ahead: bool = False) -> Iterator[Floats]:
        """Yield the noise of batches of (realization, time step).

        Parameters
        ----------
        batches : sequence of sequences of (int, int)
            What each batch holds.
        ahead : bool
            Draw the next batch in threads meanwhile, for networks on another device: one thread
            takes longer for its noise than a GPU for the networks.
        """
        if not ahead:
            yield from (np.stack([self.field(*pair) for pair in batch]) for batch in batches)
            return
        with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
            drawn: list[Future[Floats]] = []
            for batch in [*batches, []]:
                coming = [pool.submit(self.field, *pair) for pair in batch]
                if drawn:
                    yield np.stack([one.result() for one in drawn])
                drawn = coming

    def field(self, realization: int, step: int) -> Floats:
        """Return the noise of one realization and time step (channels, y, x), padded."""
        key = int(self.keys[step])
        y, x = self.corner
        ny, nx = self.shape
        height, width = self.domain
        edges = ((0, 0), (0, self.pad[0]), (0, self.pad[1]))
        wide = (height + _MARGIN, width + _MARGIN)
        fields = []
        for channel in range(self.channels):
            white = self._correlated_in_time(realization, key, wide, channel)
            fields.append(self._coloured(white, channel)[:height, :width])
        whole = self._at_scales(np.stack(fields)[None])[0]
        # Noise beyond the edge is noise too: some of the field's own, wrapped around.
        return np.pad(whole[:, y : y + ny, x : x + nx], edges, "wrap")

    def _correlated_in_time(
        self, realization: int, key: int, shape: tuple[int, int], channel: int
    ) -> Floats:
        """Return noise that is white in space and correlated in time as the residual is."""
        shares = RHOS == 0 if self.measured is None else self.measured.shares[channel]
        out = np.zeros(shape, np.float32)
        for number in np.flatnonzero(shares):
            part = noise.correlated_field(
                noise.derive(self.seed, int(number)),
                realization,
                key,
                shape,
                rho=float(RHOS[number]),
                step=self.step,
                channel=channel,
            )
            out += np.float32(np.sqrt(shares[number])) * part
        return out

    def own(
        self,
        realizations: int | NDArray[np.int64],
        steps: NDArray[np.intp],
        patches: NDArray[np.intp],
        size: int,
    ) -> Floats:
        """Return independent noise of patches (m, channels, size, size).

        Each patch is cut from a wider field, so that it holds parts of waves that are longer than
        itself, as patches of the domain do.
        """
        numbers = np.broadcast_to(realizations, steps.shape)
        named = list(
            zip(numbers.tolist(), self.keys[steps].tolist(), patches.tolist(), strict=True)
        )
        side = size if self.measured is None else size + _MARGIN
        noises = []
        for channel in range(self.channels):
            fields = [
                self._coloured(
                    noise.field(self.seed, number, key, channel, (side, side), patch), channel
                )[:size, :size]
                for number, key, patch in named
            ]
            noises.append(np.stack(fields))
        return self._at_scales(np.stack(noises, axis=1))

    def _at_scales(self, fields: Floats) -> Floats:
        """Return fields (m, channels, y, x) as they are, or at three scales."""
        if not self.scales:
            return fields
        return np.asarray(noise_inputs(torch.from_numpy(fields)).numpy(), np.float32)

    def _coloured(self, white: Floats, channel: int) -> Floats:
        if self.measured is None:
            return white
        return coloured(white, self.measured.spectra[channel], self.sigma_max)
