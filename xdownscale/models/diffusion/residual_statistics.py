"""Statistics of the residual: scale, spectrum, temporal correlation, temperature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from xdownscale.core.errors import ModelFormatError, check_finite
from xdownscale.models.diffusion.calibration import BANDS
from xdownscale.models.diffusion.spectra import Spectrum
from xdownscale.models.diffusion.temporal_noise import RHOS

Floats = NDArray[np.float32]
_NAMES = ("scale", "memory", "bands", "temperature")
_SIGNED = {"scale": np.greater_equal, "memory": np.greater_equal, "bands": np.greater}
_SIGNED |= {"power": np.greater_equal}
_REACH = 64  # pixels that a field is reflected by before it is filtered


class ResidualStatistics(NamedTuple):
    """Statistics of the residual, the fine field minus the regression, in scaled units.

    Each entry has one value for each target.

    Attributes
    ----------
    scale : ndarray (t,)
        Standard deviation on time steps that the regression was not trained on.
    shares : ndarray (t, c)
        Shares of the autoregressions with `temporal_noise.RHOS` that have its temporal
        correlation; ``residual.memory`` in a state.
    bands : ndarray (b,)
        Frequencies, cycles per pixel.
    temperature : ndarray (t, b)
        Factor of generated residuals at each of them, which calibrates their spread on
        validation time steps, at large scales and at small ones.
    spectra : tuple of Spectrum
        Of the residual divided by its scale.
    level : ndarray (t,) or None
        Factor of the domain mean of generated residuals, beside the temperature; None for 1.
    """

    scale: NDArray[np.float64]
    shares: NDArray[np.float64]
    bands: NDArray[np.float64]
    temperature: NDArray[np.float64]
    spectra: tuple[Spectrum, ...]
    level: NDArray[np.float64] | None = None

    @property
    def rho(self) -> NDArray[np.float64]:
        """Correlation from one time step to the next (t,)."""
        return np.asarray(self.shares @ RHOS)

    def to_state(self, prefix: str = "residual.") -> dict[str, Floats]:
        """Return arrays under the names ``residual. ...``, or under another prefix."""
        parts = {
            "scale": self.scale,
            "memory": self.shares,
            "bands": self.bands,
            "temperature": self.temperature,
        }
        if self.level is not None:
            parts["temperature"] = np.column_stack([self.temperature, self.level])
        parts["frequency"] = self.spectra[0].frequency
        parts["power"] = np.stack([spectrum.power for spectrum in self.spectra])
        return {f"{prefix}{name}": np.asarray(v, np.float32) for name, v in parts.items()}

    @classmethod
    def from_state(
        cls, state: Mapping[str, Floats], prefix: str = "residual."
    ) -> ResidualStatistics:
        """Return the statistics that `to_state` wrote."""
        known = {n: np.asarray(state[f"{prefix}{n}"], np.float64) for n in (*_NAMES, "power")}
        frequency = np.asarray(state[f"{prefix}frequency"], np.float64)
        spectra = tuple(Spectrum(frequency, power) for power in np.atleast_2d(known["power"]))
        temperature = np.atleast_2d(known["temperature"])
        factors, level = np.split(temperature, [BANDS.size], axis=1)
        return cls(
            scale=known["scale"],
            shares=np.atleast_2d(known["memory"]),
            bands=known["bands"],
            temperature=factors,
            spectra=spectra,
            level=level[:, 0] if level.size else None,  # files of version 0.1.0 have none
        )

    @staticmethod
    def check_state(state: Mapping[str, Floats], targets: int, prefix: str = "residual.") -> None:
        """Raise unless a state has these statistics, in the shapes of so many targets."""
        found = {
            n: np.shape(state.get(f"{prefix}{n}", ())) for n in (*_NAMES, "frequency", "power")
        }
        wanted = {
            "scale": (targets,),
            "memory": (targets, RHOS.size),
            "bands": (BANDS.size,),
            "temperature": (targets, BANDS.size),
            "frequency": found["frequency"][:1],
            "power": (targets, *found["frequency"][:1]),
        }
        if found["temperature"] == (targets, BANDS.size + 1):  # and that of the domain mean
            wanted["temperature"] = found["temperature"]
        for name, shape in wanted.items():
            if found[name] != shape or f"{prefix}{name}" not in state:
                raise ModelFormatError(
                    f"The weights '{prefix}{name}' have shape {found[name]}, the model needs "
                    f"{shape}; the file was altered, or written by another version."
                )
            values = state[f"{prefix}{name}"]
            check_finite(f"{prefix}{name}", values)
            if name in _SIGNED and not _SIGNED[name](values, 0).all():
                raise ModelFormatError(
                    f"The weights '{prefix}{name}' go down to {values.min():g}; the file was "
                    "altered, or written by another version."
                )

    def calibrated(self, generated: Tensor) -> Tensor:
        """Return generated residuals (n, t, y, x) in scaled units, with a calibrated spread."""
        scale = torch.as_tensor(self.scale, dtype=torch.float32, device=generated.device)
        scale = scale.view(1, -1, 1, 1)
        if np.ptp(self.temperature) == 0:
            return self._levelled(scale * (generated.float() * float(self.temperature.flat[0])))
        ny, nx = generated.shape[-2:]
        reach = min(_REACH, ny - 1, nx - 1)
        wide = functional.pad(generated.float(), (reach,) * 4, mode="reflect")
        shape = (int(wide.shape[-2]), int(wide.shape[-1]))
        gain = torch.from_numpy(self._gain(shape)).to(generated.device)
        back = torch.fft.irfft2(torch.fft.rfft2(wide) * gain, s=shape)
        return self._levelled(scale * back[..., reach : reach + ny, reach : reach + nx])

    def _levelled(self, fields: Tensor) -> Tensor:
        """Multiply the domain means of fields (n, t, y, x) by their factors."""
        if self.level is None:
            return fields
        more = torch.as_tensor(self.level - 1, dtype=torch.float32, device=fields.device)
        return fields + more.view(1, -1, 1, 1) * fields.mean((-2, -1), keepdim=True)

    def _gain(self, shape: tuple[int, int]) -> Floats:
        """Return the temperature of every Fourier mode (t, y, x // 2 + 1)."""
        rows = np.fft.fftfreq(shape[0])
        columns = np.fft.rfftfreq(shape[1])
        radius = np.log(np.maximum(np.hypot(rows[:, None], columns), 1e-9))
        gains = [np.interp(radius, np.log(self.bands), row) for row in self.temperature]
        return np.stack(gains).astype(np.float32)
