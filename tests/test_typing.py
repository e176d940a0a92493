"""The wheel has `py.typed`, and a user's script on the public API passes mypy --strict on it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

SCRIPT = ROOT / "tests" / "user_script.py"


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
    script.write_text(SCRIPT.read_text("utf-8"), "utf-8")
    cache = tmp_path / "cache"
    if (ROOT / ".mypy_cache").is_dir():  # what `make lint` found of other packages
        shutil.copytree(ROOT / ".mypy_cache", cache)
    # folders of PYTHONPATH count as site-packages; the script's own folder has no configuration
    options = ["--strict", "--warn-unreachable", "--verbose"]
    options += ["--config-file=", f"--cache-dir={cache}"]
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
