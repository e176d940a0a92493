"""What goes wrong: a message on standard error, an exit code, no traceback, and no work done."""

from __future__ import annotations

import re
import signal
import warnings

import pytest

from xdownscale.cli import _app, run
from xdownscale.core.errors import XDownscaleError, XDownscaleWarning

FIT = ("fit", "coarse.nc", "fine.nc", "-o")
PREDICT = ("predict", "model.xd", "coarse.nc", "-o")


@pytest.fixture
def here(folder, fitted, monkeypatch, tmp_path):
    """The folder of the records; whatever computes fails."""
    monkeypatch.chdir(folder)

    def forbidden(*args, **kwargs):
        raise AssertionError("work was begun")

    for name in ("fit_records", "predict_maps", "zarr.write_store"):
        monkeypatch.setattr(f"xdownscale.downscaler.{name}", forbidden)
    return tmp_path


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("fit", "none.nc", "fine.nc", "-o", "m.xd"), "There is no file none.nc"),
        (("fit", "coarse.nc", "none*.nc", "-o", "m.xd"), "no file that matches none"),
        ((*FIT, "no/such/folder/m.xd"), "no/such/folder/m.xd cannot be written: there is no fol"),
        ((*FIT, "cut"), "cut cannot be written: it is a folder"),
        ((*FIT, "m.xd", "--static", "none.nc"), "There is no file none.nc"),
        ((*FIT, "m.xd", "--static", "fine.nc"), "latitude and longitude, without time"),
        ((*FIT, "m.xd", "--preset", "fsat"), "Unknown preset: 'fsat'.*Did you mean 'fast'"),
        ((*FIT, "m.xd", "--config", "none.yaml"), "none.yaml cannot be read"),
        ((*FIT, "m.xd", "--config", "bad.yaml"), "Unknown section: 'trainig'"),
        ((*FIT, "m.xd", "--set", "training.epohcs=3"), "Did you mean 'epochs'"),
        ((*FIT, "m.xd", "--set", "training.epochs={"), "value of training.epochs is no valid YA"),
        ((*FIT, "m.xd", "--variable", "dust"), "no variable 'dust'. There are: t"),
        ((*FIT, "m.xd", "--fine-variable", "dust"), "no variable 'dust'"),
        ((*FIT, "m.xd", "--seasons", "DJF,XYZ"), "XYZ"),
        ((*FIT, "m.xd", "--seed", "-1"), "seed is -1; give a whole number"),
        ((*FIT, "m.xd", "--encoder", "none.xd"), "none.xd cannot be read"),
        ((*FIT, "m.xd", "--encoder", "dust-twin"), "Unknown pretrained model: 'dust-twin'"),
        (("predict", "none.xd", "coarse.nc", "-o", "m.nc"), "none.xd cannot be read"),
        (("predict", "coarse.nc", "coarse.nc", "-o", "m.nc"), "coarse.nc"),
        ((*PREDICT, "cut.zarr"), "cut.zarr exists. Add --resume"),
        ((*PREDICT, "no/m.zarr"), "no/m.zarr cannot be written: there is no folder"),
        ((*PREDICT, "m.nc", "--history", "none.nc"), "There is no file none.nc"),
        (("score", "none.nc", "fine.nc"), "There is no file none.nc"),
        (("score", "fine.nc", "fine.nc", "--score", "rsme"), "Unknown score: 'rsme'.*'rmse'"),
        (("score", "fine.nc", "cut/../fine.nc", "fine.nc"), "Two predictions are called 'fine'"),
        (("report", "none.nc", "coarse.nc"), "There is no file none.nc"),
        (("geostat", "none.nc", "-d", "acf"), "There is no file none.nc"),
        (("geostat", "coarse.nc", "-d", "acf", "--set", "lag=3"), "Unknown option of acf: 'lag'"),
        (("models", "fetch", "dust-twin"), "Did you mean 'dust-twin-tiny'"),
        (("models", "publish", "model.xd", "p", "--scores", "none.md"), "none.md cannot be read"),
        (("config", "fsat"), "Unknown preset: 'fsat'"),
        (("completion", "tcsh"), "Unknown shell: 'tcsh'"),
    ],
)
def test_errors_of_the_library(here, capsys, args, message, folder):
    (folder / "bad.yaml").write_text("trainig: {epochs: 3}\n")
    (folder / "cut.zarr").mkdir(exist_ok=True)
    before = set(folder.iterdir())
    assert run(args) == 1
    shown = capsys.readouterr()
    assert not shown.out
    assert shown.err.startswith("Error: ")
    assert re.search(message, shown.err)
    assert "not foreseen" not in shown.err
    assert "Traceback" not in shown.err
    assert set(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("fitt",), "no command 'fitt'.*Did you mean 'fit'"),
        (("fit", "coarse.nc", "fine.nc"), "Missing option '--output'"),
        ((*FIT, "m.xd", "--presett", "fast"), "No such option.*--presett"),
        ((*FIT, "m.xd", "--seed", "many"), "'many' is not a valid integer"),
        ((*FIT, "m.xd", "--regions", "gulf=1,2,3"), "'gulf=1,2,3' is no region; give NAME="),
        ((*FIT, "m.xd", "--set", "epochs"), "'epochs' is no KEY=VALUE"),
        ((*FIT, "m.xd", "--chunks", "365"), "'365' is no NAME=VALUE"),
        ((*PREDICT, "m.tif"), "m.tif should end in .zarr or .nc"),
        ((*PREDICT, "m.nc", "--resume"), "--resume is for a Zarr store"),
        ((*PREDICT, "m.nc", "--time", "2000-01-01"), "'--time' requires 2 arguments"),
        (("geostat", "coarse.nc"), "Give --report HTML, --diagnostic NAME, or both"),
        (("geostat", "coarse.nc", "--report", "p.html", "-o", "t.csv"), "belong to --diagnostic"),
        (("geostat", "coarse.nc", "-d", "acff"), "'acff' is not one of"),
        (("score", "fine.nc", "fine.nc", "-o", "t.xls"), "should end in .csv or .md or .tex"),
        (("models", "lst"), "lst"),
    ],
)
def test_wrong_usage(here, capsys, args, message):
    assert run(args) == 2
    shown = capsys.readouterr()
    assert re.search(message, shown.err)
    assert "Traceback" not in shown.err


