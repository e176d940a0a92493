"""States of models that load and whose fields have no values: refused, never NaN in silence."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import xdownscale as xd
from records import fitted, make_pair, silence_drift
from xdownscale.core.errors import ModelFormatError, ModelMismatchError, XDownscaleWarning

CLOSED_FORMS = ("dressed", "gaussian", "analogues")
OPTIONS = {"fast": {}, "paper": {"mode": "autoregressive"}}


@pytest.fixture(scope="module")
def record():
    return make_pair(60)[0]["t"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Files of models of every kind."""
    folder = tmp_path_factory.mktemp("models")
    coarse, fine = (each["t"] for each in make_pair(60))
    for kind in ("fast", "paper"):
        fitted(kind).save(folder / f"{kind}.xd")
    for kind in CLOSED_FORMS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", XDownscaleWarning)  # short records
            model = coarse.downscale.fit(fine, preset=kind, progress=False)
        model.save(folder / f"{kind}.xd")
    return folder


def changed(model, change, name=""):
    """Change the arrays of a loaded model whose names begin so."""
    state = model.models_["all"].state
    chosen = [key for key in state if key.startswith(name)]
    assert chosen
    for key in chosen:
        state[key] = change(state[key].copy())
    return model


def predict(model, record, **options):
    return model.predict(record, time=record.time[40:42], **options)


@pytest.mark.filterwarnings("ignore:1 of 1 runs start cold")
@pytest.mark.parametrize("factor", [1e12, 1e19])
@pytest.mark.parametrize("kind", ["fast", "paper"])
def test_huge_weights_give_an_error_and_no_field_of_nan(kind, factor, saved, record):
    model = silence_drift(xd.load(saved / f"{kind}.xd"))
    changed(model, lambda array: array * np.float32(factor))
    with pytest.raises(ModelMismatchError, match=r"of .* generated values are not finite"):
        predict(model, record, **OPTIONS[kind])


@pytest.mark.parametrize("chunks", [None, 1])
@pytest.mark.parametrize("center", [-1e300, 1e300])
def test_a_scaling_that_overflows_gives_an_error(center, chunks, saved, record):
    model = xd.load(saved / "fast.xd")
    for scaling in model.models_["all"].scalings:
        object.__setattr__(scaling, "center", center)
    with pytest.raises(ModelMismatchError, match="generated values are not finite"):
        predict(model, record, chunks=chunks).compute()


def test_cells_that_no_model_predicts_stay_nan(saved, record):
    model = xd.load(saved / "fast.xd")
    model.models_["all"].masks[:, :3] = False
    field = predict(model, record)
    assert np.isnan(field.isel(lat=slice(0, 3)).values).all()
    assert np.isfinite(field.isel(lat=slice(3, None)).values).all()


ARRAYS = {
    "dressed": ("mean.0", "dressing.residuals", "dressing.scores", "dressing.components.vectors"),
    "gaussian": ("noise.power", "noise.spread", "noise.mixing", "noise.rho"),
    "analogues": ("analogues.fields", "analogues.scores", "analogues.components.center"),
}


def with_nan(array):
    array.flat[-1] = np.nan
    return array


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in ARRAYS.items() for name in names]
)
def test_nan_in_closed_forms_is_refused(kind, name, saved, record, tmp_path):
    changed(xd.load(saved / f"{kind}.xd"), with_nan, name).save(tmp_path / "m.xd")
    with pytest.raises(ModelFormatError, match="not finite"):
        xd.load(tmp_path / "m.xd")


@pytest.mark.parametrize(("kind", "name"), [("dressed", "dressing"), ("analogues", "analogues")])
def test_no_bound_is_minus_infinity_and_nothing_else_is(kind, name, saved, record, tmp_path):
    bounds = f"{name}.bounds"
    model = changed(xd.load(saved / f"{kind}.xd"), lambda a: np.full_like(a, -np.inf), bounds)
    model.save(tmp_path / "m.xd")
    assert np.isfinite(predict(xd.load(tmp_path / "m.xd"), record).values).all()
    for value in (np.inf, np.nan):
        changed(model, lambda a, value=value: np.full_like(a, value), bounds)
        model.save(tmp_path / "m.xd")
        with pytest.raises(ModelFormatError, match="1 of 1 values that are not finite"):
            xd.load(tmp_path / "m.xd")


@pytest.mark.parametrize("count", [0.0, -1.0, 2.5, 1e9])
@pytest.mark.parametrize(
    ("kind", "name"), [("dressed", "dressing.neighbours"), ("analogues", "analogues.about")]
)
def test_a_forged_number_of_neighbours_is_refused(kind, name, count, saved, tmp_path):
    def change(array):
        array[0] = count
        return array

    changed(xd.load(saved / f"{kind}.xd"), change, name).save(tmp_path / "m.xd")
    with pytest.raises(ModelFormatError, match=r"counts .*; it must be a whole number from 1 to"):
        xd.load(tmp_path / "m.xd")


@pytest.mark.parametrize("kind", [-1.0, 2.0, 0.5])
def test_a_forged_kind_of_analogues_is_refused(kind, saved, tmp_path):
    def change(array):
        array[1] = kind
        return array

    changed(xd.load(saved / "analogues.xd"), change, "analogues.about").save(tmp_path / "m.xd")
    with pytest.raises(ModelFormatError, match="must be a whole number"):
        xd.load(tmp_path / "m.xd")


def test_components_of_another_grid_are_refused_before_they_are_used(saved, record):
    model = xd.load(saved / "analogues.xd")
    for name in ("center", "vectors"):
        changed(model, lambda array: array[:-1], f"analogues.components.{name}")
    with pytest.raises(ModelMismatchError, match=r"A time step gives .* numbers"):
        predict(model, record)
