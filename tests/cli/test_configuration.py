"""YAML and ``--set``: the configuration tree, and what it refuses."""

from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import xdownscale as xd
from xdownscale.cli._configuration import as_yaml, parse, read_config
from xdownscale.config import PRESETS
from xdownscale.core.errors import OptionError, StorageError


def written(folder, text):
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_printed_is_read_as_the_same(name, tmp_path):
    config = xd.preset(name)
    path = written(tmp_path, as_yaml(config, name))
    assert read_config(None, path, []) == config
    assert read_config(name, path, []) == config


@pytest.mark.parametrize(
    ("name", "sections"),
    [
        ("fast", {"network": {"size": "base"}}),
        ("fast", {"method": "crps", "training": {"epochs": 3}}),
        ("auto", {"data": {"first_guess": "driver", "transform": {"dust": "log10"}}}),
        ("fast", {"data": {"missing_ends": 0.0, "floor": 1e-9}, "training": {"max_minutes": 2.5}}),
        ("dressed", {"options": {"mean": "ridge"}}),
    ],
)
def test_changed_presets_are_read_as_the_same(name, sections, tmp_path):
    config = xd.preset(name, **sections)
    assert read_config(None, written(tmp_path, as_yaml(config, name)), []) == config


@pytest.mark.parametrize("name", PRESETS)
def test_a_whole_tree_is_that_of_from_dict(name, tmp_path):
    tree = xd.preset(name).to_dict()
    path = written(tmp_path, yaml.safe_dump(tree))
    assert read_config(None, path, []) == xd.DownscalerConfig.from_dict(tree)


def test_nothing_given_is_preset_auto(tmp_path):
    assert read_config(None, None, []) == xd.preset("auto")
    assert read_config(None, written(tmp_path, "# nothing\n"), []) == xd.preset("auto")
    assert read_config(None, written(tmp_path, "training:\n"), []) == xd.preset("auto")


def test_set_counts_more_than_the_file(tmp_path):
    path = written(tmp_path, "preset: fast\ntraining:\n  epochs: 7\n  batch_days: 3\n")
    found = read_config(None, path, [("training.epochs", 5), ("network.size", "base")])
    expected = xd.preset("fast", training={"epochs": 5, "batch_days": 3}, network={"size": "base"})
    assert found == expected


@given(st.floats(1e-9, 1e9), st.integers(0, 20))
def test_numbers_are_read_however_they_are_written(value, digits):
    for text in (repr(value), f"{value:.{digits}e}", f"{value:.{digits}E}"):
        assert parse(text, "It") == float(text)


@pytest.mark.parametrize("text", ["1e-3", "1E3", "-2.5e+4", ".5e2", "3"])
def test_exponents_without_a_point_are_numbers(text):
    assert parse(text, "It") == float(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trainig: {epochs: 3}", "Unknown section: 'trainig'.*Did you mean 'training'"),
        (
            "training: {epoch: 3}",
            "Unknown key of section 'training': 'epoch'.*Did you mean 'epochs'",
        ),
        ("preset: fsat", "Unknown preset: 'fsat'.*Did you mean 'fast'"),
        ("training: {epochs: many}", "TrainingConfig.epochs is 'many'; give a whole number"),
        ("training: 5", "Section 'training' takes a mapping"),
        ("preset: fast\nsampling: {sampler: ddmi}", "Unknown sampler: 'ddmi'.*'ddim'"),
        ("method: residul", "residul.*Did you mean 'residual'"),
        ("preset: [fast]", "Unknown preset"),
        ("preset: 3", "Unknown preset"),
        ("- training", "holds a list; give a YAML mapping"),
        ("5", "holds a int; give a YAML mapping"),
        ("1: 2", "holds keys that are no text"),
        ("training: {1: 2}", "Unknown key of section 'training': 1"),
        ("training: {epochs: 3", r"no valid YAML: .*\(line 1, column 21\)"),
        ("training:\n  epochs: 3\n  epochs: 4", "the key 'epochs' stands there twice"),
        ("training: !!python/object/apply:os.getcwd []", "no valid YAML: could not determine a co"),
        ("[" * 5000, "no valid YAML"),
        ("a: \x07", "no valid YAML"),
        ("data: {floor: 2024-13-45}", "no valid YAML: month must be in"),
    ],
)
def test_bad_yaml(text, message, tmp_path):
    with pytest.raises(OptionError, match=message):
        read_config(None, written(tmp_path, text), [])


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(StorageError, match="cannot be read: No such file"):
        read_config(None, tmp_path / "none.yaml", [])
    (tmp_path / "run.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StorageError, match=r"cannot be read: .*utf-8"):
        read_config(None, tmp_path / "run.yaml", [])


def test_two_presets(tmp_path):
    path = written(tmp_path, "preset: fast\n")
    message = re.escape("changes preset 'fast', and --preset is 'paper'")
    with pytest.raises(OptionError, match=message):
        read_config("paper", path, [])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("training.epohcs", 3)], "Did you mean 'epochs'"),
        ([("training", 3)], "Section 'training' takes a mapping"),
        ([("nothing.at.all", 3)], "Unknown section: 'nothing'"),
        ([("training", 3), ("training.epochs", 3)], "Section 'training' takes a mapping"),
        ([("training.epochs", [3])], "TrainingConfig.epochs is"),
    ],
)
def test_bad_changes(changes, message):
    with pytest.raises(OptionError, match=message):
        read_config("fast", None, changes)
