"""Help texts are as recorded; each has an example, and costs no torch."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from cli.conftest import environment
from cli.record_help import HERE, commands, help_of, path_of
from xdownscale import cli
from xdownscale.cli import run

COMMANDS = commands()
each = pytest.mark.parametrize("names", COMMANDS, ids=" ".join)


@each
def test_help_is_as_recorded(names):
    """Where it is meant to differ: python tests/cli/record_help.py."""
    assert help_of(names) == path_of(names).read_text("utf-8")


def test_nothing_else_was_recorded():
    assert {path.name for path in HERE.iterdir()} == {path_of(names).name for names in COMMANDS}


@pytest.mark.parametrize("names", [n for n in COMMANDS if n not in ((), ("models",))], ids=" ".join)
def test_help_ends_with_an_example_of_the_command(names):
    _, _, examples = help_of(names).partition("\nExamples:\n")
    assert f"xdownscale {' '.join(names)}" in examples


def loaded(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_the_package_imports_no_command_line():
    found = loaded("import xdownscale")
    assert not {"click", "yaml"} & found


def test_help_imports_nothing_heavy():
    found = loaded("from xdownscale.cli import run; assert run(['--help']) == 0")
    assert "click" in found
    assert not {"torch", "lightning", "matplotlib", "skgstat", "zarr", "dask"} & found


def test_without_arguments_help_is_shown_and_the_usage_wrong(capsys):
    assert run([]) == 2
    assert "Commands:" in capsys.readouterr().err


def test_a_new_command_is_one_file(tmp_path, monkeypatch, capsys):
    (tmp_path / "say_hello.py").write_text(
        "import click\n@click.command()\ndef command():\n    'Greet.'\n    click.echo('Hello.')\n"
    )
    monkeypatch.setattr("xdownscale.cli.__path__", [str(tmp_path), *cli.__path__])
    assert run(["--help"]) == 0
    assert re.search(r"^  say-hello +Greet", capsys.readouterr().out, re.MULTILINE)
    assert run(["say-hello"]) == 0
    assert capsys.readouterr().out == "Hello.\n"
    sys.modules.pop("xdownscale.cli.say_hello")
