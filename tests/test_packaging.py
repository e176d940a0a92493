"""What is shipped: one version, the extras that are named, sdist, wheel, form of the changelog."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import metadata
from pathlib import Path

import pytest
import yaml

import xdownscale as xd
from xdownscale.core.errors import MissingPackageError
from xdownscale.core.optional import require

ROOT = Path(__file__).parents[1]
NAME = "xarray-downscale"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = SETTINGS["project"]
EXTRAS = PROJECT["optional-dependencies"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
POLICY = ROOT / "docs" / "community" / "support_policy.md"
# Extras for whoever works on the library.
FOR_WORK = ("test", "docs", "dev", "all")
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
PYTHON = "Programming Language :: Python :: 3."
UNDATED = {"0.1.0"}  # released before headings had dates: CITATION.cff has the date


def tracked() -> set[str]:
    """Return the files that git tracks or would track, as they lie in the checkout."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {name for name in listed.split("\0") if name and (ROOT / name).is_file()}


def build(kind: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.iterdir()
    return built


# The version


def test_the_version_has_one_source():
    assert "version" not in PROJECT
    assert PROJECT["dynamic"] == ["version"]
    path = ROOT / SETTINGS["tool"]["hatch"]["version"]["path"]
    assert path.read_text("utf-8").count(f'\n__version__ = "{xd.__version__}"\n') == 1


def test_all_that_tell_a_version_tell_the_same():
    assert metadata(NAME)["Version"] == xd.__version__
    assert str(CITATION["version"]) == xd.__version__
    assert released(changelog())[0][0] == xd.__version__


def test_the_citation_is_of_this_package():
    assert CITATION["license"] == PROJECT["license"]
    assert [one["name"] for one in CITATION["authors"]] == [
        one["name"] for one in PROJECT["authors"]
    ]
    (paper,) = (entry["identifiers"][0]["value"] for entry in CITATION["references"])
    assert PROJECT["urls"]["Paper"] == f"https://arxiv.org/abs/{paper.removeprefix('arXiv:')}"


def test_the_address_of_the_repository_is_one():
    """Where pyproject.toml names it, CITATION.cff and the recipe name the same."""
    recipe = yaml.safe_load((ROOT / "recipe" / "recipe.yaml").read_text("utf-8"))
    address = PROJECT["urls"].get("Repository")
    assert CITATION.get("repository-code") == address
    assert recipe["about"].get("repository") == address


# Extras


def named_extras() -> dict[str, set[str]]:
    """Return the extras that a file names in a command, by file."""
    pattern = re.compile(rf"(?:{NAME}|-e \"?\.|wheel\}})\[([\w,]+)\]")
    found = {}
    for name in sorted(tracked()):
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".yml", ".yaml", ".sh", ""}:
            text = path.read_text("utf-8", errors="replace")
            extras = {one for names in pattern.findall(text) for one in names.split(",")}
            if extras:
                found[name] = extras
    return found


def test_extras_that_are_named_exist():
    found = named_extras()
    assert {"README.md", "docs/howto/judge_a_field.md", ".ci/wheel", "Makefile"} <= found.keys()
    assert {name: one for name, one in found.items() if not one <= EXTRAS.keys()} == {}


def optional() -> list[tuple[str, str]]:
    """Return each extra that the package itself uses, with a distribution that it brings."""
    pairs = [(extra, text) for extra in EXTRAS if extra not in FOR_WORK for text in EXTRAS[extra]]
    return [(extra, re.split("[<>=]", text)[0]) for extra, text in pairs if NAME not in text]


@pytest.mark.parametrize(("extra", "package"), optional())
def test_a_missing_package_names_its_extra(extra, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"pip install '{NAME}\[{extra}\]'"):
        require(package, "A figure")


def test_the_page_of_extras_is_complete():
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", POLICY.read_text("utf-8"), re.MULTILINE))
    assert rows.keys() == EXTRAS.keys()
    for extra, package in optional():
        assert package.lower() in rows[extra].lower()


def test_all_is_all_that_pip_can_install():
    (text,) = EXTRAS["all"]
    assert set(re.findall(r"\w+", text.partition("[")[2])) == EXTRAS.keys() - {
        "all",
        "test",  # dev brings it, and "docs"
        "docs",
        "esmf",
    }


# Interpreters


def classified() -> list[int]:
    found = (one.removeprefix(PYTHON) for one in PROJECT["classifiers"] if one.startswith(PYTHON))
    return [int(minor) for minor in found]


