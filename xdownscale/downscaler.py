"""`Downscaler` and the public functions: fit, predict, save, load and publish a model."""

from __future__ import annotations

import html
import inspect as inspection
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xdownscale import splits
from xdownscale.config import DownscalerConfig
from xdownscale.config import preset as named_preset
from xdownscale.core import logs
from xdownscale.core.errors import (
    NotFittedError,
    OptionError,
    XDownscaleError,
    XDownscaleWarning,
    check_option,
    check_whole,
)
from xdownscale.core.files import as_path
from xdownscale.core.normalization import TRANSFORMS
from xdownscale.fitting import fitted_model
from xdownscale.fitting.faults import Asked
from xdownscale.fitting.fit import fit_records
from xdownscale.fitting.fitted_model import Fitted, GroupModel
from xdownscale.fitting.inspection import Inspection, inspect_records
from xdownscale.fitting.moving import move
from xdownscale.io import serialization
from xdownscale.io.hub import load as pretrained
from xdownscale.io.hub import publish as publishing
from xdownscale.models.training.plan import duration
from xdownscale.models.training.progress import Progress
from xdownscale.prediction import chunks as chunking
from xdownscale.prediction import diagnostics, zarr
from xdownscale.prediction import forecast_skill as forecasting
from xdownscale.prediction.predict import predict_maps
from xdownscale.prediction.request import Request

_LOG = logs.logger("fit")


