"""Time steps as tensors: patches, crops and coarse images, in their place and without NaN."""

from __future__ import annotations

from dataclasses import replace

import dask.array
import numpy as np
import torch

from records import field_arrays
from xdownscale.models.networks.channels import field_inputs, patch_inputs
from xdownscale.models.training.data import read_rows
from xdownscale.models.training.datasets import (
    CoarseDataset,
    FineDataset,
    PatchGrid,
    RandomCrops,
    join,
)
from xdownscale.models.training.residual import conditions_of
from xdownscale.patches import PatchLayout


class Watched:
    """An array that remembers which rows were read."""

    def __init__(self, array):
        self.array, self.shape, self.rows = array, array.shape, []

    def __getitem__(self, row):
        self.rows.append(row)
        return self.array[row]


def make_days(arrays, size=8, stride=4):
    layout = PatchLayout(arrays.shape, size, stride, 0, "uniform")
    cutter = PatchGrid(layout, arrays.mask[0])
    rows = arrays.train_targets
    return FineDataset(arrays, rows, cutter, patch_inputs, seed=0, epoch=0), layout


def test_a_day_holds_every_patch_in_its_place(arrays):
    days, layout = make_days(arrays)
    day, row = days[2], arrays.train_targets[2]
    assert len(day.target) == layout.n_patches
    for k, (y, x) in enumerate(layout.positions):
        window = (slice(y, y + 8), slice(x, x + 8))
        lags = arrays.fine_lags[row]
        np.testing.assert_array_equal(day.target[k], arrays.fine[row][:, *window])
        np.testing.assert_array_equal(day.known[k, :1], arrays.driver[row][:, *window])
        np.testing.assert_array_equal(day.known[k, 1:3], arrays.driver[lags, 0][:, *window])
        np.testing.assert_array_equal(day.known[k, 3:], arrays.static[:, *window])
        np.testing.assert_array_equal(day.encoder[k], arrays.fine[lags, 0][:, *window])
        np.testing.assert_array_equal(day.calendar[k], arrays.calendar[row])
        np.testing.assert_array_equal(day.place[k], arrays.place[window])
    assert (day.mean == 0).all()


def test_only_the_days_that_are_needed_are_read(arrays, replaced):
    fine, driver = Watched(arrays.fine), Watched(arrays.driver)
    days, _ = make_days(replaced(arrays, fine=fine, driver=driver))
    days[3]
    lags = arrays.fine_lags[arrays.train_targets[3]].tolist()
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
    fine[arrays.train_targets[0], 0, 2, 2] = np.nan
    mask[0, 5, 5] = False
    day = make_days(replaced(arrays, fine=fine, mask=mask))[0][0]
    expected = np.ones((8, 8), bool)
    expected[2, 2] = expected[5, 5] = False
    np.testing.assert_array_equal(day.valid[0, 0], expected)
    assert day.target.isfinite().all()


def test_patches_that_are_never_valid_are_left_out(arrays, replaced):
    mask = arrays.mask.copy()
    mask[..., :8] = False
    days, layout = make_days(replaced(arrays, mask=mask))
    assert len(days[0].target) == (layout.positions[:, 1] > 0).sum()


def test_inputs_of_a_day_have_no_nan(arrays, replaced):
    fine, driver, static = arrays.fine.copy(), arrays.driver.copy(), arrays.static.copy()
    fine[..., 3, :] = driver[..., 4] = static[0, 0] = np.nan
    day = make_days(replaced(arrays, fine=fine, driver=driver, static=static))[0][0]
    assert all(part.isfinite().all() for part in day)


def test_coarse_days_are_the_record(arrays):
    chosen = np.array([4])
    day = CoarseDataset(arrays, chosen, 0, 0)[0]
    np.testing.assert_array_equal(day.lags[0], arrays.coarse[arrays.coarse_lags[4], 0])
    np.testing.assert_array_equal(day.target[0], arrays.coarse[arrays.coarse_targets[4]])
    assert day.valid.all()


