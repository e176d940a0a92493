"""The logging tree ``xdownscale``: silent by default, timings at INFO, details at DEBUG."""

from __future__ import annotations

import logging
import re
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import xdownscale as xd
from records import fast_config, make_pair
from xdownscale.core import logs

SECONDS = re.compile(r"^(.*): (\d+\.\d{3}) s$")


def stages(caplog, part):
    """What was timed at INFO by a part, in order."""
    records = [r for r in caplog.records if r.name == f"xdownscale.{part}"]
    found = [SECONDS.match(r.getMessage()) for r in records if r.levelno == logging.INFO]
    return [match[1] for match in found if match]


def learn(**options):
    coarse, fine = make_pair()
    model = xd.Downscaler(
        preset=fast_config(sampling={"steps": 2}), pairing="paired", progress=False, **options
    )
    return model.fit(coarse, fine), coarse


@pytest.mark.filterwarnings("ignore::xdownscale.core.errors.XDownscaleWarning")
def test_fit_and_predictions_say_how_long_each_stage_took(caplog, tmp_path):
    caplog.set_level(logging.INFO, "xdownscale")
    model, coarse = learn()
    named = stages(caplog, "fit")
    assert named[0] == "records checked"
    assert "group 'all' trained" in named
    assert named[-1] == "fitted"
    assert named.index("group 'all' trained") < named.index("1 group(s) trained")
    caplog.clear()  # the skill of validation days was predicted, too
    model.predict(coarse.isel(time=slice(0, 5)), realizations=2)
    assert stages(caplog, "predict") == ["request checked", "2 x 5 fields generated"]
    xd.predict_to_zarr(
        model,
        coarse.isel(time=slice(0, 5)),
        tmp_path / "maps.zarr",
        realizations=1,
        chunks=3,
        progress=False,
    )
    timed = stages(caplog, "predict_to_zarr")
    assert timed[:2] == ["request checked", "store prepared"]
    assert set(timed[2:-1]) == {
        f"piece 0, {k} {what}" for k in (0, 1) for what in ("generated", "written")
    }
    assert timed[-1] == "store filled"
    assert "2 of 2 pieces are to be generated" in caplog.text
    assert not [r for r in caplog.records if r.levelno < logging.INFO]


@pytest.mark.parametrize("to", [[0.5, 1.0], [0.5, 1.5]])
def test_weights_of_regridding_are_timed(caplog, to):
    caplog.set_level(logging.DEBUG, "xdownscale.regrid")
    field = xr.DataArray(np.eye(3), coords={"lat": [0.0, 1, 2], "lon": [5.0, 6, 7]})
    xd.regrid(field, xr.Dataset(coords={"lat": to, "lon": [5.5, 6.0]}), method="bilinear")
    assert stages(caplog, "regrid") == ["bilinear weights of (3, 3) to (2, 2) cells"]
    assert caplog.records[0].getMessage().endswith("begins")


def test_weights_of_curvilinear_grids_are_timed_once(caplog):
    caplog.set_level(logging.DEBUG, "xdownscale.regrid")
    lat, lon = np.meshgrid([0.0, 1, 2], [5.0, 6, 7], indexing="ij")
    # a grid that no other test has
    both = {"lat": (("y", "x"), lat + 0.0123 * lon), "lon": (("y", "x"), lon)}
    field = xr.DataArray(np.eye(3), dims=("y", "x"), coords=both)
    target = xr.Dataset(coords={"lat": [0.6, 1.0], "lon": [5.5, 6.0]})
    for _ in range(2):
        xd.regrid(field, target, method="bilinear")
    assert len(stages(caplog, "regrid")) == 1
    assert "in memory" in caplog.text


def test_nothing_is_written_unless_it_is_asked_for():
    code = (
        "import sys, numpy as np, xarray as xr, xdownscale as xd\n"
        "assert 'torch' not in sys.modules\n"
        "field = xr.DataArray(np.eye(3), coords={'lat': [0.0, 1, 2], 'lon': [5.0, 6, 7]})\n"
        "to = xr.Dataset(coords={'lat': [0.5, 1.0], 'lon': [5.5, 6.0]})\n"
        "xd.regrid(field, to, method='bilinear')\n"
        "import logging; logging.getLogger('xdownscale.fit').error('not seen')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_stage_that_fails_is_no_timing(caplog):
    caplog.set_level(logging.DEBUG, "xdownscale")
    log = logs.logger("test")
    with pytest.raises(ValueError, match="why"), logs.timed(log, "work"):
        raise ValueError("why")
    assert stages(caplog, "test") == []
    assert "work: ValueError after" in caplog.text


@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
def test_logs_have_no_passwords(caplog, level):
    caplog.set_level(level, "xdownscale")
    log = logs.logger("test")
    log.log(level, "reads %s", "https://me:word@host/a.nc?token=abc")
    with logs.timed(log, "s3://me:word@bucket written"):
        pass
    assert "host/a.nc" in caplog.text
    for secret in ("word", "abc", "me:"):
        assert secret not in caplog.text
