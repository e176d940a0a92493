"""What fitting leaves: a model for each group, and the facts that belong to all."""

from __future__ import annotations

import html
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xdownscale import methods
from xdownscale.config import DownscalerConfig
from xdownscale.core.coords import Labels
from xdownscale.core.normalization import Scaling
from xdownscale.fitting.groups import Group, Seasons
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.networks.state import count_parameters
from xdownscale.preprocessing.calendar_features import CHANNELS, Calendar
from xdownscale.preprocessing.quantile_mapping import QuantileMap


@dataclass(frozen=True, kw_only=True)
class GroupModel:
    """What was learnt for one group.

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
        Coordinate ``part`` of every usable day along ``time``.
    history : Dataset
        Losses, one row an epoch.
    maps : tuple of QuantileMap
        Under pairing ``"self"``, for each driver: onto the climate of the fine record, scaled
        units; else empty.
    loaded : dict
        What was built of the weights in this process.
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
        """Leave behind what each process builds for itself."""
        return self.__dict__ | {"loaded": {}}

    def once(self, key: Hashable, build: Callable[[], Any]) -> Any:
        """Return what `build` makes of the weights; made anew only where an array was replaced."""
        weights, built = self.loaded.get(key, ([], None))
        mine = list(self.state.values())
        if len(mine) != len(weights) or any(a is not b for a, b in zip(mine, weights, strict=True)):
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
class Fitted:
    """Everything that fitting learnt; what a model file holds.

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
    about : dict
        Plain facts: units, period, fingerprint, versions, seed, skill on validation days.
    """

    config: DownscalerConfig
    models: dict[str, GroupModel]
    seasons: Seasons | None
    targets: tuple[Labels, ...]
    drivers: tuple[str, ...]
    own: tuple[int, ...]
    coarse_grid: xr.DataArray
    carried: xr.DataArray
    about: dict[str, Any]

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
    """Return what a fitted model learnt from, as (name, sentence) pairs.

    Parameters
    ----------
    fitted : Fitted
        The model.

    Returns
    -------
    list of (str, str)
    """
    about, config = fitted.about, fitted.config
    fine_days, coarse_days = about["days"]
    sizes = " x ".join(str(n) for n in fitted.carried.shape[1:])
    coarse = " x ".join(str(n) for n in fitted.coarse_grid.shape)
    models = fitted.models.values()
    one = next(iter(models))
    variables = [f"{t.name or 'unnamed'} [{t.attrs.get('units', '?')}]" for t in fitted.targets]
    return [
        ("variable" if len(variables) == 1 else "variables", ", ".join(variables)),
        *([("drivers", ", ".join(fitted.drivers))] if len(fitted.drivers) > 1 else []),
        ("fine", f"{sizes} cells, {fine_days} days, {' to '.join(about['fine_period'])}"),
        ("coarse", f"{coarse} cells, {coarse_days} days, {' to '.join(about['coarse_period'])}"),
        ("pairing", f"{about['pairing']} ({about['pairing_reason']})"),
        ("groups", ", ".join(fitted.models)),
        (
            "method",
            f"{config.method}, network {config.network.size}, encoder {config.network.encoder}, "
            f"{config.data.lags} lags, {sum(m.parameters for m in models):,} weights",
        ),
        *_taken_over(about),
        ("transform", "; ".join(s.reason or s.transform for s in one.scalings)),
        ("skill", _skill(about.get("skill") or {}, about["pairing"])),
        ("fingerprint", f"{about['fingerprint'][:12]}, seed {about['seed']}"),
    ]


def _taken_over(about: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the encoder is from, if not from these records."""
    taken = {
        f"{origin['fingerprint'][:12]} ({' to '.join(origin['coarse_period'])})"
        for origin in (about.get("encoder") or {}).values()
    }
    return [("encoder", f"taken over from {', '.join(sorted(taken))}")] if taken else []


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


def _skill(scores: dict[str, float], pairing: str) -> str:
    if pairing == "self":
        return "not measured (the coarse record shows other days)"
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
    method = methods.find(config.method)
    before, after = method.window(config)
    return Sizes(
        drivers=len(fitted.drivers),
        window=before + 1 + after,
        lags=config.data.lags,
        own=fitted.own,
        fine_lags=method.fine_lags(config),
        static=len(model.static),
        calendar=CHANNELS[method.calendar],
    )
