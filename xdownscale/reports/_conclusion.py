"""The sentence that a report opens with: at which scales the field is too smooth or too rough."""

from __future__ import annotations

import numpy as np

from xdownscale.core.grids import Array
from xdownscale.reports._curves import resolved_wavelength
from xdownscale.reports._evidence import Finding
from xdownscale.reports._records import Records

_FACTOR = 2.0  # ratio of powers from which a field counts as smoother or rougher
_AGREE = 0.8  # share of the shorter wavelengths that must say the same


def conclude(findings: list[Finding], records: Records) -> str:
    """Return one sentence on the scales of the prediction, shortest scales first.

    Parameters
    ----------
    findings : list of Finding
        Of all diagnostics.
    records : Records
        What they are of.
    """
    spectrum = next((f for f in findings if f.diagnostic.key == "power_spectrum"), None)
    limit = resolved_wavelength(records.fields["coarse"])
    unknown = f"whether the field is too smooth or too rough below {limit:.0f} km is not known."
    if "fine" not in records.fields:
        return f"There is no fine record to compare with: {unknown}"
    if spectrum is None or "fine" not in spectrum.curves:
        return f"The power spectrum could not be measured: {unknown}"
    said = _of_spectrum(spectrum)
    if not said:  # more days would not help
        return f"The power spectrum has no result, as where cells are missing: {unknown}"
    return f"There are too few days to judge: {unknown}" if "fine" in spectrum.too_short else said


def _of_spectrum(spectrum: Finding) -> str:
    """Compare the powers of the prediction and the fine record, which share a grid."""
    order = np.argsort(spectrum.curves["prediction"].x)
    length = spectrum.curves["prediction"].x[order]
    power = spectrum.centre("prediction")[order]
    truth = spectrum.centre("fine")[order]
    low, high = (band[order] for band in spectrum.bands["fine"])
    good = np.isfinite([power, truth, low, high]).all(axis=0) & (truth > 0)
    if not good.any():
        return ""
    length, power, truth, low, high = (v[good] for v in (length, power, truth, low, high))
    ratio = power / truth
    for word, side, flags in (
        ("smooth", "lower", (power < low) & (ratio < 1 / _FACTOR)),
        ("rough", "higher", (power > high) & (ratio > _FACTOR)),
    ):
        if scale := _scale(length, flags):
            return (
                f"The field is too {word} below about {scale:.0f} km: at {length[0]:.0f} km its "
                f"power is {ratio[0]:.2g} times that of the fine record{_decades(ratio[0], side)}."
            )
    return (
        f"The field is neither too smooth nor too rough at any scale down to {length[0]:.0f} km: "
        "its power lies within the interval of the fine record or differs by less than a factor "
        f"of {_FACTOR:g}."
    )


def _scale(length: Array, flags: Array) -> float:
    """Return the longest wavelength below which nearly all are flagged; 0 where there is none.

    Examples
    --------
    >>> _scale(np.array([10.0, 20.0, 40.0, 80.0]), np.array([True, True, True, False]))
    40.0
    >>> _scale(np.array([10.0, 20.0]), np.array([False, True]))
    0.0
    """
    share = np.cumsum(flags) / np.arange(1, flags.size + 1)
    found = np.flatnonzero(flags & (share >= _AGREE) & flags[:1])
    return float(length[found[-1]]) if found.size else 0.0


def _decades(ratio: float, side: str) -> str:
    """Return how many decades a ratio is, where it is one or more."""
    if ratio <= 0:
        return ", which is none"
    decades = abs(np.log10(ratio))
    return f", {decades:.1f} decades {side}" if decades >= 1 else ""
