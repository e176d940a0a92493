"""Fitted model: the trained networks of each group, their scalings, and facts about training."""

from __future__ import annotations

import html
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale import methods
from xdownscale.config import DownscalerConfig
from xdownscale.core.coords import Labels
from xdownscale.core.normalization import Scaling
from xdownscale.fitting.groups import Group, Seasons
from xdownscale.methods import Method
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.networks.state import count_parameters
from xdownscale.preprocessing.calendar_features import CHANNELS, Calendar
from xdownscale.preprocessing.quantile_mapping import QuantileMap


@dataclass(frozen=True, kw_only=True)
class GroupModel:
    """Trained model of one group: weights, scalings, masks and split.

    Attributes
    ----------
    group : Group
        Season and region.
    weight : (y, x) float32 array
        What the group's fields count where those of its neighbours lie too; a half or more in its
        own region.
    masks : (t, y, x) bool array
        Cells of the window that the model predicts, for each target.
    static : (s, y, x) float32 array
        Static fields, scaled.
    scalings : tuple of Scaling
        Of each target, fitted on training days.
    driver_scalings : tuple of Scaling
        Of each driver; that of a target's own driver is the target's.
    calendar : Calendar
        Constants of the calendar channels.
    state : dict
        Weights.
    split : Dataset
        Coordinate ``part`` of every usable time step along ``time``.
    history : Dataset
        Losses, one row an epoch.
    maps : tuple of QuantileMap
        Under pairing ``"self"``, for each driver: onto the climate of the fine record, scaled
        units; else empty.
    loaded : dict
        Objects built from the weights in this process, such as samplers.
    """

    group: Group
    weight: npt.NDArray[np.float32]
    masks: npt.NDArray[np.bool_]
    static: npt.NDArray[np.float32]
    scalings: tuple[Scaling, ...]
    driver_scalings: tuple[Scaling, ...]
    calendar: Calendar
    state: dict[str, npt.NDArray[np.float32]]
    split: xr.Dataset
    history: xr.Dataset
    maps: tuple[QuantileMap, ...] = ()
    loaded: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what each process builds for itself."""
        return self.__dict__ | {"loaded": {}}

    def once(self, key: Hashable, build: Callable[[], Any]) -> Any:
        """Return the cached result of `build`; built anew where a weight array was replaced."""
        mine = list(self.state.values())
        weights, built = self.loaded.get(key, (None, None))
        same = weights is not None and len(mine) == len(weights)
        if not same or any(a is not b for a, b in zip(mine, weights, strict=True)):
            built = build()
            self.loaded[key] = (mine, built)
        return built

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """Cells of the first target, ``(y, x)``."""
        first: npt.NDArray[np.bool_] = self.masks[0]
        return first

    @property
    def scaling(self) -> Scaling:
        """Scaling of the first target."""
        return self.scalings[0]

    @property
    def parameters(self) -> int:
        """Number of weights of all networks."""
        return sum(count_parameters(self.state).values())


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """Facts about a fitted model: its training data, its version and its scores.

    Attributes
    ----------
    coarse_units : tuple of str or None
        Units of each driver; None where it has none.
    fine_period, coarse_period : (str, str)
        First and last date of each record.
    days : (int, int)
        Number of time steps of the fine and of the coarse record.
    step : int
        Time step of the records, in seconds.
    fingerprint : str
        Hash of the training data and the options.
    seed : int
        Seed of the training.
    version : str
        Version of the package that fitted it.
    pairing : str
        ``"paired"`` or ``"self"``, as it was settled.
    pairing_reason : str
        Why.
    encoder : mapping or None
        Group -> origin of its encoder (group, fingerprint, coarse period, version), for those that
        took one over. None: written by a version that did not record it.
    skill : mapping
        Score -> value on validation days; empty where it was not measured.
    forecast : tuple of float
        r2 of the first stage's forecast of the next time step, and of persistence, on held-out
        days; empty where it was not measured.
    further : mapping
        Facts that a later version wrote to the file; kept and not used.
    """

    coarse_units: tuple[str | None, ...]
    fine_period: tuple[str, str]
    coarse_period: tuple[str, str]
    days: tuple[int, int]
    step: int
    fingerprint: str
    seed: int
    version: str
    pairing: str = "paired"
    pairing_reason: str = ""
    encoder: Mapping[str, Mapping[str, Any]] | None = None
    skill: Mapping[str, float] = field(default_factory=dict)
    forecast: tuple[float, ...] = ()
    further: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them, in the order in which a model file lists them."""
        tree = {each.name: getattr(self, each.name) for each in fields(self)}
        further = tree.pop("further")
        if self.encoder is None:
            del tree["encoder"]
        if not self.forecast:
            del tree["forecast"]
        lists = {name: list(value) for name, value in tree.items() if isinstance(value, tuple)}
        return {**tree, **lists, **further}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> ModelFacts:
        """Return the facts that `to_dict` gave; members that are not known are kept.

        Examples
        --------
        >>> tree = {"coarse_units": ["1"], "fine_period": ["2004-01-01", "2005-12-31"],
        ...         "coarse_period": ["2000-01-01", "2009-12-31"], "days": [731, 3653],
        ...         "step": 86400, "fingerprint": "fb6a", "seed": 0, "version": "0.1.0",
        ...         "pairing": "paired", "pairing_reason": "", "skill": {"r2": 0.8}, "later": 1}
        >>> ModelFacts.from_dict(tree).days
        (731, 3653)
        >>> ModelFacts.from_dict(tree).to_dict() == tree
        True
        """
        known = {each.name for each in fields(cls)} - {"further"}
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in tree.items()
            if name in known
        }
        further = {name: value for name, value in tree.items() if name not in known}
        return cls(**given, further=further)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A fitted model: everything that a model file holds.

    Attributes
    ----------
    config : DownscalerConfig
        Options.
    models : dict
        Group name -> GroupModel.
    seasons : mapping or None
        Season -> months.
    targets : tuple of Labels
        Names and horizontal coordinates of each fine variable (without time).
    drivers : tuple of str
        Names of the coarse variables.
    own : tuple of int
        For each target the number of its own driver, -1 where it has none.
    coarse_grid : DataArray
        Grid of the coarse record, ``(y, x)``, ascending.
    carried : DataArray
        Last fine fields of the training record, ``(time, y, x)``, ascending; its first
        dimension is called ``time``.
    about : ModelFacts
        Units, periods, fingerprint, version, seed, skill on validation days.
    """

    config: DownscalerConfig
    models: dict[str, GroupModel]
    seasons: Seasons | None
    targets: tuple[Labels, ...]
    drivers: tuple[str, ...]
    own: tuple[int, ...]
    coarse_grid: xr.DataArray
    carried: xr.DataArray
    about: ModelFacts

    @property
    def method(self) -> Method:
        """Method that the model was trained with."""
        return methods.find(self.config.method)

    @property
    def any_group(self) -> GroupModel:
        """Model of the first group, for facts that all groups share."""
        return next(iter(self.models.values()))

    @property
    def labels(self) -> Labels:
        """Names of the first target."""
        return self.targets[0]

    def by_region(self) -> dict[str | None, dict[str | None, GroupModel]]:
        """Return region -> season -> model."""
        tree: dict[str | None, dict[str | None, GroupModel]] = {}
        for model in self.models.values():
            tree.setdefault(model.group.region, {})[model.group.season] = model
        return tree


def facts(fitted: Fitted) -> list[tuple[str, str]]:
    """Describe a fitted model and its training data, as (name, sentence) pairs.

    Parameters
    ----------
    fitted : Fitted
        The model.

    Returns
    -------
    list of (str, str)
    """
    about = fitted.about
    config = fitted.config
    fine_days, coarse_days = about.days
    sizes = " x ".join(str(n) for n in fitted.carried.shape[1:])
    coarse = " x ".join(str(n) for n in fitted.coarse_grid.shape)
    variables = [f"{t.name or 'unnamed'} [{t.attrs.get('units', '?')}]" for t in fitted.targets]
    return [
        ("variable" if len(variables) == 1 else "variables", ", ".join(variables)),
        *([("drivers", ", ".join(fitted.drivers))] if len(fitted.drivers) > 1 else []),
        ("fine", f"{sizes} cells, {fine_days} days, {' to '.join(about.fine_period)}"),
        ("coarse", f"{coarse} cells, {coarse_days} days, {' to '.join(about.coarse_period)}"),
        ("pairing", f"{about.pairing} ({about.pairing_reason})"),
        ("groups", ", ".join(fitted.models)),
        ("method", f"{config.method}, {_learnt(fitted)}"),
        *_encoder_origin(about),
        ("transform", "; ".join(map(_transformed, fitted.any_group.scalings))),
        *_forecast(about),
        ("skill", _skill(fitted)),
        ("fingerprint", f"{about.fingerprint[:12]}, seed {about.seed}"),
    ]


def _transformed(scaling: Scaling) -> str:
    """Say which transform a variable has, and whether it is censored."""
    said = scaling.reason or scaling.transform
    if scaling.threshold is None:
        return said
    bound = "" if scaling.cap is None else f", at most {scaling.cap:.4g}"
    return f"{said} Censored: values below {scaling.threshold:.3g} are {scaling.least:g}{bound}."


def _encoder_origin(about: ModelFacts) -> list[tuple[str, str]]:
    """Return the origin of the encoder, if it was not trained on these records."""
    taken = {
        f"{origin['fingerprint'][:12]} ({' to '.join(origin['coarse_period'])})"
        for origin in (about.encoder or {}).values()
    }
    return [("encoder", f"taken over from {', '.join(sorted(taken))}")] if taken else []


def _forecast(about: ModelFacts) -> list[tuple[str, str]]:
    """Return how well the first stage forecasts, if that was measured."""
    if not about.forecast:
        return []
    ours, persistence = about.forecast
    return [("forecast", f"r2 {ours:.2f} (persistence {persistence:.2f})")]


def as_text(fitted: Fitted) -> str:
    """Return the repr of a fitted model."""
    lines = [f"    {name:<12} {value}" for name, value in facts(fitted)]
    return "\n".join(["<xdownscale.Downscaler>", *lines])


def as_html(fitted: Fitted) -> str:
    """Return the repr of a fitted model for Jupyter."""
    cell = "<td style='text-align:left;padding:2px 12px 2px 0;vertical-align:top'>"
    rows = "".join(
        f"<tr>{cell}<b>{html.escape(name)}</b></td>{cell}{html.escape(value)}</td></tr>"
        for name, value in facts(fitted)
    )
    return f"<div><div><b>xdownscale.Downscaler</b></div><table>{rows}</table></div>"


def _learnt(fitted: Fitted) -> str:
    """Describe what was fitted, as the method does."""
    described = fitted.method.describe(fitted.config, fitted.any_group.state)
    if not fitted.method.networks:
        return described
    return f"{described}, {sum(model.parameters for model in fitted.models.values()):,} weights"


def _skill(fitted: Fitted) -> str:
    scores = fitted.about.skill
    if fitted.about.pairing == "self":
        return "not measured (the coarse record shows other days)"
    if not fitted.method.holds_out_validation:
        return "see method (fitted on all days but the test part)"
    if not scores:
        return "not measured (no validation days)"
    listed = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
    return f"{listed} (one realization, a few validation days)"


def sizes_of(fitted: Fitted, model: GroupModel) -> Sizes:
    """Return the numbers that the networks of a group are made from.

    Parameters
    ----------
    fitted : Fitted
        The model.
    model : GroupModel
        One of its groups.
    """
    config = fitted.config
    method = fitted.method
    before, after = method.window(config)
    return Sizes(
        drivers=len(fitted.drivers),
        window=before + 1 + after,
        lags=config.data.lags,
        own=fitted.own,
        fine_lags=method.fine_lags(config),
        static=len(model.static),
        calendar=CHANNELS[method.calendar],
        guess=method.guess_channels(config) * len(fitted.own),
    )
