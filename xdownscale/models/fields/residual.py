"""What was measured of the residual: how large it is, how it looks, how long it lasts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xdownscale.models.spectra import Spectrum

Floats = NDArray[np.float32]
_NAMES = ("scale", "rho", "temperature")


class Residual(NamedTuple):
    """Fine field minus regression, scaled units; each entry has one value for each target.

    Attributes
    ----------
    scale : ndarray (t,)
        Standard deviation on days that the regression did not see.
    rho : ndarray (t,)
        Correlation from one day to the next.
    temperature : ndarray (t,)
        What drawn residuals are multiplied by, so that their spread fits on validation days.
    spectra : tuple of Spectrum
        Of the residual divided by its scale.
    """

    scale: NDArray[np.float64]
    rho: NDArray[np.float64]
    temperature: NDArray[np.float64]
    spectra: tuple[Spectrum, ...]

    def to_state(self) -> dict[str, Floats]:
        """Return arrays under the names ``residual. ...``."""
        parts = {name: getattr(self, name) for name in _NAMES}
        parts["frequency"] = self.spectra[0].frequency
        parts["power"] = np.stack([spectrum.power for spectrum in self.spectra])
        return {f"residual.{name}": np.asarray(v, np.float32) for name, v in parts.items()}

    @classmethod
    def from_state(cls, state: Mapping[str, Floats]) -> Residual:
        """Read what `to_state` returned."""
        known = {n: np.asarray(state[f"residual.{n}"], np.float64) for n in (*_NAMES, "power")}
        frequency = np.asarray(state["residual.frequency"], np.float64)
        spectra = tuple(Spectrum(frequency, power) for power in np.atleast_2d(known["power"]))
        return cls(known["scale"], known["rho"], known["temperature"], spectra)
