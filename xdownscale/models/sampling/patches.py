"""Draw fields from trained networks, patch by patch or in one piece."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xdownscale.config import DownscalerConfig, SamplingConfig
from xdownscale.core.errors import ModelMismatchError, check_option
from xdownscale.models.device import resolve_device
from xdownscale.models.diffusion import noise
from xdownscale.models.diffusion.samplers import ddim, ddpm
from xdownscale.models.diffusion.schedules import Schedule, squared_cosine
from xdownscale.models.networks.unet import Conditioned, Networks
from xdownscale.models.training.patch_dataset import fill_inputs
from xdownscale.patches.arrays import Stitcher, extract_array
from xdownscale.patches.layout import PatchLayout

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What is known of B fields that are to be drawn, in scaled units. NaN where missing.

    Lag axes run from the oldest day to the day before.

    Attributes
    ----------
    driver : ndarray (B, y, x)
        Coarse field of the day, on the fine grid.
    coarse_lags, fine_lags : ndarray (B, lags, y, x)
        Coarse (on the fine grid) and fine fields of the days before.
    static : ndarray (s, y, x)
        Static fields.
    calendar : ndarray (B, c)
        Calendar numbers of the day.
    """

    driver: Floats
    coarse_lags: Floats
    fine_lags: Floats
    static: Floats
    calendar: Floats


def sample(
    networks: Networks,
    config: DownscalerConfig,
    conditions: Conditions,
    keys: NDArray[np.int64],
    *,
    seed: int,
    device: str = "auto",
    stitching: str = "patches",
    corner: tuple[int, int] = (0, 0),
    domain: tuple[int, int] | None = None,
) -> Floats:
    """Draw fields. What is drawn depends on seed, keys and conditions alone.

    Parameters
    ----------
    networks : Networks
        From `load`; moved to the device.
    config : DownscalerConfig
        Its section `sampling` decides sampler, steps, patches and noise.
    conditions : Conditions
        What is known of B fields.
    keys : ndarray of int (B, 2)
        Realization and day of every field; the day is any integer that names it.
    seed : int
        Of the noise.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    stitching : str
        ``"patches"``: patch by patch and stitched, as in the paper. ``"whole"``: the image in
        one piece, with the same shared noise; far fewer network evaluations.
    corner, domain : tuple of int
        Where the fields lie in a larger image, and its size: fields of one image then share one
        noise field.

    Returns
    -------
    ndarray of float32 (B, y, x)
        Scaled units.

    Raises
    ------
    OptionError
        For an unknown device or stitching.
    GridError
        If a patch is larger than the image, or stride and halo leave gaps.
    ModelMismatchError
        If the conditions have other channels than the networks.
    """
    check_option("stitching", stitching, ("patches", "whole"))
    place = resolve_device(device)
    _check_channels(networks, config, conditions)
    driver, coarse, fine = fill_inputs(
        conditions.driver, conditions.coarse_lags, conditions.fine_lags
    )
    draw = _Draw(
        networks=networks.to(place).eval(),
        sampling=config.sampling,
        schedule=squared_cosine(config.diffusion.train_steps),
        stacked=_stack(driver, coarse, fine, conditions),
        lags=config.data.lags,
        keys=np.asarray(keys),
        seed=seed,
        device=place,
        corner=corner,
        domain=domain or driver.shape[-2:],
    )
    with torch.inference_mode():
        return draw.by_patches() if stitching == "patches" else draw.whole()


