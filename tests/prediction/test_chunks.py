"""Lazy predictions: what they promise, and that they keep it whatever the chunks."""

from __future__ import annotations

from types import SimpleNamespace

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import xdownscale as xd
from records import fitted_of
from xdownscale.prediction import chunks as chunking
from xdownscale.prediction import workers

CLOSE = {"rtol": 2e-5, "atol": 2e-5}  # float rounding over eight steps, channels of eight


class Counting:
    """A scheduler that counts how often it is asked."""

    def __init__(self):
        self.calls = 0

    def __call__(self, graph, keys, **options):
        self.calls += 1
        return dask.get(graph, keys, **options)


@pytest.fixture(scope="module")
def maps(drawer, record):
    return drawer.predict(record, realizations=3, seed=4)


def test_nothing_is_read_before_it_is_needed(drawer, record, maps):
    asked = Counting()
    with dask.config.set(scheduler=asked):
        drawn = record.chunk(time=7).downscale.predict(drawer, realizations=3, seed=4)
        assert asked.calls == 0
        assert drawn.shape == maps.shape
        assert drawn.dtype == maps.dtype
        assert drawn.chunks is not None
        assert drawn.chunks[2:] == ((24,), (20,))
        xr.testing.assert_equal(drawn.coords.to_dataset(), maps.coords.to_dataset())
        drawn.load()
        assert asked.calls == 1
    xr.testing.assert_allclose(drawn, maps, **CLOSE)
    assert drawn.attrs == maps.attrs


@settings(max_examples=6)
@given(
    days=st.integers(3, 30),
    members=st.integers(1, 3),
    parts=st.integers(5, 110),
    scheduler=st.sampled_from(["threads", "synchronous"]),
    start=st.integers(0, 80),
)
def test_chunks_do_not_matter(drawer, record, maps, days, members, parts, scheduler, start):
    chosen = maps.time[start : start + 25]
    drawn = record.chunk(time=parts).downscale.predict(
        drawer,
        time=chosen,
        realizations=3,
        seed=4,
        chunks={"time": days, "realization": members},
    )
    xr.testing.assert_allclose(drawn.compute(scheduler=scheduler), maps.sel(time=chosen), **CLOSE)


def test_bit_for_bit_with_networks_of_real_size(record, fine_record):
    config = xd.preset(
        "fast",
        method="crps",
        network={"channels": (32, 32), "encoder_channels": (16, 16)},
        training={"epochs": 1, "pretrain_epochs": 1},
        data={"extrapolate": "nearest", "crop": 16},
    )
    model = xd.Downscaler(preset=config, pairing="paired", progress=False).fit(record, fine_record)
    whole = model.predict(record, time=record.time[10:31], realizations=2)
    for chunks in (1, 5, {"time": 7, "realization": 1}):
        part = model.predict(record, time=record.time[10:31], realizations=2, chunks=chunks)
        np.testing.assert_array_equal(part.compute(scheduler="threads"), whole)


def test_several_variables(pair_drawer, pair_record):
    now = pair_drawer.predict(pair_record, realizations=2)
    later = pair_drawer.predict(pair_record.chunk(time=11), realizations=2, chunks=13)
    assert isinstance(later, xr.Dataset)
    xr.testing.assert_allclose(later.compute(), now, **CLOSE)


@pytest.mark.filterwarnings("ignore:.*start cold")
@pytest.mark.filterwarnings("ignore:.*come out NaN")
@pytest.mark.parametrize("chunks", ["auto", 1, {"time": 7, "realization": 1}, -1])
def test_days_one_after_another(walker, record, chunks):
    holed = record.isel(time=[i for i in range(110) if i not in (60, 61)]).copy(deep=True)
    holed["t"][70] = np.nan
    options = {"time": holed.time[50:75], "realizations": 2, "seed": 4}
    now = walker.predict(holed, **options)
    later = walker.predict(holed.chunk(time=9), chunks=chunks, **options)
    xr.testing.assert_allclose(later.compute(), now, **CLOSE)
    assert now.isnull().any("time").all()


