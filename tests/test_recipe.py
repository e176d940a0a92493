"""Conda's recipe and environments ask for what `pyproject.toml` asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import xdownscale as xd

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = SETTINGS["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
PIXI = tomllib.loads((ROOT / "pixi.toml").read_text("utf-8"))

# Distributions that have another name on conda-forge.
NAMES = {
    "torch": "pytorch",
    "dask[array]": "dask-core",  # numpy, which the extra adds, is a requirement of its own
    "matplotlib": "matplotlib-base",
    "netCDF4": "netcdf4",
    "PyYAML": "pyyaml",
}
OPTIONAL = ("plot", "distributed", "esmf", "nasa", "geo", "maps", "cartopy", "s3", "onnx")
IN_ENVIRONMENTS = ("plot", "geo", "esmf")
ON_CONDA_ALONE = {"esmpy"}


def recipe() -> dict:
    """Return the recipe with the values of its context filled in."""
    text = (ROOT / "recipe" / "recipe.yaml").read_text("utf-8")
    context = yaml.safe_load(text)["context"]
    filled = re.sub(r"\$\{\{ (\w+) \}\}", lambda m: context.get(m[1], m[0]), text)
    return yaml.safe_load(filled)


def on_conda(requirements: list[str]) -> dict[str, str]:
    """Return name and bounds on conda-forge of each requirement on another distribution."""
    found = {}
    for text in requirements:
        name, bounds = re.fullmatch(r"([\w.-]+(?:\[\w+\])?)(.*)", text).groups()
        if not name.startswith(PROJECT["name"]):
            found[NAMES.get(name, name)] = bounds
    return found


def split(specs: list[str]) -> dict[str, str]:
    """Return name and bounds of each match specification."""
    pairs = (re.fullmatch(r"([\w.-]+) ?(.*)", text).groups() for text in specs)
    return dict(pairs)


def python() -> str:
    return PROJECT["requires-python"].removeprefix(">=")


REQUIRED = on_conda(PROJECT["dependencies"])


def extras(*names: str) -> dict[str, str]:
    texts = (text for name in names for text in PROJECT["optional-dependencies"][name])
    return on_conda(list(texts))


def test_the_recipe_requires_what_the_package_requires():
    needs = recipe()["requirements"]
    assert split(needs["run"]) == {"python": f">={python()}", **REQUIRED}
    assert split(needs["run_constraints"]) == extras(*OPTIONAL)
    build = on_conda(SETTINGS["build-system"]["requires"])
    assert split(needs["host"]) == {"python": f"{python()}.*", "pip": "", **build}


def test_the_recipe_is_of_this_version_of_the_package():
    found = recipe()
    assert found["schema_version"] == 1
    assert found["package"] == {"name": PROJECT["name"], "version": xd.__version__}
    assert found["about"]["license"] == PROJECT["license"]
    assert found["about"]["license_file"] in PROJECT["license-files"]
    points = [f"{name} = {target}" for name, target in PROJECT["scripts"].items()]
    assert found["build"]["python"]["entry_points"] == points
    assert found["build"]["noarch"] == "python"


def test_no_name_of_the_recipe_is_left_open():
    text = (ROOT / "recipe" / "recipe.yaml").read_text("utf-8")
    named = set(re.findall(r"\$\{\{ (\w+) \}\}", text))
    assert named == {*recipe()["context"], "PYTHON"}


def test_the_recipe_tests_the_command_and_the_module():
    first, second = recipe()["tests"]
    assert "xdownscale" in first["python"]["imports"]
    assert first["python"]["python_version"] == f"{python()}.*"
    assert second["script"][0] == "xdownscale --version"


@pytest.mark.parametrize("where", ["environment.yml", "pixi.toml"])
def test_environments_have_what_the_package_requires(where):
    if where == "pixi.toml":
        found = dict(PIXI["dependencies"])
    else:
        found = split([text for text in ENVIRONMENT["dependencies"] if isinstance(text, str)])
        assert found.pop("pip") == ""
        assert ENVIRONMENT["dependencies"][-1] == {"pip": ["-e ."]}
    assert {name: found.pop(name) for name in ON_CONDA_ALONE} == {"esmpy": ">=8.6"}
    assert found == {"python": f">={python()}", **REQUIRED, **extras(*IN_ENVIRONMENTS)}


def test_environments_take_everything_from_conda_forge():
    assert ENVIRONMENT["channels"] == PIXI["workspace"]["channels"] == ["conda-forge"]
    assert ENVIRONMENT["name"] == PIXI["workspace"]["name"] == "xdownscale"


def test_pixi_installs_this_package_once_in_each_environment():
    for name, extras_of in {"user": [], "dev": ["plot", "dev"]}.items():
        (entry,) = PIXI["feature"][name]["pypi-dependencies"].items()
        own = {"path": ".", "editable": True} | ({"extras": extras_of} if extras_of else {})
        assert entry == (PROJECT["name"], own)
        assert set(extras_of) <= PROJECT["optional-dependencies"].keys()
    used = [feature for env in PIXI["environments"].values() for feature in env["features"]]
    assert used == list(PIXI["feature"])


def test_pixi_runs_what_make_runs():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    pytest_of_make = re.search(r"^PYTEST := (.*)$", makefile, re.MULTILINE)[1]
    tasks = PIXI["feature"]["dev"]["tasks"]
    threads = "".join(f"{key}={value} " for key, value in tasks["test"]["env"].items())
    assert pytest_of_make == f"{threads}$(BIN)/{tasks['test']['cmd']}"
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[1]
    lines = [line.strip().removeprefix("$(BIN)/") for line in lint.splitlines()]
    assert tasks["lint"] == " && ".join(lines)
    assert f"$(BIN)/{PIXI['tasks']['quickstart']}" in makefile
