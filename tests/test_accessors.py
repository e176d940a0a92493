"""The accessor ``.geostat``: every method has the signature of the function that it calls."""

from __future__ import annotations

import inspect

import pytest
import xarray as xr

from xdownscale import geostat, plot


@pytest.mark.parametrize(
    ("method", "function"),
    [
        ("semivariogram", lambda: geostat.semivariogram),
        ("acf", lambda: geostat.acf),
        ("pacf", lambda: geostat.pacf),
        ("lag_rmse", lambda: geostat.lag_rmse),
        ("lag_r2", lambda: geostat.lag_r2),
        ("power_spectrum", lambda: geostat.power_spectrum),
        ("seams", lambda: geostat.seams),
        ("distribution", lambda: geostat.distribution),
        ("diagnose_pairing", lambda: geostat.diagnose_pairing),
        ("wasserstein", lambda: geostat.wasserstein),
        ("advise_patch", lambda: geostat.advise_patch),
        ("compare", lambda: geostat.compare),
        ("plot_maps", lambda: plot.maps),
        ("plot_semivariogram", lambda: plot.semivariogram),
        ("plot_acf", lambda: plot.acf),
        ("plot_pacf", lambda: plot.pacf),
        ("plot_lag_curve", lambda: plot.lag_curve),
        ("plot_power_spectrum", lambda: plot.power_spectrum),
    ],
)
@pytest.mark.parametrize("kind", [xr.DataArray, xr.Dataset])
def test_accessor_signature_is_the_functions(method, function, kind):
    if kind is xr.Dataset and method == "plot_maps":
        pytest.skip("maps are of one variable")
    accessor = getattr(kind.geostat, method)
    own = list(inspect.signature(accessor).parameters.values())[1:]
    other = list(inspect.signature(function()).parameters.values())[1:]
    assert [(p.name, p.default, p.kind) for p in own] == [
        (p.name, p.default, p.kind) for p in other
    ]
