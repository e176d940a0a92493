"""The package as a whole: cost of the import, names, the README and the form of the pages."""

from __future__ import annotations

import ast
import re
import statistics
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
    """CPU time over `import xarray`, the least of five runs; the limit is 0.3 s."""
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


# How the code is written: design.md, laws 1 and 9

METHODS = {"diffusion", "residual", "crps", "unet"}
METHOD_ROOM = ROOT / "xdownscale" / "methods"
SCORE_ROOMS = ("skill", "geostat", "reports", "plot")  # "crps" is a score there
VARIOGRAM_MODELS = {"gaussian"}  # the name of a method is the name of a variogram model too
VARIOGRAM_FILES = (
    "xdownscale/core/variogram_models.py",
    "xdownscale/models/statistical/variogram.py",
    "xdownscale/models/statistical/simulation.py",
)
LONGEST_BODY = 60
LONG_FILE = 600
PACKED = 0.01  # of all assignments


def sources() -> dict[str, ast.Module]:
    """Return the syntax tree of each file of the package, by its path."""
    paths = sorted((ROOT / "xdownscale").rglob("*.py"))
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in paths}


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def body_length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function's body, its docstring left out."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_no_function_is_too_long_to_read(capsys):
    """Size is advice: files and the usual length of a body are told, one long body fails."""
    trees = sources()
    bodies = {
        f"{path}:{function.lineno} {function.name}": body_length(function)
        for path, tree in trees.items()
        for function in functions(tree)
    }
    lengths = sorted(bodies.values())
    median = statistics.median(lengths)
    ninetieth = lengths[int(0.9 * len(lengths))]
    files = {path: len((ROOT / path).read_text("utf-8").splitlines()) for path in trees}
    long = {path: count for path, count in files.items() if count > LONG_FILE}
    if long or median >= 10 or ninetieth >= 35:
        with capsys.disabled():
            print(f"\nBodies: median {median} lines, 90th percentile {ninetieth}", end="")
            print(f"; files above {LONG_FILE} lines, look for a second noun: {long}")
    too_long = {name: count for name, count in bodies.items() if count > LONGEST_BODY}
    assert not too_long


def is_packed(node: ast.AST) -> bool:
    """Return whether a statement is two assignments in one line: ``a, b = x, y``, and no swap."""
    if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple)):
        return False
    target = node.targets[-1]
    if not isinstance(target, ast.Tuple):
        return False
    return sorted(map(ast.unparse, target.elts)) != sorted(map(ast.unparse, node.value.elts))


def test_assignments_are_not_packed():
    packed, count = [], 0
    for path, tree in sources().items():
        for node in ast.walk(tree):
            count += isinstance(node, ast.Assign)
            if is_packed(node):
                packed.append(f"{path}:{node.lineno}")
    shown = "\n".join(packed[:40])
    share = len(packed) / count
    assert share <= PACKED, f"{len(packed)} of {count} assignments are packed:\n{shown}"


def parents(tree: ast.AST) -> dict[ast.AST, ast.AST]:
    return {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}


def is_method(node: ast.AST, names: set[str]) -> bool:
    return isinstance(node, ast.Constant) and node.value in names


def names_a_method(node: ast.AST, names: set[str]) -> bool:
    """Return whether a node names a method, or asks for the name of one."""
    if isinstance(node, ast.Name | ast.alias):
        return getattr(node, "id", getattr(node, "name", None)) == "FIELD_METHODS"
    if isinstance(node, ast.Subscript):  # METHODS[...], NOISY[config.method]
        named = isinstance(node.value, ast.Name) and node.value.id == "METHODS"
        return named or (isinstance(node.slice, ast.Attribute) and node.slice.attr == "method")
    if isinstance(node, ast.Compare):  # .method ==, .method in
        sides = (node.left, *node.comparators)
        return any(isinstance(side, ast.Attribute) and side.attr == "method" for side in sides)
    return is_method(node, names)