def test_history_is_read_where_it_is_needed(walker, record, fine_record):
    options = {"time": record.time[80:99], "seed": 4}
    past = fine_record.t.isel(time=slice(0, 50))
    now = walker.predict(record, history=past, **options)
    later = walker.predict(record.chunk(), history=past.chunk(time=3), chunks=6, **options)
    xr.testing.assert_allclose(later.compute(), now, **CLOSE)
    forced = {"time": record.time[50:60], "mode": "teacher_forced", "history": fine_record.t}
    now = walker.predict(record, **forced)
    forced["history"] = fine_record.t.chunk(time=4)
    later = walker.predict(record.chunk(), chunks=3, **forced)
    xr.testing.assert_allclose(later.compute(), now, **CLOSE)


@pytest.mark.filterwarnings("ignore:.*start cold")
@pytest.mark.filterwarnings("ignore:.*outside the training period")
def test_preset_paper_and_its_dimension_names(model_of_paper):
    model, record = model_of_paper
    turned = record.transpose("lon", "lat", "time").isel(lat=slice(None, None, -1))
    now = model.predict(record, time=record.time[105:113], realizations=2)
    later = model.predict(turned.chunk(time=5), time=record.time[105:113], realizations=2, chunks=3)
    xr.testing.assert_allclose(later.compute(), now, **CLOSE)


@pytest.fixture
def model_of_paper(request):
    return request.getfixturevalue("model"), request.getfixturevalue("paper_record")


def test_cftime_days(drawer, record, maps):
    dated = record.convert_calendar("standard", use_cftime=True).chunk(time=20)
    drawn = drawer.predict(dated, realizations=3, seed=4, chunks=40)
    np.testing.assert_allclose(drawn.values, maps.values, **CLOSE)


def test_days_without_a_driver_are_nan(drawer, record, maps):
    holed = record.copy(deep=True)
    holed["t"][50] = np.nan
    drawn = drawer.predict(holed.chunk(time=20), realizations=3, seed=4, chunks=30)
    with pytest.warns(xd.errors.XDownscaleWarning, match="1 of 30 days come out NaN"):
        drawn = drawn.compute(scheduler="synchronous")
    assert drawn.sel(time=record.time[50]).isnull().all()
    assert int(drawn.isnull().any(("lat", "lon", "realization")).sum()) == 1


def test_the_same_question_has_the_same_name(drawer, record):
    lazily = record.chunk(time=30)
    names = [drawer.predict(lazily, seed=seed).data.name for seed in (1, 1, 2)]
    assert names[0] == names[1] != names[2]
    other = drawer.with_sampling(steps=3).predict(lazily, seed=1)
    assert other.data.name != names[0]


def test_downstream_stays_lazy(drawer, record):
    asked = Counting()
    with dask.config.set(scheduler=asked):
        drawn = record.chunk(time=20).downscale.predict(drawer, chunks=20)
        spread = drawn.geostat.acf(max_lag=3)
        crps = xd.skill.rmse(drawn.isel(realization=0), drawn.isel(realization=0))
        assert asked.calls == 0
    assert np.isfinite(spread.compute().values).all()
    assert float(crps.max()) == 0


BAD = [
    pytest.param({"lat": 4}, xd.errors.OptionError, "maps stay whole", id="cells"),
    pytest.param(0, xd.errors.OptionError, "pieces of 0 along 'time'", id="none"),
    pytest.param(-2, xd.errors.OptionError, "pieces of -2", id="negative"),
    pytest.param(2.5, xd.errors.OptionError, "pieces of 2.5", id="half"),
    pytest.param({"realization": True}, xd.errors.OptionError, "pieces of True", id="bool"),
]


@pytest.mark.parametrize(("chunks", "error", "match"), BAD)
def test_bad_chunks(drawer, record, chunks, error, match):
    with pytest.raises(error, match=match):
        drawer.predict(record, chunks=chunks)


def test_a_wrong_unit_is_found_by_the_first_piece(drawer, record):
    warm = (record + 273.15).chunk(time=20)
    with pytest.raises(xd.errors.ModelMismatchError, match="has the median 27"):
        drawer.predict(warm).compute(scheduler="synchronous")


def test_maps_that_are_cut_are_joined_with_a_word(drawer, record, maps):
    cut = record.chunk(time=30, lat=2, lon=3)
    with pytest.warns(xd.errors.XDownscaleWarning, match="'t' are cut into 6 parts: every task"):
        drawn = drawer.predict(cut, realizations=3, seed=4)
    xr.testing.assert_allclose(drawn.compute(), maps, **CLOSE)


