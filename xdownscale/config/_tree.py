"""The whole configuration, and how keys of it are changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xdownscale.config._sections import (
    CHAIN_SAMPLERS,
    METHODS,
    SAMPLERS,
    DataConfig,
    DiffusionConfig,
    NetworkConfig,
    SamplingConfig,
)
from xdownscale.config._training import TrainingConfig
from xdownscale.errors import OptionError, check_option, nearest_name


@dataclass(frozen=True, kw_only=True)
class DownscalerConfig:
    """Everything that decides what a `Downscaler` does.

    Attributes
    ----------
    method : str
        ``"diffusion"``: the paper's. ``"residual"``: a regression, and diffusion of its residual.
        ``"crps"``: one evaluation for a realization, trained with the CRPS. ``"unet"``: the
        regression alone.
    data, network, diffusion, training, sampling : dataclass
        The sections.

    Examples
    --------
    >>> DownscalerConfig().data.lags
    3
    """

    method: str = "diffusion"
    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)

    def __post_init__(self) -> None:
        check_option("method", self.method, METHODS)
        chain, sampler = self.method == "diffusion", self.sampling.sampler
        if chain != (sampler in CHAIN_SAMPLERS):
            fit = CHAIN_SAMPLERS if chain else SAMPLERS[2:]
            raise OptionError(
                f"Sampler {sampler!r} does not suit method {self.method!r}, which takes "
                f"{' or '.join(map(repr, fit))}."
            )
        if self.method == "crps" and sampler == "mean":
            raise OptionError(
                "Method 'crps' has no regression, so there is no sampler 'mean'; average "
                "realizations, or use method 'residual' or 'unet'."
            )
        learning = self.network.encoder == "finetuned"
        if self.method == "residual" and learning and self.diffusion.folds > 1:
            raise OptionError(
                f"encoder 'finetuned' does not suit {self.diffusion.folds} folds: each regression "
                "must know nothing of the fine days that its residual is measured on, and one "
                "encoder serves them all. Use 'frozen' or 'none', or method 'unet' or 'crps'."
            )
        if chain and self.sampling.steps > self.diffusion.train_steps:
            raise OptionError(
                f"sampling.steps is {self.sampling.steps}, more than the "
                f"{self.diffusion.train_steps} steps of the trained chain; give at most that many."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain dicts, lists and numbers (JSON)."""
        plain: dict[str, Any] = dataclasses.asdict(
            self, dict_factory=lambda pairs: {k: _plain(v) for k, v in pairs}
        )
        return plain

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> DownscalerConfig:
        """Build a configuration from what `to_dict` returned; unknown keys are refused."""
        return _override(cls(), tree)

    def replace(self, **sections: Any) -> DownscalerConfig:
        """Return a copy with some keys changed.

        Parameters
        ----------
        **sections
            Section -> mapping of keys, or ``method="..."``.

        Returns
        -------
        DownscalerConfig

        Examples
        --------
        >>> DownscalerConfig().replace(data=dict(lags=5)).data.lags
        5
        """
        return _override(self, sections)


def _plain(value: Any) -> Any:
    if hasattr(value, "item") and not hasattr(value, "__len__"):
        value = value.item()  # a numpy number
    return list(value) if isinstance(value, tuple) else value


def _override(config: DownscalerConfig, tree: Mapping[str, Any]) -> DownscalerConfig:
    """Return `config` with the keys of `tree` changed, section by section."""
    changes: dict[str, Any] = {}
    for section, keys in tree.items():
        names = [f.name for f in dataclasses.fields(config)]
        _check_key("section", section, names)
        current = getattr(config, section)
        if not dataclasses.is_dataclass(current) or isinstance(keys, type(current)):
            changes[section] = keys
        else:
            changes[section] = _override_section(section, current, keys)
    return dataclasses.replace(config, **changes)


def _override_section(section: str, current: Any, keys: Any) -> Any:
    if not isinstance(keys, Mapping):
        raise OptionError(
            f"Section {section!r} takes a mapping of keys or a {type(current).__name__}, "
            f"not {type(keys).__name__}: {section}=dict(...)."
        )
    names = [f.name for f in dataclasses.fields(current)]
    for key in keys:
        _check_key(f"key of section {section!r}", key, names)
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in keys.items()}
    return dataclasses.replace(current, **values)


def _check_key(what: str, given: str, names: list[str]) -> None:
    if given not in names:
        raise OptionError(
            f"Unknown {what}: {given!r}. There are: {', '.join(names)}.{nearest_name(given, names)}"
        )
