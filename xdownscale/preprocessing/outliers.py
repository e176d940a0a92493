"""Values that cannot be of a record: fill values that no attribute names, and absurd numbers.

A value is absurd where it lies further from all others than a thousand times their range; a usual
fill value, such as -9999, where it lies further than half of it. Fields that vary by many orders of
magnitude do not come near that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale.core.blocks import blocks, is_lazy
from xdownscale.core.errors import DataError
from xdownscale.core.units import same_units, units_of
from xdownscale.core.values import check_values

Array = npt.NDArray[Any]
OUTLIERS = ("raise", "mask", "keep")
FILLS = tuple(
    sign * size
    for size in (99.0, 999.0, 9999.0, 99999.0, 999999.0, 32767.0, 32768.0)
    for sign in (-1.0, 1.0)
)
_LOOK = 64  # time steps that the range is taken from
_ABSURD = 1e3  # ranges of the other values that an absurd one is away from them
_USUAL = 0.5  # ranges that a usual fill value is away
_FLAT = 1e7  # range that stands in for that of equal values
_PEELED = 8  # different fill values that a record may have
_WARM = 100.0  # kelvin: temperatures, and not differences of them
_COARSE = 0.02  # share of the standard deviation that float32 may not tell apart


@dataclass(frozen=True, kw_only=True)
class Range:
    """Range of the values of a record that are not suspicious.

    Attributes
    ----------
    low, high : float
        The smallest and the largest.
    kelvin : bool
        They are absolute temperatures.

    Examples
    --------
    >>> Range(low=250.0, high=310.0).suspects(np.array([280.0, -9999.0, 1e30, np.nan]))
    array([False,  True,  True, False])
    """

    low: float
    high: float
    kelvin: bool = False

    @property
    def width(self) -> float:
        """Width of the range, never 0."""
        width = self.high - self.low
        return width if width > 0 else max(abs(self.high), _FLAT)

    def suspects(self, values: Array) -> npt.NDArray[np.bool_]:
        """Tell which values cannot be of the record; NaN and infinities are none."""
        x = np.asarray(values, dtype=np.float64)
        away = np.maximum(self.low - x, x - self.high)  # negative inside
        finite = np.isfinite(x)
        absurd = away > _ABSURD * self.width
        usual = np.isin(x, self._fills())
        wrong_sign = (x < 0) & (self.low >= 0) & (away > 0)
        filled = usual & ((away > _USUAL * self.width) | wrong_sign)
        cold = (x < 0) if self.kelvin else np.zeros(x.shape, bool)
        return np.asarray(finite & (absurd | filled | cold))

    def _fills(self) -> Array:
        """Return the usual fill values, as both float types hold them; 0 K is one."""
        return np.array([*FILLS, *([0.0] if self.kelvin else [])])


def find_range(sample: Array, units: str | None = None) -> Range | None:
    """Return the range of the values that are not suspicious; None where there is no value.

    Parameters
    ----------
    sample : array
        Some values of a record.
    units : str, optional
        Of the record.

    Examples
    --------
    >>> found = find_range(np.array([1e20, 280.0, 1e30, 290.0, -9999.0]))
    >>> found.low, found.high
    (280.0, 290.0)
    """
    values = np.unique(sample[np.isfinite(sample)].astype(np.float64))
    if not values.size:
        return None
    in_kelvin = units is not None and same_units(units, "K")
    for _ in range(_PEELED):
        kept = _without_ends(values, in_kelvin)
        if kept.size == values.size:
            break
        values = kept
    kelvin = in_kelvin and float(values[0]) > _WARM
    return Range(low=float(values[0]), high=float(values[-1]), kelvin=kelvin)


def _without_ends(values: Array, in_kelvin: bool) -> Array:
    """Drop the largest and the smallest of ascending values where they are suspicious."""
    for rest, end in ((values[:-1], values[-1:]), (values[1:], values[:1])):
        if rest.size < 2:
            return values
        kelvin = in_kelvin and float(rest[0]) > _WARM
        if Range(low=float(rest[0]), high=float(rest[-1]), kelvin=kelvin).suspects(end)[0]:
            return rest
    return values


def screen_static(static: Any, outliers: str) -> Any:
    """Look for values that cannot be of a static field; see `validation.screen_pair`."""
    if isinstance(static, xr.DataArray):
        return screened(static, "The static field", outliers)
    if not isinstance(static, xr.Dataset):
        return static
    fields = {
        name: screened(da, f"The static field {str(name)!r}", outliers)
        for name, da in static.data_vars.items()
        if da.dtype.kind in "iuf" and da.ndim > 1
    }
    return static.assign(fields)


def screened(da: xr.DataArray, what: str, outliers: str) -> xr.DataArray:
    """Return an array without the values that cannot be of it; see `validation.screen_pair`.

    Parameters
    ----------
    da : DataArray
        Read once, in blocks along its first dimension; blocks with such values once more.
    what : str
        What it is, for the message.
    outliers : {"raise", "mask", "keep"}

    Returns
    -------
    DataArray
        Itself where nothing was masked.

    Examples
    --------
    >>> da = xr.DataArray([1.0, 2.0, 1e30], dims="x")
    >>> screened(da, "The record", "mask").values
    array([ 1.,  2., nan])
    """
    if da.dtype.kind not in "iuf" or not da.ndim:
        return da
    da = check_values(da, what)  # what attributes say of missing values tells more than a guess
    sample, ends = _surveyed(da)
    known = find_range(sample, units_of(da))
    if known is None:
        return da
    if outliers != "keep":
        count, first = _search(da, known, ends)
        if count and outliers == "raise":
            raise DataError(_message(da, what, known, count, first))
        da = _masked(da, known) if count else da
    _check_float32(sample, known, what)
    return da


def describe_suspects(array: Any, known: Range, what: str, time: xr.DataArray) -> str:
    """Describe the first value of a record that cannot be of it, or return "".

    Parameters
    ----------
    array : (time, y, x) array
        In memory.
    known : Range
        Of the values that were trained on.
    what : str
        What the record is, for the message.
    time : DataArray
        Its times.
    """
    bad = known.suspects(array)
    if not bad.any():
        return ""
    first = tuple(int(k) for k in np.argwhere(bad)[0])
    return (
        f"{what} has {int(bad.sum())} values that cannot be of it, the first {array[first]:g} at "
        f"{time.values[first[0]]}: the training values lie between {known.low:.6g} and "
        f"{known.high:.6g}. If they mean missing, mask them, with .where(...)."
    )


class _Ends(NamedTuple):
    """Block of time steps, and those of its values that are suspicious if any of them is."""

    rows: slice
    values: Array


def _surveyed(da: xr.DataArray) -> tuple[Array, list[_Ends]]:
    """Return the values of some steps, evenly spaced, and the ends of every block: one reading."""
    size = da.shape[0]
    wanted = np.arange(size)
    if da.ndim >= 3 and size > _LOOK:
        wanted = np.unique(np.linspace(0, size - 1, _LOOK).astype(int))
    kept = []
    ends = []
    for rows, block in blocks(da.data):
        here = wanted[(wanted >= rows.start) & (wanted < rows.stop)]
        kept.append(block[here - rows.start].ravel())
        ends.append(_Ends(rows, _ends(block)))
    return np.concatenate(kept) if kept else np.zeros(0, da.dtype), ends


def _ends(block: Array) -> Array:
    """Return the smallest and the largest finite value, and the usual fill values that are there.

    `Range.suspects` grows with the distance from the range, apart from the usual fill values.
    """
    finite = np.isfinite(block)
    good = block if finite.all() else block[finite]
    if not good.size:
        return np.zeros(0)
    usual = [fill for fill in (0.0, *FILLS) if (good == fill).any()]
    return np.array([good.min(), good.max(), *usual], dtype=np.float64)


def _search(da: xr.DataArray, known: Range, ends: list[_Ends]) -> tuple[int, tuple[int, ...]]:
    """Return the number of suspicious values, and where the first one is.

    Only blocks that have any are read again.
    """
    count = 0
    first: tuple[int, ...] = ()
    for rows, values in ends:
        if not known.suspects(values).any():
            continue
        bad = known.suspects(np.asarray(da.data[rows]))
        here = int(bad.sum())
        if here and not count:
            place = np.argwhere(bad)[0]
            first = (int(place[0]) + rows.start, *map(int, place[1:]))
        count += here
    return count, first


def _masked(da: xr.DataArray, known: Range) -> xr.DataArray:
    """Return an array with NaN for suspicious values; lazy where it is."""
    bad = known.suspects
    mask = da.data.map_blocks(bad, dtype=bool) if is_lazy(da.data) else bad(da.values)
    return da.where(~xr.DataArray(mask, dims=da.dims))


def _message(da: xr.DataArray, what: str, known: Range, count: int, first: tuple[int, ...]) -> str:
    """Say which values are suspicious, where, and what can be done."""
    place = dict(zip(da.dims, first, strict=True))
    cell = da.isel(place)
    value = float(cell.values)
    many = "a value" if count == 1 else f"{count} values"
    return (
        f"{what} has {many} far outside all others, which lie between {known.low:.6g} and "
        f"{known.high:.6g}: {value:g} at {_place(cell)}. If it means missing, give "
        f"outliers='mask', or mask it yourself, with .where(da != {value:g}); if it is real, give "
        "outliers='keep'."
    )


def _place(cell: xr.DataArray) -> str:
    """Name the time and the cell of a value."""
    said = []
    for name, coord in cell.coords.items():
        if coord.ndim == 0 and coord.dtype.kind in "Mifu":
            value = coord.values
            text = str(value)[:19] if coord.dtype.kind == "M" else f"{float(value):g}"
            said.append(f"{name} {text}")
    return ", ".join(said) or "an unnamed cell"


def _check_float32(sample: Array, known: Range, what: str) -> None:
    """Raise where float32 cannot hold the values of a record, or tell them apart."""
    size = max(abs(known.low), abs(known.high))
    if size > float(np.finfo(np.float32).max):
        raise DataError(
            f"{what} has values up to {size:g}, more than float32, in which models compute, can "
            "hold. Give it in a larger unit (and set attrs['units'])."
        )
    values = sample[np.isfinite(sample)].astype(np.float64)
    values = values[~known.suspects(values)]
    spread = float(values.std())
    step = float(np.spacing(np.float32(size)))
    if spread > 0 and step > _COARSE * spread:
        raise DataError(
            f"{what} varies by {spread:.3g} (standard deviation) about {float(values.mean()):.9g}, "
            f"where float32, in which models compute, only tells steps of {step:.3g} apart. "
            "Subtract a constant first."
        )
