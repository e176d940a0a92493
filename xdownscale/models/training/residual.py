"""Measure and calibrate the residual of regressions: cross-fitted means, scale, spectrum, spread.

The residual is the fine field minus the conditional mean, on time steps that the regression which
made the mean was not trained on.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xdownscale.models.diffusion import noise, spectra
from xdownscale.models.diffusion.calibration import (
    BANDS,
    fit_level,
    fit_temperature,
    warn_of_saturation,
)
from xdownscale.models.diffusion.residual_statistics import ResidualStatistics
from xdownscale.models.diffusion.temporal_noise import LAGS, LaggedProducts
from xdownscale.models.networks.autoencoder import Autoencoder
from xdownscale.models.networks.field_unet import FieldNet, FieldNetworks
from xdownscale.models.networks.latent_options import FACTOR
from xdownscale.models.sampling.fields import FieldSampler, ResidualSampler
from xdownscale.models.sampling.request import SampleRequest
from xdownscale.models.statistical.marginal import Marginal, marginal_state
from xdownscale.models.training.data import (
    Floats,
    Rows,
    TrainingData,
    conditions_of,
    read_rows,
)
from xdownscale.models.training.stages import Stages

_BLOCK = 16  # fields that are evaluated at once
_SPECTRUM_FIELDS = 64  # that the spectrum is measured on
_CALIBRATION_FIELDS = 96  # most that the temperature is fitted on
_CALIBRATION_MEMBERS = 4  # realizations for that
_MARGINAL_CELLS = 4096  # by which the distribution of generated values is found
_MARGINAL_TOP = 0.8  # share of its values that are mapped: validation days have few extremes
_RUNS = 32  # runs of time steps that are measured, of a record that is not in memory
_BYTES = 1 << 27  # of its fields that are looked at together
_FEWEST = 8  # fields that are, however large

Evaluate = Callable[[FieldNetworks, Rows], Floats]
Part = tuple[Sequence[FieldNet], Rows]


class LazyMeans:
    """Conditional means of many time steps, each computed when it is asked for.

    The networks are copied: the ones given may be in training meanwhile.

    Parameters
    ----------
    evaluate : callable
        (networks, rows) -> fields (n, t, y, x).
    networks : FieldNetworks
        Whose encoder feeds all regressions.
    parts : list of (sequence of FieldNet, ndarray of int)
        Regressions, and the time steps that their mean is taken at. Others are 0.
    shape : tuple of int
        (time steps, t, y, x).
    """

    dtype = np.dtype("float32")

    def __init__(
        self,
        evaluate: Evaluate,
        networks: FieldNetworks,
        parts: Sequence[Part],
        shape: tuple[int, ...],
    ) -> None:
        self._evaluate = evaluate
        self.shape = shape
        self._networks = [
            with_regressions(copy.deepcopy(networks), copy.deepcopy(nets)) for nets, _ in parts
        ]
        self._part = np.full(shape[0], -1)
        for number, (_, rows) in enumerate(parts):
            self._part[rows] = number

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Floats:
        if np.ndim(rows):
            return np.stack([self[int(row)] for row in rows])
        part = int(self._part[rows])
        if part < 0:
            return np.zeros(self.shape[1:], np.float32)
        return np.asarray(self._evaluate(self._networks[part], np.array([rows], np.int64))[0])


def with_regressions(networks: FieldNetworks, nets: Sequence[FieldNet]) -> FieldNetworks:
    """Return networks with the same encoder, some regressions and nothing else."""
    some = FieldNetworks.__new__(FieldNetworks)
    torch.nn.Module.__init__(some)
    some.encoder = networks.encoder
    some.drawer = None
    some.regressions = torch.nn.ModuleList(nets)
    return some


def cross_fitted_means(
    stages: Stages, networks: FieldNetworks, folds: Rows, count: int, stopping: Rows | None = None
) -> Any:
    """Return the mean of each fine time step, by regressions that were not trained on it.

    Parameters
    ----------
    stages : Stages
        The training.
    networks : FieldNetworks
        Its regressions are trained.
    folds : ndarray of int
        Block of time of each training time step.
    count : int
        Number of blocks.
    stopping : ndarray of int, optional
        Time steps of early stopping that were not trained on; by default all of them.

    Returns
    -------
    array (m, t, y, x)
        `LazyMeans` where memory would not hold it.
    """
    data = stages.data
    everyone = list(networks.regressors)
    left_out = [data.train_targets[folds == k] for k in range(count)]
    stopping = data.stop_targets if stopping is None else stopping
    held = np.concatenate([stopping, data.tune_targets]).astype(np.int64)
    parts: list[Part] = [([everyone[k]], rows) for k, rows in enumerate(left_out)]
    parts.append((everyone, held))

    def evaluate(some: FieldNetworks, rows: Rows) -> Floats:
        return conditional_means(stages, some, rows)

    shape = (len(data.windows), *data.mask.shape)
    if 4e-6 * np.prod(shape) > stages.run.config.data.memory_limit:
        return LazyMeans(evaluate, networks, parts, shape)
    means = np.zeros(shape, np.float32)
    for nets, rows in parts:
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            means[block] = evaluate(with_regressions(networks, nets), block)
    return means


def conditional_means(stages: Stages, networks: FieldNetworks, rows: Rows) -> Floats:
    """Return the mean of all regressions at some fine time steps (n, t, y, x)."""
    sampler = FieldSampler(networks.to(stages.device).eval())
    return np.asarray(sampler.sample(_request(stages, rows, (0,)))[0])


def _most(count: int, means: Any, copies: int = 1) -> int:
    """Return how many fields are measured: fewer where they are large and not in memory."""
    if isinstance(means, np.ndarray):
        return count
    return max(_FEWEST, min(count, int(_BYTES // (4 * copies * np.prod(means.shape[1:])))))


def measure_residual(data: TrainingData, means: Any) -> ResidualStatistics:
    """Measure scale, temporal correlation and spectrum of the residual on training time steps.

    Of a record that is not in memory, some runs of time steps are used, spread over it.
    """

    def residual(row: int) -> Floats:
        truth = read_rows(data.fine, [row])[0]
        return np.where(data.mask, truth - means[row], np.nan)

    return _measured(data, means, residual, data.mask)


def measure_latents(
    data: TrainingData, means: Any, scale: NDArray[np.float64], autoencoder: Autoencoder
) -> ResidualStatistics:
    """Measure the latent numbers of scaled residuals, and standardise them in the autoencoder.

    Returns
    -------
    ResidualStatistics
        Of the standardised numbers, one entry for each number of a latent cell.
    """
    autoencoder = autoencoder.eval()
    device = autoencoder.center.device
    edges = [(0, 0), *((0, -n % FACTOR) for n in data.shape)]
    mask = np.pad(data.mask.any(0), edges[1:])
    cells = mask.reshape(mask.shape[0] // FACTOR, FACTOR, -1, FACTOR).any((1, 3))

    def latents(row: int) -> Floats:
        truth = read_rows(data.fine, [row])[0]
        residual = np.where(data.mask, truth - means[row], np.nan) / scale[:, None, None]
        residual = np.pad(np.nan_to_num(residual), edges).astype(np.float32)
        with torch.inference_mode():
            found = autoencoder.standardised(torch.from_numpy(residual)[None].to(device))[0]
        return np.where(cells, found.cpu().numpy(), np.float32(np.nan))

    rows = data.train_targets
    rows = rows[:: max(1, len(rows) // _most(_CALIBRATION_FIELDS, means))]
    some = np.stack([latents(int(row))[:, cells] for row in rows], axis=1)
    spread = some.std((1, 2))
    autoencoder.center.copy_(torch.from_numpy(some.mean((1, 2))))
    autoencoder.spread.copy_(torch.from_numpy(np.where(spread > 0, spread, 1.0)))
    found = _measured(data, means, latents, np.broadcast_to(cells, (len(some), *cells.shape)))
    return found._replace(scale=np.ones(len(some)))


def _measured(
    data: TrainingData, means: Any, fields: Callable[[int], Floats], masks: NDArray[np.bool_]
) -> ResidualStatistics:
    """Measure scale, temporal correlation and spectrum of fields (k, y, x), NaN where missing."""
    rows = data.train_targets
    if not isinstance(means, np.ndarray):
        rows = spread_runs(rows, _RUNS)
    targets = len(masks)
    squares = np.zeros(targets)
    pixels = np.zeros(targets)
    products = LaggedProducts(data.step, targets)
    sampled = []
    every = max(1, len(rows) // _most(_SPECTRUM_FIELDS, means))
    for i, row in enumerate(rows):
        r = fields(int(row))
        squares += np.nansum(np.square(r), axis=(1, 2))
        pixels += np.isfinite(r).sum(axis=(1, 2))
        products.add(int(data.keys[row]), r)
        if i % every == 0:
            sampled.append(r)
    scale = np.sqrt(squares / np.maximum(pixels, 1))
    scale = np.where(scale > 0, scale, 1.0)
    parts = zip(np.stack(sampled, axis=1), scale, masks, strict=True)
    found = tuple(spectra.measure(f / size, mask) for f, size, mask in parts)
    even = np.ones((len(scale), BANDS.size))
    return ResidualStatistics(
        scale=scale, shares=products.shares(), bands=BANDS, temperature=even, spectra=found
    )


def calibrate_residual(stages: Stages, sampler: ResidualSampler, means: Any) -> None:
    """Calibrate the spread and the temporal correlation of the residuals that are generated.

    Both become those of true residuals at validation time steps.
    """
    data = stages.data
    rows = data.tune_targets if len(data.tune_targets) else data.stop_targets
    if not len(rows):
        return
    residual = sampler.residual
    assert residual is not None
    count = _most(_CALIBRATION_FIELDS, means, 1 + _CALIBRATION_MEMBERS)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, count).astype(int))]
    sampler.networks.to(stages.device).eval()
    realizations = tuple(range(_CALIBRATION_MEMBERS))
    true = np.empty((len(rows), *data.mask.shape), np.float32)
    generated = np.empty((_CALIBRATION_MEMBERS, *true.shape), np.float32)
    for start in range(0, len(rows), 4):
        block = rows[start : start + 4]
        fields = sampler.sample(_request(stages, block, realizations))
        truth = np.where(data.mask, read_rows(data.fine, block), np.nan)
        mean = means[block]
        true[start : start + 4] = truth - mean
        # pixels that are missing in the truth are left out of both
        generated[:, start : start + 4] = np.where(np.isnan(truth), np.nan, fields - mean)
    fitted = [
        fit_temperature(
            spectra.measure(true[:, k], mask),
            spectra.measure(generated[:, :, k].reshape(-1, *mask.shape), mask),
        )
        for k, mask in enumerate(data.mask)
    ]
    calibrated = residual._replace(temperature=np.stack(fitted))
    filtered = _calibrated_again(residual, calibrated, generated)
    level = np.array([fit_level(true[:, k], filtered[:, :, k]) for k in range(len(data.mask))])
    warn_of_saturation(calibrated.temperature, level)
    keys = data.keys[rows]
    of_truth = _autocorrelation(data, keys, true[None])
    of_generated = _autocorrelation(data, keys, generated)
    sampler.residual = calibrated._replace(level=level)
    sampler.correct_memory(of_truth, of_generated)


def _calibrated_again(
    before: ResidualStatistics, after: ResidualStatistics, generated: Floats
) -> Floats:
    """Return generated residuals (r, n, t, y, x), calibrated by other statistics than they were.

    Pixels that are missing stay so, and count as 0.
    """
    undone = after._replace(scale=np.ones(len(before.scale)))
    missing = np.isnan(generated)
    flat = torch.from_numpy(np.where(missing, 0, generated).reshape(-1, *generated.shape[-3:]))
    again = undone.calibrated(flat).numpy().reshape(generated.shape)
    return np.where(missing, np.float32(np.nan), again)


def measure_marginal(stages: Stages, sampler: ResidualSampler) -> dict[str, Floats]:
    """Map what is generated to the distribution of validation time steps, if it is censored.

    Returns
    -------
    dict of ndarray
        What `read_marginal` reads; empty where no target is censored.
    """
    data = stages.data
    rows = data.tune_targets if len(data.tune_targets) else data.stop_targets
    if not any(data.censored) or not len(rows):
        return {}
    count = max(_FEWEST, min(_CALIBRATION_FIELDS, int(_BYTES // (16 * data.mask.size))))
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, count).astype(int))]
    sampler.networks.to(stages.device).eval()
    cells = np.flatnonzero(data.mask)
    cells = cells[:: max(1, cells.size // _MARGINAL_CELLS)]
    known = read_rows(data.fine, rows).reshape(len(rows), -1)[:, cells]
    made = [
        sampler.sample(_request(stages, block, (0, 1))).reshape(2, len(block), -1)[..., cells]
        for block in np.array_split(rows, -(-len(rows) // 4))
    ]
    target = cells // (data.mask[0].size)
    marginal = Marginal.fit(
        np.concatenate(made, axis=1), known, target, data.censored, top=_MARGINAL_TOP
    )
    return marginal_state(marginal)


def _autocorrelation(data: TrainingData, keys: Rows, series: Floats) -> NDArray[np.float64]:
    """Return the autocorrelation (t, lags) of some realizations (r, n, t, y, x)."""
    products = LaggedProducts(data.step, len(data.mask))
    for realization in series:
        products.start()
        for key, fields in zip(keys, realization, strict=True):
            products.add(int(key), np.where(data.mask, fields, np.nan))
    return products.correlation()


def _request(stages: Stages, rows: Rows, realizations: tuple[int, ...]) -> SampleRequest:
    return SampleRequest(
        conditions=conditions_of(stages.data, rows),
        config=stages.run.config,
        realizations=realizations,
        seed=noise.derive(stages.run.seed, 4),
        step=stages.data.step,
        device=stages.device,
        corner=(0, 0),
        domain=stages.data.shape,
        stitching="whole",
    )


def spread_runs(rows: Rows, count: int) -> Rows:
    """Return evenly spread runs of consecutive time steps, to measure correlation in time.

    Examples
    --------
    >>> spread_runs(np.arange(100), 2)
    array([ 0,  1,  2,  3,  4,  5, 94, 95, 96, 97, 98, 99])
    >>> spread_runs(np.arange(4), 2)
    array([0, 1, 2, 3])
    """
    starts = np.linspace(0, max(len(rows) - LAGS - 1, 0), count).astype(int)
    chosen = np.unique(starts[:, None] + np.arange(LAGS + 1))
    return rows[chosen[chosen < len(rows)]]
