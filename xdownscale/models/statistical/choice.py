"""Choice of a point estimate by its error on held-out blocks of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from xdownscale.core.errors import check_option
from xdownscale.models.statistical.blocks import FOLDS, cross_predict
from xdownscale.models.statistical.censored import fit_latent
from xdownscale.models.statistical.interpolated import Bias, Driver, QuantileMapping
from xdownscale.models.statistical.predictors import Array, Floats, Predictors, State
from xdownscale.models.statistical.ridge import Ridge

MEANS: dict[str, Any] = {each.name: each for each in (Driver, Bias, QuantileMapping, Ridge)}
CANDIDATES = ("driver", "bias", "ridge")


class MeanModel(Protocol):
    """A fitted point estimate."""

    name: Any

    def predict(self, predictors: Predictors) -> Floats:
        """Return fields (n, y, x)."""
        ...

    def to_state(self) -> State:
        """Return arrays, as they are saved."""
        ...


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A point estimate, and what it was chosen by.

    Attributes
    ----------
    model : Driver, Bias, QuantileMapping or Ridge
        Fitted on all time steps.
    errors : dict of float
        Mean squared error of held-out time steps of each candidate, the best one's smallest.
    left_out : dict of str
        Candidates that could not be fitted, and why.
    out_of_fold : ndarray of float32 (n, y, x)
        Predictions of the chosen one for blocks of time that it was not fitted on.
    latent : bool
        It was fitted to latent values where known ones are censored.
    """

    model: MeanModel
    errors: dict[str, float]
    left_out: dict[str, str]
    out_of_fold: Floats
    latent: bool = False

    def on_latent(
        self, predictors: Predictors, fine: Array, threshold: float
    ) -> tuple[Choice, Floats]:
        """Fit the same point estimate to latent values of a censored record; see `fit_latent`.

        Parameters
        ----------
        predictors, fine
            As for `choose_mean`.
        threshold : float
            Values at or below it are censored.

        Returns
        -------
        Choice
            With the same errors, which are those of the known values.
        latent : ndarray of float32 (n, y, x)
            What it was fitted to.
        """
        fit = MEANS[str(self.model.name)].fit
        if isinstance(self.model, Ridge):
            fit = partial(fit, penalty=self.model.penalty, towards=self.model.towards)
        predict = partial(cross_predict, fit, predictors)
        latent, _ = fit_latent(predict, fine, self.out_of_fold, threshold)
        found = replace(
            self, model=fit(predictors, latent), out_of_fold=predict(latent), latent=True
        )
        return found, latent


def choose_mean(
    predictors: Predictors,
    fine: Array,
    candidates: Sequence[str] = CANDIDATES,
    folds: int = FOLDS,
) -> Choice:
    """Fit the point estimate with the smallest error on held-out blocks of time.

    Parameters
    ----------
    predictors : Predictors
        Of n time steps, in chronological order.
    fine : ndarray (n, y, x)
        Fine fields; NaN where missing.
    candidates : sequence of str
        Some of ``"driver"``, ``"bias"``, ``"quantile_mapping"`` and ``"ridge"``. One that needs
        more time steps than there are is left out, unless it is the only one.
    folds : int
        Contiguous blocks of time.

    Returns
    -------
    Choice

    Raises
    ------
    OptionError
        For an unknown candidate.
    DataError
        If the only candidate needs more time steps.

    Notes
    -----
    Ridge regression chooses its penalty within the time steps that it is fitted on: the error of
    a block is that of a model that saw nothing of it.
    """
    for name in candidates:
        check_option("point estimate", name, tuple(MEANS))
    errors: dict[str, float] = {}
    fields: dict[str, Floats] = {}
    left_out = _left_out(candidates, len(fine), folds)
    for name in [each for each in candidates if each not in left_out]:
        fields[name] = cross_predict(MEANS[name].fit, predictors, fine, folds)
        errors[name] = float(np.nanmean(np.square(fine - fields[name])))
    best = min(errors, key=lambda name: errors[name])
    return Choice(
        model=MEANS[best].fit(predictors, fine),
        errors=errors,
        left_out=left_out,
        out_of_fold=fields[best],
    )


def _left_out(candidates: Sequence[str], count: int, folds: int) -> dict[str, str]:
    """Return the candidates that need more time steps than there are outside a block."""
    fitted = count - -(-count // folds)
    short = {name: MEANS[name].needed for name in candidates if MEANS[name].needed > fitted}
    if len(short) == len(candidates):
        short.pop(min(short, key=lambda name: short[name]))  # its own error says what it needs
    return {
        name: f"needs {needed} time steps outside a held-out block, {fitted} are there"
        for name, needed in short.items()
    }
