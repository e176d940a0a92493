"""Time steps at the ends of a record, generated from the window that there is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import xdownscale as xd
from records import fast_config, field_arrays, fitted, fitted_of, make_pair
from xdownscale.core.errors import OptionError, TimeAxisError
from xdownscale.models.training.datasets import FineDataset, RandomCrops


def arrays():
    """Return training data whose driver and coarse record hold the number of their row."""
    data = field_arrays(days=60, shape=(8, 8))
    rows = np.arange(4, 64)
    count = 70
    numbers = np.arange(count, dtype=np.float32)[:, None, None, None]
    windows = np.stack([rows, rows - 2, rows - 1, rows + 1, rows + 2], axis=1)
    return replace(
        data,
        driver=np.broadcast_to(numbers, (count, 1, 8, 8)).copy(),
        coarse=np.broadcast_to(numbers, (count, 1, 6, 6)).copy(),
        windows=windows,
        coarse_windows=windows,
        lags=rows[:, None] - [3, 2, 1],
        own=(0, -1),
    )


def seen(data, share, epoch, ends=(2, 2)):
    """Return the shifts of the window and of the lags that every time step is seen with."""
    dataset = FineDataset(
        data,
        np.arange(60),
        RandomCrops((8, 8), 8, 1, 0),
        lambda window, lags, static: (window[:, 0], None),
        seed=5,
        epoch=epoch,
        missing_ends=(share, *ends),
    )
    found = []
    for k in range(60):
        batch = dataset[k]
        own = k + 4
        window = (batch.known[0, :, 0, 0] - own).int().tolist()
        lags = (batch.encoder[0, :, 0, 0] - own).int().tolist()
        found.append((tuple(window), tuple(lags)))
    return found


WHOLE = ((0, -2, -1, 1, 2), (-3, -2, -1))
# the driver has the time step itself first; each missing one is replaced by it
SHORTER = {
    ((0, -2, -1, 1, 0), (-3, -2, -1)),
    ((0, -2, -1, 0, 0), (-3, -2, -1)),
    ((0, -2, -1, 1, 2), (0, -2, -1)),
    ((0, 0, -1, 1, 2), (0, 0, -1)),
    ((0, 0, 0, 1, 2), (0, 0, 0)),
}


def test_every_end_that_a_record_can_have_is_seen():
    data = arrays()
    found = Counter(each for epoch in range(20) for each in seen(data, 0.5, epoch))
    assert set(found) == SHORTER | {WHOLE}
    assert found[WHOLE] / 1200 == pytest.approx(0.5, abs=0.05)
    for each in SHORTER:
        assert found[each] / 1200 == pytest.approx(0.1, abs=0.04)


def test_windows_are_whole_in_validation_and_by_default():
    data = arrays()
    assert set(seen(data, 1.0, -1)) == {WHOLE}
    assert set(seen(data, 0.0, 3)) == {WHOLE}
    assert seen(data, 0.5, 3) == seen(data, 0.5, 3) != seen(data, 0.5, 4)


@pytest.fixture(scope="module")
def pair():
    return make_pair(60)


def test_a_record_is_downscaled_to_its_ends(pair):
    coarse = pair[0].t
    maps = xd.predict(coarse, fitted("fast"), realizations=2)
    assert maps.time.equals(coarse.time)
    assert np.isfinite(maps).all()
    # a time step inside does not depend on where the record ends
    inside = xd.predict(coarse[10:20], fitted("fast"), realizations=2)
    np.testing.assert_allclose(inside[:, 3:8], maps[:, 13:18], rtol=1e-4, atol=1e-4)
    assert (abs(inside[:, 8:] - maps[:, 18:20]) > 1e-3).any(("realization", "lat", "lon")).all()


def test_the_time_step_itself_stands_in_for_what_is_missing(pair):
    """The last day is as one that is followed by copies of itself."""
    coarse = pair[0].t[:30]
    after = coarse[[-1, -1]].assign_coords(time=coarse.time.values[-1] + np.array([1, 2], "m8[D]"))
    longer = xr.concat([coarse, after], "time")
    last = coarse.time[-1:]
    np.testing.assert_allclose(
        xd.predict(coarse, fitted("fast"), time=last),
        xd.predict(longer, fitted("fast"), time=last),
        rtol=1e-5,
        atol=1e-5,
    )


def test_the_ends_are_the_same_in_pieces(pair):
    coarse = pair[0].t
    now = xd.predict(coarse, fitted("fast"))
    lazy = xd.predict(coarse.chunk(time=16), fitted("fast"), chunks=7)
    np.testing.assert_allclose(lazy, now, rtol=1e-4, atol=1e-4)


def test_without_missing_ends_they_are_refused(pair):
    coarse, fine = (record.t for record in pair)
    config = fast_config(method="unet", data={"missing_ends": 0.0})
    model = coarse.downscale.fit(fine, preset=config, progress=False)
    assert "missing_ends" not in config.to_dict()["data"]
    with pytest.raises(TimeAxisError, match="too near an end of the coarse record"):
        xd.predict(coarse, model, time=coarse.time[-1:])
    assert xd.predict(coarse, model).time.size == coarse.time.size - 5


def test_a_first_guess_needs_the_whole_window():
    config = fast_config(data={"first_guess": "ridge"})
    assert xd.methods.find("residual").missing_ends(config) == 0
    assert xd.methods.find("residual").missing_ends(fast_config()) == 0.1


def test_methods_that_are_not_trained_so(pair):
    with pytest.raises(OptionError, match=r"does not use data\.missing_ends"):
        xd.preset("auto", data={"missing_ends": 0.2})
    config = xd.preset("fast").replace(method="dressed_unet")
    assert xd.methods.find("dressed_unet").missing_ends(config) == 0
    with pytest.raises(OptionError, match=r"missing_ends is 1\.5; give a share"):
        xd.preset("fast", data={"missing_ends": 1.5})


def test_the_option_is_in_the_file(pair, tmp_path):
    model = fitted("fast")
    model.save(tmp_path / "m.xd")
    again = xd.load(tmp_path / "m.xd")
    assert fitted_of(again).config.data.missing_ends == 0.1
    last = pair[0].t.time[-1:]
    assert xd.predict(pair[0].t, again, time=last).identical(
        xd.predict(pair[0].t, model, time=last)
    )


@pytest.mark.slow
def test_training_with_missing_ends_helps_at_the_ends():
    """The fine field is the mean of two days of white noise: alone, the first is worth half.

    Then the error is 0.5 of the coarse standard deviation; 0.7 if the copy is taken for the second.
    """
    rng = np.random.default_rng(0)
    time = np.datetime64("2000-01-01") + np.arange(300)
    degrees = np.arange(1.0, 13, 2)
    coords = {"time": time, "lat": degrees, "lon": degrees}
    coarse = xr.DataArray(rng.normal(size=(300, 6, 6)), coords=coords, name="t")
    near = np.arange(1.25, 11, 0.5)
    fine = coarse.rolling(time=2).mean().shift(time=-1)[10:290].interp(lat=near, lon=near)
    errors = {}
    for share in (0.0, 0.4):
        config = fast_config(
            method="unet",
            data={"missing_ends": share, "window": 1, "lags": 1},
            training={"mean_epochs": 12},
            network={"channels": (16, 16), "encoder": "none"},
        )
        model = coarse.downscale.fit(fine, preset=config, progress=False, pairing="paired")
        squares = []
        for day in model.days("test").values[:20]:
            row = int(np.flatnonzero(time == day)[0])
            record = coarse[: row + 2].copy()
            record[-1] = record[-2].values  # what stands in for a day that is missing
            made = xd.predict(record, model, time=[day])
            squares.append(float(np.square(made - fine.sel(time=[day])).mean()))
        errors[share] = np.sqrt(np.mean(squares))
    assert errors[0.4] < 0.9 * errors[0.0]
