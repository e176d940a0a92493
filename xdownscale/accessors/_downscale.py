"""The accessors ``.downscale``: each method is one call of a public function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import xarray as xr

if TYPE_CHECKING:
    from xdownscale.config import DownscalerConfig
    from xdownscale.downscaler import Downscaler
    from xdownscale.patches import PatchLayout


class _Downscale:
    """What both accessors ``.downscale`` do: learn and draw."""

    def __init__(self, obj: xr.DataArray | xr.Dataset) -> None:
        self._obj = obj

    def fit(
        self,
        fine: xr.DataArray | xr.Dataset,
        static: xr.DataArray | xr.Dataset | None = None,
        preset: str | DownscalerConfig = "fast",
        seasons: Sequence[str] | Mapping[str, Sequence[int]] | None = None,
        regions: Mapping[str, Any] | None = None,
        transform: str | Mapping[str, str] = "auto",
        seed: int = 0,
        device: str = "auto",
        checkpoint_dir: str | PathLike[str] | None = None,
        progress: bool = True,
        drivers: Mapping[str, str | None] | None = None,
        pairing: str = "auto",
        encoder: Downscaler | None = None,
    ) -> Downscaler:
        """Learn how this coarse record looks on a fine grid; see `xdownscale.fit`."""
        from xdownscale.functional import fit

        return fit(
            self._obj,
            fine,
            static=static,
            preset=preset,
            seasons=seasons,
            regions=regions,
            transform=transform,
            seed=seed,
            device=device,
            checkpoint_dir=checkpoint_dir,
            progress=progress,
            drivers=drivers,
            pairing=pairing,
            encoder=encoder,
        )

    def predict(
        self,
        model: Downscaler,
        time: Any = None,
        realizations: int = 1,
        mode: str | None = None,
        history: xr.DataArray | None = None,
        stitching: str | None = None,
        seed: int = 0,
        chunks: Any = None,
    ) -> Any:
        """Draw the fine record of this coarse one; see `xdownscale.predict`."""
        from xdownscale.functional import predict

        return predict(
            self._obj,
            model,
            time=time,
            realizations=realizations,
            mode=mode,
            history=history,
            stitching=stitching,
            seed=seed,
            chunks=chunks,
        )


@xr.register_dataset_accessor("downscale")  # type: ignore[no-untyped-call]
class DatasetDownscaleAccessor(_Downscale):
    """Downscaling of the coarse record that it hangs on, with all of its variables as drivers.

    Stateless: every method returns a new object and leaves the Dataset as it was.

    Parameters
    ----------
    ds : Dataset
        The Dataset that the accessor was asked for.

    Examples
    --------
    >>> import xdownscale as xd
    >>> ds = xd.datasets.load_twin()
    >>> ds[["dust"]].downscale.fit(ds.dust_fine, preset="fsat")
    Traceback (most recent call last):
    ...
    xdownscale.errors.OptionError: Unknown preset: 'fsat'...
    """

    def __init__(self, ds: xr.Dataset) -> None:
        super().__init__(ds)


@xr.register_dataarray_accessor("downscale")  # type: ignore[no-untyped-call]
class DownscaleAccessor(_Downscale):
    """Downscaling of the coarse record that it hangs on.

    Stateless: every method returns a new object and leaves the array as it was.

    Parameters
    ----------
    da : DataArray
        The array that the accessor was asked for.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xdownscale
    >>> coarse = xr.DataArray(np.eye(4), coords={"lat": [0.0, 1, 2, 3], "lon": [0.0, 1, 2, 3]})
    >>> fine = xr.DataArray(np.ones((2, 2)), coords={"lat": [1.0, 1.5], "lon": [1.0, 1.5]})
    >>> coarse.downscale.regrid(fine, method="nearest").sizes["lat"]
    2
    """

    def __init__(self, da: xr.DataArray) -> None:
        super().__init__(da)
        self._da = da

    def regrid(
        self,
        target: xr.DataArray | xr.Dataset,
        method: str = "bicubic",
        engine: str = "separable",
        extrapolate: str | None = None,
        *,
        min_valid: float = 0.5,
    ) -> Any:
        """Bring this array to another grid; see `xdownscale.regrid`."""
        from xdownscale.regridding import regrid

        return regrid(
            self._da,
            target,
            method=method,
            engine=engine,
            extrapolate=extrapolate,
            min_valid=min_valid,
        )

    def split_seasons(
        self,
        seasons: Sequence[str] | Mapping[str, Sequence[int]] = ("DJF", "MAM", "JJA", "SON"),
        buffer_days: int = 45,
    ) -> dict[str, xr.DataArray]:
        """Split this record into seasons with context; see `xdownscale.splits.split_seasons`."""
        from xdownscale.splits import split_seasons

        return split_seasons(self._da, seasons=seasons, buffer_days=buffer_days)

    def extract_patches(self, layout: PatchLayout) -> xr.DataArray:
        """Cut this array into patches; see `xdownscale.patches.extract`."""
        from xdownscale.patches import extract

        return extract(self._da, layout)

    def stitch(self, layout: PatchLayout) -> xr.DataArray:
        """Put patches together; see `xdownscale.patches.stitch`."""
        from xdownscale.patches import stitch

        return stitch(self._da, layout)
