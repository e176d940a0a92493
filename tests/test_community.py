"""Community files and workflows: links, forms, and that CI runs what `.ci/run` runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import xdownscale as xd

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
PAGES = [
    *(ROOT / name for name in ("CODE_OF_CONDUCT.md", "SUPPORT.md", "SECURITY.md")),
    *sorted((ROOT / "docs" / "community").glob("*.md")),
]
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = [GITHUB / "ISSUE_TEMPLATE" / f"{name}.yml" for name in ("bug_report", "feature_request")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
# Of others than GitHub: the one that publishes has a branch for each major version, and no tag.
ACTION = re.compile(r"(actions/[\w-]+@v\d+|pypa/gh-action-pypi-publish@release/v\d+)")
NEW_PYTHONS = {"3.14"}  # tried by CI; a classifier follows once it has passed


def load(path: Path) -> dict:
    return yaml.safe_load(path.read_text("utf-8"))


def workflow(name: str) -> dict:
    return load(GITHUB / "workflows" / f"{name}.yml")


def steps(job: dict) -> list[dict]:
    return job["steps"]


def commands(job: dict) -> list[str]:
    return [step["run"] for step in steps(job) if "run" in step]


def targets(text: str) -> set[str]:
    """Return the targets that commands give to make."""
    return set(re.findall(r"\bmake ([\w./-]+)", text))


def targets_of_the_makefile() -> set[str]:
    text = (ROOT / "Makefile").read_text("utf-8")
    names = re.findall(r"^([\w.$()/-]+):(?!=)", text, re.MULTILINE)
    return {name.replace("$(VENV)", ".venv") for name in names}


# Pages


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_of_a_page_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)", page.read_text("utf-8"))
    local = [link for link in links if not link.startswith("https://")]
    assert not [link for link in local if not (page.parent / link).exists()]


def test_no_page_names_an_address_that_does_not_exist():
    """No mail address, and no repository before pyproject.toml names one."""
    known = PROJECT["urls"].get("Repository")
    for page in [*PAGES, *GITHUB.rglob("*.yml"), *GITHUB.rglob("*.md")]:
        text = page.read_text("utf-8")
        assert re.findall(r"[\w.]+@[\w-]+\.\w{2,}", text) == []
        own = [u for u in re.findall(r"https://github\.com/\S+", text) if "downscale" in u]
        assert all(known is not None and url.startswith(known) for url in own)


def test_the_code_of_conduct_names_its_source():
    text = (ROOT / "CODE_OF_CONDUCT.md").read_text("utf-8")
    for part in ("Contributor Covenant, version 2.1", "Attribution 4.0", "## Reports"):
        assert part in text


def test_the_line_that_tells_versions_runs():
    (line,) = re.findall(
        r"^python -c \"(.*)\"$", (ROOT / "SUPPORT.md").read_text("utf-8"), re.MULTILINE
    )
    assert line in FORMS[0].read_text("utf-8")
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert f" {xd.__version__} " in done.stdout


# Forms


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_is_one(path):
    """The rules of GitHub's issue forms that a typing error breaks."""
    form = load(path)
    assert form.keys() == {"name", "description", "labels", "body"}
    kinds = {"markdown", "textarea", "input", "dropdown", "checkboxes"}
    asked = [field for field in form["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in form["body"]} <= kinds
    names = [field["id"] for field in asked]
    assert len(set(names)) == len(names) > 2
    assert all(field["attributes"]["label"] for field in asked)
    for field in asked:
        options = field["attributes"].get("options")
        assert (options is not None) == (field["type"] in {"dropdown", "checkboxes"})
        if field["type"] == "dropdown":
            assert all(isinstance(option, str) for option in options)  # "Yes", not true
    assert any(field.get("validations", {}).get("required") for field in asked)


# Workflows


def test_ci_runs_what_the_script_runs():
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    wanted = targets(script)
    assert wanted == {"lint", "docs", "test"}
    jobs = workflow("ci")["jobs"]
    for target in wanted:
        assert targets("\n".join(commands(jobs[target]))) == {target}
    assert targets("\n".join(commands(jobs["coverage"]))) == {"coverage"}
    assert commands(jobs["wheel"]) == [".ci/wheel alone"]


def test_ci_tests_all_systems_and_pythons():
    jobs = workflow("ci")["jobs"]
    matrix = jobs["test"]["strategy"]["matrix"]
    assert matrix["os"] == ["ubuntu-latest", "macos-latest", "windows-latest"]
    classified = {
        text.rpartition(" ")[2] for text in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", text)
    }
    assert set(matrix["python"]) == classified | NEW_PYTHONS
    assert jobs["wheel"]["strategy"]["matrix"]["python"] == matrix["python"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_targets_that_are_there(path):
    known = targets_of_the_makefile()
    for job in load(path)["jobs"].values():
        assert targets("\n".join(commands(job))) <= known


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_careful(path):
    found = load(path)
    assert found[True]  # YAML 1.1 reads the key `on` so
    assert found["permissions"] == {"contents": "read"}
    for name, job in found["jobs"].items():
        assert job["timeout-minutes"] <= 180
        assert ("permissions" in job) == (name == "publish")
        uses = [step["uses"] for step in steps(job) if "uses" in step]
        assert uses
        assert [action for action in uses if ACTION.fullmatch(action) is None] == []
        for step in steps(job):
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False
        # what others write (titles, branches) becomes no part of a command
        assert not [line for line in commands(job) if "${{" in line]


def test_the_nightly_test_takes_what_was_built_last():
    found = workflow("nightly")
    assert found[True]["schedule"]
    (job,) = found["jobs"].values()
    prepare, install, show, test = commands(job)
    assert prepare == "make .venv/.dev"
    assert show == ".venv/bin/python -m pip list"
    assert test == "make test"
    assert "scientific-python-nightly-wheels" in install
    for package in ("numpy", "xarray", "pandas", "scipy", "zarr", "dask"):
        assert re.search(rf'[ "]{package}( |$)', install)
        assert any(re.match(rf"{package}\b", text) for text in PROJECT["dependencies"])


def test_a_release_is_published_with_trust_and_after_its_tests():
    jobs = workflow("release")["jobs"]
    assert jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert commands(jobs["publish"]) == []
    order = commands(jobs["build"])
    assert order.index(".ci/wheel alone") < order.index("python -m hatchling build -d dist")
    assert any("check_release.py" in line for line in order)
    assert "secrets." not in (GITHUB / "workflows" / "release.yml").read_text("utf-8")


# The check before a release


def released(folder: Path, urls: str, heading: str) -> None:
    """Write what the check reads: a version, addresses, a changelog."""
    (folder / ".github").mkdir()
    shutil.copy(GITHUB / "check_release.py", folder / ".github")
    (folder / "xdownscale").mkdir()
    (folder / "xdownscale" / "__init__.py").write_text('__version__ = "1.2.3"\n', "utf-8")
    (folder / "pyproject.toml").write_text(f"[project.urls]\n{urls}", "utf-8")
    (folder / "CHANGELOG.md").write_text(f"# Changelog\n\n{heading}\n", "utf-8")


URLS = 'Repository = "https://example.org"\nIssues = "https://example.org/issues"\n'


@pytest.mark.parametrize(
    ("tag", "urls", "heading", "said"),
    [
        ("v1.2.3", URLS, "## 1.2.3 - 2027-01-31", ""),
        ("v1.2.3", URLS, "## [1.2.3] - 2027-01-31", ""),
        ("v1.2.4", URLS, "## 1.2.3 - 2027-01-31", r"tag is 'v1\.2\.4'.*'1\.2\.3'"),
        ("v1.2.3", 'Paper = "x"\n', "## 1.2.3 - 2027-01-31", r"lacks \['Repository', 'Issues'\]"),
        ("v1.2.3", URLS, "## 1.2.3", r"no heading '## 1\.2\.3 - YYYY-MM-DD'"),
    ],
)
def test_a_release_that_is_not_ready_is_stopped(tag, urls, heading, said, tmp_path):
    released(tmp_path, urls, heading)
    command = [sys.executable, str(tmp_path / ".github" / "check_release.py"), tag]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode == 0) == (said == "")
    assert re.search(said, done.stderr) is not None
