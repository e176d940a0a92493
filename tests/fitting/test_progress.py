"""What a fit says: its cost before it starts, one bar for all stages, and how good the model is."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

import xdownscale as xd
from records import TINY, fast_config, make_pair, make_record
from xdownscale.core.errors import XDownscaleWarning
from xdownscale.methods import dressed_unet
from xdownscale.models.training import cost
from xdownscale.models.training.plan import StageCost
from xdownscale.models.training.progress import Progress, limits
from xdownscale.prediction import diagnostics

OF_FIELDS = ("residual", "crps", "unet", "dressed_unet", "selected")


def config_of(name, **options):
    if name == "diffusion":
        return xd.preset("paper", **TINY)
    if name == "patch_unet":
        own = TINY | {"sampling": {k: v for k, v in TINY["sampling"].items() if k != "steps"}}
        return xd.preset("paper", method=name, **own)
    training = {"epochs": 2, "mean_epochs": 2, "pretrain_epochs": 2}
    if name == "crps":
        del training["mean_epochs"]
    options.setdefault("training", training)
    return fast_config(method=name, **options)


def fit(name, *, progress=True, **options):
    coarse, fine = (record["t"] for record in make_pair(80))
    config = options.pop("config", None) or config_of(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)
        return coarse.downscale.fit(fine, preset=config, progress=progress, **options)


class Watched(Progress):
    """Remembers what it was told."""

    def __init__(self, shown=True):
        super().__init__(shown)
        self.costs, self.stages, self.moves, self.places = [], [], [], []
        Watched.last = self

    def plan(self, costs, *rest):
        super().plan(costs, *rest)
        self.costs = list(costs)

    def stage(self, name):
        self.stages.append(name)
        self.moves.append([])
        super().stage(name)

    def advance(self, share):
        super().advance(share)
        if self.moves:
            self.moves[-1].append(share)
        if self._bar is not None:
            self.places.append(self._bar.n)


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    """A bar, as in a terminal; tests/core/test_bars.py has the lines of log files."""
    monkeypatch.setattr("xdownscale.core.bars._is_terminal", lambda: True)


@pytest.fixture
def watched(monkeypatch):
    monkeypatch.setattr("xdownscale.downscaler.Progress", Watched)


@pytest.mark.parametrize("name", ["diffusion", "patch_unet", *OF_FIELDS])
def test_what_is_planned_is_what_is_trained(name, watched, capfd):
    fit(name)
    seen = Watched.last
    assert [each.name for each in seen.costs] == seen.stages
    for planned, moves in zip(seen.costs, seen.moves, strict=True):
        updates = moves[1:-1]  # after the beginning, and before the end
        assert len(updates) == planned.epochs * planned.updates
        np.testing.assert_allclose(updates, np.arange(1, len(updates) + 1) / len(updates))
        assert planned.seconds > 0
    total = sum(each.total for each in seen.costs)
    assert seen.places == sorted(seen.places)
    assert seen.places[-1] == pytest.approx(total)


def test_a_choice_of_epochs_is_planned_as_the_most_it_may_take(watched, capfd, monkeypatch):
    monkeypatch.setattr(dressed_unet, "LONG", 6)
    monkeypatch.setattr(dressed_unet, "SHORT", 2)
    fit("dressed_unet", config=config_of("dressed_unet", training={"mean_epochs": None}))
    seen = Watched.last
    planned = {each.name: each.epochs for each in seen.costs}
    assert planned["regress0"] == 6
    assert planned["regress0_short"] == 2
    assert set(seen.stages) <= set(planned)
    assert seen.places[-1] == pytest.approx(sum(each.total for each in seen.costs))


@pytest.mark.parametrize("name", ["diffusion", "residual", "selected"])
def test_measuring_changes_no_number(name, capfd):
    shown, silent = (fit(name, progress=progress) for progress in (True, False))
    for one, other in zip(
        shown._fitted.models.values(), silent._fitted.models.values(), strict=True
    ):
        assert one.state.keys() == other.state.keys()
        for key in one.state:
            np.testing.assert_array_equal(one.state[key], other.state[key])


def test_nothing_is_written_where_progress_is_switched_off(capfd):
    fit("residual", progress=False)
    fit("dressed", progress=False, config=xd.preset("dressed"))
    assert capfd.readouterr() == ("", "")


def test_the_lines_of_a_fit(capfd):
    fit("residual")
    out, err = capfd.readouterr()
    assert out == ""
    lines = [line.strip() for line in re.split(r"[\r\n]+", err) if line.strip()]
    assert lines[0].startswith("Fitting 'residual' for t: 37 time steps to train on, ")
    assert re.match(r"Stages: pretrain \(2 epochs of \d+ updates of \d+\.\d\d s\), regr", lines[1])
    assert re.match(r"Cost: about \d+ s of training at most on this machine \(cpu\), mea", lines[2])
    assert re.search(r"\(\d of \d\) +\d+% \|.*\| \d\d:\d\d, about (\d\d:\d\d|\?) left", err)
    assert re.match(r"Fitted in \d+ s\.", lines[-2])
    assert re.match(
        r"CRPS [\d.]+ K, that of the best baseline, .+, [\d.]+ K: [\d.]+ .* of it, on \d+ held-out "
        r"time steps\. model\.check\(coarse, fine\) looks for known failures on test days\.",
        lines[-1],
    )


def test_the_end_of_preset_auto_says_what_was_kept(capfd):
    fit("selected")
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert re.match(
        r"CRPS [\d.]+ K on \d+ time steps of held-out blocks by '\w+', which is kept; the best of "
        r"the others, '\w+', has [\d.]+ K\. model\.check",
        last,
    )


def test_the_end_of_a_closed_form_says_what_was_fitted(capfd):
    fit("dressed", config=xd.preset("dressed"))
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("Fitted: mean by ")


def test_only_validation_days_are_looked_at(monkeypatch, capfd):
    asked = []
    maps = diagnostics._maps

    def noted(fitted, coarse, request):
        asked.append(request.time)
        return maps(fitted, coarse, request)

    monkeypatch.setattr(diagnostics, "_maps", noted)
    model = fit("residual")
    part = model.split_["all"].sel(time=np.unique(np.concatenate(asked)))
    assert part.size > 1
    assert set(part.values) == {"validation"}


def test_groups_share_one_bar(watched, capfd):
    coarse = make_record(2.0, margin=2.0)
    fine = make_record(0.5)
    regions = {"west": (40, 44, 9, 19), "east": (44, 50, 9, 19)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XDownscaleWarning)
        coarse.downscale.fit(fine, preset=config_of("unet"), regions=regions)
    seen = Watched.last
    err = capfd.readouterr().err
    assert "2 groups." in err
    assert "Stages for each of 2 groups: pretrain" in err
    assert "regress0 (4 of 4)" in err
    assert seen.places == sorted(seen.places)
    whole = sum(each.total for each in seen.costs) * sum(seen._sizes)
    assert seen.places[-1] == pytest.approx(whole)
    assert len(set(seen._sizes)) == 2  # the east is wider


@pytest.mark.parametrize(
    ("total", "minutes", "said"),
    [
        (600, None, "about 10.0 min of training at most"),
        (600, 60, "about 10.0 min of training at most"),
        (3600, 60, "stopped after 60 min (max_minutes), before all epochs are trained"),
        (9999, 8.5, "stopped after 8.5 min (max_minutes)"),
    ],
)
def test_the_limit_of_time_is_said_where_it_is_reached(total, minutes, said):
    assert said in limits(total, "cpu", minutes)
    assert ("depends on this machine" in limits(total, "cpu", minutes)) == ("stopped" in said)


def test_the_cost_counts_batches_validation_and_the_share_of_the_time(monkeypatch):
    from toy_training import Toy
    from xdownscale.config import TrainingConfig
    from xdownscale.models.training.plan import PlannedStage

    monkeypatch.setattr(cost, "seconds_of_update", lambda *rest: 6.0)
    stage = PlannedStage(task=Toy(held_out=3), epochs=5, share=0.5, kind="toy")
    (found,) = cost.measure([stage], TrainingConfig(), 1.0, "cpu")
    # 4 items in batches of 2, and 2 held-out batches at a third each
    assert found == StageCost(name="toy", epochs=5, updates=2, seconds=8.0, most=30.0)
    assert found.total == 30.0
    (found,) = cost.measure([stage], TrainingConfig(epoch_batches=1), None, "cpu")
    assert (found.updates, found.seconds, found.most) == (1, 8.0, None)
    assert found.total == 40.0


def test_an_update_is_timed(monkeypatch):
    from toy_training import Toy
    from xdownscale.config import TrainingConfig

    clock = iter([0.0, 9.0, 10.0, 12.0, 20.0, 21.5])
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(clock))
    assert cost.seconds_of_update(Toy(), TrainingConfig(), "cpu") == 1.5
