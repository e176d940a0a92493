"""Fitting with records that do not fit in memory: the same model, little memory, few reads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest

import xdownscale as xd
from records import fast_config, make_pair
from xdownscale import geostat
from xdownscale.core.errors import DataError, XDownscaleWarning
from xdownscale.fitting import pairing
from xdownscale.models.training import lightning_module, prefetch
from xdownscale.models.training.data import TrainingData
from xdownscale.models.training.residual import LazyMeans, spread_runs


@pytest.fixture(scope="module")
def both():
    return make_pair(days=150)


def learn(coarse, fine, kind="paired", method="residual", **data):
    sections = {"sampling": {"steps": 2}} if method == "residual" else {}
    config = fast_config(data=data, method=method, **sections)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)
        return xd.fit(coarse, fine, preset=config, progress=False, pairing=kind)


def same(one, other, **close):
    first, second = (model.models_["all"].state for model in (one, other))
    assert first.keys() == second.keys()
    for name in first:
        if close:
            np.testing.assert_allclose(second[name], first[name], err_msg=name, **close)
        else:
            np.testing.assert_array_equal(second[name], first[name], err_msg=name)


@pytest.mark.parametrize("kind", ["paired", "auto", "self"])
def test_lazy_records_teach_what_others_teach(both, kind):
    coarse, fine = both
    lazy = learn(coarse.chunk(time=11), fine.chunk(time=9), kind)
    same(learn(coarse, fine, kind), lazy)


@pytest.mark.parametrize("method", ["residual", "unet"])
def test_days_read_on_demand_teach_what_others_teach(both, method):
    coarse, fine = both
    demanded = learn(coarse, fine.chunk(time=9), method=method, memory_limit=1e-3)
    # a regression's field of one day rounds differently from that of sixteen
    close = {"rtol": 1e-3, "atol": 1e-5} if method == "residual" else {}
    same(learn(coarse, fine, method=method), demanded, **close)


@pytest.mark.parametrize("method", [pytest.param("residual", marks=pytest.mark.slow), "crps"])
def test_reading_ahead_changes_nothing(both, method, monkeypatch):
    coarse, fine = both[0], both[1].chunk(time=9)
    seen = []
    real = prefetch.Prefetcher
    monkeypatch.setattr(
        lightning_module, "Prefetcher", lambda batches: seen.append(1) or real(batches)
    )
    ahead = learn(coarse, fine, method=method, memory_limit=1e-3)
    assert seen
    monkeypatch.setattr(TrainingData, "is_in_memory", True)
    seen.clear()
    same(ahead, learn(coarse, fine, method=method, memory_limit=1e-3))
    assert not seen


def test_an_error_in_the_reader_reaches_the_caller(both, monkeypatch):
    coarse, fine = both
    known = {"learning": False}

    def read(block):
        if known["learning"]:
            raise DataError("The chunk is broken. Copy the file again.")
        return block

    lazy = fine.t.chunk(time=9)
    broken = lazy.copy(data=lazy.data.map_blocks(read, dtype=lazy.dtype, meta=fine.t.values[:0]))
    real = lightning_module.StageModule.train_dataloader

    def note(self):
        known["learning"] = self.task.name == "regress0"
        return real(self)

    monkeypatch.setattr(lightning_module.StageModule, "train_dataloader", note)
    with pytest.raises(DataError, match="chunk is broken"):
        learn(coarse, broken, memory_limit=1e-3)
    assert not [t for t in threading.enumerate() if t.name == "xdownscale-reader"]


def test_a_verdict_about_a_long_record_rests_on_its_middle(both, monkeypatch):
    coarse, fine = both[0], both[1].chunk(time=9)
    seen = []
    real = geostat.diagnose_pairing

    def note(coarse, fine, seed):
        seen.append(fine.time.values)
        return real(coarse, fine, seed=seed)

    monkeypatch.setattr(pairing, "diagnose_pairing", note)
    for limit in (1 << 23, 130 * 30):
        monkeypatch.setattr(pairing, "_TESTED", limit)
        learn(coarse, fine, "auto")
    np.testing.assert_array_equal(seen[0], fine.time.values)
    np.testing.assert_array_equal(seen[1], fine.time.values[10:140])


def test_the_fine_record_is_walked_through_a_few_times(both):
    coarse, fine = both
    lock, read = threading.Lock(), {"days": 0}

    def note(block):
        with lock:
            read["days"] += len(block)
        return block

    lazy = fine.t.chunk(time=5)
    counted = lazy.copy(data=lazy.data.map_blocks(note, dtype=lazy.dtype, meta=fine.t.values[:0]))
    learn(coarse, counted, method="unet")
    # outliers, gaps, transform, standardisation, fingerprint, memory; some for the skill
    assert read["days"] <= 6.3 * fine.sizes["time"]
    read["days"] = 0
    learn(coarse, counted, "self", method="unet")
    assert read["days"] <= 7.3 * fine.sizes["time"]


def test_means_of_time_steps_of_no_regression_are_zero(both):
    class Nets:
        encoder = drawer = None

    means = LazyMeans(None, Nets(), [], (4, 1, 2, 2))
    assert len(means) == 4
    np.testing.assert_array_equal(means[np.array([1, 3])], np.zeros((2, 1, 2, 2)))


def test_runs_show_how_long_fields_last():
    rows = spread_runs(np.arange(1000) * 2, 5)
    assert len(rows) == 30
    np.testing.assert_array_equal(np.diff(rows.reshape(5, 6), axis=1), 2)
    assert rows[[0, -1]].tolist() == [0, 1998]


GROWTH = """
import resource, sys, warnings
import dask.array, numpy as np, torch, xarray as xr
import xdownscale as xd
from xdownscale.models.diffusion import noise
torch.set_num_threads(1)
noise._CACHE._most = 1e6  # noise that is kept, which more days fill further
warnings.simplefilter("ignore")
days, shape = int(sys.argv[1]), (128, 160)
noise = dask.array.random.default_rng(0)
lazy = noise.standard_normal((days, *shape), chunks=(16, -1, -1)).astype("f4")
lat, lon = (10 + 0.1 * np.arange(n) for n in shape)
time = xr.date_range("1950-01-01", periods=days)
fine = xr.DataArray(lazy, {"time": time, "lat": lat, "lon": lon}, name="t")
coarse = fine.coarsen(lat=16, lon=16).mean().compute()
config = xd.preset(
    "fast",
    data=dict(extrapolate="nearest", memory_limit=20),
    network=dict(channels=(8, 8), encoder_channels=(8, 8), unshuffle=2),
    training=dict(epochs=1, pretrain_epochs=1, mean_epochs=1, epoch_batches=2, batch_days=1),
    sampling=dict(steps=1),
)
xd.fit(coarse, fine, preset=config, progress=False, pairing="paired")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_days():
    def peak(days):
        done = subprocess.run(
            [sys.executable, "-c", GROWTH, str(days)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
            capture_output=True,
            check=True,
            text=True,
        )
        return float(done.stdout.split()[-1])

    short, long = peak(600), peak(2100)
    record = 1500 * 128 * 160 * 4 / 1e6  # MB more of the record: 123
    assert long - short < 0.3 * record, (short, long)
