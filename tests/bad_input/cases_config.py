"""Bad configurations, scalings and tapers."""

from __future__ import annotations

from functools import partial

import numpy as np

import xdownscale as xd
from xdownscale.core import normalization
from xdownscale.core.errors import DataError, OptionError

preset = partial(partial, xd.preset)
CONFIG = [
    (
        "preset-name",
        lambda w: preset("papr"),
        OptionError,
        r"Unknown preset: 'papr'\. Choose one of.*Did you mean 'paper'",
    ),
    (
        "preset-number",
        lambda w: preset(3),
        OptionError,
        r"Unknown preset: 3\. Choose one of 'fast', 'paper'",
    ),
    (
        "preset-list",
        lambda w: preset(["fast"]),
        OptionError,
        r"Unknown preset: \['fast'\]\. Choose one of.*Did you mean 'fast'",
    ),
    (
        "preset-section",
        lambda w: preset("fast", trainig={"epochs": 1}),
        OptionError,
        r"Unknown section: 'trainig'\. There are: method,.*Did you mean 'training'",
    ),
    (
        "preset-output-bound",
        lambda w: preset("fast", network={"output_bound": 1.2}),
        OptionError,
        r"Method 'residual' does not use network\.output_bound; of the section 'network' it uses",
    ),
    (
        "preset-latent",
        lambda w: preset("dressed", options={"latent": "yes"}),
        OptionError,
        r"DressedOptions\.latent is 'yes'; give",
    ),
    (
        "preset-key",
        lambda w: preset("fast", training={"epoch": 1}),
        OptionError,
        r"Unknown key of section 'training': 'epoch'\..*Did you mean 'epochs'",
    ),
    (
        "preset-section-is-number",
        lambda w: preset("fast", training=3),
        OptionError,
        r"Section 'training' takes a mapping of.*TrainingConfig, not int: training=dict\(\.\.\.\)",
    ),
    (
        "preset-epochs-text",
        lambda w: preset("fast", training={"epochs": "ten"}),
        OptionError,
        r"TrainingConfig\.epochs is 'ten'; give a whole number",
    ),
    (
        "preset-epochs-fraction",
        lambda w: preset("fast", training={"epochs": 1.5}),
        OptionError,
        r"TrainingConfig\.epochs is 1\.5; give a whole number",
    ),
    (
        "preset-epochs-zero",
        lambda w: preset("fast", training={"epochs": 0}),
        OptionError,
        r"TrainingConfig\.epochs is 0; it must be.*than 0, and finite",
    ),
    (
        "preset-lags-none",
        lambda w: preset("fast", data={"lags": None}),
        OptionError,
        r"DataConfig\.lags is None; give a whole number",
    ),
    (
        "preset-window-text",
        lambda w: preset("fast", data={"window": "2"}),
        OptionError,
        r"DataConfig\.window is '2'; give a whole number",
    ),
    (
        "preset-channels-number",
        lambda w: preset("fast", network={"channels": 64}),
        OptionError,
        r"NetworkConfig\.channels is 64; give a tuple,.*each a whole number",
    ),
    (
        "preset-channels-odd",
        lambda w: preset("fast", network={"channels": (9, 9)}),
        OptionError,
        r"network\.channels is \(9, 9\); give one.*8 for each level",
    ),
    (
        "preset-size",
        lambda w: preset("fast", network={"size": "huge"}),
        OptionError,
        r"Unknown network size: 'huge'\. Choose one.*of 'tiny', 'base', 'large'",
    ),
    (
        "preset-method",
        lambda w: preset("fast", method="gan"),
        OptionError,
        r"Unknown method: 'gan'\. Choose one of.*'diffusion', 'residual', 'crps', 'unet'",
    ),
    (
        "preset-sampler",
        lambda w: preset("fast", sampling={"sampler": "ddpm"}),
        OptionError,
        "Sampler 'ddpm' does not suit method.*or 'heun' or 'mean'",
    ),
    (
        "preset-fractions",
        lambda w: preset("fast", data={"fractions": (0.8, 0.3)}),
        OptionError,
        r"fractions is \(0\.8, 0\.3\); give three.*the first above 0",
    ),
    (
        "preset-fractions-number",
        lambda w: preset("fast", data={"fractions": 1}),
        OptionError,
        r"DataConfig\.fractions is 1; give a tuple, each a number",
    ),
    (
        "preset-transform",
        lambda w: preset("fast", data={"transform": "ln"}),
        OptionError,
        r"Unknown transform: 'ln'\. Choose one of.*'asinh', 'log1p', 'sqrt', 'identity'",
    ),
    (
        "preset-dropout",
        lambda w: preset("fast", network={"dropout": 1.0}),
        OptionError,
        r"dropout is 1\.0; give a share.*or more, below 1",
    ),
    (
        "preset-rate-nan",
        lambda w: preset("fast", training={"learning_rate": np.nan}),
        OptionError,
        r"TrainingConfig\.learning_rate is nan; it must be.*than 0, and finite",
    ),
    (
        "preset-halo",
        lambda w: preset("fast", sampling={"halo": -1}),
        OptionError,
        "halo is -1; give a whole.*pixels, 0 or more",
    ),
    (
        "preset-tile-text",
        lambda w: preset("fast", sampling={"tile": "small"}),
        OptionError,
        r"Unknown tile \(a number of pixels,.*Choose one of 'auto'",
    ),
    (
        "preset-constraint",
        lambda w: preset("fast", sampling={"constraint": "sum"}),
        OptionError,
        r"Unknown constraint: 'sum'\..*'nonnegative', 'additive', 'multiplicative', 'softmax'",
    ),
    (
        "preset-precision",
        lambda w: preset("fast", sampling={"precision": "16"}),
        OptionError,
        r"Unknown precision: '16'\. Choose one of.*Did you mean 'bf16'",
    ),
    (
        "preset-patch-size-of-residual",
        lambda w: preset("fast", data={"patch_size": 8}),
        OptionError,
        r"Method 'residual' does not use data\.patch_size; of the section 'data' it uses ahead, .*",
    ),
    (
        "preset-crop-of-diffusion",
        lambda w: preset("paper", data={"crop": 32}),
        OptionError,
        r"Method 'diffusion' does not use data\.crop; of the section 'data'.*patch_size",
    ),
    (
        "preset-attention-of-residual",
        lambda w: preset("fast", network={"attention": True}),
        OptionError,
        r"Method 'residual' does not use network\.attention; of the section 'network'",
    ),
    (
        "preset-steps-of-unet",
        lambda w: preset("fast", method="unet", sampling={"steps": 4}),
        OptionError,
        r"Method 'unet' does not use sampling\.steps; .* uses constraint, precision, sampler, tile",
    ),
    (
        "preset-mean-epochs-of-crps",
        lambda w: preset("fast", method="crps", training={"mean_epochs": 4}),
        OptionError,
        r"Method 'crps' does not use training\.mean_epochs; .*Did you mean",
    ),
    (
        "preset-options-of-residual",
        lambda w: preset("fast", options={"x": 1}),
        OptionError,
        r"Method 'residual' has no options of its own; \{'x': 1\} was given",
    ),
    (
        "scaling-transform",
        lambda w: partial(normalization.fit_scaling, w.fine, "ln"),
        OptionError,
        r"Unknown transform: 'ln'\. Choose one of.*'asinh', 'log1p', 'sqrt', 'identity'",
    ),
    (
        "scaling-log10",
        lambda w: partial(normalization.fit_scaling, [w.fine.values], "log10"),
        DataError,
        "20328 of 38400 values are 0.*'asinh', 'sqrt' or 'identity'",
    ),
    (
        "scaling-all-nan",
        lambda w: partial(normalization.fit_scaling, [np.full(9, np.nan)]),
        DataError,
        "Of the training values, 0 are.*mask and the days",
    ),
    (
        "scaling-one-value",
        lambda w: partial(normalization.fit_scaling, [np.ones(9)]),
        DataError,
        r"All training values are 1\.0 \(after.*mask and the floor",
    ),
    (
        "scaling-floor-of-sqrt",
        lambda w: partial(normalization.fit_scaling, [np.arange(9.0)], "sqrt", floor=1.0),
        OptionError,
        r"floor=1\.0 means nothing under transform='sqrt'; leave.*out or choose transform='log10'",
    ),
    (
        "taper-name",
        lambda w: partial(xd.windows.taper, "hamming", 8),
        OptionError,
        r"Unknown taper: 'hamming'\. Choose one of.*Did you mean 'hann'",
    ),
    (
        "taper-nothing",
        lambda w: partial(xd.windows.taper, "hann", 0),
        OptionError,
        "A taper of 0 pixels was.*give at least 1",
    ),
]
CASES = CONFIG
