"""The wheel has `py.typed`, and a user's script on the public API passes mypy --strict on it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A call that is wrong has to be ignored: mypy --strict refuses an `ignore` that nothing needs, so
# that names of the type Any do not pass.
SCRIPT = """
from pathlib import Path
from typing import assert_type

import pandas as pd
import xarray as xr

import xdownscale as xd
from xdownscale.core.errors import XDownscaleError
from xdownscale.geostat import acf, semivariogram

config = xd.preset("fast", size="tiny")
assert_type(config, xd.DownscalerConfig)
xd.preset(3)  # type: ignore[arg-type]

ds = xd.datasets.load_twin()
assert_type(ds, xr.Dataset)
fine = ds["dust_fine"]
coarse = ds["dust"].rename(time_coarse="time")

model = xd.fit(coarse, fine, ds["elevation"], preset=config, seed=1, progress=False)
assert_type(model, xd.Downscaler)
xd.fit(coarse)  # type: ignore[call-arg]
model.save("dust.xd")
again = xd.load(Path("dust.xd"))
assert_type(again, xd.Downscaler)
assert_type(xd.load_pretrained("dust-twin-tiny"), xd.Downscaler)

maps: xr.DataArray = xd.predict(coarse, again, realizations=2, seed=1)
xd.predict(again, coarse)  # type: ignore[arg-type]
store = xd.predict_to_zarr(again, coarse, "maps.zarr", realizations=2)
assert_type(store, xr.Dataset)
xd.predict_to_zarr(again, coarse)  # type: ignore[call-arg]

bicubic = xd.regrid(coarse, fine, method="bicubic")
assert_type(bicubic, xr.DataArray)
xd.regrid(coarse, fine, method=1)  # type: ignore[arg-type]

climatology = xd.baselines.climatology(fine, fine.time)
assert_type(climatology, xr.DataArray)

curve = xd.geostat.semivariogram(xr.ufuncs.log10(fine), model="matern", bins=20)
assert_type(curve, xr.Dataset)
semivariogram(fine, bins="20")  # type: ignore[call-overload]
assert_type(acf(fine, max_lag=5), xr.DataArray)

scores = xd.skill.table({"bicubic": bicubic}, fine)
assert_type(scores, pd.DataFrame)
print(xd.skill.to_markdown(scores))
assert_type(xd.skill.rmse(bicubic, fine), xr.DataArray)

assert_type(xd.report(maps, coarse, fine, path="report.html"), Path)

try:
    coarse.downscale.predict(model)
    fine.geostat.semivariogram()
except XDownscaleError as error:
    print(error)
"""


def build_wheel(folder: Path) -> Path:
    """Build with what is installed where that is hatchling, and with what pip fetches elsewhere."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    local = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    command = [*pip, "--no-deps", *local, "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, cwd=folder)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_script_passes_mypy_strict_on_the_wheel(tmp_path):
    site = tmp_path / "site"
    with zipfile.ZipFile(build_wheel(tmp_path)) as wheel:
        wheel.extractall(site)
    assert (site / "xdownscale" / "py.typed").is_file()
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    script = outside / "script.py"
    script.write_text(SCRIPT, "utf-8")
    # folders of PYTHONPATH count as site-packages; the script's own folder has no configuration
    options = ["--strict", "--verbose", "--config-file=", f"--cache-dir={tmp_path / 'cache'}"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, script.name],
        capture_output=True,
        text=True,
        cwd=outside,
        env=os.environ | {"PYTHONPATH": str(site)},
    )
    assert done.returncode == 0, done.stdout
    assert "Success: no issues found in 1 source file" in done.stdout
    assert f"Parsing {site / 'xdownscale' / '__init__.py'}" in done.stderr
