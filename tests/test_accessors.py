"""The accessors ``.geostat``: every method has the signature of the function that it calls."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

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


METHODS = [
    (kind, name, method)
    for kind in (xr.DataArray, xr.Dataset)
    for name in ("downscale", "geostat")
    for method in dir(getattr(kind, name))
    if not method.startswith("_")
]


@pytest.mark.parametrize(("kind", "name", "method"), METHODS)
def test_help_shows_all_parameters(kind, name, method):
    """What `help` and Jupyter's Shift-Tab show: parameters, and what comes out."""
    found = getattr(getattr(kind, name), method)
    doc = inspect.getdoc(found)
    assert doc is not None
    assert doc.count("\n") > 8
    assert "Examples\n--------" in doc
    if "as for `" in doc or "As for `" in doc or "As in `" in doc:
        return  # those that are as for another function are told there
    for parameter in inspect.signature(found).parameters:
        if parameter not in ("self", "options"):
            assert re.search(rf"^(\w+, )*{parameter}(, \w+)* :", doc, re.MULTILINE), parameter


def test_the_documentation_comes_when_it_is_asked_for():
    code = (
        "import sys, xarray as xr, xdownscale\n"
        "assert 'xdownscale.geostat' not in sys.modules\n"
        "assert 'Returns' in xr.DataArray.geostat.acf.__doc__"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