def test_debug_shows_where(here):
    with pytest.raises(XDownscaleError, match=r"no file none\.nc"):
        run(["geostat", "none.nc", "-d", "acf", "--debug"])
    with pytest.raises(XDownscaleError, match=r"no file none\.nc"):
        run(["--debug", "geostat", "none.nc", "-d", "acf"])


def test_tracebacks_of_a_process(command):
    done = command("geostat", "none.nc", "-d", "acf")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: There is no file none.nc.")
    assert "Traceback" not in done.stderr
    debugged = command("geostat", "none.nc", "-d", "acf", "--debug")
    assert debugged.returncode == 1
    assert "Traceback" in debugged.stderr
    assert "StorageError: There is no file none.nc." in debugged.stderr


def test_what_was_not_foreseen(here, capsys, monkeypatch):
    def broken():
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("xdownscale.methods.available", broken)
    assert run(["methods"]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("Error: ZeroDivisionError: division by zero\nThis was not foreseen")
    with pytest.raises(ZeroDivisionError):
        run(["methods", "--debug"])


def test_warnings_are_lines_and_signals_stay(capsys, monkeypatch):
    def warns():
        warnings.warn("Hm.", XDownscaleWarning, stacklevel=1)
        raise KeyboardInterrupt

    monkeypatch.setattr("xdownscale.methods.available", warns)
    before = (signal.getsignal(signal.SIGTERM), warnings.showwarning)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert run(["methods"]) == _app.INTERRUPTED == 130
    assert capsys.readouterr().err.split() == ["Warning:", "Hm.", "Interrupted."]
    assert (signal.getsignal(signal.SIGTERM), warnings.showwarning) == before
