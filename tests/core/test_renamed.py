"""Old module names that users may have typed."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import xdownscale as xd
from xdownscale.core.renamed import RENAMED


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_name_gives_the_new_module_and_a_warning(old, new, monkeypatch):
    monkeypatch.delitem(sys.modules, old, raising=False)
    shown = vars(xd).copy()
    with pytest.warns(DeprecationWarning, match=f"{old} is {new} now"):
        found = importlib.import_module(old)
    wanted = importlib.import_module(new)
    public = [name for name in vars(wanted) if not name.startswith("_")]
    assert public
    assert all(getattr(found, name) is getattr(wanted, name) for name in public)
    assert wanted.__spec__.name == new
    vars(xd).clear()  # importing a submodule sets it as an attribute of its package
    vars(xd).update(shown)


def test_the_warning_points_at_the_users_line():
    code = (
        "import warnings; warnings.simplefilter('always')\nfrom xdownscale.errors import GridError"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        "<string>:2: DeprecationWarning: xdownscale.errors is xdownscale.core.errors" in done.stderr
    )


def test_other_names_are_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'xdownscale\.lessons'"):
        importlib.import_module("xdownscale.lessons")