def is_allowed(node: ast.AST, path: str, above: dict[ast.AST, ast.AST]) -> bool:
    """Presets and defaults of config.py name methods; ``scores=`` and ``__all__`` name scores."""
    chain = []
    while node in above:
        node = above[node]
        chain.append(node)
    if any(isinstance(each, ast.keyword) and each.arg == "scores" for each in chain):
        return True
    inside = any(isinstance(each, ast.FunctionDef) for each in chain)
    return path == "xdownscale/config.py" and not inside


def test_only_methods_know_the_names_of_methods():
    """Other code asks for a capability (law 1)."""
    files = METHOD_ROOM.glob("*.py")
    names = METHODS | {path.stem for path in files} - {"__init__", "base"}
    # interpolation has methods of its own; the study is of systems by name
    left_out = ("methods", *SCORE_ROOMS, "regridding", "study")
    names_in = dict.fromkeys(VARIOGRAM_FILES, names - VARIOGRAM_MODELS)
    found = []
    for path, tree in sources().items():
        if Path(path).parts[1] in left_out:
            continue
        above = parents(tree)
        lines = {
            above[node].lineno if isinstance(node, ast.alias) else node.lineno
            for node in ast.walk(tree)
            if names_a_method(node, names_in.get(path, names)) and not is_allowed(node, path, above)
        }
        found += [f"{path}:{line}" for line in sorted(lines)]
    shown = "\n".join(found)
    assert not found, f"{len(found)} lines know a method by its name:\n{shown}"


def test_tests_import_no_private_name_of_another_room():
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        folder = path.relative_to(ROOT / "tests").parts[0]
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.ImportFrom) and str(node.module).startswith("xdownscale")):
                continue
            names = [f"{node.module}.{alias.name}".split(".") for alias in node.names]
            private = [name for name in names if any(part.startswith("_") for part in name)]
            strange = [".".join(name) for name in private if name[1] != folder]
            found += [f"{path.relative_to(ROOT)}:{node.lineno} {name}" for name in strange]
    assert not found


# Pages: prose is wrapped

WRAPPED = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SUPPORT.md", "SECURITY.md")
MADE = {"_build", "gallery", "generated"}  # folders that the site's build fills
WHOLE = re.compile(r"`[^`]+`|\$[^$]+\$|\[[^\]]*\]\([^)]*\)")  # code, formulas and links: not broken


def pages() -> list[Path]:
    """Return the Markdown pages that people write."""
    docs = ROOT / "docs"
    found = [p for p in docs.rglob("*.md") if not MADE & set(p.relative_to(docs).parts)]
    return [*(ROOT / name for name in WRAPPED), *sorted(found)]


def long_lines(text: str, width: int = 100) -> list[int]:
    """Return the numbers of prose lines that are too long and can be broken."""
    found = []
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        mark = re.match(r"\s*(```+|~~~+)", line)
        if mark and (not fence or line.strip() == fence):
            fence = "" if fence else mark[1]
            continue
        if fence or len(line) <= width or line.lstrip().startswith(("|", "#", "<", "![", "[![")):
            continue
        if len(WHOLE.sub("x", line).split()) > 1 and "](" not in line:
            found.append(number)
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_is_wrapped(page):
    assert not long_lines(page.read_text("utf-8"))


@pytest.mark.parametrize("page", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_line_of_prose_vanishes(page):
    """A line that begins with a percent sign is a comment in MyST: the site would not show it."""
    assert not re.findall(r"^\s*%.*$", page.read_text("utf-8"), re.MULTILINE)


def test_the_check_of_long_lines_sees_one():
    long = "word " * 21
    code = f"`{long}`"
    link = f"[{long}](page.md)"
    kept = ["```text", long, "```", f"| {long} |", f"# {long}", code, link, "word " * 20]
    assert long_lines("\n".join(kept)) == []
    assert long_lines("\n".join([*kept, f"  * {long}"])) == [len(kept) + 1]


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
