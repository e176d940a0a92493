"""The how-to page on the command line: its first and second block run, its YAML is read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import xdownscale as xd
from cli.record_help import commands
from xdownscale.cli._app import app
from xdownscale.cli._configuration import read_config

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "command_line.md").read_text("utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)


def lines(block: str) -> list[list[str]]:
    """Return the words of each call of the command in a block."""
    whole = block.replace("\\\n", " ")
    found = re.findall(r"^(?:exec )?(xdownscale .*)$", whole, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in found]


@pytest.mark.slow
def test_the_first_block_runs(command, folder, tmp_path):
    for name in ("coarse.nc", "fine.nc"):
        (tmp_path / name).symlink_to(folder / name)
    for words in lines(BLOCKS[0]):
        done = command(*words[1:], where=tmp_path)
        assert done.returncode == 0, done.stderr
    names = {path.name for path in tmp_path.iterdir()}
    assert {"model.xd", "maps.zarr", "skill.md", "report.html", "field.html"} <= names


def test_the_configuration_is_written_and_read(command, folder, tmp_path):
    (config, fit) = lines(BLOCKS[1])
    assert command(*config[1:], where=tmp_path).returncode == 0
    changes = [("training.epochs", 20)]
    assert fit[-2:] == ["--set", "training.epochs=20"]
    found = read_config(None, tmp_path / "run.yaml", changes)
    assert found == xd.preset("fast", training={"max_minutes": 30, "epochs": 20})


def test_the_yaml_is_read(tmp_path):
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "run.yaml").write_text(text)
    expected = xd.preset(
        "fast", network={"size": "base"}, training={"max_minutes": 30, "learning_rate": 1e-3}
    )
    assert read_config(None, tmp_path / "run.yaml", []) == expected


def test_all_calls_have_options_that_exist():
    calls = [words for block in BLOCKS for words in lines(block)]
    assert len(calls) >= 9
    for _, name, *rest in calls:
        inner = app.get_command(None, name)
        assert inner is not None, name
        known = {option for each in inner.params for option in each.opts}
        assert {word for word in rest if word.startswith("-")} <= known


def test_the_table_has_all_commands():
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert set(rows) == {names[0] for names in commands() if names}
