"""Small inputs that the library once got wrong; the scripts lie beside the test data."""

from __future__ import annotations

import os
import runpy
import warnings
from pathlib import Path

import pytest

DATA = Path(os.environ.get("XDOWNSCALE_TEST_DATA", "../shared/data"))
CASES = sorted((DATA.absolute().parent / "cases").glob("*.py"))


@pytest.mark.parametrize("script", CASES or [None], ids=lambda path: getattr(path, "stem", "none"))
def test_what_was_wrong_is_right(script, tmp_path, monkeypatch, capsys):
    if script is None:
        pytest.skip("needs the folder cases beside XDOWNSCALE_TEST_DATA")
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(script), run_name="__main__")
    assert not ended.value.code, capsys.readouterr().out
