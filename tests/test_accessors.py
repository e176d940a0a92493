"""The accessors ``.geostat``: every method has the signature of the function that it calls."""

from __future__ import annotations

import inspect

import pytest
import xarray as xr

from xdownscale import geostat, plot


@pytest.mark.parametrize(
    ("method", "function"),
    [
        ("semivariogram", lambda: geostat.semivariogram),
        ("cross_semivariogram", lambda: geostat.cross_semivariogram),
        ("acf", lambda: geostat.acf),
        ("pacf", lambda: geostat.pacf),
        ("ljung_box", lambda: geostat.ljung_box),
        ("lag_correlation", lambda: geostat.lag_correlation),
        ("lag_rmse", lambda: geostat.lag_rmse),
        ("lag_r2", lambda: geostat.lag_r2),
        ("power_spectrum", lambda: geostat.power_spectrum),
        ("structure", lambda: geostat.structure),
        ("seams", lambda: geostat.seams),
        ("distribution", lambda: geostat.distribution),
        ("diagnose_pairing", lambda: geostat.diagnose_pairing),
        ("wasserstein", lambda: geostat.wasserstein),
        ("advise_patch", lambda: geostat.advise_patch),
        ("compare", lambda: geostat.compare),
        ("plot_semivariogram", lambda: plot.semivariogram),
        ("plot_acf", lambda: plot.acf),
        ("plot_pacf", lambda: plot.pacf),
        ("plot_lag_curve", lambda: plot.lag_curve),
        ("plot_power_spectrum", lambda: plot.power_spectrum),
    ],
)
@pytest.mark.parametrize("kind", [xr.DataArray, xr.Dataset])
def test_accessor_signature_is_the_functions(method, function, kind):
    assert _parameters(getattr(kind.geostat, method)) == _parameters(function())


def test_accessor_signature_of_plot_maps_is_the_functions():
    assert _parameters(xr.DataArray.geostat.plot_maps) == _parameters(plot.maps)


def test_accessor_signature_of_krige_is_the_functions():
    assert _parameters(xr.DataArray.geostat.krige) == _parameters(geostat.krige)


def test_records_are_annotated_as_data_array_or_dataset():
    parameters = inspect.signature(geostat.wasserstein).parameters
    assert parameters["da"].annotation == "xr.DataArray | xr.Dataset"
    assert parameters["other"].annotation == "xr.DataArray | xr.Dataset"
    assert parameters["kind"].annotation == "str"


def _parameters(function):
    listed = list(inspect.signature(function).parameters.values())[1:]
    return [(p.name, p.default, p.kind) for p in listed]