def test_chunks_that_memory_forbids_are_refused(drawer, record, monkeypatch):
    monkeypatch.setattr(chunking, "available_memory", lambda: 1e4)
    with pytest.raises(xd.errors.DataError, match="maps are needed whole, which takes"):
        drawer.predict(record.chunk(time=30, lat=2))


def test_large_chunks_deserve_a_word(drawer, record, monkeypatch):
    monkeypatch.setattr(chunking, "_LARGE", 1e3)
    with pytest.warns(xd.errors.XDownscaleWarning, match="110 days long: every task reads"):
        drawer.predict(record.chunk())


def test_a_model_is_loaded_once_in_a_process(drawer, folder, record, monkeypatch):
    workers._models.clear()
    loads = []
    read = workers.serialization.load
    monkeypatch.setattr(
        workers.serialization, "load", lambda path: loads.append(path) or read(path)
    )
    model = xd.load(folder / "drawer.xd")
    drawn = model.predict(record.chunk(time=10), chunks=10)
    workers._models.clear()  # as in another process
    loads.clear()
    drawn.compute(scheduler="threads")
    assert len(loads) == 1


def test_a_file_that_changed_meanwhile_is_refused(drawer, walker, folder, record, tmp_path):
    path = tmp_path / "model.xd"
    drawer.save(path)
    drawn = xd.load(path).predict(record.chunk(time=10))
    walker.save(path)
    workers._models.clear()
    with pytest.raises(xd.errors.ModelMismatchError, match="holds another model than when"):
        drawn.compute(scheduler="synchronous")
    path.unlink()
    with pytest.raises(xd.errors.StorageError, match="where all workers see it"):
        drawn.compute(scheduler="synchronous")
    drawer.save(folder / "drawer.xd")
    walker.save(folder / "walker.xd")


def test_a_process_keeps_a_few_models(drawer):
    for number in range(6):
        workers._cache(str(number), fitted_of(drawer))
    assert list(workers._models) == ["2", "3", "4", "5"]
    workers._models.clear()


def test_processes_get_the_model_too(drawer, record, maps):
    drawn = drawer.predict(record.chunk(time=30), realizations=3, seed=4)
    with dask.config.set(scheduler="processes", num_workers=2):
        xr.testing.assert_allclose(drawn.compute(), maps, **CLOSE)


def test_tasks_share_the_cores(monkeypatch):
    import torch

    monkeypatch.setattr(workers, "tasks_in_process", lambda: 2)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        with workers.shared_resources():
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("name", "expected"), [(5, 2), ("gpu-node", 1), (0, 0)])
def test_each_worker_takes_a_gpu_of_its_own(monkeypatch, name, expected):
    import torch

    taken = []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)  # conftest hides GPUs with it
    monkeypatch.setattr(workers, "_worker", lambda: SimpleNamespace(name=name))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    workers._choose_gpu()
    assert taken == [expected]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0,1")
    workers._choose_gpu()
    assert len(taken) == 1


def test_tasks_of_a_process_are_counted():
    assert workers.tasks_in_process() == 1
    with dask.config.set(num_workers=5):
        found = dask.delayed(workers.tasks_in_process, pure=False)().compute(scheduler="threads")
    assert found == 5


def test_streaming_holds_a_piece_at_a_time(drawer, record, tmp_path):
    """Pieces are generated, written and dropped: never more at once than there are threads."""
    alive, most = 0, 0
    from dask.callbacks import Callback

    def before(key, *_):
        nonlocal alive, most
        if str(key).startswith("predict_piece"):
            alive += 1
            most = max(most, alive)

    def after(key, *_):
        nonlocal alive
        if "store_chunk" in str(key) or "store-map" in str(key):
            alive -= 1

    drawn = record.chunk(time=10).downscale.predict(drawer, chunks=6)
    with Callback(pretask=before, posttask=after), dask.config.set(num_workers=2):
        drawn.to_dataset(name="t").to_zarr(
            tmp_path / "maps.zarr", zarr_format=3, consolidated=False
        )
    assert most <= 6
    again = xr.open_zarr(tmp_path / "maps.zarr", consolidated=False)
    xr.testing.assert_allclose(again.t.compute(), drawer.predict(record), **CLOSE)
