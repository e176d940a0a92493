"""Networks in ONNX compute what they compute in torch, and what the library predicts."""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np
import onnxruntime
import pytest
import torch

import xdownscale as xd
from records import fast_config, make_pair
from xdownscale.core.errors import MissingPackageError, OptionError, StorageError
from xdownscale.io import onnx
from xdownscale.models.networks import graphs
from xdownscale.models.sampling import fields

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def learn(**sections):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
        preset = fast_config(
            sampling={"steps": 2}, network={"channels": (8,)}, diffusion={"folds": 1}, **sections
        )
        return xd.Downscaler(preset=preset, pairing="paired", progress=False).fit(*make_pair())


@pytest.fixture(scope="module")
def model():
    return learn()  # method residual: a mean of regressions, and a generator


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    return model.export_onnx(tmp_path_factory.mktemp("onnx") / "networks")


def seen(model, monkeypatch, **asked):
    """Predict two days; return the networks' inputs and their mean, in scaled units."""
    kept = []
    real = fields._Sampling

    class Watched(real):
        def fields(self):
            found = super().fields()
            kept.append((self.inputs, self.mean, self.shape))
            return found

    monkeypatch.setattr(fields, "_Sampling", Watched)
    coarse = make_pair()[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
        model.predict(coarse, time=coarse.time[20:22], **asked)
    return kept[0]


def as_numpy(inputs):
    return {name: part.contiguous().numpy() for name, part in inputs._asdict().items()}


def test_the_mean_is_that_of_a_prediction(model, files, monkeypatch):
    inputs, mean, _ = seen(model, monkeypatch)
    session = onnxruntime.InferenceSession(files["mean"])
    found = session.run(None, as_numpy(inputs))[0]
    np.testing.assert_allclose(found, mean.numpy(), **CLOSE)
    assert np.std(found - inputs.known[:, :1].numpy()) > 1e-3  # it is more than its input


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 24, 20), (5, 16, 32)])
def test_networks_take_any_number_of_images_of_any_size(model, files, count, rows, columns):
    rng = np.random.default_rng(0)
    fitted = model._fitted
    (group,) = fitted.models.values()
    sampler = fitted.method.load(group.state, fitted.config, xd_sizes(fitted, group), "cpu")
    for name, module in (
        ("mean", graphs.ConditionalMean(sampler.networks, 1)),
        ("generator", graphs.Generator(sampler.networks)),
    ):
        session = onnxruntime.InferenceSession(files[name])
        given = {
            each.name: rng.standard_normal(
                _shape(each.name, each.shape, count, rows, columns)
            ).astype(np.float32)
            for each in session.get_inputs()
        }
        given["place"] = np.clip(given["place"], -1, 1)
        if "sigma" in given:
            given["sigma"] = np.abs(given["sigma"]) + 0.1
        with torch.no_grad():
            want = module(*(torch.as_tensor(given[n]) for n in module.inputs))
        found = session.run(None, given)[0]
        np.testing.assert_allclose(found, want.numpy(), **CLOSE)
        assert found.std() > 1e-3


def xd_sizes(fitted, group):
    from xdownscale.fitting.fitted_model import sizes_of

    return sizes_of(fitted, group)


def _shape(name, declared, count, rows, columns):
    if name == "place":
        return (count, rows, columns, 2)
    if name == "coarse":
        return (count, declared[1], 7, 6)
    if len(declared) == 4:
        return (count, declared[1], rows, columns)
    return (count, *declared[1:])


def test_files_say_what_a_user_has_to_know(model, files):
    said = onnxruntime.InferenceSession(files["mean"]).get_modelmeta().custom_metadata_map
    scaling = json.loads(said["xdownscale.target_scalings"])[0]
    (group,) = model.models_.values()
    assert scaling["center"] == group.scalings[0].center
    assert scaling["spread"] == group.scalings[0].spread
    assert json.loads(said["xdownscale.targets"]) == ["t"]
    assert int(said["xdownscale.lattice"]) > 0


def test_groups_have_files_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "_as_onnx", lambda *asked: b"takes its time")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
        model = xd.Downscaler(
            preset=fast_config(method="unet", sampling={}),
            pairing="paired",
            seasons={"odd": [1, 3], "even": [2, 4]},
            progress=False,
        ).fit(*make_pair())
    files = model.export_onnx(tmp_path)
    assert sorted(files) == ["even-mean", "odd-mean"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["even-mean.onnx", "odd-mean.onnx"]


def test_methods_without_such_networks_say_so(tmp_path):
    coarse, fine = make_pair()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
        model = coarse.downscale.fit(fine, preset="dressed", pairing="paired", progress=False)
    with pytest.raises(OptionError, match="'dressed' has no network here that ONNX can hold"):
        model.export_onnx(tmp_path / "networks")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_and_a_bad_folder_are_named(model, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be made"):
        model.export_onnx(tmp_path / "file")
    with pytest.raises(OptionError, match="folder is 3"):
        model.export_onnx(3)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingPackageError, match=r"xarray-downscale\[onnx\]"):
        model.export_onnx(tmp_path)
    with pytest.raises(xd.errors.NotFittedError):
        xd.Downscaler().export_onnx(tmp_path)