def test_large_coarse_images_are_cropped_by_key(arrays, replaced, rng):
    large = rng.normal(size=(12, 1, 70, 90)).astype(np.float32)
    large[..., 30, 30] = np.nan
    arrays = replaced(arrays, coarse=large)
    crops = [CoarseDataset(arrays, np.arange(5), 0, epoch)[2] for epoch in (0, 0, 1)]
    assert crops[0].lags.shape == (1, 2, 64, 64)
    assert torch.equal(crops[0].target, crops[1].target)
    assert not torch.equal(crops[0].target, crops[2].target)
    assert not crops[0].valid.all()
    row = large[arrays.coarse_targets[2], 0]
    corner = np.argwhere(np.isclose(row, crops[0].target[0, 0, 0, 0]))[0]
    window = row[corner[0] : corner[0] + 64, corner[1] : corner[1] + 64]
    np.testing.assert_array_equal(crops[0].target[0, 0], np.nan_to_num(window))


def test_days_are_joined_along_patches(arrays):
    days, layout = make_days(arrays)
    both = join([days[0], days[1]])
    assert len(both.target) == 2 * layout.n_patches
    assert torch.equal(both.encoder[layout.n_patches :], days[1].encoder)


# crops


def crops(given, size=16, unit=8, *, seed, epoch, lag_noise=(0.0, 0.0)):
    """Return the crops of the training time steps of whole fields."""

    def arrange(window, lags, static):
        return field_inputs(window, lags, static, given.own), None

    cutter = RandomCrops(given.shape, size, unit, seed)
    rows = given.train_targets
    return FineDataset(given, rows, cutter, arrange, seed=seed, epoch=epoch, lag_noise=lag_noise)


def test_crops_depend_on_seed_epoch_and_day_alone():
    given = field_arrays(shape=(40, 48))
    days = crops(given, seed=1, epoch=2)
    first, again = days[7], days[7]
    assert first.target.shape == (8, 2, 16, 16)
    assert (first.known == again.known).all()
    other = crops(given, seed=1, epoch=3)[7]
    assert not (first.known == other.known).all()


def test_crops_of_all_records_lie_in_the_same_place():
    given = field_arrays(shape=(40, 48))
    y, x = np.indices((40, 48)).astype(np.float32)
    given.driver[:], given.static[:] = x, y
    given.fine[:] = x + 100 * y
    batch = crops(given, seed=0, epoch=0)[3]
    target, valid = batch.target[:, 1], batch.valid[:, 1]
    expected = batch.known[:, 0] + 100 * batch.known[:, -1]
    assert (target[valid] == expected[valid]).all()
    assert not batch.valid[:, 0][batch.known[:, -1] < 4].any()


def known_of(given, rows):
    """Return the channels of whole fields that networks are shown when they sample."""
    known = conditions_of(given, np.array(rows))
    static = np.broadcast_to(known.static, (len(rows), *known.static.shape))
    return field_inputs(known.window, known.fine_lags, static, known.own)


def with_fine_lags(given, count=2):
    rows = np.arange(len(given.windows))[:, None] - np.arange(count, 0, -1)
    return replace(given, fine_lags=np.where(rows >= 0, rows, -1))


def test_fine_lags_are_the_true_fields_and_the_driver_stands_in():
    given = with_fine_lags(field_arrays(shape=(16, 16)))
    known = known_of(given, [0, 1, 7])
    assert known.shape[1] == given.sizes.known
    lags = known[:, 6:10].reshape(3, 2, 2, 16, 16)  # (day, lag, target, y, x)
    own = known[:, :2]
    np.testing.assert_array_equal(
        lags[0], own[0][None].repeat(2, 0)
    )  # nothing before the first day
    np.testing.assert_array_equal(lags[1, 0], own[1])
    expected = np.where(given.mask, given.fine[[5, 6]], own[2])
    np.testing.assert_array_equal(lags[2], expected)
    again = np.where(given.mask, given.fine[0], own[1])
    np.testing.assert_array_equal(lags[1, 1], again)


def test_fine_lags_get_noise_in_training_and_never_elsewhere():
    given = with_fine_lags(field_arrays(shape=(16, 16)))
    whole = known_of(given, [9])[0]
    clean = crops(given, seed=0, epoch=0)[9].known[0].numpy()
    np.testing.assert_array_equal(clean, whole)
    gone = crops(given, seed=0, epoch=0, lag_noise=(0.0, 1.0))[9].known[0].numpy()
    np.testing.assert_array_equal(gone[6:10], whole[[0, 1, 0, 1]])
    noisy = [
        crops(given, seed=0, epoch=e, lag_noise=(0.5, 0.0))[9].known[0].numpy() for e in range(40)
    ]
    apart = np.array([(n - whole)[6:10].std() for n in noisy])
    assert 0 < apart.min() < apart.max() < 0.55
    assert all((n[:6] == whole[:6]).all() for n in noisy)
