"""Weights of networks: seeded initialisation, checks before loading, loading."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from xdownscale.core.errors import ModelFormatError, check_finite
from xdownscale.models.diffusion import noise

Floats = NDArray[np.float32]


def seeded(kind: Any, seed: int, stage: int, *args: Any) -> Any:
    """Build a network whose initial weights depend on seed and stage alone."""
    with torch.random.fork_rng([]):
        torch.manual_seed(noise.derive(seed, stage, -2))
        return kind(*args)


def check_fit(build: Callable[[], nn.Module], state: Mapping[str, Floats]) -> None:
    """Raise unless weights fit the network of a configuration, which is not built.

    Parameters
    ----------
    build : callable
        Makes the network; called where tensors have shapes and no memory.
    state : mapping of ndarray
        Its weights.

    Raises
    ------
    ModelFormatError
        If names or shapes do not fit, however large the network would be.
    """
    try:
        with torch.device("meta"):
            shapes = {name: tensor.shape for name, tensor in build().state_dict().items()}
    except (RuntimeError, OverflowError, MemoryError) as err:
        raise ModelFormatError(
            f"The configuration asks for networks that cannot be made ({str(err)[:100]}); give the "
            "one that the weights were trained with."
        ) from err
    _compare({name: tuple(shape) for name, shape in shapes.items()}, state)


def fill(network: nn.Module, state: Mapping[str, Floats], prefix: str) -> None:
    """Load weights into a network; raise if names or shapes do not fit."""
    wanted = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    found = {name: np.asarray(w) for name, w in state.items() if name.startswith(prefix)}
    _compare({name: tuple(tensor.shape) for name, tensor in wanted.items()}, found)
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(torch.tensor(found[name]))


def _compare(wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, Floats]) -> None:
    lacking = sorted(wanted.keys() - found.keys())
    unknown = sorted(found.keys() - wanted.keys())
    if lacking or unknown:
        what = f"lack {lacking[0]!r}" if lacking else f"hold {unknown[0]!r}, which is not known"
        raise ModelFormatError(
            f"The weights {what} ({len(lacking)} lacking, {len(unknown)} unknown); give the "
            "configuration that they were trained with."
        )
    for name, shape in wanted.items():
        if found[name].shape != shape:
            raise ModelFormatError(
                f"The weights {name!r} have shape {found[name].shape}, the configuration needs "
                f"{shape}; give the configuration that they were trained with."
            )
        check_finite(name, found[name])
