"""First guess of the methods with networks: a point estimate in closed form, out of fold.

A network that corrects a regression starts where the regression ends. For every known time step the
guess is made by a fit that did not see its block of time, so that a network is trained on guesses
that are as wrong as those it will meet. Beside the guess the network sees the climate of each cell:
mean and standard deviation of the known fields, share of values at their minimum (such as dry
days), and standard deviation of the guess's error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from xdownscale.methods._statistical import (
    Records,
    describe_means,
    means_state,
    predict_means,
    read_means,
    read_records,
)
from xdownscale.methods.base import Floats, State
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.sampling.request import Conditions
from xdownscale.models.statistical.choice import MeanModel
from xdownscale.models.statistical.predictors import entry, prefixed, under
from xdownscale.models.training.data import Rows, TrainingData, conditions_of

CLIMATE = 4  # channels for each target beside the guess
PREFIX = "first_guess"
_BLOCK = 16  # time steps that are predicted at once


@dataclass(frozen=True)
class FirstGuess:
    """Point estimates of all targets, and the climate of their cells.

    Attributes
    ----------
    means : list of MeanModel
        One for each target.
    climate : ndarray (4 x target, y, x)
        Mean, standard deviation, share at the minimum, and standard deviation of the error, each
        of all targets; scaled units, 0 where a cell was never observed.
    """

    means: list[MeanModel]
    climate: Floats

    def channels(self, known: Conditions) -> Floats:
        """Return the guess and the climate at n time steps (n, 5 x target, y, x)."""
        fields = [predict_means(self.means, known, item) for item in range(len(known.keys))]
        return self.with_climate(np.stack(fields))

    def with_climate(self, guess: Floats) -> Floats:
        """Join guesses (n, target, y, x) and the climate."""
        climate = np.broadcast_to(self.climate, (len(guess), *self.climate.shape))
        return np.concatenate([guess, climate], axis=1)

    @classmethod
    def from_state(cls, state: Mapping[str, Floats], sizes: Sizes) -> FirstGuess:
        """Read a first guess from the state of a method; raise if something lacks or misfits."""
        own = under(state, PREFIX)
        means = read_means(own, sizes)
        shape = (CLIMATE * sizes.targets, *own["shape"].astype(int).tolist())
        return cls(means, entry(own, "climate", shape))


class Guesses:
    """Guesses of the fine time steps of a training, and the climate, read by rows.

    Parameters
    ----------
    first : FirstGuess
        Fitted.
    fields : mapping of int to ndarray (target, y, x)
        Out-of-fold guesses, by row.
    data : TrainingData
        For the guesses of other rows, which are made when they are asked for.
    """

    def __init__(self, first: FirstGuess, fields: Mapping[int, Floats], data: TrainingData) -> None:
        self.first = first
        self.fields = fields
        self.data = data

    def __getitem__(self, row: int) -> Floats:
        if row in self.fields:
            fields = self.first.with_climate(self.fields[row][None])
        else:
            fields = self.first.channels(conditions_of(self.data, np.array([row])))
        return np.asarray(fields[0])


class NoGuess:
    """Guesses of 0, of the right shape: what a batch costs does not depend on values."""

    def __init__(self, data: TrainingData) -> None:
        self._shape = ((1 + CLIMATE) * len(data.mask), *data.shape)

    def __getitem__(self, row: int) -> Floats:
        return np.zeros(self._shape, np.float32)


def fit_first_guess(
    data: TrainingData, name: str, records: Records | None = None
) -> tuple[TrainingData, State]:
    """Fit the first guess on the time steps of training and early stopping.

    Parameters
    ----------
    data : TrainingData
        Records.
    name : str
        ``"bias"``, ``"ridge"`` or ``"auto"``, which chooses by held-out error.
    records : Records, optional
        These time steps, where they were read before.

    Returns
    -------
    data : TrainingData
        The same with guesses: out of fold where they were fitted on.
    state : dict of ndarray
        What `FirstGuess.from_state` reads.
    """
    rows = np.union1d(data.train_targets, data.stop_targets).astype(np.int64)
    records = read_records(data, rows) if records is None else records
    points = records.point_estimates(name)
    climate = _climate(records, points.out_of_fold)
    first = FirstGuess([choice.model for choice in points.choices], climate)
    fields = dict(zip(records.rows.tolist(), points.out_of_fold, strict=True))
    fields |= _predicted(first, data, data.tune_targets)
    state = means_state(points.choices, data.shape) | {"climate": climate}
    guessed = replace(data, guess=Guesses(first, fields, data))
    return guessed, prefixed(state, PREFIX)


def describe(state: Mapping[str, Floats]) -> str:
    """Say which point estimate the networks correct."""
    return describe_means(under(state, PREFIX)).replace("mean by", "first guess by", 1)


def _predicted(first: FirstGuess, data: TrainingData, rows: Rows) -> dict[int, Floats]:
    """Return the guesses of time steps that were not fitted on."""
    return {
        int(row): predict_means(first.means, conditions_of(data, rows[[k]]), 0)
        for k, row in enumerate(rows)
    }


def _climate(records: Records, out_of_fold: Floats) -> Floats:
    """Return mean, spread, share at the minimum and spread of the error, each of all targets."""
    fine = records.fine
    known = np.isfinite(fine)
    count = np.maximum(known.sum(0), 1)
    filled = np.where(known, fine, 0)
    mean = filled.sum(0) / count
    spread = np.sqrt(np.where(known, np.square(fine - mean), 0).sum(0) / count)
    least = np.nanmin(fine, axis=(0, 2, 3), keepdims=True)
    lowest = (known & (fine <= least)).sum(0) / count
    error = np.sqrt(np.where(known, np.square(fine - out_of_fold), 0).sum(0) / count)
    return np.concatenate([mean, spread, lowest, error]).astype(np.float32)