class Downscaler:
    """Downscaling model: generative, trained by transfer learning in two stages.

    A small U-Net is trained to forecast the long coarse record; its encoder, frozen, feeds the
    networks that are trained on the short fine record (arXiv 2512.05139): see `xdownscale.fit`.

    Parameters
    ----------
    preset : str or DownscalerConfig
        ``"auto"``, ``"fast"``, ``"paper"``, ``"dressed"``, ``"gaussian"``, ``"analogues"``,
        ``"kriging"``, or a configuration from `xdownscale.preset`.
    seasons : sequence of str, mapping, optional
        ``("DJF", "MAM", "JJA", "SON")`` trains one model for each; None trains one for all.
    regions : mapping, optional
        Name -> (west, east, south, north) or mask; one model for each.
    transform : str
        Transform of the values; ``"auto"`` chooses one from the training time steps.
    seed : int
        Seed of everything random.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    checkpoint_dir : str or path, optional
        Folder of checkpoints, from which training resumes after an interruption.
    progress : bool
        Say what the training costs, show one bar, and say at the end how good the model is.
    pairing : {"auto", "paired", "self"}
        Whether the records show the same weather at the same time; see `xdownscale.fit`.
    outliers : {"raise", "mask", "keep"}
        What to do about values that cannot be of a record; see `xdownscale.fit`.

    Attributes
    ----------
    config_ : DownscalerConfig
        Options that were used.
    models_ : dict
        Group name -> fitted model of the group.
    split_ : Dataset
        Part of the split (train, stopping, validation, test) of every usable time step, along
        ``time``, one variable for each group.
    history_ : Dataset
        Losses, for each group, stage and epoch.
    skill_ : dict
        Scores on some validation time steps (teacher-forced, one realization), transformed units.

    Examples
    --------
    >>> Downscaler(preset="paper")
    <xdownscale.Downscaler, not fitted: preset 'paper', seed 0>
    """

    _path: Path | None = None  # of a file that holds the fitted model

    def __init__(
        self,
        preset: str | DownscalerConfig = "auto",
        seasons: Sequence[str] | Mapping[str, Sequence[int]] | None = None,
        regions: Mapping[str, Any] | None = None,
        transform: str | Mapping[str, str] = "auto",
        seed: int = 0,
        device: str = "auto",
        checkpoint_dir: str | PathLike[str] | None = None,
        progress: bool = True,
        pairing: str = "auto",
        outliers: str = "raise",
    ) -> None:
        self.preset = preset
        self.seasons = seasons
        self.regions = regions
        self.transform = transform
        self.seed = seed
        self.device = device
        self.checkpoint_dir = checkpoint_dir
        self.progress = progress
        self.pairing = pairing
        self.outliers = outliers

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters that the model was made with, as estimators of scikit-learn do.

        Parameters
        ----------
        deep : bool
            Without effect: no parameter is an estimator itself.

        Returns
        -------
        dict of str to Any
            Name -> value; ``Downscaler(**model.get_params())`` is the same model, not fitted.

        Examples
        --------
        >>> Downscaler(seed=3).get_params()["seed"]
        3
        """
        return {name: getattr(self, name) for name in inspection.signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Downscaler:
        """Change parameters, for the next `fit`; what was fitted stays.

        Parameters
        ----------
        **params
            Any of the model's own parameters.

        Returns
        -------
        Downscaler
            The model itself.

        Raises
        ------
        OptionError
            For a parameter that there is none of; then none is changed.

        Examples
        --------
        >>> Downscaler().set_params(preset="dressed", seed=3)
        <xdownscale.Downscaler, not fitted: preset 'dressed', seed 3>
        """
        known = self.get_params()
        for name in params:
            check_option("parameter of Downscaler", name, known)
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def fit(
        self,
        coarse: xr.DataArray | xr.Dataset,
        fine: xr.DataArray | xr.Dataset,
        static: xr.DataArray | xr.Dataset | None = None,
        drivers: Mapping[str, str | None] | None = None,
        encoder: Downscaler | None = None,
    ) -> Downscaler:
        """Train on a coarse and a fine record; see `xdownscale.fit` for the parameters."""
        config = self._config()
        if not isinstance(encoder, Downscaler | None):
            raise OptionError(
                f"encoder is a {type(encoder).__name__}; give a fitted Downscaler, such as "
                "xdownscale.load_pretrained(name) or xdownscale.load(path) return."
            )
        seasons = None if self.seasons is None else splits.resolve_seasons(self.seasons)
        months = [month for given in (seasons or {}).values() for month in given]
        if len(set(months)) < len(months):
            raise OptionError(
                f"The seasons {seasons} share months; a time step is generated by the model of one "
                "season. Give seasons that do not overlap."
            )
        folder = self.checkpoint_dir
        progress = Progress(self.progress)
        fitted, pair = fit_records(
            coarse,
            fine,
            static,
            config=config,
            seasons=seasons,
            regions=self.regions,
            seed=check_whole("seed", self.seed),
            device=self.device,
            checkpoint_dir=None if folder is None else as_path(folder, "checkpoint_dir"),
            progress=progress,
            drivers=drivers,
            pairing=self.pairing,
            outliers=self.outliers,
            encoder=None if encoder is None else encoder._require_fitted("encoder"),
        )
        skill: dict[str, float] = {}
        forecast: tuple[float, ...] = ()
        try:
            with logs.timed(_LOG, "skill of validation days measured"):
                forecast = forecasting.measured(fitted, pair)
                skill = diagnostics.validation_skill(fitted, pair, self.device)
        except XDownscaleError as problem:  # hours of training are not lost for a line of the repr
            warnings.warn(
                f"The skill on validation days could not be measured: {problem}",
                XDownscaleWarning,
                stacklevel=3,
            )
        about = replace(fitted.about, skill=skill, forecast=forecast)
        self._fitted = replace(fitted, about=about)
        self._path = None
        _LOG.info("fitted: %.3f s", progress.seconds)
        if self.progress:
            progress.say(f"Fitted in {duration(progress.seconds)}.")
            progress.say(diagnostics.standing(self._fitted, pair, self.device))
        return self

    def predict(
        self,
        coarse: xr.DataArray | xr.Dataset,
        time: Any = None,
        realizations: int = 1,
        mode: str | None = None,
        history: xr.DataArray | None = None,
        stitching: str | None = None,
        seed: int = 0,
        chunks: Any = None,
    ) -> Any:
        """Generate fine fields; see `xdownscale.predict` for the parameters."""
        fitted = self._require_fitted("predict")
        request = Request(
            time=time,
            realizations=realizations,
            mode=mode,
            history=history,
            stitching=stitching,
            seed=seed,
            device=self.device,
        )
        if chunks is None and not chunking.is_lazy(coarse):
            return predict_maps(fitted, coarse, request)
        wanted = "auto" if chunks is None else chunks
        return chunking.predict_lazily(fitted, coarse, request, wanted, self._path)

    def with_sampling(self, **keys: Any) -> Downscaler:
        """Return a model with the same weights and other sampling options.

        Parameters
        ----------
        **keys
            Keys of the section ``sampling`` to change; see `xdownscale.preset`.

        Returns
        -------
        Downscaler

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        OptionError
            For an unknown key or value, or a sampler that does not suit the method.

        Examples
        --------
        >>> Downscaler().with_sampling(steps=4)
        Traceback (most recent call last):
        ...
        xdownscale.core.errors.NotFittedError: This Downscaler is not fitted...
        """
        fitted = self._require_fitted("with_sampling")
        config = fitted.config.replace(sampling=keys)
        other = type(self)(preset=config, seasons=fitted.seasons, seed=self.seed)
        other.device = self.device
        other.progress = self.progress
        other._fitted = replace(fitted, config=config)
        return other

    def on_grid(
        self,
        coarse: xr.DataArray | xr.Dataset,
        fine: xr.DataArray | xr.Dataset,
        static: xr.DataArray | xr.Dataset | None = None,
    ) -> Downscaler:
        """Return a model with the same weights for another domain of the same family of grids.

        Networks that work pixel by pixel or by convolution know spacings and no places, so a model
        may be applied beside the domain that it was fitted on: to more of a country, to the other
        side of a mountain range. How good it is there nobody has measured: judge it (`skill`,
        `geostat`), best where there is a truth.

        Parameters
        ----------
        coarse, fine : DataArray or Dataset
            The grids of the domain, of any size; only coordinates are looked at. They continue the
            lattices of the model's own grids: same kind, projection and spacing, centres on the
            same lattice (to 5 % of a cell).
        static : DataArray or Dataset, optional
            The static fields of the fit, needed where there were some. They must cover both
            domains: the model's, to check that they are the same, and the new one.

        Returns
        -------
        Downscaler
            Predicts every cell of `fine`. Latitude, longitude and static fields beyond the range
            of the training are held at its ends. Scores of the fit are left out.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        OptionError
            If the method learns cells by their place (``knows_cells``: all closed-form methods,
            and networks that correct a first guess of them), or the model has regions or was
            fitted with ``pairing="self"``.
        GridError
            If a grid is of another family, or fine cells lie outside the coarse grid.
        DataError
            If the static fields are not those of the fit.

        Examples
        --------
        >>> Downscaler().on_grid(xr.Dataset(), xr.Dataset())
        Traceback (most recent call last):
        ...
        xdownscale.core.errors.NotFittedError: This Downscaler is not fitted...
        """
        fitted = self._require_fitted("on_grid")
        moved = move(fitted, coarse, fine, static)
        other = type(self)(preset=fitted.config, seasons=fitted.seasons, seed=self.seed)
        other.device = self.device
        other.progress = self.progress
        other._fitted = moved
        return other

    def check(
        self,
        coarse: xr.DataArray | xr.Dataset,
        fine: xr.DataArray | xr.Dataset,
        *,
        days: int = 16,
        realizations: int = 8,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Diagnose known failure modes of the model on held-out time steps.

        Parameters
        ----------
        coarse, fine : DataArray or Dataset
            The records that the model was fitted with.
        days : int
            Test time steps (else validation) to generate, evenly spaced; 2 or more.
        realizations : int
            Fields for each time step; 2 or more.
        seed : int
            Of the noise.

        Returns
        -------
        DataFrame
            A row for each failure mode, of the first target, in transformed units: ``collapse``
            (standard deviation over the map, of one realization over the truth), ``texture``
            (semivariance of neighbouring pixels, likewise), ``extremes`` (99.9 % quantile above
            the median, likewise, physical units), ``spread`` (of realizations over the error of
            their mean), ``negative transfer`` (CRPS over that with the encoder's features of other
            time steps), ``seams`` (steps across patch borders over others), ``drift`` (trend of
            the map's mean against the coarse record's, in standard errors), ``domain mean``
            (spread over error of the mean over the map) and ``baseline`` (CRPS over that of the
            best of `baselines.bias_corrected`, `ridge`, `dressed` and `analogues`, fitted on the
            days that the model was trained on; its sentence says the standard error). Then, on
            regular grids of 8 cells a side or more, spread over error by octave of wavelength:
            ``spread at 12 to 24 km`` and so on. Models that blend patches have a row ``patch
            collapse`` too (standard deviation inside patches, of one realization over the
            truth's), and those with latent numbers ``latent`` (share of the error on held-out days
            that these take away, measured while training). Columns ``value``, ``low`` and ``high``
            (good values lie between), ``verdict`` and ``sentence``.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        OptionError
            For fewer than two time steps or realizations.
        DataError
            If the fine record has fewer than two of the model's test or validation time steps.

        Examples
        --------
        >>> Downscaler().check(xr.DataArray(), xr.DataArray())
        Traceback (most recent call last):
        ...
        xdownscale.core.errors.NotFittedError: This Downscaler is not fitted...
        """
        return diagnostics.check(
            self._require_fitted("check"),
            coarse,
            fine,
            days=days,
            realizations=realizations,
            seed=seed,
            device=self.device,
        )

    def forecast_skill(
        self, coarse: xr.DataArray | xr.Dataset, *, lead: int = 1, time: Any = None
    ) -> pd.DataFrame:
        """Score the small network of the first stage, whose encoder the model uses, by itself.

        It forecasts the coarse record. A network that is no better than persistence has learnt
        nothing that its encoder could transfer.

        Parameters
        ----------
        coarse : DataArray or Dataset (time, lat, lon)
            The coarse record that the model was fitted with.
        lead : int
            Time steps ahead; above 1 forecasts are fed back.
        time : optional
            Time steps to forecast: anything that ``coarse.sel(time=...)`` takes. None: the
            validation and test days of the model, which the first stage saw neither as targets nor
            as lags; where there are none, the last tenth of the record, with a warning.

        Returns
        -------
        DataFrame
            Rows ``model``, ``persistence`` (the last field), ``climatology`` (the mean of each
            cell) and ``AR(1) of each cell``, the last two fitted on the days more than ``lags``
            away from those that are scored. Columns (units, score): ``mae``, ``r2`` and ``rmse``
            are means over time steps; ``r2_pooled`` counts all time steps and cells together, and
            lies higher, as it counts differences between seasons and places. Where there are
            several groups or variables, they come first in the index.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ModelMismatchError
            If it has no forecaster (it was fitted without an encoder, took one over, or its file
            was written by an earlier version), or the record is not of its kind.
        OptionError
            If `lead` is no whole number of 1 or more.
        TimeAxisError
            If no time step can be forecast, or one that is asked for is not in the record.

        Examples
        --------
        >>> Downscaler().forecast_skill(xr.DataArray())
        Traceback (most recent call last):
        ...
        xdownscale.core.errors.NotFittedError: This Downscaler is not fitted...
        """
        fitted = self._require_fitted("forecast_skill")
        lead = check_whole("lead", lead)
        return forecasting.forecast_skill(fitted, coarse, lead=lead, time=time)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to one file (JSON and safetensors in a zip; never a pickle).

        Parameters
        ----------
        path : str or path
            File to write. An existing file is replaced only once the new one is whole.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        StorageError
            If the file cannot be written.
        """
        serialization.save(self._require_fitted("save"), path)
        self._path = Path(path)

    def export_onnx(self, folder: str | PathLike[str]) -> dict[str, Path]:
        """Write the networks to ONNX files, for runtimes without torch.

        Each group of seasons and regions has ``mean.onnx``, the conditional mean, and
        ``generator.onnx``, one evaluation of the generating network, as far as its method has
        them. They work in scaled units on arrays (n, channel, y, x), for any n and any size that
        is a multiple of the lattice. Their metadata hold the lattice, the scalings and the
        model's hash. What surrounds the networks is not in them: regridding, scaling, windows of
        days, solvers, calibration, dressing.

        Inputs: ``known`` (n, c, y, x), first guess and climate if the method has them, the
        targets' own drivers, the window of drivers, earlier fine fields, static fields
        (``generator`` after a mean: that mean comes last); ``calendar`` (n, k); ``coarse``
        (n, lags x drivers, yc, xc); ``place`` (n, y, x, 2), positions on the coarse grid, x before
        y, its edges at -1 and 1; ``noisy`` (n, c, y, x) and ``sigma`` (n,).

        Parameters
        ----------
        folder : str or path
            Where the files go; it is made if need be.

        Returns
        -------
        dict
            Name of each network -> its file.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        OptionError
            If the method has no such networks (closed forms, methods of patches or pixels).
        MissingPackageError
            If onnx or onnxscript is not installed (extra ``onnx``).
        StorageError
            If a file cannot be written.
        """
        from xdownscale.io import onnx

        return onnx.export(self._require_fitted("export_onnx"), folder)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Downscaler:
        """Load a model from a file that `save` wrote; see `xdownscale.load`."""
        fitted = serialization.load(path)
        model = cls(preset=fitted.config, seasons=fitted.seasons, seed=fitted.about.seed)
        model._fitted = fitted
        model._path = Path(path)
        return model

    @property
    def config_(self) -> DownscalerConfig:
        """Options that were used."""
        return self._require_fitted("config_").config

    @property
    def models_(self) -> dict[str, GroupModel]:
        """Fitted model of each group, by group name."""
        return self._require_fitted("models_").models

    @property
    def split_(self) -> xr.Dataset:
        """Part of the split of every usable time step, for each group."""
        parts = {name: m.split["part"] for name, m in self.models_.items()}
        return xr.merge(
            [part.rename(name) for name, part in parts.items()], join="outer", fill_value=""
        )

    @property
    def history_(self) -> xr.Dataset:
        """Losses for each group, stage and epoch."""
        tables = [m.history for m in self.models_.values()]
        return xr.concat(tables, dim=xr.DataArray(list(self.models_), dims="group", name="group"))

    @property
    def skill_(self) -> dict[str, float]:
        """Scores on some validation time steps."""
        return dict(self._require_fitted("skill_").about.skill)

    def days(self, part: str, group: str | None = None) -> xr.DataArray:
        """Return the time steps of one part of the split.

        Parameters
        ----------
        part : {"train", "stopping", "validation", "test"}
            Part of the split.
        group : str, optional
            Group; needed where there are several.

        Returns
        -------
        DataArray
            Times.
        """
        check_option("part", part, ("train", "stopping", "validation", "test"))
        models = self.models_
        name = next(iter(models)) if group is None and len(models) == 1 else group
        check_option("group", name, models)
        split = models[str(name)].split
        return split["time"][np.flatnonzero(split["part"].values == part)]

    def __repr__(self) -> str:
        fitted = getattr(self, "_fitted", None)
        if fitted is None:
            name = self.preset if isinstance(self.preset, str) else "custom"
            return f"<xdownscale.Downscaler, not fitted: preset {name!r}, seed {self.seed}>"
        return fitted_model.as_text(fitted)

    def _repr_html_(self) -> str:
        fitted = getattr(self, "_fitted", None)
        return (
            f"<pre>{html.escape(repr(self))}</pre>"
            if fitted is None
            else fitted_model.as_html(fitted)
        )

    def _require_fitted(self, what: str) -> Fitted:
        fitted: Fitted | None = getattr(self, "_fitted", None)
        if fitted is None:
            raise NotFittedError(
                f"This Downscaler is not fitted, so it has no {what!r}. Call "
                "fit(coarse, fine) first, or load a saved model with xdownscale.load(path)."
            )
        return fitted

    def _config(self) -> DownscalerConfig:
        """Return the configuration: that of the preset, with the transform that was given."""
        if isinstance(self.transform, str):
            check_option("transform", self.transform, TRANSFORMS)
        config = self.preset
        if isinstance(config, str):
            config = named_preset(config)
        if not isinstance(config, DownscalerConfig):
            raise OptionError(
                f"preset is a {type(config).__name__}; give a name such as 'paper', or what "
                "xdownscale.preset(...) returns."
            )
        if self.transform != "auto":
            config = config.replace(data={"transform": self.transform})
        if self.seasons is not None and config.data.lags > config.data.buffer_days:
            raise OptionError(
                f"lags is {config.data.lags}, more than the {config.data.buffer_days} days of "
                "context before a season; give fewer lags or more buffer_days."
            )
        return config


def require_model(given: object) -> Downscaler:
    """Return the given model, or raise `OptionError` if it is no `Downscaler`.

    Parameters
    ----------
    given : object
        Argument given as a model.
    """
    if not isinstance(given, Downscaler):
        raise OptionError(
            f"model is a {type(given).__name__}; give a fitted Downscaler, such as "
            "xdownscale.load(path) or xdownscale.fit(coarse, fine) return."
        )
    return given


def fit(
    coarse: xr.DataArray | xr.Dataset,
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
    """Train a downscaling model on a coarse record and a short overlapping fine record.

    Under preset ``"auto"`` what takes seconds is fitted first: ridge regression on the coarse
    cells, with residual fields of similar days ("dressed") or correlated noise, and analogues.
    Networks that correct the regression are trained on top, and kept only where the CRPS of
    held-out blocks of time says so by more than its standard error; the model's repr says what was
    kept, and by how much. ``training=dict(max_minutes=...)`` limits the whole call.

    Presets ``"fast"`` and ``"paper"`` have the two stages of arXiv 2512.05139: a small U-Net is
    trained to forecast the long coarse record one step ahead; its encoder, frozen, feeds the
    networks that are trained on the short fine record. Under ``"fast"`` these are a regression,
    which gives the mean of the fine field given the coarse fields around its time and static
    fields, and a diffusion model of the residual; under ``"paper"`` a diffusion model of the field,
    which sees the preceding fine fields.

    Parameters
    ----------
    coarse : DataArray or Dataset (time, lat, lon)
        Long coarse record. Any dimension names and order, latitude order, longitude convention
        and calendar. It must cover the fine grid to half a coarse cell. Of a Dataset all
        variables are drivers: the inputs that the fine fields are generated from.
    fine : DataArray or Dataset (time, lat, lon)
        Short fine record of the same variable in the same units; of a Dataset all variables are
        generated together. Cells that are always NaN are a mask; scattered NaN are left out of the
        loss.
    static : DataArray or Dataset (lat, lon), optional
        Time-independent fields on any grid, such as elevation; brought to the fine grid by area
        average.
    preset : str or DownscalerConfig
        ``"auto"``, ``"fast"``, ``"paper"``, ``"dressed"``, ``"gaussian"``, ``"analogues"``,
        ``"kriging"``, or a configuration from `xdownscale.preset`.
    seasons : sequence of str or mapping, optional
        ``("DJF", "MAM", "JJA", "SON")``, or name -> months: one model for each. None: one model.
    regions : mapping, optional
        Name -> (west, east, south, north) in degrees, or mask DataArray: one model for each.
        Where regions overlap, the first one named counts.
    transform : str or mapping
        ``"auto"``, ``"log10"``, ``"asinh"``, ``"log1p"``, ``"sqrt"`` or ``"identity"``; the
        model's repr tells what ``"auto"`` chose, and why. A mapping gives one to each variable
        by name.
    seed : int
        Seed of everything random.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    checkpoint_dir : str or path, optional
        Folder for a checkpoint after each epoch. Calling again with the same folder, data and
        options resumes where training was interrupted.
    progress : bool
        Say on standard error (in a notebook: below the cell) what the training costs here, measured
        on a batch of each stage, before it starts; show one bar with the time that is left; say at
        the end how good the model is beside its best baseline on validation days.
    drivers : mapping, optional
        Fine variable -> the coarse variable that is the same quantity in the same units, or None
        where there is none. None: the one of the same name, or the only one.
    pairing : {"auto", "paired", "self"}
        Whether the records show the same weather at the same time. ``"paired"``: a fine field is
        trained on the coarse field of its time step. ``"self"``: a free-running simulation has
        weather of its own, so its fine fields are trained on their own averages over coarse cells,
        and the coarse record is quantile-mapped to their climate, season by season. ``"auto"``:
        `xdownscale.geostat.diagnose_pairing` decides where there are 129 common days, and a
        warning tells if it finds them unpaired; shorter records are taken for paired.
    encoder : Downscaler, optional
        Fitted model, such as `xdownscale.load_pretrained` returns. Its encoder replaces the
        first stage: unchanged under ``network=dict(encoder="frozen")``, as initial weights under
        ``"finetuned"``. Method family, lags, scaling, norm, forecaster, encoder channels and
        number of drivers must be the same. Each group takes the encoder of the group of the
        same name, else the only one. Values are transformed and scaled by the new records, not as
        the other model's were.
    outliers : {"raise", "mask", "keep"}
        What to do about values that lie far outside all others of a record or static field: more
        than a thousand times their range, or half of it where they are a usual fill value such as
        -9999 (a temperature of 0 K is one). ``"raise"`` names value, time and cell; ``"mask"``
        takes them for missing; ``"keep"`` trains on them.

    Returns
    -------
    Downscaler

    Raises
    ------
    GridError
        No latitude or longitude, a fine grid that the coarse one does not cover, a patch larger
        than the image.
    TimeAxisError
        Duplicate times, no common time step, fewer than ``lags + 2`` in the record or a split.
    DataError
        Units that differ, a record without values, values that the transform cannot take, that
        are no decoded numbers, that lie far outside all others, or that float32 cannot hold.
    OptionError
        Unknown preset, season, transform or option.
    ModelMismatchError
        If `encoder` is of another make, or `checkpoint_dir` holds another training.

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr, xdownscale as xd
    >>> time = pd.date_range("2000-01-01", periods=40)
    >>> def record(step, seed):
    ...     lat, lon = np.arange(0, 8, step), np.arange(0, 8, step)
    ...     values = np.random.default_rng(seed).normal(size=(40, lat.size, lon.size))
    ...     return xr.DataArray(values, coords={"time": time, "lat": lat, "lon": lon})
    >>> config = xd.preset(
    ...     "paper",
    ...     data=dict(lags=2, patch_size=8, extrapolate="nearest"),
    ...     network=dict(channels=(8, 8), encoder_channels=(8, 8)),
    ...     training=dict(epochs=1, pretrain_epochs=1),
    ...     sampling=dict(steps=2, size=8, stride=4),
    ... )
    >>> model = record(2.0, 0).downscale.fit(record(0.5, 1), preset=config, progress=False)
    >>> record(2.0, 0).downscale.predict(model, time=time[20:22], history=record(0.5, 1)).sizes
    Frozen({'realization': 1, 'time': 2, 'lat': 16, 'lon': 16})
    """
    model = Downscaler(
        preset=preset,
        seasons=seasons,
        regions=regions,
        transform=transform,
        seed=seed,
        device=device,
        checkpoint_dir=checkpoint_dir,
        progress=progress,
        pairing=pairing,
        outliers=outliers,
    )
    return model.fit(coarse, fine, static=static, drivers=drivers, encoder=encoder)


def inspect(
    coarse: xr.DataArray | xr.Dataset,
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
    """Show what stands between two records and `fit`, and what a fit would cost here.

    Every check of `fit` is made, also those behind the first that fails; each fault has the line
    of code that mends it, where there is one. Records that are not in memory are read once.

    Parameters
    ----------
    coarse, fine, static, preset, seasons, regions, transform, seed, device, drivers, pairing,
    outliers
        As for `fit`.
    measure : bool
        Measure a batch of each stage of the training, for minutes and memory: seconds.

    Returns
    -------
    Inspection
        Tables ``records`` (variables, times, gaps, grids, ranges, missing values), ``together``
        (common time steps, pairing, transform, split, patches, cost, memory) and ``faults``;
        ``ok`` says whether `fit` would begin. Jupyter shows all of it.

    Raises
    ------
    OptionError
        Unknown preset, season or option.

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr, xdownscale as xd
    >>> def record(step, units):
    ...     axis = np.arange(0, 8, step)
    ...     coords = {"time": pd.date_range("2000-01-01", periods=40), "lat": axis, "lon": axis}
    ...     values = np.random.default_rng(0).normal(280, 9, (40, axis.size, axis.size))
    ...     da = xr.DataArray(values, coords, name="t", attrs={"units": units})
    ...     return da if units == "K" else da - 273.15
    >>> found = xd.inspect(record(2.0, "K"), record(0.5, "degC").assign_attrs(units="degC"))
    >>> found.ok, found.faults.check.tolist()
    (False, ['units', 'grids'])
    >>> found.faults.code[0]
    "fine = (fine + 273.15).assign_attrs(fine.attrs, units='K')"
    """
    owner = Downscaler(preset=preset, seasons=seasons, transform=transform)
    named = None if seasons is None else splits.resolve_seasons(seasons)
    asked = Asked(
        owner._config(), drivers, pairing, outliers, named, regions, check_whole("seed", seed)
    )
    return inspect_records(coarse, fine, static, asked, device=device, measure=measure)


def predict(
    coarse: xr.DataArray | xr.Dataset,
    model: Downscaler,
    time: Any = None,
    realizations: int = 1,
    mode: str | None = None,
    history: xr.DataArray | None = None,
    stitching: str | None = None,
    seed: int = 0,
    chunks: Any = None,
) -> Any:
    """Generate fine fields from a coarse record with a fitted model.

    Parameters
    ----------
    coarse : DataArray or Dataset (time, lat, lon)
        Coarse record on the grid that the model was fitted with, with all of its drivers.
    model : Downscaler
        Fitted model.
    time : optional
        Time steps to generate: anything that ``coarse.sel(time=...)`` takes (labels, a slice, a
        coordinate), in any order; the result has them in that order. None: every time step that the
        model can generate. A model of preset ``"fast"`` was trained with missing ends and generates
        all of the record; others need their whole window in it.
    realizations : int
        Ensemble members: fields for each time step.
    mode : str
        ``"parallel"``: each time step is generated from the coarse fields around it, in any order;
        the mode of all presets but ``"paper"``, and theirs alone.
        ``"autoregressive"``: each time step is generated from the fields generated before it. A run
        starts after the last time step of the history before its first target, and all time steps
        from there on are generated; where there is no such time step it starts cold, from the
        interpolated coarse record, with a warning.
        ``"teacher_forced"``: each time step is generated from the true fine fields before it.
    history : DataArray, optional
        Fine record that true lags are read from. None: the last fields of the training record,
        which the model carries.
    stitching : str
        ``"whole"``: the network sees the image in one piece. ``"patches"`` as in the paper: each is
        generated by itself. ``"multidiffusion"``: patches are made to agree at every step. None:
        ``"patches"`` for preset ``"paper"``, else ``"whole"``.
    seed : int
        Seed of the noise. A field depends on (seed, realization, time) alone, not on the other
        time steps, the batch size or the number of realizations.
    chunks : "auto", int or mapping, optional
        Generate lazily, with dask, in pieces of so many time steps, or
        ``{"time": ..., "realization": ...}`` (-1 for all); maps stay whole. None: ``"auto"`` (at
        most 64 time steps and 64 MB) where the coarse record is lazy, else everything is generated
        now. A piece reads the time steps around its own; lazy chunks that cut maps are joined, with
        a warning.

    Returns
    -------
    DataArray (realization, time, lat, lon), or Dataset of several
        In the fine record's units, with its dimension names and order behind ``realization``, its
        horizontal coordinates, and its attributes with one more line of ``history``. NaN where the
        fine record never had a value, and at time steps with too many missing drivers (with a
        warning). A lazy prediction reads only the labels at first; in the modes that need fine lags
        the coarse record is searched once for gaps.

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    ModelMismatchError
        If record, history or units are not those of the model.
    TimeAxisError
        If the record lacks time steps that are asked for, or true lags are missing.
    OptionError
        Unknown mode or stitching, or fewer than one realization.

    Examples
    --------
    See `xdownscale.fit`.
    """
    return require_model(model).predict(
        coarse,
        time=time,
        realizations=realizations,
        mode=mode,
        history=history,
        stitching=stitching,
        seed=seed,
        chunks=chunks,
    )


def predict_to_zarr(
    model: Downscaler,
    coarse: xr.DataArray | xr.Dataset,
    store: Any,
    *,
    time: Any = None,
    realizations: int = 1,
    mode: str | None = None,
    history: xr.DataArray | None = None,
    stitching: str | None = None,
    seed: int = 0,
    chunks: Any = "auto",
    shards: Any = None,
    storage_options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Generate fine fields from a coarse record into a Zarr store; an interrupted run resumes.

    Time steps and realizations are generated in pieces, each of them a chunk (or a shard) of the
    store. The store knows which are finished: call the same again after whatever stopped it (a
    kill, a full disk, the end of a batch job), and the others are generated; the result is the
    same to the last bit. Memory depends on the pieces alone. With a client of
    ``dask.distributed`` its workers generate and write.

    Parameters
    ----------
    model : Downscaler
        Fitted model.
    coarse : DataArray or Dataset (time, lat, lon)
        As for `predict`; lazy or not. It is read once for its fingerprint, then piece by piece.
    store : str, path, zarr.abc.store.Store or fsspec mapping
        Folder of the store, on a file system that this machine and all workers see; or a URL of
        fsspec (``"s3://bucket/maps.zarr"``, ``"memory://maps.zarr"``); or an open store of Zarr,
        such as that of an Icechunk session, which you commit afterwards. Only folders are locked:
        two calls that fill one URL generate the same numbers twice.
    time, realizations, mode, history, stitching, seed
        As for `predict`.
    chunks : "auto", int or mapping
        Time steps of a piece, or ``{"time": ..., "realization": ...}``; maps stay whole.
        ``"auto"``: at most 64 time steps and 64 MB. A resumed run keeps the chunks that it began
        with. With `shards`: the chunks within a shard, along any dimension (``{"time": 1, "lat":
        64, "lon": 64}``); ``"auto"``: one map.
    shards : "auto", int, mapping or None
        Pieces as shards of Zarr 3, files that hold several chunks: time steps of a piece, or
        ``{"time": ..., "realization": ...}``. A reader fetches single chunks of a shard. None: a
        piece is a chunk.
    storage_options : mapping, optional
        Options of the URL's file system, such as ``{"endpoint_url": ...}``; never written into
        the store, logs or messages.
    progress : bool
        Show a progress bar with the remaining time.

    Returns
    -------
    Dataset
        The store, opened lazily: the fields of `predict`, following CF-1.11.

    Raises
    ------
    StorageError
        If the store holds something else, another process fills it, there is too little space, or
        it cannot be written; what is finished stays.
    ModelMismatchError
        If the store was begun with another model, coarse record, seed, ... (says which).
    NotFittedError, OptionError, TimeAxisError
        As `predict`.
    MissingPackageError
        If the package for this kind of URL is not installed (``s3://``: extra ``s3``).

    Examples
    --------
    >>> import xdownscale as xd
    >>> ds = xd.datasets.load_twin()
    >>> xd.predict_to_zarr(xd.Downscaler(), ds.dust, "maps.zarr")
    Traceback (most recent call last):
    ...
    xdownscale.core.errors.NotFittedError: This Downscaler is not fitted...
    """
    fitted = require_model(model)._require_fitted("predict_to_zarr")
    request = Request(
        time=time,
        realizations=realizations,
        mode=mode,
        history=history,
        stitching=stitching,
        seed=seed,
        device=model.device,
    )
    return zarr.write_store(
        fitted,
        coarse,
        request,
        store,
        chunks=chunks,
        shards=shards,
        storage_options=storage_options,
        path=model._path,
        progress=progress,
    )


