"""Train the networks of whole fields, and measure the residual between and after the stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xdownscale.config import DownscalerConfig
from xdownscale.models.diffusion import noise, spectra
from xdownscale.models.diffusion.calibration import BANDS, fit_temperature
from xdownscale.models.diffusion.residual import Residual
from xdownscale.models.diffusion.temporal_noise import Products, corrected
from xdownscale.models.networks.field_unet import FieldNet, FieldNetworks
from xdownscale.models.networks.unet import Encoder
from xdownscale.models.sampling.fields import draw_fields
from xdownscale.models.sampling.request import FieldConditions, FieldRequest
from xdownscale.models.training.checkpoint import Checkpoints
from xdownscale.models.training.crop_dataset import (
    FieldArrays,
    Rows,
    around,
    fine_before,
    fine_channels,
    lagged,
)
from xdownscale.models.training.cross_fitting import Means, only, runs
from xdownscale.models.training.field_tasks import (
    DenoiseResidual,
    Generate,
    Regress,
    Stage,
    fold_of,
)
from xdownscale.models.training.patch_dataset import read_rows
from xdownscale.models.training.trainer import run_stage

Floats = NDArray[np.float32]
History = dict[str, list[Any]]
NOISY = {"residual": 1, "crps": 3, "unet": 0}  # channels of noise of the network that draws
_SHARES = {"residual": (0.1, 0.4, 0.5), "crps": (0.1, 0.0, 0.9), "unet": (0.1, 0.9, 0.0)}
_BLOCK = 16  # days whose fields are evaluated at once
_SAMPLED = 64  # days that the spectrum is measured on
_TUNED = 96  # most days that the temperature is fitted on
_DRAWS = 4  # realizations for that
_RUNS = 32  # runs of days that a residual is measured on, of a record that is not in memory
_LOOKED_AT = 1 << 27  # bytes of its fields that are looked at together
_FEWEST = 8  # days that are, however large


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """One call of `learn_fields`: what all of its parts need."""

    arrays: FieldArrays
    config: DownscalerConfig
    seed: int
    device: str
    store: Checkpoints | None
    progress: bool

    @property
    def folds(self) -> int:
        """Number of regressions."""
        return regressions(self.config, len(self.arrays.train_targets))

    def networks(self) -> FieldNetworks:
        """Return fresh networks; their first weights depend on the seed alone."""
        with torch.random.fork_rng([]):
            torch.manual_seed(noise.derive(self.seed, 3, -2))
            networks = FieldNetworks(
                self.arrays.sizes, self.folds, NOISY[self.config.method], self.config.network
            )
        wide: FieldNetworks = networks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return wide

    def run(self, task: Any, share: float, epochs: int | None = None) -> History:
        """Train a stage; `share` is its part of the time."""
        training = self.config.training
        minutes = None if training.max_minutes is None else share * training.max_minutes
        return run_stage(
            task,
            training,
            epochs=epochs or training.epochs,
            minutes=minutes,
            seed=self.seed,
            device=self.device,
            store=self.store,
            progress=self.progress,
        )

    def stage(self, net: FieldNet, encoder: Encoder | None, learn: bool) -> Stage:
        """Join a network and the encoder."""
        return Stage(net, encoder, learn and self.config.network.encoder == "finetuned")

    def options(self, name: str, stage: int, rows: Rows) -> dict[str, Any]:
        """Return what all tasks take."""
        return {
            "arrays": self.arrays,
            "rows": rows,
            "stops": self.arrays.stop_targets,
            "crop": self.config.data.crop,
            "seed": self.seed,
            "batch": self.config.training.batch_days,
            "name": name,
            "stage": stage,
            "spoil": (self.config.training.lag_noise, self.config.training.lag_dropout),
        }


def regressions(config: DownscalerConfig, most: int) -> int:
    """Return how many regressions a method has; at most one for each day to learn from.

    Examples
    --------
    >>> from xdownscale.config import preset
    >>> regressions(preset("fast"), 100), regressions(preset("fast", method="unet"), 100)
    (2, 1)
    """
    wanted = {"residual": config.diffusion.folds, "crps": 0, "unet": 1}[config.method]
    return min(wanted, max(most, 1))


def learn_fields(
    lesson: Lesson, encode: Callable[[Encoder], History | None]
) -> tuple[dict[str, Floats], list[History]]:
    """Train all networks of a group.

    Parameters
    ----------
    lesson : Lesson
        What, and how.
    encode : callable
        Fills the encoder, by training or from weights that there are; returns its losses.

    Returns
    -------
    state : dict of ndarray
        Weights, and ``residual. ...``.
    histories : list of dict
        Losses of each stage.
    """
    networks, shares = lesson.networks(), _SHARES[lesson.config.method]
    histories = []
    if networks.encoder is not None:
        histories.append(encode(networks.encoder))
    folds = fold_of(lesson.arrays.train_targets, lesson.folds) if lesson.folds else None
    for k, net in enumerate(networks.regressors):
        # Each regression leaves out one block of time; a single one leaves out nothing.
        left = folds == k if lesson.folds > 1 else np.zeros(len(lesson.arrays.train_targets), bool)
        rows = lesson.arrays.train_targets[~left]
        stage = lesson.stage(net, networks.encoder, k == 0 and lesson.config.method == "unet")
        task = Regress(network=stage, **lesson.options(f"regress{k}", 10 + k, rows))
        epochs = lesson.config.training.mean_epochs
        histories.append(lesson.run(task, shares[1] / lesson.folds, epochs))
    residual = None
    if lesson.config.method == "residual":
        residual, history = _learn_residual(lesson, networks, folds, shares[2])
        histories.append(history)
    elif lesson.config.method == "crps":
        stage = lesson.stage(networks.drawing, networks.encoder, True)
        options = lesson.options("generate", 20, lesson.arrays.train_targets)
        histories.append(lesson.run(Generate(network=stage, **options), shares[2]))
    state = {k: _array(v) for k, v in networks.state_dict().items()}
    if residual is not None:
        state |= residual.to_state()
    return state, [history for history in histories if history]


def _learn_residual(
    lesson: Lesson, networks: FieldNetworks, folds: Any, share: float
) -> tuple[Residual, History]:
    """Measure the residual of days that a regression did not see, and learn to draw it."""
    arrays = lesson.arrays
    means = _means(lesson, networks, folds)
    residual = _measure(arrays, means)
    stage = lesson.stage(networks.drawing, networks.encoder, False)
    task = DenoiseResidual(
        network=stage,
        means=means,
        scale=residual.scale,
        diffusion=lesson.config.diffusion,
        **lesson.options("denoise", 20, arrays.train_targets),
    )
    history = lesson.run(task, share)
    return _tempered(lesson, networks, residual, means), history


def _means(lesson: Lesson, networks: FieldNetworks, folds: Any) -> Any:
    """Return the regression's field of each fine day, from those that did not see it.

    An array (m, t, y, x), or what works out its days when asked, where memory would not hold it.
    """
    arrays, everyone = lesson.arrays, list(networks.regressors)
    seen = [arrays.train_targets[folds == k] for k in range(lesson.folds)]
    held = np.concatenate([arrays.stop_targets, arrays.tune_targets]).astype(np.int64)
    parts = [*(([everyone[k]], rows) for k, rows in enumerate(seen)), (everyone, held)]
    request = _request(lesson, lesson.config.replace(sampling={"sampler": "mean"}), (0,))

    def draw(some: FieldNetworks, rows: Rows) -> Floats:
        conditions = field_conditions(arrays, rows)
        drawn = draw_fields(some.to(lesson.device).eval(), None, conditions, request)
        return np.asarray(drawn[0])

    shape = (len(arrays.windows), *arrays.mask.shape)
    if 4e-6 * np.prod(shape) > lesson.config.data.memory_limit:
        return Means(draw, networks, parts, shape)
    means = np.zeros(shape, np.float32)
    for nets, rows in parts:
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            means[block] = draw(only(networks, nets), block)
    return means


def _some(most: int, means: Any, copies: int = 1) -> int:
    """Return how many days are looked at: fewer where their fields are large and not in memory."""
    if isinstance(means, np.ndarray):
        return most
    return max(_FEWEST, min(most, int(_LOOKED_AT // (4 * copies * np.prod(means.shape[1:])))))


def _measure(arrays: FieldArrays, means: Any) -> Residual:
    """Measure scale, correlation in time and spectrum of the residual of the training days.

    Of days that are not in memory, some runs are looked at, spread over the record.
    """
    rows = arrays.train_targets
    if not isinstance(means, np.ndarray):
        rows = runs(rows, _RUNS)
    squares, pixels = np.zeros((2, len(arrays.mask)))
    products = Products(arrays.step, len(arrays.mask))
    sampled = []
    every = max(1, len(rows) // _some(_SAMPLED, means))
    for i, row in enumerate(rows):
        truth = read_rows(arrays.fine, [int(row)])[0]
        r = np.where(arrays.mask, truth - means[row], np.nan)
        squares += np.nansum(np.square(r), axis=(1, 2))
        pixels += np.isfinite(r).sum(axis=(1, 2))
        products.add(int(arrays.keys[row]), r)
        if i % every == 0:
            sampled.append(r)
    scale = np.sqrt(squares / np.maximum(pixels, 1))
    scale = np.where(scale > 0, scale, 1.0)
    fields = zip(np.stack(sampled, axis=1), scale, arrays.mask, strict=True)
    found = tuple(spectra.measure(f / size, mask) for f, size, mask in fields)
    even = np.ones((len(scale), BANDS.size))
    return Residual(scale, products.shares(), BANDS, even, found)


def _tempered(lesson: Lesson, networks: FieldNetworks, residual: Residual, means: Any) -> Residual:
    """Fit temperature and memory: drawn residuals become as large, and last as long, as true ones.

    What is held against each other are residuals of validation days.
    """
    arrays = lesson.arrays
    rows = arrays.tune_targets if len(arrays.tune_targets) else arrays.stop_targets
    if not len(rows):
        return residual
    tuned = _some(_TUNED, means, 1 + _DRAWS)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, tuned).astype(int))]
    request = _request(lesson, lesson.config, tuple(range(_DRAWS)))
    true = np.empty((len(rows), *arrays.mask.shape), np.float32)
    drawn = np.empty((_DRAWS, *true.shape), np.float32)
    for start in range(0, len(rows), 4):
        block = rows[start : start + 4]
        conditions = field_conditions(arrays, block)
        fields = draw_fields(networks.to(lesson.device).eval(), residual, conditions, request)
        truth, mean = np.where(arrays.mask, read_rows(arrays.fine, block), np.nan), means[block]
        true[start : start + 4] = truth - mean
        # what the truth lacks counts in neither
        drawn[:, start : start + 4] = np.where(np.isnan(truth), np.nan, fields - mean)
    fitted = [
        fit_temperature(
            spectra.measure(true[:, k], mask),
            spectra.measure(drawn[:, :, k].reshape(-1, *mask.shape), mask),
        )
        for k, mask in enumerate(arrays.mask)
    ]
    keys = arrays.keys[rows]
    lasting = [_correlation(arrays, keys, series) for series in (true[None], drawn)]
    memory = corrected(residual.memory, *lasting)
    return residual._replace(temperature=np.stack(fitted), memory=memory)


def _correlation(arrays: FieldArrays, keys: Rows, series: Floats) -> NDArray[np.float64]:
    """Autocorrelation (t, lags) of some realizations (r, n, t, y, x)."""
    products = Products(arrays.step, len(arrays.mask))
    for realization in series:
        products.start()
        for key, fields in zip(keys, realization, strict=True):
            products.add(int(key), np.where(arrays.mask, fields, np.nan))
    return products.correlation()


def field_conditions(arrays: FieldArrays, rows: Rows) -> FieldConditions:
    """Return what is known of some fine days.

    Parameters
    ----------
    arrays : FieldArrays
        Records.
    rows : ndarray of int
        Fine days.
    """
    windows = np.stack([read_rows(arrays.driver, arrays.windows[row]) for row in rows])
    window = np.nan_to_num(around(windows, arrays.own))
    before = np.stack([fine_before(arrays, int(row)) for row in rows])
    lags = fine_channels(before, window[:, : len(arrays.own)])
    coarse = np.stack([read_rows(arrays.coarse, arrays.lags[row]) for row in rows])
    static = np.broadcast_to(arrays.static, (len(rows), *arrays.static.shape))
    return FieldConditions(
        known=np.concatenate([window, lags, static], axis=1),
        calendar=arrays.calendar[rows],
        coarse=lagged(coarse),
        place=arrays.place,
        keys=arrays.keys[rows],
    )


def _request(lesson: Lesson, config: DownscalerConfig, realizations: tuple[int, ...]) -> Any:
    return FieldRequest(
        config=config,
        realizations=realizations,
        seed=noise.derive(lesson.seed, 4),
        step=lesson.arrays.step,
        device=lesson.device,
        corner=(0, 0),
        domain=lesson.arrays.shape,
    )


def _array(tensor: torch.Tensor) -> Floats:
    out: Floats = tensor.detach().cpu().contiguous().numpy().astype(np.float32)
    return out
