"""What `pyproject.toml` declares is what is imported, and the other way round."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest

import xdownscale

ROOT = Path(__file__).parents[1]
PACKAGE = Path(xdownscale.__file__).parent
INSTALLED = packages_distributions()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

# Extras that the package imports late; "test" and "dev" are for whoever works on it.
EXTRAS = ("plot", "distributed", "esmf", "nasa", "geo", "maps", "cartopy", "s3", "onnx")
# Named and never imported: arguments of `require`, `import_module`, `find_spec`; engines of xarray.
LOADERS = ("require", "import_module", "find_spec")
ENGINES = {"netcdf4": "netCDF4"}
# Parts of a package that several distributions share.
NAMESPACED = {"mpl_toolkits.basemap_data": "basemap-data"}
# Declared for the tests, not imported by them, and why.
TOOLS = {
    "pytest-cov": "make coverage",
    "pytest-timeout": "the option `timeout` of pytest in pyproject.toml",
    "pytest-xdist": "make test runs two workers",
    "pytest-httpserver": "the fixture `httpserver`",
    "import-linter": "make lint",
    "flask": "the server of moto, which speaks S3",
    "flask-cors": "the same",
    "ruff": "make lint",
    "mypy": "make lint, and test_typing runs it",
    "pandas-stubs": "types of pandas for mypy",
    "pre-commit": "CONTRIBUTING.md",
}


class Use(NamedTuple):
    """A module that is imported, and whether only when a function is called (or for types)."""

    module: str
    late: bool


def uses(node: ast.AST, late: bool = False) -> Iterator[Use]:
    """Modules from outside that a piece of source imports."""
    late = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    late = late or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
    if isinstance(node, ast.Import):
        yield from (Use(alias.name.partition(".")[0], late) for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        yield Use(node.module.partition(".")[0], late)
    elif isinstance(node, ast.Call):
        yield from (Use(name, True) for name in called(node))
    for child in ast.iter_child_nodes(node):
        yield from uses(child, late)


def called(node: ast.Call) -> Iterator[str]:
    """Modules that a call loads by their names."""
    loader = ast.unparse(node.func).rpartition(".")[2] in LOADERS
    first = node.args[0] if node.args else None
    if loader and isinstance(first, ast.Constant):
        whole = str(first.value)
        yield NAMESPACED.get(whole, whole.partition(".")[0])
    for keyword in node.keywords:
        value = keyword.value
        if keyword.arg == "engine" and isinstance(value, ast.Constant) and value.value in ENGINES:
            yield ENGINES[value.value]


def used(*folders: Path) -> dict[str, bool]:
    """Distributions that are imported, and whether only late ones."""
    found: dict[str, bool] = {}
    # A folder itself is on the path of Python, its subfolders are not.
    own = {"xdownscale"} | {path.stem for folder in folders for path in folder.iterdir()}
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        for use in uses(ast.parse(path.read_text("utf-8"))):
            if use.module not in own and use.module not in sys.stdlib_module_names:
                name = distribution(use.module)
                found[name] = found.get(name, True) and use.late
    return found


def distribution(module: str) -> str:
    """Its distribution; where it is not installed (xesmf), one of the same name."""
    names = {normalized(name) for name in INSTALLED.get(module, [module])}
    assert len(names) == 1, f"{module} is of several distributions: {names}"
    return names.pop()


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> set[str]:
    """Names of distributions; those of this one, which stand for its extras, left out."""
    names = {normalized(re.match(r"[\w.-]+", text)[0]) for text in requirements}
    return names - {normalized(PROJECT["name"])}


REQUIRED = declared(PROJECT["dependencies"])
OPTIONAL = {name: declared(text) for name, text in PROJECT["optional-dependencies"].items()}
AT_RUN_TIME = REQUIRED.union(*(OPTIONAL[name] for name in EXTRAS))
FOR_TESTS = OPTIONAL["test"] | OPTIONAL["dev"]


@pytest.fixture(scope="module")
def package() -> dict[str, bool]:
    return used(PACKAGE)


@pytest.fixture(scope="module")
def around() -> dict[str, bool]:
    return used(ROOT / "tests", ROOT / "benchmarks", ROOT / "examples")


def test_every_extra_has_its_place():
    assert set(OPTIONAL) == {*EXTRAS, "test", "docs", "dev", "all"}
    assert not OPTIONAL["all"]


def test_what_is_imported_with_a_module_is_required(package):
    assert {name for name, late in package.items() if not late} <= REQUIRED


def test_what_is_imported_late_is_required_or_in_an_extra(package):
    assert package.keys() <= AT_RUN_TIME


def test_what_is_declared_is_imported(package):
    assert package.keys() >= AT_RUN_TIME


def test_what_tests_and_benchmarks_import_is_declared(around):
    assert around.keys() <= AT_RUN_TIME | FOR_TESTS


def test_what_is_declared_for_tests_is_imported(around):
    assert around.keys() | TOOLS.keys() >= FOR_TESTS
    assert not around.keys() & TOOLS.keys()
    assert TOOLS.keys() <= FOR_TESTS


def test_what_the_site_is_built_with_is_declared():
    text = (ROOT / "docs" / "conf.py").read_text("utf-8")
    listed = ast.literal_eval(text.partition("extensions = ")[2].partition("]")[0] + "]")
    modules = {name.partition(".")[0] for name in listed} | {"jupytext", "ipykernel"}
    modules = {"latex2mathml" if name == "mathml" else name for name in modules}  # docs/mathml.py
    theme = {"pydata-sphinx-theme"}
    assert {distribution(name) for name in modules} | theme == OPTIONAL["docs"]


def test_nothing_is_declared_twice():
    assert not REQUIRED & set().union(*OPTIONAL.values())
    assert not AT_RUN_TIME & FOR_TESTS


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a.b, c", {("a", False), ("c", False)}),
        ("from a.b import c", {("a", False)}),
        ("from . import a", set()),
        ("def f():\n    import a", {("a", True)}),
        ("class C:\n    import a", {("a", False)}),
        ("class C:\n    def f(self):\n        from a import b", {("a", True)}),
        ("if TYPE_CHECKING:\n    import a", {("a", True)}),
        ("try:\n    import a\nexcept ImportError:\n    a = None", {("a", False)}),
        ("x = require('a.b', 'It')", {("a", True)}),
        ("importlib.import_module('a')", {("a", True)}),
        ("importlib.import_module(f'a.{b}')", set()),
        ("importlib.util.find_spec('a')", {("a", True)}),
        ("xr.open_dataset(path, engine='netcdf4')", {("netCDF4", True)}),
        ("regrid(da, engine='separable')", set()),
    ],
)
def test_imports_are_found(source, expected):
    assert set(uses(ast.parse(source))) == expected


def test_names_of_requirements():
    texts = ["dask[array]>=2025.1", "cf_xarray>=0.10", "ruff", "xarray-downscale[plot]", "a.b; c"]
    assert declared(texts) == {"dask", "cf-xarray", "ruff", "a-b"}
    assert distribution("skgstat") == "scikit-gstat"
    assert distribution("xesmf") == "xesmf"
