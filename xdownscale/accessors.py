"""The accessors ``.downscale`` and ``.geostat``: each method is one call of a public function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import xarray as xr

from xdownscale.core.documented import documented

if TYPE_CHECKING:
    from xdownscale.config import DownscalerConfig
    from xdownscale.core.normalization import Scaling
    from xdownscale.downscaler import Downscaler
    from xdownscale.fitting.inspection import Inspection
    from xdownscale.patches import PatchLayout


class _Downscale:
    """Methods of both accessors ``.downscale``: fit and predict."""

    def __init__(self, obj: xr.DataArray | xr.Dataset) -> None:
        self._obj = obj

    @documented
    def fit(
        self,
        fine: xr.DataArray | xr.Dataset,
        static: xr.DataArray | xr.Dataset | None = None,
        preset: str | DownscalerConfig = "auto",
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
        outliers: str = "raise",
    ) -> Downscaler:
        """Train a downscaling model on this coarse record and a fine one; see `xdownscale.fit`."""
        from xdownscale.downscaler import fit

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
            outliers=outliers,
        )

    @documented
    def inspect(
        self,
        fine: xr.DataArray | xr.Dataset,
        static: xr.DataArray | xr.Dataset | None = None,
        preset: str | DownscalerConfig = "auto",
        seasons: Sequence[str] | Mapping[str, Sequence[int]] | None = None,
        regions: Mapping[str, Any] | None = None,
        transform: str | Mapping[str, str] = "auto",
        seed: int = 0,
        device: str = "auto",
        drivers: Mapping[str, str | None] | None = None,
        pairing: str = "auto",
        outliers: str = "raise",
        *,
        measure: bool = True,
    ) -> Inspection:
        """Show what stands between two records and a fit; see `xdownscale.inspect`."""
        from xdownscale.downscaler import inspect

        return inspect(
            self._obj,
            fine,
            static=static,
            preset=preset,
            seasons=seasons,
            regions=regions,
            transform=transform,
            seed=seed,
            device=device,
            drivers=drivers,
            pairing=pairing,
            outliers=outliers,
            measure=measure,
        )

    @documented
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
        """Generate fine fields from this coarse record; see `xdownscale.predict`."""
        from xdownscale.downscaler import predict

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
    """Accessor ``.downscale`` of a coarse Dataset, all of whose variables are drivers.

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
    xdownscale.core.errors.OptionError: Unknown preset: 'fsat'...
    """

    def __init__(self, ds: xr.Dataset) -> None:
        super().__init__(ds)


@xr.register_dataarray_accessor("downscale")  # type: ignore[no-untyped-call]
class DownscaleAccessor(_Downscale):
    """Accessor ``.downscale`` of a coarse DataArray.

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

    @documented
    def regrid(
        self,
        target: xr.DataArray | xr.Dataset,
        method: str = "bicubic",
        engine: str = "separable",
        extrapolate: str | None = None,
        *,
        min_valid: float = 0.5,
    ) -> Any:
        """Regrid this array; see `xdownscale.regrid`."""
        from xdownscale.regridding import regrid

        return regrid(
            self._da,
            target,
            method=method,
            engine=engine,
            extrapolate=extrapolate,
            min_valid=min_valid,
        )

    @documented
    def split_seasons(
        self,
        seasons: Sequence[str] | Mapping[str, Sequence[int]] = ("DJF", "MAM", "JJA", "SON"),
        buffer_days: int = 45,
    ) -> dict[str, xr.DataArray]:
        """Split this record into seasons with context; see `xdownscale.splits.split_seasons`."""
        from xdownscale.splits import split_seasons

        return split_seasons(self._da, seasons=seasons, buffer_days=buffer_days)

    @documented
    def extract_patches(self, layout: PatchLayout) -> xr.DataArray:
        """Cut this array into patches; see `xdownscale.patches.extract`."""
        from xdownscale.patches import extract

        return extract(self._da, layout)

    @documented
    def stitch(self, layout: PatchLayout) -> xr.DataArray:
        """Stitch patches to fields; see `xdownscale.patches.stitch`."""
        from xdownscale.patches import stitch

        return stitch(self._da, layout)


