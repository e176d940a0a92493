"""Model curves against scikit-gstat, the values at the effective range, and what they import."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import skgstat
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special

from xdownscale.core.variogram_models import MODELS, evaluate, fit_curve

SHAPED = ("matern", "stable")


def theirs(model: str, h: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    reach, psill, nugget, shape = parameters
    more = (shape,) if model in SHAPED else ()
    if model == "gaussian":  # its range is where 98 % of the partial sill are reached
        reach = reach * 2 / np.sqrt(3)
    if model == "matern":  # 94 to 98 %
        reach = reach * 4 * np.sqrt(shape) / reach_in_length_scales(shape)
    return getattr(skgstat.models, model)(h, reach, psill, *more, nugget)


def reach_in_length_scales(smoothness: float) -> float:
    """Return where Rasmussen and Williams' (4.14), in length scales, falls to exp(-3)."""
    x = np.linspace(1e-3, 40, 400_001)
    correlation = 2 / special.gamma(smoothness) * (x / 2) ** smoothness * special.kv(smoothness, x)
    return float(np.interp(-np.exp(-3), -correlation, x))


@pytest.mark.parametrize("model", MODELS)
@given(
    reach=st.floats(1e-3, 2000),
    psill=st.floats(0, 1e3),
    nugget=st.floats(0, 1e3),
    smoothness=st.sampled_from([0.05, 0.3, 0.5, 1.0, 1.5, 2.0, 2.5, 7.3, 20.0]),
    seed=st.integers(0, 99),
)
def test_curves_are_those_of_scikit_gstat(model, reach, psill, nugget, smoothness, seed):
    shares = np.random.default_rng(seed).uniform(1e-3, 3, 20)  # of the range
    h = reach * np.concatenate([[0.0, 1.0, 1.0 + 1e-12, 10.0, 1000.0], shares])
    parameters = np.array([reach, psill, nugget, smoothness])
    found = evaluate(model, h, parameters)
    expected = theirs(model, h, parameters)
    rough = 1e-7 if model == "matern" else 1e-14  # of the interpolated oracle
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=rough * psill)


@pytest.mark.parametrize("smoothness", [0.5, 2.5, 20.0])
@pytest.mark.parametrize("share", [0.0, 1e-300, 1e-100, 1e-20, 1e-17])
def test_matern_begins_at_the_nugget(share, smoothness):
    """Next to zero 0 is multiplied by infinity, which is NaN in scikit-gstat."""
    near = evaluate("matern", np.array([200 * share]), np.array([200.0, 3.0, 0.5, smoothness]))
    assert near[0] == pytest.approx(0.5, abs=1e-12)


SILL = ["spherical", "cubic"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("shape", [0.05, 0.3, 0.5, 1.3, 1.5, 2.0, 7.0, 20.0])
def test_share_of_the_sill_at_the_effective_range(model, shape):
    share = 1.0 if model in SILL else 1 - np.exp(-3)
    shape = min(shape, 2.0) if model == "stable" else shape
    at = evaluate(model, np.array([250.0]), np.array([250.0, 2.0, 0.5, shape]))
    assert at[0] == pytest.approx(0.5 + 2 * share, rel=1e-9)


@pytest.mark.parametrize("share", [0.7, 1.0, 1.2])
def test_ranges_are_found_where_curves_reach_95_percent(share):
    h, length = np.arange(10.0, 610, 20), 100.0 * share
    gaussian = fit_curve(h, 1 - np.exp(-((h / length) ** 2)), np.ones_like(h), "gaussian")
    assert gaussian.parameters[0] == pytest.approx(length * np.sqrt(np.log(20)), rel=0.002)
    x = np.sqrt(3) * h / length  # Matern of smoothness 3/2 in closed form
    matern = fit_curve(h, 1 - (1 + x) * np.exp(-x), np.ones_like(h), "matern")
    at = optimize.brentq(lambda r: (1 + r) * np.exp(-r) - 0.05, 1, 20) * length / np.sqrt(3)
    assert matern.parameters[0] == pytest.approx(at, rel=0.005)


def test_matern_of_smoothness_one_half_is_exponential():
    h = np.linspace(0, 900, 50)
    found = evaluate("matern", h, np.array([300.0, 1.0, 0.0, 0.5]))
    exponential = evaluate("exponential", h, np.array([300.0, 1.0, 0.0, np.nan]))
    np.testing.assert_allclose(found, exponential, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found, 1 - np.exp(-3 * h / 300), rtol=1e-12, atol=1e-14)


CODE = """
import sys
import numpy as np
import xarray as xr
import xdownscale

degrees = np.arange(20) / 4
values = np.random.default_rng(0).random((20, 20))
da = xr.DataArray(values, coords={"lat": degrees, "lon": degrees})
da.geostat.semivariogram(pairs=500, bins=5, max_distance=300, **OPTIONS)
print(sorted({"skgstat", "numba", "statsmodels"} & set(sys.modules)))
"""


def loaded(**options: str) -> str:
    code = CODE.replace("OPTIONS", repr(options))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"model": "exponential", "estimator": "cressie"},
        {"model": "gaussian", "estimator": "dowd"},
        {"model": "matern"},
    ],
)
def test_own_forms_import_no_scikit_gstat(options):
    assert loaded(**options) == "[]"


@pytest.mark.parametrize("options", [{"model": "cubic"}, {"estimator": "genton"}])
def test_other_forms_import_scikit_gstat(options):
    assert loaded(**options) == "['numba', 'skgstat']"