@dataclass(frozen=True, kw_only=True)
class _Draw:
    """One call of `sample`."""

    networks: Networks
    sampling: SamplingConfig
    schedule: Schedule
    stacked: Floats  # (B, driver + coarse lags + fine lags + static + calendar, y, x)
    lags: int
    keys: NDArray[np.int64]
    seed: int
    device: str
    corner: tuple[int, int]
    domain: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        return self.stacked.shape[-2], self.stacked.shape[-1]

    def by_patches(self) -> Floats:
        """Draw patch by patch; a batch may hold patches of several fields."""
        s = self.sampling
        layout = PatchLayout(self.shape, s.size, s.stride, s.halo, s.taper)
        out = np.empty((len(self.stacked), *self.shape), dtype=np.float32)
        stitchers: dict[int, Stitcher] = {}
        total = len(self.stacked) * layout.n_patches
        for start in range(0, total, s.batch_size):
            items = np.arange(start, min(start + s.batch_size, total))
            fields, patches = np.divmod(items, layout.n_patches)
            drawn = self._patches(layout, fields, patches)
            for b in np.unique(fields):
                mine = fields == b
                stitcher = stitchers.setdefault(b, Stitcher(layout, (), np.float32))
                stitcher.add(patches[mine], drawn[mine])
                if patches[mine][-1] == layout.n_patches - 1:
                    out[b] = stitchers.pop(b).result()
        return out

    def whole(self) -> Floats:
        """Draw images in one piece, padded to what halving needs."""
        s, (ny, nx) = self.sampling, self.shape
        unit = 2 ** (len(self.networks.denoiser.encoder.blocks) - 1)
        pad = ((0, -ny % unit), (0, -nx % unit))
        count = max(1, s.batch_size * s.size**2 // (ny * nx))
        parts = []
        for start in range(0, len(self.stacked), count):
            chosen = range(start, min(start + count, len(self.stacked)))
            inputs = np.pad(self.stacked[start : start + count], ((0, 0), (0, 0), *pad), "edge")

            def white(step: int, chosen: range = chosen) -> Floats:
                # Noise beyond the edge is noise too: some of the field's own, wrapped around.
                images = np.stack([self._image_noise(b, step) for b in chosen])
                return np.pad(images, ((0, 0), *pad), "wrap")

            parts.append(self._run(inputs, white, count)[:, :ny, :nx])
        return np.concatenate(parts)

    def _image_noise(self, b: int, step: int) -> Floats:
        realization, day = (int(key) for key in self.keys[b])
        field = noise.field(self.seed, realization, day, step, self.domain)
        (y, x), (ny, nx) = self.corner, self.shape
        return field[y : y + ny, x : x + nx]

    def _patches(
        self, layout: PatchLayout, fields: NDArray[np.int64], patches: NDArray[np.int64]
    ) -> Floats:
        """Draw some patches (n, size, size) of some fields, both given for each."""
        present = np.unique(fields)

        def cut(image: Callable[[int], Floats]) -> Floats:
            parts = [extract_array(image(b), layout, patches[fields == b]) for b in present]
            return np.concatenate([np.moveaxis(part, -3, 0) for part in parts])

        def white(step: int) -> Floats:
            if self.sampling.noise == "shared":
                return cut(lambda b: self._image_noise(b, step))
            size = (layout.size, layout.size)
            own = [(*map(int, self.keys[b]), int(p)) for b, p in zip(fields, patches, strict=True)]
            return np.stack([noise.field(self.seed, r, d, step, size, p) for r, d, p in own])

        return self._run(cut(lambda b: self.stacked[b]), white, self.sampling.batch_size)

    def _run(self, inputs: Floats, white: Callable[[int], Floats], most: int) -> Floats:
        """Run the sampler over n <= `most` inputs (n, channels, h, w), with noise white(step)."""
        alone = len(inputs) == 1 < most
        if alone:  # see `models.company`
            inputs, one = np.repeat(inputs, 2, axis=0), white

            def white(step: int) -> Floats:
                return np.repeat(one(step), 2, axis=0)

        conditioned = self._condition(inputs)

        def denoiser(x: Tensor, step: int) -> Tensor:
            steps = torch.full((len(x),), step, device=x.device)
            clean: Tensor = self.networks.denoiser(x, steps, conditioned)
            return clean

        def tensor(step: int) -> Tensor:
            return torch.from_numpy(white(step))[:, None].to(self.device)

        s, start = self.sampling, tensor(0)
        if s.sampler == "ddim":
            drawn = ddim(denoiser, start, self.schedule, s.steps)
        else:
            drawn = ddpm(denoiser, start, self.schedule, s.steps, lambda i: tensor(i + 1))
        result: Floats = drawn[: len(drawn) - alone, 0].cpu().numpy()
        return result

    def _condition(self, inputs: Floats) -> Conditioned:
        known = torch.from_numpy(np.ascontiguousarray(inputs, dtype=np.float32)).to(self.device)
        known = known.contiguous(memory_format=torch.channels_last)
        lags = self.lags
        rest = known.shape[1] - 1 - 2 * lags
        parts = torch.split(known, [1, lags, lags, rest], 1)
        return self.networks.condition(*parts)


def _stack(driver: Floats, coarse: Floats, fine: Floats, conditions: Conditions) -> Floats:
    """Stack all channels of every field (B, channels, y, x)."""
    shape = (len(driver), -1, *driver.shape[-2:])
    static = np.broadcast_to(np.nan_to_num(conditions.static), (shape[0], *conditions.static.shape))
    spread = (*conditions.calendar.shape, *shape[2:])
    calendar = np.broadcast_to(conditions.calendar[..., None, None], spread)
    channels = [driver[:, None], coarse, fine, static, calendar]
    stacked: Floats = np.concatenate(channels, axis=1).astype(np.float32, copy=False)
    return stacked


def _check_channels(networks: Networks, config: DownscalerConfig, conditions: Conditions) -> None:
    found = 1 + config.data.lags + len(conditions.static) + conditions.calendar.shape[1]
    if found != networks.known or conditions.fine_lags.shape[1] != config.data.lags:
        raise ModelMismatchError(
            f"The conditions have {found} channels and {conditions.fine_lags.shape[1]} fine lags; "
            f"these networks take {networks.known} channels and {config.data.lags} lags. Give the "
            "lags, static fields and calendar that they were trained with."
        )
