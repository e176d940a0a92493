"""Coarse fields that follow each other, and fine fields that depend on them linearly."""

from __future__ import annotations

import numpy as np

from xdownscale.models.statistical import Predictors


def make_weather(
    days: int = 120, noise: float = 0.3, seed: int = 0, coarse_shape: tuple[int, int] = (3, 4)
) -> tuple[Predictors, np.ndarray]:
    """Return predictors of two drivers and two steps, and fine fields of 4 x 4 cells for each."""
    rng = np.random.default_rng(seed)
    ny, nx = coarse_shape
    fields = rng.normal(size=(days + 1, 2, ny, nx))
    for day in range(1, days + 1):
        fields[day] = 0.5 * fields[day - 1] + 0.8 * fields[day]
    coarse = np.stack([fields[1:], fields[:-1]], axis=1).astype(np.float32)
    driver = coarse[:, 0, 0].repeat(4, 1).repeat(4, 2)
    weights = rng.normal(size=(2, 4 * ny, 4 * nx))
    second = coarse[:, 0, 1].repeat(4, 1).repeat(4, 2)
    fine = 2 + weights[0] * driver + 0.5 * weights[1] * second
    fine = fine + noise * rng.normal(size=fine.shape)
    angle = 2 * np.pi * np.arange(days) / 365
    rows, columns = np.meshgrid(np.arange(4 * ny), np.arange(4 * nx), indexing="ij")
    place = (np.stack([rows, columns], axis=-1) + 0.5) / 4 - 0.5
    predictors = Predictors(
        coarse=coarse,
        calendar=np.stack([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32),
        driver=driver,
        place=place,
    )
    return predictors, fine.astype(np.float32)
