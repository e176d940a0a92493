"""Every method on a GPU: it trains there, and a model draws the same fields as on a CPU.

Nothing of this runs without ``XDOWNSCALE_TEST_GPU=1`` (`make test-gpu`) or where torch finds no
CUDA device; `benchmarks/gpu.py` measures the speed.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import xdownscale as xd
from records import fast_config, make_pair, tiny_config

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
    pytest.mark.filterwarnings("ignore::xdownscale.core.errors.XDownscaleWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch.compile of torch's own code
]


@pytest.fixture(scope="module")
def pair():
    coarse, fine = make_pair()
    return coarse.t, fine.t


def fit(pair, config, device="cuda"):
    return pair[0].downscale.fit(pair[1], preset=config, device=device, seed=0, progress=False)


def draw(pair, model, device, **options):
    model.device = device
    options = {"time": model.days("test")[:3], "realizations": 3, "seed": 1, **options}
    if model.config_.data.fine_lags:
        options["history"] = pair[1]
    return pair[0].downscale.predict(model, **options)


def assert_alike(one, other, share=1e-2):
    """Assert that fields differ by less than a share of their own spread.

    Convolutions of GPUs round to 10 bits (TF32) also where the precision is 32.
    """
    assert np.isfinite(one).all()
    spread = float(other.std())
    assert float(abs(one - other).max()) < share * spread


@pytest.mark.parametrize("name", xd.methods.available().index)
def test_a_model_draws_the_same_fields_on_both_devices(name, pair):
    model = fit(pair, tiny_config(name))
    if "precision" in xd.methods.find(name).uses["sampling"]:
        model = model.with_sampling(precision="32")
    assert_alike(*(draw(pair, model, device, realizations=1) for device in ("cuda", "cpu")))


@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize("compiled", [False, True])
def test_precision_and_compilation(precision, compiled, pair):
    model = fit(pair, fast_config(training={"precision": precision}))
    right = draw(pair, model.with_sampling(precision="32"), "cpu")
    fields = draw(pair, model.with_sampling(precision=precision, compile=compiled), "cuda")
    assert_alike(fields, right, 1e-2 if precision == "32" else 0.1)


def test_training_on_a_gpu_learns_what_training_on_a_cpu_learns(pair):
    config = fast_config(training={"precision": "32"})
    one, other = (fit(pair, config, device) for device in ("cuda", "cpu"))
    losses = [model.history_["val_loss"].values for model in (one, other)]
    np.testing.assert_allclose(*losses, rtol=0.05)


def test_the_same_seed_learns_the_same(pair):
    one, other = (fit(pair, fast_config()) for _ in range(2))
    for name, weights in one.models_["all"].state.items():
        np.testing.assert_allclose(other.models_["all"].state[name], weights, atol=1e-5)


def test_what_is_in_a_batch_changes_nothing(pair):
    model = fit(pair, fast_config()).with_sampling(precision="32")
    whole = draw(pair, model, "cuda")
    for day in range(3):
        alone = draw(pair, model, "cuda", time=whole.time[[day]], realizations=1)
        assert_alike(alone[0], whole[0, [day]])


def test_stores_and_lazy_predictions(pair, tmp_path):
    model = fit(pair, fast_config()).with_sampling(precision="32")
    right = draw(pair, model, "cpu")
    model.device = "cuda"
    options = {"time": right.time, "realizations": 3, "seed": 1}
    stored = xd.predict_to_zarr(model, pair[0], tmp_path / "store", progress=False, **options)
    assert_alike(stored.t.compute(), right)
    assert_alike(draw((pair[0].chunk(time=10), pair[1]), model, "cuda", chunks={}).compute(), right)


def test_a_training_goes_on_from_its_checkpoint(pair, tmp_path):
    config = fast_config(training={"epochs": 2})
    one = pair[0].downscale.fit(
        pair[1], preset=config, device="cuda", progress=False, checkpoint_dir=tmp_path
    )
    again = pair[0].downscale.fit(
        pair[1], preset=config, device="cuda", progress=False, checkpoint_dir=tmp_path
    )
    for name, weights in one.models_["all"].state.items():
        np.testing.assert_allclose(again.models_["all"].state[name], weights, atol=1e-5)