class _Geostat:
    """Methods of both accessors ``.geostat``: diagnostics of fields."""

    def __init__(self, obj: xr.DataArray | xr.Dataset) -> None:
        self._obj: Any = obj

    @documented
    def semivariogram(
        self,
        max_distance: float = 600,
        bins: int | None = None,
        pairs: int | str = "auto",
        model: str = "spherical",
        estimator: str = "matheron",
        direction: str | None = None,
        seed: int = 0,
        average: str | None = "time",
        bootstrap: int = 200,
        *,
        threshold: float | Sequence[float] | None = None,
        weighted: bool = True,
    ) -> xr.Dataset:
        """Return semivariance by distance; see `xdownscale.geostat.semivariogram`."""
        from xdownscale.geostat import semivariogram

        return semivariogram(
            self._obj,
            max_distance=max_distance,
            bins=bins,
            pairs=pairs,
            model=model,
            estimator=estimator,
            direction=direction,
            seed=seed,
            average=average,
            bootstrap=bootstrap,
            threshold=threshold,
            weighted=weighted,
        )

    @documented
    def cross_semivariogram(
        self,
        other: xr.DataArray | xr.Dataset,
        max_distance: float = 600,
        bins: int | None = None,
        pairs: int | str = "auto",
        direction: str | None = None,
        seed: int = 0,
        average: str | None = "time",
        bootstrap: int = 200,
        *,
        weighted: bool = True,
    ) -> xr.Dataset:
        """Return the cross-semivariance; see `xdownscale.geostat.cross_semivariogram`."""
        from xdownscale.geostat import cross_semivariogram

        return cross_semivariogram(
            self._obj,
            other,
            max_distance=max_distance,
            bins=bins,
            pairs=pairs,
            direction=direction,
            seed=seed,
            average=average,
            bootstrap=bootstrap,
            weighted=weighted,
        )

    @documented
    def diagnose_pairing(
        self,
        fine: xr.DataArray | xr.Dataset,
        shifts: int = 200,
        seed: int = 0,
        *,
        transform: str | Scaling = "auto",
    ) -> xr.Dataset:
        """Test whether time steps match; see `xdownscale.geostat.diagnose_pairing`."""
        from xdownscale.geostat import diagnose_pairing

        return diagnose_pairing(self._obj, fine, shifts=shifts, seed=seed, transform=transform)

    @documented
    def advise_patch(
        self,
        coarse: xr.DataArray | xr.Dataset | None = None,
        days: int = 30,
        seed: int = 0,
        *,
        factor: int = 8,
        transform: str | Scaling | None = "auto",
    ) -> xr.Dataset:
        """Advise a patch size for this fine record; see `xdownscale.geostat.advise_patch`."""
        from xdownscale.geostat import advise_patch

        return advise_patch(
            self._obj, coarse, days=days, seed=seed, factor=factor, transform=transform
        )

    @documented
    def compare(
        self,
        reference: xr.DataArray | xr.Dataset,
        *,
        max_distance: float = 600,
        max_lag: int = 10,
        transform: str | Scaling | None = "auto",
        floor: float | None = None,
        seed: int = 0,
    ) -> xr.Dataset:
        """Compare all diagnostics with those of a reference; see `xdownscale.geostat.compare`."""
        from xdownscale.geostat import compare

        return compare(
            self._obj,
            reference,
            max_distance=max_distance,
            max_lag=max_lag,
            transform=transform,
            floor=floor,
            seed=seed,
        )

    @documented
    def wasserstein(
        self,
        other: xr.DataArray | xr.Dataset,
        kind: str = "daily",
        bins: int | None = None,
        by: Any = None,
        *,
        transform: str | Scaling | None = "auto",
        floor: float | None = None,
        normalise: bool | str = True,
        common: bool = True,
    ) -> xr.Dataset:
        """Return the Wasserstein distance; see `xdownscale.geostat.wasserstein`."""
        from xdownscale.geostat import wasserstein

        return wasserstein(
            self._obj,
            other,
            kind=kind,
            bins=bins,
            by=by,
            transform=transform,
            floor=floor,
            normalise=normalise,
            common=common,
        )

    @documented
    def acf(
        self,
        max_lag: int = 30,
        reduce: str | None = "mean",
        alpha: float = 0.05,
        *,
        adjusted: bool = False,
    ) -> xr.DataArray | xr.Dataset:
        """Return the autocorrelation in time; see `xdownscale.geostat.acf`."""
        from xdownscale.geostat import acf

        found: xr.DataArray | xr.Dataset = acf(
            self._obj, max_lag=max_lag, reduce=reduce, alpha=alpha, adjusted=adjusted
        )
        return found

    @documented
    def pacf(
        self,
        max_lag: int = 30,
        reduce: str | None = "mean",
        alpha: float = 0.05,
        *,
        adjusted: bool = False,
    ) -> xr.DataArray | xr.Dataset:
        """Return the partial autocorrelation in time; see `xdownscale.geostat.pacf`."""
        from xdownscale.geostat import pacf

        found: xr.DataArray | xr.Dataset = pacf(
            self._obj, max_lag=max_lag, reduce=reduce, alpha=alpha, adjusted=adjusted
        )
        return found

    @documented
    def ljung_box(
        self, max_lag: int = 10, reduce: str | None = "mean", *, model_df: int = 0
    ) -> xr.Dataset:
        """Test for white noise in time; see `xdownscale.geostat.ljung_box`."""
        from xdownscale.geostat import ljung_box

        return ljung_box(self._obj, max_lag=max_lag, reduce=reduce, model_df=model_df)

    @documented
    def lag_correlation(
        self,
        other: xr.DataArray | xr.Dataset,
        max_lag: int = 10,
        reduce: str | None = "mean",
        alpha: float = 0.05,
        *,
        adjusted: bool = False,
    ) -> xr.DataArray | xr.Dataset:
        """Return the lagged correlation; see `xdownscale.geostat.lag_correlation`."""
        from xdownscale.geostat import lag_correlation

        found: xr.DataArray | xr.Dataset = lag_correlation(
            self._obj, other, max_lag=max_lag, reduce=reduce, alpha=alpha, adjusted=adjusted
        )
        return found

    @documented
    def lag_rmse(self, max_lag: int = 10, *, weighted: bool = True) -> xr.Dataset:
        """Return the RMSE between fields some steps apart; see `xdownscale.geostat.lag_rmse`."""
        from xdownscale.geostat import lag_rmse

        return lag_rmse(self._obj, max_lag=max_lag, weighted=weighted)

    @documented
    def lag_r2(self, max_lag: int = 10, *, kind: str = "r2", weighted: bool = True) -> xr.Dataset:
        """Return the R2 between fields some steps apart; see `xdownscale.geostat.lag_r2`."""
        from xdownscale.geostat import lag_r2

        return lag_r2(self._obj, max_lag=max_lag, kind=kind, weighted=weighted)

    @documented
    def power_spectrum(
        self, average: str | None = "time", *, window: str = "hann", max_missing: float = 0.2
    ) -> xr.Dataset:
        """Return the radial power spectrum; see `xdownscale.geostat.power_spectrum`."""
        from xdownscale.geostat import power_spectrum

        return power_spectrum(self._obj, average=average, window=window, max_missing=max_missing)

    @documented
    def structure(
        self,
        distances: Sequence[int] = (1, 2, 4, 8),
        null: bool = True,
        seed: int = 0,
        average: str | None = "time",
        *,
        window: float = 3.0,
        max_missing: float = 0.2,
        by: str | Sequence[str] | None = None,
        regions: Mapping[str, Any] | None = None,
        seasons: str | Sequence[str] | Mapping[str, Sequence[int]] = ("DJF", "MAM", "JJA", "SON"),
    ) -> xr.Dataset:
        """Measure what spectra do not see in a field; see `xdownscale.geostat.structure`."""
        from xdownscale.geostat import structure

        return structure(
            self._obj,
            distances=distances,
            null=null,
            seed=seed,
            average=average,
            window=window,
            max_missing=max_missing,
            by=by,
            regions=regions,
            seasons=seasons,
        )

    @documented
    def seams(self, layout: PatchLayout) -> xr.Dataset:
        """Measure how visible patch borders are; see `xdownscale.geostat.seams`."""
        from xdownscale.geostat import seams

        return seams(self._obj, layout)

    @documented
    def distribution(
        self,
        quantiles: Sequence[float] = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999),
        thresholds: Sequence[float] = (),
        *,
        tail: float = 0.01,
        weighted: bool = True,
    ) -> xr.Dataset:
        """Return moments, quantiles and tail index; see `xdownscale.geostat.distribution`."""
        from xdownscale.geostat import distribution

        return distribution(
            self._obj, quantiles=quantiles, thresholds=thresholds, tail=tail, weighted=weighted
        )

    @documented
    def plot_semivariogram(self, ax: Any = None, pair_counts: bool = True, **options: Any) -> Any:
        """Plot the semivariogram; see `xdownscale.plot.semivariogram`."""
        from xdownscale.plot import semivariogram

        return semivariogram(self._obj, ax=ax, pair_counts=pair_counts, **options)

    @documented
    def plot_acf(self, ax: Any = None, **options: Any) -> Any:
        """Plot the autocorrelation of the regional mean; see `xdownscale.plot.acf`."""
        from xdownscale.plot import acf

        return acf(self._obj, ax=ax, **options)

    @documented
    def plot_pacf(self, ax: Any = None, **options: Any) -> Any:
        """Plot the partial autocorrelation of the regional mean; see `xdownscale.plot.pacf`."""
        from xdownscale.plot import pacf

        return pacf(self._obj, ax=ax, **options)

    @documented
    def plot_lag_curve(self, ax: Any = None, score: str = "r2", **options: Any) -> Any:
        """Plot RMSE or R2 between fields by lag; see `xdownscale.plot.lag_curve`."""
        from xdownscale.plot import lag_curve

        return lag_curve(self._obj, ax=ax, score=score, **options)

    @documented
    def plot_power_spectrum(self, ax: Any = None, **options: Any) -> Any:
        """Plot the power spectrum; see `xdownscale.plot.power_spectrum`."""
        from xdownscale.plot import power_spectrum

        return power_spectrum(self._obj, ax=ax, **options)


