"""Parameters of trained states: flat names and arrays, which are weights and how many."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
FORECASTER = "forecaster."  # what the first stage trained and generating does not need
MEASURED = (  # not trained as networks are, or no part of what generates
    FORECASTER,
    "residual.",
    "drift.",
    "first_guess.",
    "dressing.",
    "marginal.",
    "latent.",
)


def count_parameters(state: Mapping[str, Floats]) -> dict[str, int]:
    """Return the number of parameters of each network that generates.

    Examples
    --------
    >>> count_parameters({"encoder.w": np.zeros((2, 3)), "denoiser.b": np.zeros(4)})
    {'encoder': 6, 'denoiser': 4}
    """
    counts: dict[str, int] = {}
    for name, weights in state.items():
        network = name.split(".")[0]
        if name.startswith(MEASURED):
            continue
        counts[network] = counts.get(network, 0) + int(weights.size)
    return counts


def trained_weights(state: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the entries of a state that are weights of what generates, not measured."""
    return {name: array for name, array in state.items() if not name.startswith(MEASURED)}
