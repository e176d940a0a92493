"""Small inputs that the library once got wrong; the scripts lie beside the test data."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DATA = Path(os.environ.get("XDOWNSCALE_TEST_DATA", "../shared/data"))
CASES = sorted((DATA.absolute().parent / "cases").glob("*.py"))


@pytest.mark.parametrize("script", CASES or [None], ids=lambda path: getattr(path, "stem", "none"))
def test_what_was_wrong_is_right(script, tmp_path):
    if script is None:
        pytest.skip("needs the folder cases beside XDOWNSCALE_TEST_DATA")
    root = Path(__file__).parents[1]
    ran = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
