"""Bad input to `predict`, `check`, `days` and `with_sampling`."""

from __future__ import annotations

from functools import partial

import xdownscale as xd
from xdownscale.core.errors import (
    DataError,
    ModelMismatchError,
    NotFittedError,
    OptionError,
    TimeAxisError,
)


def draw(w, coarse=None, model=None, **options):
    """One call of `predict`."""
    coarse = w.coarse if coarse is None else coarse
    return partial(xd.predict, coarse, w.drawer if model is None else model, **options)


def walk(w, coarse=None, **options):
    return draw(w, coarse, w.walker, **options)


def big_chunks(w):
    from xdownscale.prediction import chunks

    w.patch.setattr(chunks, "available_memory", lambda: 1000.0)
    return draw(w, w.coarse.chunk({"time": 50}))


def no_bf16(w):
    from xdownscale.models import device

    w.patch.setattr(device, "has_bf16", lambda _: False)
    return draw(w, model=w.drawer.with_sampling(precision="bf16"))


PREDICT = [
    (
        "predict-not-fitted",
        lambda w: draw(w, model=xd.Downscaler()),
        NotFittedError,
        r"This Downscaler is not fitted, so.*saved model with xdownscale\.load\(path\)",
    ),
    (
        "predict-model-is-path",
        lambda w: draw(w, model=str(w.file)),
        OptionError,
        r"model is a str; give a.*or xdownscale\.fit\(coarse, fine\) return",
    ),
    (
        "predict-coarse-is-array",
        lambda w: draw(w, w.coarse.values),
        DataError,
        "The coarse record is a ndarray;.*a Dataset of several",
    ),
    (
        "predict-other-grid",
        lambda w: draw(w, w.coarse.assign_coords(lat=w.coarse.lat + 1)),
        ModelMismatchError,
        "The coarse record lies on another.*model for its grid",
    ),
    (
        "predict-fewer-cells",
        lambda w: draw(w, w.coarse.isel(lat=slice(4))),
        ModelMismatchError,
        "The coarse record lies on another.*model for its grid",
    ),
    (
        "predict-other-units",
        lambda w: draw(w, w.coarse.assign_attrs(units="degC")),
        ModelMismatchError,
        r"The coarse record is in 'degC',.*it \(and set attrs\['units'\]\)",
    ),
    (
        "predict-other-values",
        lambda w: draw(w, w.coarse + 273.15),
        ModelMismatchError,
        "The coarse record has the median.*Bring it to theirs",
    ),
    (
        "predict-missing-driver",
        lambda w: draw(w, w.pair_coarse[["t"]], w.two),
        ModelMismatchError,
        "The coarse record lacks 'u', which.*all of 't', 'u'",
    ),
    (
        "predict-no-time",
        lambda w: draw(w, w.coarse.isel(time=0, drop=True)),
        TimeAxisError,
        "The coarse record has no time.*coordinate the attribute standard_name='time'",
    ),
    (
        "predict-duplicate-times",
        lambda w: draw(w, w.coarse.isel(time=[0, 1, 1, 2, 3, 4, 5, 6, 7])),
        TimeAxisError,
        r"The coarse record has 1 duplicate.*for instance with \.drop_duplicates\('time'\)",
    ),
    (
        "predict-other-time-step",
        lambda w: draw(w, w.coarse.resample(time="6h").nearest()),
        ModelMismatchError,
        r"The coarse record has a time.*for instance with \.resample\(time=\.\.\.\)\.mean\(\)",
    ),
    (
        "predict-too-short",
        lambda w: draw(w, w.coarse.isel(time=slice(3))),
        TimeAxisError,
        "No day can be generated: each.*or a longer history=",
    ),
    (
        "predict-no-day",
        lambda w: draw(w, w.coarse.isel(time=slice(0))),
        TimeAxisError,
        "The coarse record has no day.*days that are wanted",
    ),
    (
        "predict-day-not-there",
        lambda w: draw(w, time="2031-05-05"),
        TimeAxisError,
        "Some of the days asked for.*from 2000-01-01 to 2000-04-19",
    ),
    (
        "predict-period-not-there",
        lambda w: draw(w, time=slice("2031-01-01", "2031-02-01")),
        TimeAxisError,
        "No day can be generated: each.*or a longer history=",
    ),
    (
        "predict-time-is-word",
        lambda w: draw(w, time="summer"),
        TimeAxisError,
        "Some of the days asked for.*from 2000-01-01 to 2000-04-19",
    ),
    (
        "predict-time-is-numbers",
        lambda w: draw(w, time=w.coarse.lat),
        TimeAxisError,
        "time= is an array of float64,.*give its time coordinate",
    ),
    (
        "predict-time-is-number",
        lambda w: draw(w, time=3),
        TimeAxisError,
        "Some of the days asked for.*from 2000-01-01 to 2000-04-19",
    ),
    (
        "predict-first-day",
        lambda w: draw(w, time=w.coarse.time[:2]),
        TimeAxisError,
        "2 of the days asked for,.*or leave them out",
    ),
    (
        "predict-last-day",
        lambda w: draw(w, time=w.coarse.time[-1:]),
        TimeAxisError,
        "1 of the days asked for,.*or leave them out",
    ),
    (
        "predict-other-season",
        lambda w: draw(w, model=w.seasonal, time=slice("2000-04-01", "2000-04-10")),
        TimeAxisError,
        "10 of the days asked for,.*model for their season",
    ),
    (
        "predict-nothing-of-the-season",
        lambda w: draw(w, w.coarse.sel(time=slice("2000-04-01", None)), w.seasonal),
        TimeAxisError,
        "No day can be generated: each.*or a longer history=",
    ),
    (
        "predict-no-realization",
        lambda w: draw(w, realizations=0),
        OptionError,
        r"realizations is 0; give a whole.*or more, below 2\*\*63",
    ),
    (
        "predict-negative-realizations",
        lambda w: draw(w, realizations=-3),
        OptionError,
        r"realizations is -3; give a whole.*or more, below 2\*\*63",
    ),
    (
        "predict-half-realizations",
        lambda w: draw(w, realizations=2.5),
        OptionError,
        r"realizations is 2\.5; give a whole.*or more, below 2\*\*63",
    ),
    (
        "predict-text-realizations",
        lambda w: draw(w, realizations="many"),
        OptionError,
        r"realizations is 'many'; give a whole.*or more, below 2\*\*63",
    ),
    (
        "predict-two-means",
        lambda w: draw(w, model=w.seasonal, realizations=2),
        OptionError,
        r"realizations is 2, but this model.*that samples \(preset 'fast'\)",
    ),
    (
        "predict-seed-text",
        lambda w: draw(w, seed="one"),
        OptionError,
        r"seed is 'one'; give a whole.*or more, below 2\*\*63",
    ),
    (
        "predict-seed-fraction",
        lambda w: draw(w, seed=0.5),
        OptionError,
        r"seed is 0\.5; give a whole.*or more, below 2\*\*63",
    ),
    (
        "predict-seed-negative",
        lambda w: draw(w, seed=-1),
        OptionError,
        r"seed is -1; give a whole.*or more, below 2\*\*63",
    ),
    (
        "predict-mode-unknown",
        lambda w: draw(w, mode="autoregresive"),
        OptionError,
        r"Unknown mode: 'autoregresive'\. Choose one of.*Did you mean 'autoregressive'",
    ),
    (
        "predict-mode-of-others",
        lambda w: draw(w, mode="autoregressive"),
        OptionError,
        "This model's method is 'residual', which.*or leave it out",
    ),
    (
        "predict-walker-in-parallel",
        lambda w: walk(w, mode="parallel"),
        OptionError,
        "This model's method is 'residual', which.*or leave it out",
    ),
    (
        "predict-stitching-unknown",
        lambda w: draw(w, stitching="mosaic"),
        OptionError,
        r"Unknown stitching: 'mosaic'\. Choose one of 'patches', 'whole', 'multidiffusion'",
    ),
    (
        "predict-stitching-of-others",
        lambda w: draw(w, model=w.seasonal, stitching="multidiffusion"),
        OptionError,
        "method is 'unet', which covers a domain by 'whole' or 'patches', not by.*Give",
    ),
    (
        "predict-chunks-cut-maps",
        lambda w: draw(w, chunks={"lat": 4}),
        OptionError,
        r"Unknown dimension in chunks= \(maps stay.*one of 'time', 'realization'",
    ),
    (
        "predict-chunks-zero",
        lambda w: draw(w, chunks=0),
        OptionError,
        "chunks= asks for pieces of 0.*for all, or 'auto'",
    ),
    (
        "predict-chunks-word",
        lambda w: draw(w, chunks="small"),
        OptionError,
        "chunks= asks for pieces of 'small'.*for all, or 'auto'",
    ),
    (
        "predict-chunks-fraction",
        lambda w: draw(w, chunks={"time": 2.5}),
        OptionError,
        r"chunks= asks for pieces of 2\.5.*for all, or 'auto'",
    ),
    (
        "predict-chunks-too-large",
        big_chunks,
        DataError,
        r"The chunks of 't' have 50.*-1\}\), best on disk",
    ),
    (
        "predict-tile-below-halo",
        lambda w: draw(w, model=w.drawer.with_sampling(tile=8)),
        OptionError,
        "tile is 8, less than twice.*or more, or tile='auto'",
    ),
    (
        "predict-bf16-not-there",
        no_bf16,
        OptionError,
        "precision='bf16' was asked for, and this.*Use 'auto' or '32'",
    ),
    (
        "predict-forced-no-history",
        lambda w: walk(w, time=w.coarse.time[30:33], mode="teacher_forced"),
        TimeAxisError,
        "teacher_forced needs the true fine field.*record>, or use mode='autoregressive'",
    ),
    (
        "predict-forced-short-history",
        lambda w: walk(
            w,
            time=w.coarse.time[30:33],
            mode="teacher_forced",
            history=w.fine.isel(time=slice(40, 60)),
        ),
        TimeAxisError,
        "teacher_forced needs the true fine field.*record>, or use mode='autoregressive'",
    ),
    (
        "predict-history-other-grid",
        lambda w: walk(w, history=w.coarse),
        ModelMismatchError,
        "history lies on another grid than.*model for its grid",
    ),
    (
        "predict-history-other-units",
        lambda w: walk(w, history=w.fine.assign_attrs(units="degC")),
        ModelMismatchError,
        r"history is in 'degC', the model's.*it \(and set attrs\['units'\]\)",
    ),
    (
        "predict-history-other-values",
        lambda w: walk(w, history=w.fine + 300),
        ModelMismatchError,
        r"history has the median \S+, far.*Bring it to theirs",
    ),
    (
        "predict-history-no-time",
        lambda w: walk(w, history=w.fine.isel(time=0, drop=True)),
        TimeAxisError,
        r"history has no time dimension \(dims:.*coordinate the attribute standard_name='time'",
    ),
    (
        "predict-history-is-array",
        lambda w: walk(w, history=w.fine.values),
        DataError,
        r"history is a ndarray; give an xarray\.DataArray, with coordinates",
    ),
    (
        "sampling-unknown-key",
        lambda w: partial(w.drawer.with_sampling, step=4),
        OptionError,
        r"Unknown key of section 'sampling': 'step'\..*Did you mean 'steps'",
    ),
    (
        "sampling-other-sampler",
        lambda w: partial(w.drawer.with_sampling, sampler="ddim"),
        OptionError,
        "Sampler 'ddim' does not suit method.*or 'heun' or 'mean'",
    ),
    (
        "days-unknown-part",
        lambda w: partial(w.drawer.days, "training"),
        OptionError,
        r"Unknown part: 'training'\. Choose one of.*Did you mean 'train'",
    ),
    (
        "days-unknown-group",
        lambda w: partial(w.drawer.days, "test", "DJF"),
        OptionError,
        r"Unknown group: 'DJF'\. Choose one of 'all'",
    ),
    (
        "check-one-realization",
        lambda w: partial(w.drawer.check, w.coarse, w.fine, realizations=1),
        OptionError,
        "days is 16 and realizations 1;.*be 2 or more",
    ),
    (
        "check-one-day",
        lambda w: partial(w.drawer.check, w.coarse, w.fine, days=1),
        OptionError,
        "days is 1 and realizations 8;.*be 2 or more",
    ),
    (
        "check-other-fine-record",
        lambda w: partial(w.drawer.check, w.coarse, w.fine.isel(time=slice(9))),
        DataError,
        "There are fewer than two test.*fractions that leave some",
    ),
    (
        "check-fine-other-grid",
        lambda w: partial(w.drawer.check, w.coarse, w.fine.isel(lat=slice(9))),
        ModelMismatchError,
        "The fine record lies on another.*model for its grid",
    ),
]
CASES = PREDICT
