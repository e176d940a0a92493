"""The systems that a study compares: each a configuration, or a baseline, with its control."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from xdownscale import methods
from xdownscale.config import DownscalerConfig, preset
from xdownscale.core.errors import check_option


@dataclass(frozen=True, kw_only=True)
class System:
    """A system of the study.

    Attributes
    ----------
    label : str
        As tables and captions call it.
    preset : str
        Preset that it starts from.
    options : mapping
        Further arguments of `xdownscale.preset`.
    control : str
        System beside which its row must stand; "" where it is its own.
    literal : bool
        Built as published, faults included.
    """

    label: str
    preset: str
    options: Mapping[str, Any] = field(default_factory=dict)
    control: str = ""
    literal: bool = False


_PLAIN = {"network": {"size": "tiny"}}
SYSTEMS: dict[str, System] = {
    "diffusion": System(label="DDPM (paper)", preset="paper", options=_PLAIN, control="patch_unet"),
    "patch_unet": System(
        label="large U-Net on patches (paper)",
        preset="paper",
        options=_PLAIN | {"method": "patch_unet"},
        control="diffusion",
    ),
    "vae_literal": System(
        label="VAE (paper, literal)",
        preset="paper",
        options={"method": "vae", "sampling": {"sampler": "prior"}, **methods.LITERAL_VAE},
        control="vae",
        literal=True,
    ),
    "vae": System(
        label="VAE, mended",
        preset="paper",
        options={"method": "vae", "sampling": {"sampler": "prior"}},
        control="vae_literal",
    ),
    "vdm": System(
        label="VDM (frozen encoder; reconstruction)",
        preset="vdm",
        options={"network": {"encoder": "frozen"}},
        control="vnn",
        literal=True,
    ),
    "vnn": System(label="VNN (no transfer; as in the code)", preset="vdm", control="vdm"),
    "asdm": System(
        label="ASDM (no coarse field of the target day)",
        preset="asdm",
        control="asdm_day",
        literal=True,
    ),
    "asdm_day": System(
        label="ASDM with the day's coarse field",
        preset="asdm",
        options={"options": {"target_day": True}},
        control="asdm",
    ),
    "asdmte": System(
        label="ASDMTE (frozen encoder)",
        preset="asdm",
        options={"network": {"encoder": "frozen"}},
        control="asdm",
        literal=True,
    ),
    "fast": System(label="regression + residual diffusion", preset="fast"),
    "fast_unshuffle": System(
        label="the same on squares of 4 pixels",
        preset="fast",
        options={"network": {"unshuffle": 4}},
    ),
    "latent_diffusion": System(
        label="regression + residual diffusion in a latent space",
        preset="latent_diffusion",
        control="fast_unshuffle",
    ),
    "crps": System(label="CRPS generator", preset="fast", options={"method": "crps"}),
    "auto": System(label="auto", preset="auto"),
}


def names() -> list[str]:
    """Return the systems that this installation has.

    Examples
    --------
    >>> names()[:2]
    ['diffusion', 'patch_unet']
    """
    return [name for name in SYSTEMS if _is_there(SYSTEMS[name])]


def _is_there(system: System) -> bool:
    method = system.options.get("method")
    return method is None or method in methods.available().index


def config_of(name: str, minutes: float | None) -> DownscalerConfig:
    """Return the configuration of a system.

    Parameters
    ----------
    name : str
        As `names` lists it.
    minutes : float or None
        Time for its training; closed forms need none.
    """
    check_option("system", name, names())
    system = SYSTEMS[name]
    sections = {key: dict(v) if isinstance(v, Mapping) else v for key, v in system.options.items()}
    sections["data"] = {"fractions": FRACTIONS, **sections.get("data", {})}
    config = preset(system.preset, **sections)
    if minutes is not None and methods.find(config.method).networks:
        config = config.override(training={"max_minutes": minutes})
    return config


FRACTIONS = (0.85, 0.15, 0.0)  # the study holds the test days out itself
Baseline = Callable[[xr.DataArray, xr.DataArray, Any], xr.DataArray]
