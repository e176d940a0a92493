"""The variational network of small patches: inputs, shapes, training, drawing, what it refuses."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import xdownscale as xd
from records import make_pair, small_arrays
from xdownscale import methods
from xdownscale.core.errors import GridError, OptionError, XDownscaleWarning
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.networks.dense_variational import DenseVariationalNetworks
from xdownscale.models.training.optimizer import trainable
from xdownscale.models.training.run import TrainingRun

SIZES = Sizes(drivers=1, window=3, lags=2, own=(0,), fine_lags=2, static=3, calendar=4)
ENCODERS = pytest.mark.parametrize("encoder", ["none", "frozen"])


def config(**sections) -> xd.DownscalerConfig:
    given = {
        "data": {"lags": 2},
        "network": {"encoder_channels": (8,)},
        "training": {"epochs": 3, "pretrain_epochs": 1, "batch_days": 4},
        "sampling": {"batch_size": 7},
    }
    for section, keys in sections.items():
        given[section] = {**given.get(section, {}), **keys}
    return xd.preset("vdm", **given)


def networks(given, sizes=SIZES) -> DenseVariationalNetworks:
    torch.manual_seed(0)
    return methods.find("vdm").builder(given, sizes)().eval()


def train(given, **options):
    torch.set_num_threads(1)
    options = {"seed": 3, "device": "cpu"} | options
    return methods.find("vdm").train(small_arrays(), TrainingRun(config=given, **options))


def inputs(count=4, sizes=SIZES, patch=5):
    generator = torch.Generator().manual_seed(1)
    known = torch.randn(count, 1 + sizes.lags + sizes.static, patch, patch, generator=generator)
    calendar = torch.randn(count, sizes.calendar, generator=generator)
    return known, calendar, torch.randn(count, sizes.lags, patch, patch, generator=generator)


def test_the_branches_have_the_published_numbers():
    """288 + 144 + 400 + 8 = 840 numbers on patches of 5 x 5 with one elevation field."""
    net = networks(config())
    known, _, fine_lags = inputs()
    assert net.fine_branch(fine_lags).shape[1] == 288
    assert net.coarse_branch(known[:, 1:3]).shape[1] == 144
    assert net.static_branch(known[:, 5:]).flatten(1).shape[1] == 400
    assert net.down[0].linear.in_features == 840
    assert [layer.linear.out_features for layer in net.up] == [30] * 4
    assert net.moments.out_features == 20
    assert net.head.out_features == 25


def test_larger_patches_have_larger_branches():
    given = config(
        data={"patch_size": 15, "patch_stride": 15},
        sampling={"size": 15, "stride": 15},
        options={"scale": 0.9},
    )
    assert networks(given).down[0].linear.in_features == (32 + 16) * 13**2 + 16 * 15**2 + 8


@ENCODERS
def test_the_field_of_the_time_step_itself_is_no_input(encoder):
    net = networks(config(network={"encoder": encoder}))
    known, calendar, fine_lags = inputs()
    other = known.clone()
    other[:, 0] += 5
    latent = torch.randn(4, 10)
    fields = [net.decode(net.condition(k, calendar, fine_lags), latent) for k in (known, other)]
    assert torch.equal(*fields)
    assert fields[0].abs().max() < 1
    for changed in (
        (known + torch.eye(6)[1][:, None, None], calendar, fine_lags),
        (known, calendar + 1, fine_lags),
        (known, calendar, fine_lags + 1),
    ):
        assert not torch.equal(net.decode(net.condition(*changed), latent), fields[0])


def test_the_posterior_sees_the_inputs_alone():
    net = networks(config())
    context = net.condition(*inputs())
    one, other = (net.posterior(context, torch.full((4, 1, 5, 5), v)) for v in (0.0, 1.0))
    assert torch.equal(one.mean, other.mean)
    assert not net.prior(context).mean.any()


@ENCODERS
def test_training_and_drawing(encoder):
    given = config(network={"encoder": encoder})
    trained = train(given)
    stages = set(trained.history["stage"].tolist())
    assert stages == ({"infer"} if encoder == "none" else {"pretrain", "infer"})
    assert np.isfinite(trained.history["gain"][-1])
    sizes = small_arrays().sizes
    net = methods.find("vdm").load(trained.state, given, sizes, "cpu").networks
    frozen = [name for name in trainable(net) if name.startswith("encoder.")]
    assert not frozen
    assert (net.fine_branch is None) == (encoder == "frozen")


def test_an_interrupted_training_ends_with_the_same_weights(tmp_path, monkeypatch):
    from xdownscale.models.training.variational import Infer

    given = config()
    undisturbed = train(given)
    loss = Infer.loss
    seen = {"updates": 0}

    def failing(self, batch, generator):
        seen["updates"] += torch.is_grad_enabled()
        if seen["updates"] == 4:
            raise OSError("unplugged")
        return loss(self, batch, generator)

    monkeypatch.setattr(Infer, "loss", failing)
    with pytest.raises(OSError, match="unplugged"):
        train(given, checkpoint_dir=tmp_path)
    monkeypatch.setattr(Infer, "loss", loss)
    resumed = train(given, checkpoint_dir=tmp_path)
    for name, weights in undisturbed.state.items():
        np.testing.assert_array_equal(resumed.state[name], weights, err_msg=name)


def test_batch_norm_is_measured_with_the_kept_weights():
    """Means over batches of the first layer's outputs, which depend on nothing random."""
    from xdownscale.models.networks.channels import patch_inputs
    from xdownscale.models.training.datasets import PatchGrid, join
    from xdownscale.models.training.variational import Infer, measure_norms
    from xdownscale.patches.layout import PatchLayout

    arrays = small_arrays()
    given = config(network={"dropout": 0.0})
    net = networks(given, arrays.sizes)
    task = Infer(
        data=arrays,
        network=net,
        rows=arrays.train_targets,
        cutter=PatchGrid(PatchLayout(arrays.shape, 5, 5, 0, "uniform"), arrays.mask[0]),
        arrange=patch_inputs,
        seed=0,
        batch=4,
        name="infer",
        stage=2,
        epochs=1,
        per_epoch=1,
    )
    data = task.training(0)
    outputs = []
    hook = net.down[0].norm.register_forward_hook(lambda m, x, y: outputs.append(x[0]))
    measure_norms(task, net)
    hook.remove()
    assert sum(map(len, outputs)) == len(join([data[k] for k in range(len(data))]).target)
    wanted = torch.stack([each.mean(0) for each in outputs]).mean(0)
    torch.testing.assert_close(net.down[0].norm.running_mean, wanted)
    assert not net.training


