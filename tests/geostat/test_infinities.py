"""Infinities are missing values: every diagnostic is that of the field with NaN in their place."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xdownscale as xd
from records import label
from xdownscale import geostat
from xdownscale.patches import PatchLayout

DIAGNOSTICS = {
    "semivariogram": lambda da: da.geostat.semivariogram(max_distance=300, bins=6, bootstrap=5),
    "acf": lambda da: da.geostat.acf(max_lag=4),
    "acf of cells": lambda da: da.geostat.acf(max_lag=4, reduce=None),
    "pacf": lambda da: da.geostat.pacf(max_lag=4),
    "lag_rmse": lambda da: da.geostat.lag_rmse(max_lag=3),
    "lag_r2": lambda da: da.geostat.lag_r2(max_lag=3),
    "power_spectrum": lambda da: da.geostat.power_spectrum(),
    "structure": lambda da: da.geostat.structure(distances=(1, 3)),
    "distribution": lambda da: da.geostat.distribution(),
    "wasserstein": lambda da: da.geostat.wasserstein(da + 1, transform=None),
    "pooled": lambda da: da.geostat.wasserstein(da + 1, "pooled", transform=None),
    "seams": lambda da: da.geostat.seams(PatchLayout((14, 16), 6, 4, 1)),
    "pairing": lambda da: geostat.diagnose_pairing(da, da, transform="identity"),
}


@pytest.fixture(scope="module")
def holed():
    values = np.random.default_rng(0).normal(size=(40, 14, 16)).cumsum(axis=0)
    da = label(values, np.arange(14) * 0.5, np.arange(16) * 0.5, time="2000", units=None)
    holes = np.random.default_rng(1).random(da.shape)
    return da.where(holes > 0.02), da.where(holes > 0.02, np.where(holes > 0.01, np.inf, -np.inf))


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("name", DIAGNOSTICS)
def test_infinities_count_as_missing(name, chunked, holed):
    missing, infinite = (da.chunk(time=7) if chunked else da for da in holed)
    assert np.isinf(infinite.values).any()
    expected, found = (DIAGNOSTICS[name](da).compute() for da in (missing, infinite))
    xr.testing.assert_allclose(found, expected)
    assert np.isfinite(xd.skill.rmse(infinite, missing)).all()
