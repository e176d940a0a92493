"""Which methods there are, and which keys of the configuration each of them takes."""

from __future__ import annotations

import dataclasses

import pytest

import xdownscale as xd
from xdownscale.core.errors import OptionError

BUILT_IN = ("diffusion", "residual", "crps", "unet")
SECTIONS = ("data", "network", "diffusion", "training", "sampling")
FIELD_UNET = {
    "data": {"patch_size", "patch_stride"},
    "network": {"attention", "driver_skip", "output_bound"},
    "diffusion": {"schedule", "train_steps"},
    "training": set(),
    "sampling": set(),
}
NOISE_LEVELS = {"sigma_min", "sigma_max", "sigma_median", "sigma_spread", "folds"}
PATCHES = {"size", "stride", "halo", "taper", "noise", "batch_size"}
UNUSED = {
    "diffusion": {
        "data": {"window", "ahead", "crop", "blend", "fine_lags", "first_guess", "missing_ends"},
        "network": {"unshuffle"},
        "diffusion": NOISE_LEVELS,
        "training": {"mean_epochs", "lag_noise", "lag_dropout"},
        "sampling": {"tile", "precision", "compile"},
    },
    "residual": FIELD_UNET,
    "crps": FIELD_UNET
    | {
        "diffusion": FIELD_UNET["diffusion"] | NOISE_LEVELS,
        "training": {"mean_epochs"},
        "sampling": {"steps"},
    },
    "unet": FIELD_UNET
    | {
        "diffusion": FIELD_UNET["diffusion"] | NOISE_LEVELS,
        "sampling": {"steps", "compile"} | PATCHES,
    },
}
each_method = pytest.mark.parametrize("name", BUILT_IN)
each_section = pytest.mark.parametrize("section", SECTIONS)


def config_of(name: str) -> xd.DownscalerConfig:
    if name == "diffusion":
        return xd.preset("paper")
    return xd.preset("fast", method=name)


def test_the_built_in_methods_are_listed():
    listed = xd.methods.available()
    assert tuple(listed.index[:4]) == BUILT_IN
    assert (listed.index.name, listed.name) == ("method", "summary")
    assert all(listed[name] == xd.methods.find(name).summary for name in BUILT_IN)
    assert listed.is_unique


@each_method
def test_a_method_is_found_by_its_name(name):
    assert xd.methods.find(name).name == name
    assert config_of(name).method == name


@pytest.mark.parametrize("ask", [xd.methods.find, lambda name: xd.preset("fast", method=name)])
def test_an_unknown_method_is_refused_and_the_nearest_named(ask):
    with pytest.raises(OptionError, match=r"Unknown method: 'residuals'.*Did you mean 'residual'"):
        ask("residuals")
    with pytest.raises(OptionError, match=r"Unknown method: 'gan'\. Choose one of 'diffusion', "):
        ask("gan")


@each_method
def test_a_method_uses_keys_that_there_are(name):
    for section, keys in xd.methods.find(name).uses.items():
        part = getattr(config_of(name), section)
        assert dataclasses.is_dataclass(part)
        for key in keys:
            getattr(part, key)


@pytest.mark.parametrize(
    ("name", "section", "key"),
    [
        pytest.param(name, section, key, id=f"{name}-{section}.{key}")
        for name, sections in UNUSED.items()
        for section, keys in sections.items()
        for key in sorted(keys)
    ],
)
def test_a_key_that_a_method_does_not_use_is_refused(name, section, key):
    config = config_of(name)
    unchanged = {section: {key: getattr(getattr(config, section), key)}}
    with pytest.raises(
        OptionError, match=rf"Method '{name}' does not use {section}\.{key}; of the"
    ):
        config.replace(**unchanged)


@each_method
@each_section
def test_all_other_keys_are_taken(name, section):
    config = config_of(name)
    part = getattr(config, section)
    keys = {field.name for field in dataclasses.fields(part)} - UNUSED[name][section]
    assert config.replace(**{section: {key: getattr(part, key) for key in keys}}) == config


def test_the_error_names_what_is_used():
    with pytest.raises(OptionError, match=r"'residual' does not use data\.patch_size; .* crop, "):
        xd.preset("fast", data={"patch_size": 8})
    with pytest.raises(OptionError, match=r"'diffusion' does not use data\.crop; .* patch_size, "):
        xd.preset("paper", data={"crop": 32})


@each_method
def test_an_override_does_not_check(name):
    config = config_of(name)
    for section, keys in UNUSED[name].items():
        part = getattr(config, section)
        for key in keys:
            assert config.override(**{section: {key: getattr(part, key)}}) == config


def test_an_override_checks_values():
    with pytest.raises(OptionError, match=r"DataConfig\.patch_size is -1"):
        xd.preset("fast").override(data={"patch_size": -1})
