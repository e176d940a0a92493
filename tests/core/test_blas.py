"""One thread of BLAS for small matrices: set within, restored after, the same numbers."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import threadpoolctl

from xdownscale.core.blas import one_thread
from xdownscale.models.statistical.dressing import Dressing
from xdownscale.models.statistical.predictors import Predictors
from xdownscale.models.statistical.ridge import Ridge


def threads() -> set[int]:
    info = threadpoolctl.ThreadpoolController().select(user_api="blas").info()
    return {library["num_threads"] for library in info}


@pytest.fixture
def two():
    """BLAS that may use two threads, also where the environment says one."""
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        if threads() != {2}:
            pytest.skip("no BLAS whose threads can be set")
        yield


@one_thread("x")
def within(x, fail=False):
    if fail:
        raise ValueError(x)
    return threads()


def test_one_thread_within_and_the_former_number_after(two):
    assert within(np.zeros(1500)) == {1}
    assert threads() == {2}
    with pytest.raises(ValueError, match="0"):
        within(x=np.zeros(3), fail=True)
    assert threads() == {2}


def test_large_matrices_are_left_alone(two):
    assert within(np.zeros(1501)) == {2}


def test_without_an_argument_every_call_is_limited(two):
    assert one_thread()(threads)() == {1}
    assert threads() == {2}


def test_a_function_within_another(two):
    @one_thread("x")
    def outer(x):
        return within(x), threads()

    assert outer(np.zeros(3)) == ({1}, {1})
    assert threads() == {2}


def test_the_number_is_restored_after_several_threads(two):
    """Also where the one that set the limit leaves while another one is within."""
    inside, leave = threading.Event(), threading.Event()

    @one_thread("x")
    def wait(x):
        inside.set()
        leave.wait(30)

    @one_thread("x")
    def start_another(x):
        other.start()
        assert inside.wait(30)
        return threads()

    other = threading.Thread(target=wait, args=(np.zeros(3),))
    assert start_another(np.zeros(3)) == {1}
    assert threads() == {2}
    leave.set()
    other.join()
    assert threads() == {2}
    assert within(np.zeros(3)) == {1}
    assert threads() == {2}


def fits():
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(400, 2, 2, 6, 6)).astype(np.float32)
    place = np.stack(np.meshgrid(np.linspace(0, 5, 24), np.linspace(0, 5, 24), indexing="ij"), -1)
    fine = coarse[:, 0, 0].repeat(4, 1).repeat(4, 2) + rng.normal(size=(400, 24, 24))
    fine = fine.astype(np.float32)
    x = Predictors(coarse=coarse, calendar=np.zeros((400, 0)), driver=0 * fine, place=place)
    ridge = Ridge.fit(x, fine)
    return ridge.to_state() | Dressing.fit(ridge.predict(x)[:, None], fine[:, None]).to_state()


def test_fits_do_not_depend_on_the_number_of_threads(two):
    several = fits()
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        one = fits()
    for name, array in one.items():
        np.testing.assert_array_equal(array, several[name], err_msg=name)