@xr.register_dataset_accessor("geostat")  # type: ignore[no-untyped-call]
class DatasetGeostatAccessor(_Geostat):
    """Accessor ``.geostat`` of a Dataset: diagnostics of each of its variables.

    Every method returns one Dataset, with the names of the variables along ``variable``.
    Variables without a grid are left out (see `xdownscale.geostat`). Stateless: every method
    returns a new object and leaves the Dataset as it was.

    Parameters
    ----------
    ds : Dataset
        The Dataset that the accessor was asked for.

    Examples
    --------
    >>> import xdownscale as xd
    >>> ds = xd.datasets.load_twin().isel(time=slice(3))
    >>> v = ds[["dust_fine", "elevation"]].geostat.semivariogram(max_distance=400, bins=8)
    >>> v.semivariance.dims, v["variable"].values.tolist(), v.units.values.tolist()
    (('variable', 'lag'), ['dust_fine', 'elevation'], ['1', 'm'])
    """

    def __init__(self, ds: xr.Dataset) -> None:
        super().__init__(ds)


@xr.register_dataarray_accessor("geostat")  # type: ignore[no-untyped-call]
class GeostatAccessor(_Geostat):
    """Accessor ``.geostat`` of a DataArray: diagnostics of fields.

    Stateless: every method returns a new object and leaves the array as it was.

    Parameters
    ----------
    da : DataArray
        The array that the accessor was asked for.

    Examples
    --------
    >>> import xdownscale as xd
    >>> ds = xd.datasets.load_twin()
    >>> v = ds.dust_fine.isel(time=slice(3)).geostat.semivariogram(max_distance=400, bins=8)
    >>> v.semivariance.dims
    ('lag',)
    """

    def __init__(self, da: xr.DataArray) -> None:
        super().__init__(da)
        self._da = da

    @documented
    def krige(
        self,
        target: xr.DataArray | xr.Dataset,
        variogram: xr.Dataset | Mapping[str, Any] | None = None,
        static: xr.DataArray | xr.Dataset | None = None,
        *,
        model: str = "exponential",
        neighbours: int | None = None,
        extrapolate: str | None = None,
    ) -> xr.Dataset:
        """Krige coarse fields to a fine grid, coherently; see `xdownscale.geostat.krige`."""
        from xdownscale.geostat import krige

        return krige(
            self._da,
            target,
            variogram=variogram,
            static=static,
            model=model,
            neighbours=neighbours,
            extrapolate=extrapolate,
        )

    @documented
    def plot_maps(
        self,
        truth: xr.DataArray | None = None,
        coarse: xr.DataArray | None = None,
        time: Any = None,
        scale: str = "auto",
        axes: Any = None,
        titles: Sequence[str] | None = None,
        coastlines: bool = False,
    ) -> Any:
        """Plot one time step beside truth and coarse record; see `xdownscale.plot.maps`."""
        from xdownscale.plot import maps

        return maps(
            self._da,
            truth=truth,
            coarse=coarse,
            time=time,
            scale=scale,
            axes=axes,
            titles=titles,
            coastlines=coastlines,
        )
