"""Configuration: round trips, presets, and every value that is refused."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import xdownscale as xd
from xdownscale.config import DataConfig, DownscalerConfig, NetworkConfig, preset
from xdownscale.core.errors import OptionError

SECTIONS = ("data", "network", "diffusion", "training", "sampling")


@given(
    st.integers(1, 90),
    st.sampled_from(["ddim", "ddpm"]),
    st.lists(st.integers(1, 9).map(lambda k: 8 * k), min_size=1, max_size=4).map(tuple),
    st.one_of(st.none(), st.floats(0.1, 100)),
)
def test_round_trip_through_json(lags, sampler, channels, minutes):
    config = DownscalerConfig().replace(
        data={"lags": lags},
        sampling={"sampler": sampler},
        network={"channels": channels},
        training={"max_minutes": minutes},
    )
    text = json.dumps(config.to_dict())
    assert DownscalerConfig.from_dict(json.loads(text)) == config


def test_to_dict_is_plain_all_the_way_down():
    tree = DownscalerConfig().to_dict()
    assert tree["data"]["fractions"] == [0.8, 0.1, 0.1]
    assert tree["network"]["channels"] == [32, 48, 64]
    assert set(tree) == {"method", *SECTIONS}


def test_everything_is_frozen_and_keyword_only():
    config = DownscalerConfig()
    for section in (config, *(getattr(config, name) for name in SECTIONS)):
        field = dataclasses.fields(section)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(section, field, None)
        with pytest.raises(TypeError, match="positional argument"):
            type(section)(1)


def test_replace_leaves_the_original():
    config = DownscalerConfig()
    changed = config.replace(data={"lags": 7}, sampling={"steps": 5})
    assert (config.data.lags, config.sampling.steps) == (3, 10)
    assert (changed.data.lags, changed.sampling.steps) == (7, 5)
    assert changed.network is config.network


def test_sections_may_be_given_whole():
    assert preset("paper", data=DataConfig(lags=9)).data.lags == 9
    whole = preset("paper", network=NetworkConfig(dropout=0.5)).network
    assert whole.dropout == 0.5


def test_base_is_the_published_scale():
    config = preset("paper", network={"size": "base"})
    assert config.data.lags == 40
    assert config.network.channels == (64, 128, 256)
    assert config.network.attention
    assert (config.sampling.sampler, config.sampling.steps) == ("ddpm", 1000)
    assert (config.sampling.stride, config.sampling.halo) == (2, 4)


def test_what_is_given_wins_over_the_size():
    config = preset("paper", network={"size": "base", "channels": (8, 16)}, data={"lags": 5})
    assert config.data.lags == 5
    assert config.network.channels == (8, 16)
    assert config.network.encoder_channels == (64, 128, 256)


def test_the_example_of_the_design():
    config = xd.preset(
        "paper",
        data={"lags": 3, "extrapolate": "nearest"},
        network={"size": "tiny"},
        training={"epochs": 1, "pretrain_epochs": 1},
        sampling={"steps": 4, "stride": 8},
    )
    assert config.data.extrapolate == "nearest"
    assert (config.training.epochs, config.sampling.stride) == (1, 8)


@pytest.mark.parametrize(
    ("section", "keys", "message"),
    [
        ("data", {"lags": 0}, "DataConfig.lags is 0; it must be greater than 0"),
        ("data", {"patch_size": -1}, "DataConfig.patch_size is -1"),
        ("data", {"memory_limit": 0}, "DataConfig.memory_limit is 0"),
        ("data", {"transform": "log"}, r"Unknown transform: 'log'.*Did you mean 'log1"),
        ("data", {"scaling": "min-max"}, r"Unknown scaling.*Did you mean 'minmax'"),
        ("data", {"regrid": "cubic"}, r"Unknown regrid method.*Did you mean 'bicubic'"),
        ("data", {"engine": "esmf"}, r"Unknown engine.*Did you mean 'xesmf'"),
        ("data", {"extrapolate": "linear"}, r"Unknown extrapolate.*'nearest'"),
        ("data", {"buffer_days": -1}, "buffer_days is -1"),
        ("data", {"early_stopping": 1}, "early_stopping is 1"),
        ("data", {"max_missing": 1.5}, "max_missing 1.5"),
        ("data", {"fractions": (0.8, 0.2)}, "three shares"),
        ("data", {"fractions": (0.8, 0.1, 0.2)}, "sum to 1"),
        ("data", {"fractions": (0, 0.5, 0.5)}, "the first above 0"),
        ("network", {"size": "bass"}, r"Unknown network size.*Did you mean 'base'"),
        ("network", {"encoder": "freeze"}, r"Unknown encoder.*Did you mean 'frozen'"),
        ("network", {"norm": "groups"}, r"Unknown norm.*Did you mean 'group'"),
        ("network", {"output_bound": 0}, "NetworkConfig.output_bound is 0"),
        ("network", {"channels": (12, 16)}, r"network.channels is \(12, 16\).*multiple of 8"),
        ("network", {"encoder_channels": ()}, r"network.encoder_channels is \(\)"),
        ("network", {"dropout": 1.0}, "dropout is 1.0"),
        ("diffusion", {"schedule": "cosine"}, r"Unknown schedule.*Did you mean 'squared_cosine'"),
        ("diffusion", {"loss": "rmse"}, r"Unknown loss.*Did you mean 'mse'"),
        ("diffusion", {"train_steps": 0}, "DiffusionConfig.train_steps is 0"),
        ("training", {"optimizer": "adamw2"}, r"Unknown optimizer.*Did you mean 'adamw'"),
        ("training", {"precision": "bf-16"}, r"Unknown precision.*Did you mean 'bf16'"),
        ("training", {"epochs": 0}, "TrainingConfig.epochs is 0"),
        ("training", {"pretrain_epochs": 0}, "TrainingConfig.pretrain_epochs is 0"),
        ("training", {"ema_decay": 1}, "ema_decay is 1"),
        ("training", {"max_minutes": 0}, "TrainingConfig.max_minutes is 0"),
        ("sampling", {"sampler": "dpm"}, r"Unknown sampler.*Did you mean 'ddpm'"),
        ("sampling", {"noise": "share"}, r"Unknown noise.*Did you mean 'shared'"),
        ("sampling", {"taper": "han"}, r"Unknown taper.*Did you mean 'hann'"),
        ("sampling", {"steps": 0}, "SamplingConfig.steps is 0"),
        ("sampling", {"halo": -1}, "halo is -1"),
        ("sampling", {"steps": 1001}, "sampling.steps is 1001, more than the 1000"),
    ],
)
def test_values_that_are_refused(section, keys, message):
    with pytest.raises(OptionError, match=message):
        preset("paper", **{section: keys})


def test_unknown_preset():
    with pytest.raises(OptionError, match=r"Unknown preset: 'papr'.*Did you mean 'paper'"):
        preset("papr")


def test_unknown_section():
    with pytest.raises(OptionError, match=r"Unknown section: 'trainig'.*Did you mean 'training'"):
        preset("paper", trainig={"epochs": 1})


def test_unknown_key():
    message = r"Unknown key of section 'training': 'epoch'.*Did you mean 'epochs'"
    with pytest.raises(OptionError, match=message):
        preset("paper", training={"epoch": 1})
    with pytest.raises(OptionError, match=message):
        DownscalerConfig.from_dict({"training": {"epoch": 1}})


@pytest.mark.parametrize("given", [3, "fast", [("lags", 3)]])
def test_section_that_is_no_mapping(given):
    with pytest.raises(
        OptionError, match=r"Section 'data' takes a mapping of keys.*dict\(\.\.\.\)"
    ):
        preset("paper", data=given)


def test_unknown_method():
    with pytest.raises(OptionError, match=r"Unknown method: 'diffuse'.*Did you mean 'diffusion'"):
        DownscalerConfig(method="diffuse")
