"""The package as a whole: what importing costs, what it names, what the README promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

import xdownscale as xd

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "lightning", "skgstat", "statsmodels", "matplotlib", "xesmf", "sklearn", "numba")


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_loads_nothing_heavy():
    loaded = run_python("import sys, xdownscale; print(*sys.modules)").split()
    assert "xdownscale" in loaded
    assert not set(HEAVY) & set(loaded)


@pytest.mark.parametrize(
    "use",
    [
        "xd.regrid; xd.splits.SEASONS; xd.patches.PatchLayout; xd.skill.table",
        "xd.datasets.load_twin; xd.baselines.climatology; xd.preset('paper')",
        "xd.grids.distances; xd.scaling.Scaling; xd.windows.taper; xd.labels.to_array",
    ],
)
def test_tools_work_without_torch(use):
    code = f"import sys; sys.modules['torch'] = None; import xdownscale as xd; {use}; print('fine')"
    assert run_python(code) == "fine"


def test_import_is_light():
    """CPU time over `import xarray`, the least of five runs; the law of the house is 0.3 s."""
    code = (
        "import time, xarray; t = time.process_time(); import xdownscale; "
        "print(time.process_time() - t)"
    )
    assert min(float(run_python(code)) for _ in range(5)) < 0.3


@pytest.mark.parametrize("name", xd.__all__)
def test_every_public_name_is_there(name):
    assert getattr(xd, name) is not None
    assert name in dir(xd)


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'downscale'"):
        _ = xd.downscale


def test_no_function_bears_the_name_of_a_module():
    rooms = {path.stem for path in (ROOT / "xdownscale").iterdir() if not path.name.startswith("_")}
    functions = {n for n in xd.__all__ if callable(getattr(xd, n))}
    assert not rooms & functions


def test_every_file_keeps_the_size_budget():
    long = {
        str(path.relative_to(ROOT)): count
        for path in (ROOT / "xdownscale").rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 400
    }
    assert not long


@pytest.mark.filterwarnings("ignore:.*lie outside the training period")
def test_readme_example_runs(tmp_path, monkeypatch):
    """The README's Python block, on fewer days and epochs."""
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    for long, short in {
        "[:600]": "[:40]",
        "[600:610]": "[40:42]",
        "training=dict(max_minutes=3)": "training=dict(epochs=1, pretrain_epochs=1, mean_epochs=1)",
        "static=ds.elevation, ": "static=ds.elevation, progress=False, ",
    }.items():
        assert long in code
        code = code.replace(long, short)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["maps"].dims == ("realization", "time", "lat", "lon")
    assert (tmp_path / "dust.xd").is_file()
    assert (tmp_path / "dust_fine.nc").is_file()


def test_readme_judging_runs(tmp_path, monkeypatch):
    """The README's second block, on fewer days and with fewer fits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xdownscale.reports._curves._FITS", 4)
    code = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    assert "[:120]" in code
    names: dict = {"xd": xd, "ds": xd.datasets.load_twin()}
    exec(compile(code.replace("[:120]", "[:40]"), "README.md", "exec"), names)
    assert (tmp_path / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_examples_are_percent_notebooks(path):
    notebook = jupytext.read(path)
    kinds = [cell.cell_type for cell in notebook.cells]
    assert kinds[0] == "markdown"
    assert "code" in kinds
