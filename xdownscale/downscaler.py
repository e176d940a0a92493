"""`Downscaler`: learns how a coarse record looks on a fine grid, and draws the fine record."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xdownscale import archive, checks, lazy, splits, summaries
from xdownscale.config import TRANSFORMS, DownscalerConfig
from xdownscale.errors import NotFittedError, OptionError, check_option, check_whole
from xdownscale.files import as_path
from xdownscale.fitting import learn
from xdownscale.groups import Fitted, GroupModel
from xdownscale.orders import Order
from xdownscale.prediction import draw_maps
from xdownscale.presets import preset as named_preset


class Downscaler:
    """A two-stage, transfer-learning, generative downscaler.

    A small U-Net learns to forecast the long coarse record; its encoder, frozen, feeds the
    networks that learn the short fine record (arXiv 2512.05139): see `xdownscale.fit`.

    Parameters
    ----------
    preset : str or DownscalerConfig
        ``"fast"`` or ``"paper"``, or a configuration from `xdownscale.preset`.
    seasons : sequence of str, mapping, optional
        ``("DJF", "MAM", "JJA", "SON")`` trains one model for each; None trains one for all.
    regions : mapping, optional
        Name -> (west, east, south, north) or mask; one model for each.
    transform : str
        Transform of the values; ``"auto"`` chooses one from the training days.
    seed : int
        Seed of everything random.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    checkpoint_dir : str or path, optional
        Folder that training resumes from after an interruption.
    progress : bool
        Show a progress bar.
    pairing : {"auto", "paired", "self"}
        Whether the records show the same days; see `xdownscale.fit`.

    Attributes
    ----------
    config_ : DownscalerConfig
        Options that were used.
    models_ : dict
        Group name -> what was learnt for it.
    split_ : Dataset
        What every usable day was: ``part`` (train, stopping, validation, test) along ``time``,
        one variable for each group.
    history_ : Dataset
        Losses, for each group, stage and epoch.
    skill_ : dict
        Scores on some validation days (teacher-forced, one realization), transformed units.

    Examples
    --------
    >>> Downscaler(preset="paper")
    <xdownscale.Downscaler, not fitted: preset 'paper', seed 0>
    """

    def __init__(
        self,
        preset: str | DownscalerConfig = "fast",
        seasons: Sequence[str] | Mapping[str, Sequence[int]] | None = None,
        regions: Mapping[str, Any] | None = None,
        transform: str | Mapping[str, str] = "auto",
        seed: int = 0,
        device: str = "auto",
        checkpoint_dir: str | PathLike[str] | None = None,
        progress: bool = True,
        pairing: str = "auto",
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
        self._path: Path | None = None  # of a file that holds what was learnt

    def fit(
        self,
        coarse: xr.DataArray | xr.Dataset,
        fine: xr.DataArray | xr.Dataset,
        static: xr.DataArray | xr.Dataset | None = None,
        drivers: Mapping[str, str | None] | None = None,
        encoder: Downscaler | None = None,
    ) -> Downscaler:
        """Learn from a coarse and a fine record; see `xdownscale.fit` for the parameters."""
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
                f"The seasons {seasons} share months; a day is drawn by the model of one season. "
                "Give seasons that do not overlap."
            )
        seed, folder = check_whole("seed", self.seed), self.checkpoint_dir
        kept = None if folder is None else as_path(folder, "checkpoint_dir")
        known = None if encoder is None else encoder._require_fitted("encoder")
        self._fitted = learn(
            coarse,
            fine,
            static,
            config=config,
            seasons=seasons,
            regions=self.regions,
            seed=seed,
            device=self.device,
            checkpoint_dir=kept,
            progress=self.progress,
            drivers=drivers,
            pairing=self.pairing,
            encoder=known,
        )
        self._path = None
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
        """Draw fine fields; see `xdownscale.predict` for the parameters."""
        fitted = self._require_fitted("predict")
        order = Order(
            time=time,
            realizations=realizations,
            mode=mode,
            history=history,
            stitching=stitching,
            seed=seed,
            device=self.device,
        )
        if chunks is None and not lazy.is_lazy(coarse):
            return draw_maps(fitted, coarse, order)
        wanted = "auto" if chunks is None else chunks
        return lazy.draw_lazily(fitted, coarse, order, wanted, self._path)

    def with_sampling(self, **keys: Any) -> Downscaler:
        """Return a model with the same weights that draws in another way.

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
        xdownscale.errors.NotFittedError: This Downscaler is not fitted...
        """
        fitted = self._require_fitted("with_sampling")
        config = fitted.config.replace(sampling=keys)
        other = type(self)(preset=config, seasons=fitted.seasons, seed=self.seed)
        other.device, other.progress = self.device, self.progress
        other._fitted = replace(fitted, config=config)
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
        """Look for the failures that the method is known for, on days that were not learnt from.

        Parameters
        ----------
        coarse, fine : DataArray or Dataset
            The records that the model was fitted with.
        days : int
            Test days (else validation days) that are drawn, evenly spaced; 2 or more.
        realizations : int
            Fields for each; 2 or more.
        seed : int
            Of the noise.

        Returns
        -------
        DataFrame
            A row for each signature, of the first target, in transformed units: ``collapse``
            (standard deviation over the map, of one realization over the truth), ``texture``
            (semivariance of neighbouring pixels, likewise), ``extremes`` (99.9 % quantile above
            the median, likewise, physical units), ``spread`` (of realizations over the error of
            their mean), ``negative transfer`` (CRPS over that with the encoder's features of other
            days), ``seams`` (steps across patch borders over others) and ``drift`` (trend of the
            map's mean against the coarse record's, in standard errors). Columns ``value``, ``low``
            and ``high`` (what is good lies between), ``verdict`` and ``sentence``.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        OptionError
            For fewer than two days or realizations.
        DataError
            If the fine record has fewer than two of the model's test or validation days.

        Examples
        --------
        >>> Downscaler().check(xr.DataArray(), xr.DataArray())
        Traceback (most recent call last):
        ...
        xdownscale.errors.NotFittedError: This Downscaler is not fitted...
        """
        return checks.check(
            self._require_fitted("check"),
            coarse,
            fine,
            days=days,
            realizations=realizations,
            seed=seed,
            device=self.device,
        )

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
        archive.save(self._require_fitted("save"), path)
        self._path = Path(path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Downscaler:
        """Read a model that `save` wrote; see `xdownscale.load`."""
        fitted = archive.load(path)
        model = cls(preset=fitted.config, seasons=fitted.seasons, seed=fitted.about["seed"])
        model._fitted, model._path = fitted, Path(path)
        return model

    @property
    def config_(self) -> DownscalerConfig:
        """Options that were used."""
        return self._require_fitted("config_").config

    @property
    def models_(self) -> dict[str, GroupModel]:
        """Group name -> what was learnt for it."""
        return self._require_fitted("models_").models

    @property
    def split_(self) -> xr.Dataset:
        """What every usable day was, for each group."""
        parts = {name: m.split["part"] for name, m in self.models_.items()}
        return xr.merge(
            [part.rename(name) for name, part in parts.items()], join="outer", fill_value=""
        )

    @property
    def history_(self) -> xr.Dataset:
        """Losses, for each group, stage and epoch."""
        tables = [m.history for m in self.models_.values()]
        return xr.concat(tables, dim=xr.DataArray(list(self.models_), dims="group", name="group"))

    @property
    def skill_(self) -> dict[str, float]:
        """Scores on some validation days."""
        return dict(self._require_fitted("skill_").about["skill"])

    def days(self, part: str, group: str | None = None) -> xr.DataArray:
        """Return the days of one part of the split.

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
        return summaries.as_text(fitted)

    def _repr_html_(self) -> str:
        fitted = getattr(self, "_fitted", None)
        return (
            f"<pre>{html.escape(repr(self))}</pre>" if fitted is None else summaries.as_html(fitted)
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
        """Options in force: the preset, with the transform that was named."""
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
    """Return a `Downscaler`, or raise `OptionError` for what is none.

    Parameters
    ----------
    given : object
        What was given as a model.
    """
    if not isinstance(given, Downscaler):
        raise OptionError(
            f"model is a {type(given).__name__}; give a fitted Downscaler, such as "
            "xdownscale.load(path) or xdownscale.fit(coarse, fine) return."
        )
    return given