def test_interpreters_are_those_of_the_policy():
    minors = classified()
    assert minors == sorted(set(minors))
    assert PROJECT["requires-python"] == f">=3.{minors[0]}"
    tested = re.findall(r"^\| 3\.(\d+)(?:\.\d+)? \| yes", POLICY.read_text("utf-8"), re.MULTILINE)
    assert [int(minor) for minor in tested] == minors
    assert SETTINGS["tool"]["ruff"]["target-version"] == f"py3{minors[0]}"


# Built files


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    return build("sdist", tmp_path_factory.mktemp("sdist"))


def test_the_sdist_is_what_git_tracks(sdist):
    stem = f"xarray_downscale-{xd.__version__}/"
    with tarfile.open(sdist) as archive:
        held = {one.name.removeprefix(stem) for one in archive.getmembers() if one.isfile()}
    assert held - {"PKG-INFO"} == tracked()
    assert {"constraints.txt", "Makefile", ".ci/run", "tests/conftest.py", "LICENSE"} <= held


def test_a_wheel_of_the_sdist_is_the_package(sdist, tmp_path):
    """Two steps, as `python -m build` takes them: nothing that the wheel needs is lost between."""
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (path,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        held = set(wheel.namelist())
        about = next(name for name in held if name.endswith(".dist-info/METADATA"))
        text = wheel.read(about).decode()
    package = {name for name in tracked() if name.startswith("xdownscale/")}
    assert {name for name in held if ".dist-info/" not in name} == package
    assert "xdownscale/py.typed" in package
    assert about.replace("METADATA", "licenses/LICENSE") in held
    assert f"\nVersion: {xd.__version__}\n" in text
    for label, address in PROJECT["urls"].items():
        assert f"\nProject-URL: {label}, {address}\n" in text


# The changelog


def changelog() -> list[str]:
    return (ROOT / "CHANGELOG.md").read_text("utf-8").splitlines()


def released(lines: list[str]) -> list[tuple[str, str]]:
    """Return the released versions and their dates, in the order of the file."""
    versions = re.findall(
        r"^## \[?(\d+\.\d+\.\d+)\]?(?: - (\S+))?$", "\n".join(lines), re.MULTILINE
    )
    assert len(versions) == sum(line.startswith("## ") for line in lines) - 1
    return versions


def faults_of_the_form(lines: list[str]) -> list[str]:
    """Return what is not in the form of Keep a Changelog 1.1."""
    found = [] if lines[0] == "# Changelog" else [f"begins with {lines[0]!r}"]
    headings = [line for line in lines if line.startswith("#")][1:]
    if re.fullmatch(r"## \[?Unreleased\]?", headings[0]) is None:
        found.append(f"{headings[0]!r} stands first, not Unreleased")
    kinds: list[int] = []
    for line in headings:
        if line.startswith("### "):
            if line[4:] not in KINDS:
                found.append(f"no kind of change: {line!r}")
                continue
            kinds.append(KINDS.index(line[4:]))
            if kinds != sorted(set(kinds)):
                found.append(f"twice or out of order: {line!r}")
        else:
            kinds = []
    versions = released(lines)
    numbers = [tuple(map(int, version.split("."))) for version, _ in versions]
    if numbers != sorted(set(numbers), reverse=True):
        found.append(f"versions do not go down: {versions}")
    for version, date in versions:
        dated = re.fullmatch(r"\d{4}-\d\d-\d\d", date) is not None
        if not dated and version not in UNDATED:
            found.append(f"{version} has no date")
    return found


def test_the_changelog_has_its_form():
    assert faults_of_the_form(changelog()) == []
    dates = dict(released(changelog()))
    assert dates[xd.__version__] in {"", str(CITATION["date-released"])}


GOOD = """# Changelog
## [Unreleased]
### Added
- a
### Fixed
- b
## [1.1.0] - 2027-01-02
### Fixed
- c
## 1.0.0 - 2026-12-01
first"""


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("a", "a", None),
        ("# Changelog", "# News", "begins with"),
        ("## [Unreleased]\n", "", "stands first"),
        ("### Added", "### New", "no kind of change"),
        ("### Added", "### Security", "out of order"),
        ("### Added", "### Fixed", "twice"),
        (" - 2027-01-02", "", "1.1.0 has no date"),
        ("1.1.0", "0.9.0", "do not go down"),
    ],
)
def test_faults_of_a_changelog_are_found(old, new, fault):
    lines = GOOD.replace(old, new, 1).splitlines()
    if fault == "stands first":
        lines.insert(4, "## Unreleased")
    found = faults_of_the_form(lines)
    assert (found == []) if fault is None else (len(found) > 0 and fault in found[0])
