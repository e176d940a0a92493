from __future__ import annotations

import dask.array
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from xdownscale.models.training.patch_dataset import (
    CoarseDays,
    DayPatches,
    epoch_batches,
    fill_inputs,
    join,
    read_rows,
)

from xdownscale.patches import PatchLayout


class Watched:
    """An array that remembers which rows were read."""

    def __init__(self, array):
        self.array, self.shape, self.rows = array, array.shape, []

    def __getitem__(self, row):
        self.rows.append(row)
        return self.array[row]


def make_days(arrays, size=8, stride=4):
    layout = PatchLayout(arrays.mask.shape, size, stride, 0, "uniform")
    return DayPatches(arrays, arrays.train_targets, arrays.train_lags, layout), layout


def test_a_day_holds_every_patch_in_its_place(arrays):
    days, layout = make_days(arrays)
    day, row = days[2], arrays.train_targets[2]
    assert len(day.target) == layout.n_patches
    for k, (y, x) in enumerate(layout.positions):
        window = (slice(y, y + 8), slice(x, x + 8))
        np.testing.assert_array_equal(day.target[k, 0], arrays.fine[row][window])
        np.testing.assert_array_equal(day.driver[k, 0], arrays.driver[row][window])
        lags = arrays.train_lags[2]
        np.testing.assert_array_equal(day.fine_lags[k], arrays.fine[lags][:, *window])
        np.testing.assert_array_equal(day.coarse_lags[k], arrays.driver[lags][:, *window])
        np.testing.assert_array_equal(day.constant[k, :2], arrays.static[:, *window])
        np.testing.assert_array_equal(day.constant[k, 2:, 3, 5], arrays.calendar[row])


def test_only_the_days_that_are_needed_are_read(arrays, replaced):
    fine, driver = Watched(arrays.fine), Watched(arrays.driver)
    days, _ = make_days(replaced(arrays, fine=fine, driver=driver))
    days[3]
    lags = arrays.train_lags[3].tolist()
    assert sorted(fine.rows) == sorted([*lags, arrays.train_targets[3]])
    assert sorted(driver.rows) == sorted([*lags, arrays.train_targets[3]])


def test_dask_arrays_give_the_same_days(arrays, replaced):
    lazy = {n: dask.array.from_array(getattr(arrays, n)) for n in ("fine", "driver", "coarse")}
    for a, b in zip(
        make_days(arrays)[0][1], make_days(replaced(arrays, **lazy))[0][1], strict=True
    ):
        assert torch.equal(a, b)
    assert read_rows(lazy["fine"], [3]).dtype == np.float32


def test_masked_and_missing_pixels_are_not_valid(arrays, replaced):
    fine, mask = arrays.fine.copy(), arrays.mask.copy()
    fine[arrays.train_targets[0], 2, 2] = np.nan
    mask[5, 5] = False
    day = make_days(replaced(arrays, fine=fine, mask=mask))[0][0]
    expected = np.ones((8, 8), bool)
    expected[2, 2] = expected[5, 5] = False
    np.testing.assert_array_equal(day.valid[0, 0], expected)
    assert day.target.isfinite().all()


def test_patches_that_are_never_valid_are_left_out(arrays, replaced):
    mask = arrays.mask.copy()
    mask[:, :8] = False
    days, layout = make_days(replaced(arrays, mask=mask))
    assert len(days[0].target) == (layout.positions[:, 1] > 0).sum()


def test_missing_inputs_take_the_coarse_value_else_zero():
    nan = np.nan
    driver, coarse, fine = fill_inputs(
        np.array([nan, 1.0]), np.array([[2.0, nan, 3.0]]), np.array([[nan, nan, 4.0]])
    )
    assert driver.tolist() == [0, 1]
    assert coarse.tolist() == [[2, 0, 3]]
    assert fine.tolist() == [[2, 0, 4]]


def test_inputs_of_a_day_have_no_nan(arrays, replaced):
    fine, driver, static = arrays.fine.copy(), arrays.driver.copy(), arrays.static.copy()
    fine[:, 3], driver[:, :, 4], static[0, 0] = np.nan, np.nan, np.nan
    day = make_days(replaced(arrays, fine=fine, driver=driver, static=static))[0][0]
    assert all(part.isfinite().all() for part in day)


def test_coarse_days_are_the_record(arrays):
    chosen = np.array([4])
    day = CoarseDays(arrays, chosen, 0, 0)[0]
    np.testing.assert_array_equal(day.lags[0], arrays.coarse[arrays.coarse_lags[4]])
    np.testing.assert_array_equal(day.target[0, 0], arrays.coarse[arrays.coarse_targets[4]])
    assert day.valid.all()


def test_large_coarse_images_are_cropped_by_key(arrays, replaced, rng):
    large = rng.normal(size=(12, 70, 90)).astype(np.float32)
    large[:, 30, 30] = np.nan
    arrays = replaced(arrays, coarse=large)
    crops = [CoarseDays(arrays, np.arange(5), 0, epoch)[2] for epoch in (0, 0, 1)]
    assert crops[0].lags.shape == (1, 2, 64, 64)
    assert torch.equal(crops[0].target, crops[1].target)
    assert not torch.equal(crops[0].target, crops[2].target)
    assert not crops[0].valid.all()
    row = large[arrays.coarse_targets[2]]
    corner = np.argwhere(np.isclose(row, crops[0].target[0, 0, 0, 0]))[0]
    window = row[corner[0] : corner[0] + 64, corner[1] : corner[1] + 64]
    np.testing.assert_array_equal(crops[0].target[0, 0], np.nan_to_num(window))


@given(st.integers(0, 50), st.integers(1, 9), st.integers(0, 99))
def test_an_epoch_is_every_day_once(count, size, epoch):
    batches = epoch_batches(count, size, 0, 1, epoch)
    assert sorted(day for batch in batches for day in batch) == list(range(count))
    assert all(len(batch) == size for batch in batches[:-1])


def test_epochs_differ_in_order():
    assert epoch_batches(20, 4, 0, 1, 0) != epoch_batches(20, 4, 0, 1, 1)
    assert epoch_batches(20, 4, 0, 1, 0) == epoch_batches(20, 4, 0, 1, 0)


def test_days_are_joined_along_patches(arrays):
    days, layout = make_days(arrays)
    both = join([days[0], days[1]])
    assert len(both.target) == 2 * layout.n_patches
    assert torch.equal(both.fine_lags[layout.n_patches :], days[1].fine_lags)


def test_a_patch_larger_than_the_image_is_refused(arrays, config):
    from xdownscale.models.engine import train

    from xdownscale.core.errors import GridError

    config = config.replace(data={"patch_size": 13})
    with pytest.raises(GridError, match="patch larger than the image"):
        train(arrays, config, seed=0, device="cpu", progress=False)
