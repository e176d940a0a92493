"""Window, lagged fields and static fields as the input channels of networks."""

from __future__ import annotations

import numpy as np

from xdownscale.models.networks.channels import around, fill_inputs


def test_the_targets_own_drivers_come_first():
    window = np.arange(30.0).reshape(5, 3, 1, 2)
    channels = around(window, own=(2, -1, 0))
    assert channels.shape == (16, 1, 2)
    np.testing.assert_array_equal(channels[0], window[0, 2])
    np.testing.assert_array_equal(channels[1], 0)
    np.testing.assert_array_equal(channels[2], window[0, 0])
    rest = {tuple(c.ravel()) for c in channels[3:]}
    assert len(rest) == 13
    assert tuple(window[0, 1].ravel()) in rest


def test_missing_inputs_take_the_coarse_value_else_zero():
    nan = np.nan
    driver, coarse, fine = fill_inputs(
        np.array([nan, 1.0]), np.array([[2.0, nan, 3.0]]), np.array([[nan, nan, 4.0]])
    )
    assert driver.tolist() == [0, 1]
    assert coarse.tolist() == [[2, 0, 3]]
    assert fine.tolist() == [[2, 0, 4]]
