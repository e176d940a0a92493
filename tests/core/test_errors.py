"""The family of exceptions, the hint at the nearest name, and missing packages."""

from __future__ import annotations

import json
import re

import pytest

from xdownscale.core import errors
from xdownscale.core.errors import (
    MissingPackageError,
    OptionError,
    XDownscaleError,
    XDownscaleWarning,
    check_option,
    nearest_name,
)
from xdownscale.core.optional import require

CHILDREN = {
    "OptionError": ValueError,
    "GridError": ValueError,
    "TimeAxisError": ValueError,
    "DataError": ValueError,
    "NotFittedError": AttributeError,
    "ModelFormatError": ValueError,
    "ModelMismatchError": ValueError,
    "DriftError": RuntimeError,
    "StorageError": OSError,
    "MissingPackageError": ImportError,
}


@pytest.mark.parametrize("name", CHILDREN)
def test_every_error_is_ours_and_what_python_users_catch(name):
    error = getattr(errors, name)
    assert issubclass(error, XDownscaleError)
    assert issubclass(error, CHILDREN[name])
    assert error.__doc__


def test_the_list_above_is_complete():
    family = {
        k for k, v in vars(errors).items() if isinstance(v, type) and XDownscaleError in v.mro()
    }
    assert family == {*CHILDREN, "XDownscaleError"}
    assert issubclass(XDownscaleWarning, UserWarning)


@pytest.mark.parametrize(
    ("given", "hint"),
    [("bicubik", " Did you mean 'bicubic'?"), ("zzz", ""), (3, ""), (None, "")],
)
def test_nearest_name(given, hint):
    assert nearest_name(given, ["bicubic", "nearest"]) == hint


def test_check_option_takes_what_is_allowed_from_any_iterable():
    assert check_option("sampler", "ddim", iter(["ddim", "ddpm"])) is None


def test_check_option_names_everything():
    message = r"Unknown sampler: 'ddin'. Choose one of 'ddim', 'ddpm'. Did you mean 'dd"
    with pytest.raises(OptionError, match=message):
        check_option("sampler", "ddin", ["ddim", "ddpm"])


def test_require_returns_the_module():
    assert require("json", "reading") is json


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("not_a_package", "pip install not_a_package"),
        ("matplotlib", r"xarray-downscale\[plot\]"),
        ("xesmf", "conda install -c conda-forge xesmf"),
        ("earthaccess", r"xarray-downscale\[nasa\]"),
        ("rasterio", r"xarray-downscale\[geo\]"),
        ("cartopy", r"xarray-downscale\[cartopy\]"),
        ("distributed", r"xarray-downscale\[distributed\]"),
        ("xesmf", r"xarray-downscale\[esmf\]"),
    ],
)
def test_missing_package(name, remedy, monkeypatch):
    def absent(wanted):
        raise ImportError(f"No module named {wanted!r}")

    monkeypatch.setattr("importlib.import_module", absent)
    message = rf"Drawing maps needs the package '{name}'.*No module named.*{remedy}"
    with pytest.raises(MissingPackageError, match=message):
        require(name, "Drawing maps")


@pytest.mark.parametrize(
    ("module", "package", "remedy"),
    [
        ("matplotlib.pyplot", "matplotlib", r"pip install 'xarray-downscale\[plot\]'"),
        ("cartopy.crs", "cartopy", r"pip install 'xarray-downscale\[cartopy\]'"),
        ("not_a_package.part", "not_a_package", r"pip install not_a_package$"),
    ],
)
def test_a_missing_part_of_a_package_names_the_package(module, package, remedy, monkeypatch):
    def absent(wanted):
        raise ImportError(f"No module named {wanted!r}")

    monkeypatch.setattr("importlib.import_module", absent)
    message = rf"Drawing maps needs the package '{package}'.*'{re.escape(module)}'.*{remedy}"
    with pytest.raises(MissingPackageError, match=message):
        require(module, "Drawing maps")