def load(path: str | PathLike[str]) -> Downscaler:
    """Load a model from a file that `Downscaler.save` wrote.

    Parameters
    ----------
    path : str or path
        Model file.

    Returns
    -------
    Downscaler

    Raises
    ------
    StorageError
        If there is no such file.
    ModelFormatError
        If the file is altered, truncated or not ours.

    Examples
    --------
    >>> import xdownscale as xd
    >>> xd.load("no/such/file.xd")
    Traceback (most recent call last):
    ...
    xdownscale.core.errors.StorageError: no/such/file.xd cannot be read: ...
    """
    return Downscaler.load(path)


def load_pretrained(name: str, *, progress: bool = True) -> Downscaler:
    """Load a pretrained model by name.

    The package ships ``"dust-twin-tiny"``, which needs no network. Further models come from the
    folder or server that the environment variable ``XDOWNSCALE_DATA_URL`` names (a folder,
    ``file://``, ``http://`` or ``https://``): what `publish` wrote. A file counts only if it has
    the SHA-256 that the registry names. It is looked for in the package, in the cache
    (``XDOWNSCALE_CACHE``, else the user's cache folder) and then in that place; what was fetched
    over a network stays in the cache. A server that is silent for ``XDOWNSCALE_TIMEOUT`` seconds
    (20) is given up, and so is one that has not sent everything after twice as long and a second
    more for every 50 kB of the file.

    Parameters
    ----------
    name : str
        Name in the registry; where the place and the package both have it, the place's counts.
    progress : bool
        Show a progress bar of the download.

    Returns
    -------
    Downscaler
        Fitted: for `xdownscale.predict`, or as ``encoder=`` of `xdownscale.fit`.

    Raises
    ------
    OptionError
        If no registry has the name; says which names there are.
    StorageError
        If the file cannot be fetched or kept; says which file to put where.
    ModelFormatError
        If the file or the registry is altered.

    Examples
    --------
    >>> import xdownscale as xd
    >>> model = xd.load_pretrained("dust-twin-tiny")
    >>> model.config_.network.channels
    (32, 48, 64)
    """
    return Downscaler.load(pretrained.find_model(name, progress=progress))