# as a user has it


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    coarse, fine = (record["t"] for record in make_pair(60))
    given = config(data={"extrapolate": "nearest"}, sampling={"batch_size": 64})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)  # nothing in the latent numbers
        return coarse.downscale.fit(fine, preset=given, progress=False)


def predicted(model, first=40, last=42, **options):
    coarse = make_pair(60)[0]["t"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)  # runs start cold
        return model.predict(coarse, time=coarse.time[first:last], **options)


def test_it_is_generated_in_patches_and_day_by_day(model):
    method = methods.find("vdm")
    assert method.stitchings(model.config_) == ("patches",)
    assert method.modes(model.config_) == ("autoregressive", "teacher_forced")
    fine = make_pair(60)[1]["t"]
    free = predicted(model, realizations=2)
    forced = predicted(model, realizations=2, mode="teacher_forced", history=fine)
    assert free.shape == forced.shape == (2, 2, 24, 20)
    assert not np.array_equal(free[0], free[1])
    np.testing.assert_array_equal(predicted(model, realizations=2), free)


def test_nearest_takes_each_pixel_from_one_patch(model):
    finer = {"size": 5, "stride": 2, "batch_size": 64}
    nearest = predicted(model.with_sampling(taper="nearest", **finer))
    averaged = predicted(model.with_sampling(taper="uniform", **finer))
    assert not np.array_equal(nearest, averaged)
    assert float(nearest.std()) > float(averaged.std())  # an average of patches is smoother


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"options": {"layout": "map"}}, "layout is 'map'; this method has 'vector' alone"),
        ({"options": {"posterior": "target"}}, "posterior is 'target'"),
        ({"options": {"prior": "learned"}}, "prior is 'learned'"),
        ({"options": {"hidden": 0}}, "hidden is 0; give 1"),
        ({"data": {"scaling": "standard"}}, "use 'minmax'"),
        ({"data": {"patch_size": 2}, "sampling": {"size": 2, "stride": 2}}, "of 3 or more"),
        ({"sampling": {"size": 7}}, "both must be the same"),
        ({"network": {"channels": (8, 8)}}, "does not use network.channels"),
    ],
)
def test_options_that_do_not_suit_are_refused(sections, said):
    with pytest.raises(OptionError, match=said):
        config(**sections)


def test_one_patch_is_refused():
    with pytest.raises(GridError, match="has one patch of 5 pixels; batch norm needs two"):
        methods.find("vdm").check_shape((5, 5), config())


def test_the_preset_of_published_size():
    base = xd.preset("vdm", network={"size": "base"})
    assert (base.data.lags, base.sampling.stride, base.data.patch_size) == (40, 1, 5)
