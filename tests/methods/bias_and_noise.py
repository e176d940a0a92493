"""A downscaling method in thirty lines: interpolation, a bias per cell and Gaussian noise."""

import numpy as np

from xdownscale.methods import Method, Trained
from xdownscale.models.diffusion import noise
from xdownscale.models.training.data import read_rows


class BiasAndNoise(Method):
    """Interpolated drivers plus the mean error of each cell, plus white noise of its spread."""

    name = "bias_and_noise"
    summary = "Interpolation, a bias per cell and Gaussian noise"

    def train(self, data, run):
        rows = data.train_targets
        drivers = np.stack([read_rows(data.driver, data.windows[row, :1])[0] for row in rows])
        errors = read_rows(data.fine, rows) - drivers[:, list(data.own)]
        state = {"bias": np.nanmean(errors, axis=0), "spread": np.nanstd(errors, axis=0)}
        return Trained(state={name: np.float32(values) for name, values in state.items()})

    def load(self, state, config, sizes, device):
        return Sampler(state)


class Sampler:
    def __init__(self, state):
        self.state = state

    def sample(self, request):
        known = request.conditions
        mean = known.window[:, 0][:, list(known.own)] + self.state["bias"]
        white = [self.noise(request, r, int(known.keys[k])) for r, k in request.fields()]
        white = np.reshape(white, (-1, *mean.shape))  # (realization, time, target, y, x)
        return np.float32(mean + self.state["spread"] * white)

    def noise(self, request, realization, key):
        """One field of the whole domain for each variable, cut where the group lies."""
        (y, x), (ny, nx) = request.corner, self.state["bias"].shape[-2:]
        targets = range(len(self.state["bias"]))
        fields = [noise.field(request.seed, realization, key, k, request.domain) for k in targets]
        return np.stack(fields)[:, y : y + ny, x : x + nx]
