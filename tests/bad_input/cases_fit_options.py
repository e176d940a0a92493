"""Bad options of `fit`."""

from __future__ import annotations

import xdownscale as xd
from bad_input.cases_fit import config, fit
from xdownscale.core.errors import (
    DataError,
    GridError,
    ModelMismatchError,
    OptionError,
    StorageError,
    TimeAxisError,
)

OPTIONS = [
    (
        "fit-preset-name",
        lambda w: fit(w, preset="fsat"),
        OptionError,
        r"Unknown preset: 'fsat'\. Choose one of.*Did you mean 'fast'",
    ),
    (
        "fit-preset-dict",
        lambda w: fit(w, preset={"method": "unet"}),
        OptionError,
        r"preset is a dict; give a.*or what xdownscale\.preset\(\.\.\.\) returns",
    ),
    (
        "fit-transform-name",
        lambda w: fit(w, transform="log"),
        OptionError,
        r"Unknown transform: 'log'\. Choose one of.*Did you mean 'log1p'",
    ),
    (
        "fit-transform-number",
        lambda w: fit(w, transform=10),
        OptionError,
        "transform is 10; give one of.*of variables to them",
    ),
    (
        "fit-transform-of-nobody",
        lambda w: fit(w, transform={"q": "sqrt"}),
        OptionError,
        "transform= names 'q', which is no.*records; there are 't'",
    ),
    (
        "fit-season-name",
        lambda w: fit(w, seasons=("DFJ",)),
        OptionError,
        r"Unknown season: 'DFJ'\. Give the first.*Did you mean 'DJF'",
    ),
    (
        "fit-season-month-13",
        lambda w: fit(w, seasons={"late": (12, 13)}),
        OptionError,
        r"Season 'late' has the months \(12,.*numbers 1 to 12",
    ),
    (
        "fit-season-overlap",
        lambda w: fit(w, seasons={"a": (1, 2), "b": (2, 3)}),
        OptionError,
        r"The seasons \{'a': \(1, 2\), 'b':.*that do not overlap",
    ),
    (
        "fit-season-not-in-record",
        lambda w: fit(w, seasons=("JJA",)),
        TimeAxisError,
        "Group 'JJA': The training part has.*lags or other fractions",
    ),
    (
        "fit-season-name-is-path",
        lambda w: fit(w, seasons={"a/b": (1, 2, 3)}),
        OptionError,
        r"'a/b' cannot name a season or.*\\ and the point",
    ),
    (
        "fit-season-lags-beyond-buffer",
        lambda w: fit(w, seasons=("DJF",), **config(w, data={"lags": 9, "buffer_days": 5})),
        OptionError,
        "lags is 9, more than the.*lags or more buffer_days",
    ),
    (
        "fit-region-elsewhere",
        lambda w: fit(w, regions={"far": (50, 50, 60, 60)}),
        GridError,
        "No cell of the grid lies.*centre of a cell",
    ),
    (
        "fit-region-upside-down",
        lambda w: fit(w, regions={"a": (1, 9, 8, 2)}),
        OptionError,
        r"Region 'a' is the box \(west=1\.0,.*all must be finite",
    ),
    (
        "fit-region-three-numbers",
        lambda w: fit(w, regions={"a": (1, 2, 3)}),
        OptionError,
        r"Region 'a' is \(1, 2, 3\);.*mask as a DataArray",
    ),
    (
        "fit-region-name-is-path",
        lambda w: fit(w, regions={"a/b": (1, 1, 9, 9)}),
        OptionError,
        r"'a/b' cannot name a season or.*\\ and the point",
    ),
    (
        "fit-region-is-list",
        lambda w: fit(w, regions=[(1, 1, 9, 9)]),
        OptionError,
        r"regions is a list; give a.*south, north\) or masks",
    ),
    (
        "fit-seed-text",
        lambda w: fit(w, seed="one"),
        OptionError,
        r"seed is 'one'; give a whole.*or more, below 2\*\*63",
    ),
    (
        "fit-seed-fraction",
        lambda w: fit(w, seed=1.5),
        OptionError,
        r"seed is 1\.5; give a whole.*or more, below 2\*\*63",
    ),
    (
        "fit-seed-negative",
        lambda w: fit(w, seed=-1),
        OptionError,
        r"seed is -1; give a whole.*or more, below 2\*\*63",
    ),
    (
        "fit-seed-huge",
        lambda w: fit(w, seed=2**70),
        OptionError,
        r"seed is 1180591620717411303424; give a whole.*or more, below 2\*\*63",
    ),
    (
        "fit-device-name",
        lambda w: fit(w, device="gpu"),
        OptionError,
        r"Unknown device: 'gpu'\. Choose one of.*Did you mean 'cpu'",
    ),
    (
        "fit-pairing-name",
        lambda w: fit(w, pairing="unpaired"),
        OptionError,
        r"Unknown pairing: 'unpaired'\. Choose one of.*Did you mean 'paired'",
    ),
    (
        "fit-self-with-constraint",
        lambda w: fit(w, pairing="self", **config(w, sampling={"constraint": "additive"})),
        OptionError,
        "The constraint 'additive' makes fields consistent.*Drop it, or use 'nonnegative'",
    ),
    (
        "fit-self-foreign-driver",
        lambda w: fit(w, w.pair_coarse, w.fine, pairing="self"),
        DataError,
        "pairing='self' learns from averages of the.*show the same days",
    ),
    (
        "fit-constraint-of-negative",
        lambda w: fit(w, **config(w, sampling={"constraint": "softmax"})),
        OptionError,
        r"The constraint 'softmax' needs coarse values.*has -\S+; use 'additive'",
    ),
    (
        "fit-encoder-path",
        lambda w: fit(w, encoder=str(w.file)),
        OptionError,
        r"encoder is a.*xdownscale\.load_pretrained\(name\) or xdownscale\.load\(path\) return",
    ),
    (
        "fit-encoder-not-fitted",
        lambda w: fit(w, encoder=xd.Downscaler()),
        xd.errors.NotFittedError,
        r"This Downscaler is not fitted, so.*saved model with xdownscale\.load\(path\)",
    ),
    (
        "fit-encoder-two-drivers",
        lambda w: fit(w, encoder=w.two),
        ModelMismatchError,
        "The encoder was made with number.*or give another encoder",
    ),
    (
        "fit-encoder-other-network",
        lambda w: fit(w, encoder=w.drawer, **config(w, network={"encoder_channels": (16, 16)})),
        ModelMismatchError,
        r"The encoder was made with network\.encoder_channels.*or give another encoder",
    ),
    (
        "fit-encoder-other-lags",
        lambda w: fit(w, encoder=w.drawer, **config(w, data={"lags": 4})),
        ModelMismatchError,
        r"The encoder was made with data\.lags.*or give another encoder",
    ),
    (
        "fit-encoder-and-none",
        lambda w: fit(w, encoder=w.drawer, **config(w, network={"encoder": "none"})),
        OptionError,
        r"An encoder was given and network\.encoder.*or leave out encoder=",
    ),
    (
        "fit-checkpoints-of-another",
        lambda w: fit(w, seed=5, checkpoint_dir=w.checkpoints),
        ModelMismatchError,
        "checkpoint_dir.*remove what is there",
    ),
    (
        "fit-checkpoints-is-file",
        lambda w: fit(w, checkpoint_dir=w.text("notes.txt")),
        StorageError,
        "checkpoint_dir.*that can be written",
    ),
    (
        "fit-checkpoints-number",
        lambda w: fit(w, checkpoint_dir=7),
        OptionError,
        r"checkpoint_dir is 7, a int; give.*a str or pathlib\.Path",
    ),
    (
        "fit-region-between-cells",
        lambda w: fit(w, regions={"a": (1, 1, 1.1, 1.1)}),
        GridError,
        "No cell of the grid lies.*centre of a cell",
    ),
]
CASES = OPTIONS