def publish(
    model: Downscaler,
    folder: str | PathLike[str],
    *,
    name: str | None = None,
    summary: str = "",
    scores: pd.DataFrame | Mapping[str, float] | str | None = None,
    intended_use: str = "",
    licence: str = "",
) -> Path:
    """Publish a model in a folder, from which others load it by name.

    The folder then holds ``{name}.xd`` (what `Downscaler.save` writes), ``{name}.md`` (a model
    card: grids, period, scores, intended use, licence) and ``registry.json``, where the model's
    line with its size and SHA-256 comes last, so that a reader never finds a line without its file.
    Serve the folder with any web server, or share it, and let ``XDOWNSCALE_DATA_URL`` name it:
    see `load_pretrained`. What was published stays as it is: another model needs another name.

    Parameters
    ----------
    model : Downscaler
        Fitted model.
    folder : str or path
        Made where it does not exist.
    name : str, optional
        Letters, digits, points, ``-`` and ``_``. None: the folder's own name.
    summary : str
        One sentence. Empty: made from the facts of the model.
    scores : DataFrame, mapping or str, optional
        Table of `xdownscale.skill.table`, score -> number, or Markdown. None: the scores that
        fitting measured on validation time steps.
    intended_use, licence : str
        For the card; say who may do what with it.

    Returns
    -------
    Path
        The model file.

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    OptionError
        If the name cannot be one, or another model has it.
    StorageError
        If the folder cannot be written; what was published before is untouched.
    ModelFormatError
        If the folder's registry is altered.

    Examples
    --------
    >>> import tempfile, xdownscale as xd
    >>> model = xd.load_pretrained("dust-twin-tiny")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = xd.publish(model, folder, name="dust-2", licence="CC BY 4.0")
    ...     sorted(path.name for path in file.parent.iterdir())
    ['dust-2.md', 'dust-2.xd', 'registry.json']
    """
    return publishing.publish(
        require_model(model)._require_fitted("publish"),
        as_path(folder, "folder"),
        name=name,
        summary=summary,
        scores=scores,
        intended_use=intended_use,
        licence=licence,
    )
