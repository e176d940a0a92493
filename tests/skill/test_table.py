"""Tables by season and region, with baselines and scores of every kind."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xdownscale as xd
from xdownscale import skill
from xdownscale.core import blocks, grids
from xdownscale.core.errors import GridError, OptionError, TimeAxisError
from xdownscale.skill import baselines

REGIONS = {"north": (-1, 6, 16, 21), "south": (-1, 6, 9, 14)}


@pytest.fixture
def record(fields):
    """Forty days across the turn of February, a field and an ensemble that follow them."""
    truth = fields(40, "2000-02-10", seed=1)
    mild = truth * fields(40, "2000-02-10", seed=2) ** 0.3
    ensemble = truth * fields(40, "2000-02-10", seed=3, members=4) ** 0.3
    return {"mild": mild, "paper": ensemble}, truth


def in_parts(truth):
    winter = truth.time.dt.month == 2
    return {
        ("DJF", "north"): (winter, slice(0, 2)),
        ("DJF", "south"): (winter, slice(2, 4)),
        ("MAM", "north"): (~winter, slice(0, 2)),
        ("MAM", "south"): (~winter, slice(2, 4)),
    }


def test_each_group_is_the_table_of_its_days_and_pixels(record):
    predictions, truth = record
    names = ["r2", "crps", "kge", "nse", "spread_skill", "bias"]
    options = {"scores": names, "baselines": None}
    found = skill.table(predictions, truth, by=("season", "region"), regions=REGIONS, **options)
    assert found.index.names == ["season", "region", "method"]
    assert list(found.columns) == [(u, s) for u in ("log10", "physical") for s in names]
    for group, (days, rows) in in_parts(truth).items():
        cut = {n: p.sel(time=days).isel(lat=rows) for n, p in predictions.items()}
        alone = skill.table(cut, truth.sel(time=days).isel(lat=rows), **options)
        part = found.loc[group]
        pd.testing.assert_frame_equal(part, alone, check_names=False)
        for column, spread in alone.attrs["sd"].items():
            for row, value in spread.items():
                np.testing.assert_allclose(found.attrs["sd"][column][(*group, row)], value)
    assert found.attrs["days"] == 40
    assert found.attrs["days_scored"]["MAM", "north", "mild"] == 20


def test_columns_are_the_labelled_scores(record):
    predictions, truth = record
    names = ["crps", "kge", "nse", "spread_skill", "mae"]
    found = skill.table(predictions, truth, "log10", scores=names, baselines=None)
    mild, ensemble = predictions.values()
    rows = ["mild", "paper (mean of 4)", "paper (one realization)", "paper (ensemble of 4)"]
    assert list(found.index) == rows
    logs = np.log10(ensemble)
    expected = {
        ("mild", "log10", "kge"): skill.kge(mild, truth, transform="log10").kge,
        ("mild", "physical", "nse"): skill.nse(mild, truth),
        (rows[1], "log10", "nse"): skill.nse(logs.mean("realization"), np.log10(truth)),
        (rows[2], "physical", "kge"): skill.kge(ensemble.isel(realization=0), truth).kge,
        (rows[3], "log10", "crps"): skill.crps(ensemble, truth, transform="log10").mean(),
        (rows[3], "physical", "spread_skill"): skill.spread_skill(ensemble, truth).spread_skill,
        ("mild", "physical", "crps"): skill.mae(mild, truth).mean(),
    }
    for (row, unit, score), value in expected.items():
        assert found.loc[row, (unit, score)] == pytest.approx(value.item())
    sd = found.attrs["sd"]
    pixels = skill.nse(mild, truth, reduce=False).std(ddof=1).item()
    assert sd["physical", "nse"]["mild"] == pytest.approx(pixels)
    assert np.isnan(found.loc["mild", ("physical", "spread_skill")])
    assert np.isnan(found.loc[rows[3], ("physical", "mae")])
    texts = skill.format_table(found)
    assert texts.loc[rows[3], ("physical", "mae")] == "nan"


def test_area_weights(record):
    predictions, truth = record
    names = ["rmse", "nse", "spread_skill"]
    found = skill.table(predictions, truth, None, names, weights=True, baselines=None)
    mild, ensemble = predictions.values()
    expected = skill.rmse(mild, truth, weights=True).mean().item()
    assert found.loc["mild", ("physical", "rmse")] == pytest.approx(expected)
    assert abs(expected - skill.rmse(mild, truth).mean().item()) > 1e-9
    expected = skill.nse(mild, truth, weights=True).item()
    assert found.loc["mild", ("physical", "nse")] == pytest.approx(expected)
    spread = skill.spread_skill(ensemble, truth, weights=grids.area(truth)).spread_skill.item()
    assert found.iloc[-1]["physical", "spread_skill"] == pytest.approx(spread)


def test_weights_are_normalised_and_checked(fields):
    truth, drawn = fields(seed=1), fields(seed=2)
    uneven = xr.zeros_like(truth[0].drop_vars("time"))
    uneven[0] = 2.0
    for function in (skill.r2, skill.pearson_r2, skill.rmse, skill.mae, skill.bias, skill.crps):
        expected = function(drawn[:, :1], truth[:, :1])
        np.testing.assert_allclose(function(drawn, truth, weights=uneven), expected)
        by_area = function(drawn, truth, weights=True)
        np.testing.assert_allclose(function(drawn, truth, weights=7 * grids.area(truth)), by_area)
    with pytest.raises(OptionError, match=r"weights run from -1\.0 to -1\.0"):
        skill.mae(drawn, truth, weights=uneven * 0 - 1)
    with pytest.raises(GridError, match="'weights' and the truth are on different grids"):
        skill.mae(drawn, truth, weights=uneven[:2])


def test_masks_as_regions_and_lazy_records_change_nothing(record, monkeypatch):
    predictions, truth = record
    truth = truth.copy()
    truth[3, 0, :3] = np.nan
    mask = xr.zeros_like(truth[0].drop_vars("time"))
    mask[1, 2:5] = 1.0
    mask[2, 3] = 1.0
    options = {"by": ["region", "season"], "regions": {"spot": mask}, "scores": ["mae", "nse"]}
    found = skill.table(predictions, truth, **options)
    assert found.index.names == ["region", "season", "method"]
    hidden = truth.where(mask == 1)
    winter = truth.time.dt.month == 2
    expected = skill.mae(predictions["mild"], hidden).sel(time=winter).mean().item()
    assert found.loc[("spot", "DJF", "mild"), ("physical", "mae")] == pytest.approx(expected)
    monkeypatch.setattr("xdownscale.skill._table._BLOCK", 24 * 6 * 5)
    lazy = {name: p.chunk(time=7, lat=2) for name, p in predictions.items()}
    pd.testing.assert_frame_equal(skill.table(lazy, truth.chunk(time=9), **options), found)


RNG = np.random.default_rng(0)
QUANTITIES = {
    "identity": lambda shape: -5 + 10 * RNG.normal(size=shape),
    "sqrt": lambda shape: np.where(RNG.random(shape) < 0.6, 0, RNG.gamma(0.5, 20, shape)),
    "log10": lambda shape: RNG.lognormal(-2, 2, shape),
}


@pytest.mark.parametrize("transform", QUANTITIES)
def test_the_transform_is_chosen(record, transform):
    """Finding of a review: with log10 as the default, rain and degrees Celsius failed."""
    truth = record[1].copy(data=QUANTITIES[transform](record[1].shape))
    mild = {"mild": truth * 0.9}
    found = skill.table(mild, truth)
    pd.testing.assert_frame_equal(found, skill.table(mild, truth, transform=transform))
    expected = ["physical"] if transform == "identity" else [transform, "physical"]
    assert list(dict.fromkeys(found.columns.get_level_values("units"))) == expected
    xr.testing.assert_identical(
        skill.per_day(mild, truth), skill.per_day(mild, truth, transform=transform)
    )


def test_each_chunk_is_read_once(record):
    predictions, truth = record
    reads = []

    def count(block):
        if block.size:
            reads.append(len(block))
        return block

    def noted(da):
        chunked = da.chunk(time=8)
        return chunked.copy(
            data=chunked.data.map_blocks(count, dtype=float, meta=np.empty((0,) * 3))
        )

    found = skill.table(
        {"mild": noted(predictions["mild"])},
        noted(truth),
        by=("season", "region"),
        regions=REGIONS,
        baselines=None,
        transform="log10",  # "auto" reads them once before
    )
    assert len(found) == 4
    assert sum(reads) == 80


def test_slices_end_where_chunks_end(fields):
    truth = fields(20)
    assert list(blocks.day_slices([truth], "time", 24 * 8)) == [
        slice(0, 8),
        slice(8, 16),
        slice(16, 20),
    ]
    assert list(blocks.day_slices([truth.chunk(time=3)], "time", 24 * 8)) == [
        slice(0, 6),
        slice(6, 12),
        slice(12, 20),
    ]
    assert [s.stop for s in blocks.day_slices([truth.chunk(time=15)], "time", 24)] == [15, 20]


# baselines


@pytest.fixture(scope="module")
def pair():
    """The twin: a coarse record and a fine one, split into training and test days."""
    ds = xd.datasets.load_twin()
    fine = ds.dust_fine.dropna("time", how="all")
    fine = fine.isel(time=slice(None, 60), lat=slice(None, 24), lon=slice(None, 24))
    return ds.dust, fine.isel(time=slice(None, 40)), fine.isel(time=slice(40, None))


def test_baselines_are_those_of_the_package(pair):
    coarse, train, truth = pair
    found = skill.table({"train mean": truth * 1.1}, truth, coarse=coarse, train=train)
    time = truth.indexes[truth.dims[0]]
    made = {
        "bicubic": baselines.interpolate(coarse, truth, time),
        "bilinear + bias": baselines.bias_corrected(coarse, train, time),
        "ridge": baselines.ridge(coarse, train, time),
        "climatology": baselines.climatology(train, time),
        "persistence": baselines.persistence(xr.concat([train, truth], truth.dims[0]), time),
    }
    assert list(found.index) == ["train mean", *made]
    expected = skill.table(made, truth)
    pd.testing.assert_frame_equal(found.iloc[1:], expected, check_names=False)
    assert found.attrs["days_scored"]["persistence"] == 20
    by_hand = skill.table({"train mean": truth * 1.1}, truth, baselines=made)
    pd.testing.assert_frame_equal(by_hand, found)


def test_which_baselines_there_are(pair):
    coarse, train, truth = pair
    own = {"bicubic": truth * 1.1}
    none = skill.table({"model": truth * 1.1}, truth)
    assert list(none.index) == ["model", "persistence"]
    assert none.attrs["days_scored"]["persistence"] == 19
    assert list(none.attrs["left_out"]) == ["bicubic", "climatology", "bilinear + bias", "ridge"]
    whole = skill.table({"model": truth * 1.1}, truth, coarse=coarse, train=train)
    assert whole.attrs["left_out"] == {}
    left_out = skill.table(own, truth).attrs["left_out"]
    assert list(left_out) == ["climatology", "bilinear + bias", "ridge"]
    only = skill.table(own, truth, coarse=coarse)
    assert list(only.index) == ["bicubic", "persistence"]
    assert only.loc["bicubic", ("log10", "mae")] == pytest.approx(np.log10(1.1), rel=1e-3)
    assert only.attrs["days_scored"]["persistence"] == 19
    rows = list(skill.table(own, truth, train=train).index)
    assert rows == ["bicubic", "climatology", "persistence"]
    assert list(skill.table(own, truth, baselines=None, train=train).index) == ["bicubic"]
    with pytest.raises(OptionError, match=r"\['bicubic'\] stand both in predictions and"):
        skill.table(own, truth, baselines=own)
    with pytest.raises(OptionError, match=r"Unknown baselines: 'all'\. Choose one of 'auto'"):
        skill.table(own, truth, baselines="all")
    with pytest.raises(GridError, match="'train' and the truth are on different grids"):
        skill.table(own, truth, train=train[:, 1:])
    time = truth.dims[0]
    name = coarse.dims[0]
    away = coarse.assign_coords({name: coarse.indexes[name] + pd.Timedelta("36500D")})
    with pytest.raises(TimeAxisError, match="no day in common, so there is no bicubic row"):
        skill.table(own, truth, coarse=away)
    with pytest.raises(TimeAxisError, match="The training record has no time"):
        skill.table(own, truth, train=train.isel({time: 0}, drop=True))


# options


def test_bad_groups(record):
    predictions, truth = record
    with pytest.raises(OptionError, match=r"Unknown way of grouping in by: 'seasons'.*'season'"):
        skill.table(predictions, truth, by="seasons")
    with pytest.raises(OptionError, match=r"regions \['north', 'south'\] are given, but by='sea"):
        skill.table(predictions, truth, by="season", regions=REGIONS)
    with pytest.raises(TimeAxisError, match=r"None of the 40 days lies in the seasons \['JJA'\]"):
        skill.table(predictions, truth, by="season", seasons="JJA")
    with pytest.raises(GridError, match="No cell of the grid lies in the region"):
        skill.table(predictions, truth, by="region", regions={"sea": (100, 110, 0, 5)})
    with pytest.raises(OptionError, match=r"Unknown score: 'kgee'.*Did you mean 'kge'"):
        skill.table(predictions, truth, scores=["kgee"])
    with pytest.raises(OptionError, match="Unknown score of each day: 'nse'"):
        skill.per_day(predictions, truth, scores=["nse"])


def test_own_seasons_and_no_regions(record):
    predictions, truth = record
    options = {"by": ("season", "region"), "seasons": {"wet": [3]}, "baselines": None}
    found = skill.table(predictions, truth, **options)
    assert set(found.index.droplevel("method")) == {("wet", "all")}
    march = truth.sel(time=truth.time.dt.month == 3)
    alone = skill.table(predictions, march, baselines=None)
    np.testing.assert_allclose(found.values, alone.values)


# texts


def test_texts_of_a_grouped_table(record):
    predictions, truth = record
    given = {"mild": predictions["mild"], "flat": truth}
    found = skill.table(given, truth, None, ["mae"], by="season", baselines=None)
    texts = skill.format_table(found, digits=2)
    mean, sd = found.iloc[0, 0], found.attrs["sd"]["physical", "mae"]["DJF", "mild"]
    assert texts.iloc[0, 0] == f"{mean:.2g} ({sd:.2g})"
    lines = skill.to_markdown(texts).splitlines()
    assert lines[:2] == ["| season | method | physical mae |", "|---|---|---|"]
    assert lines[2] == f"| DJF | mild | {mean:.2g} ({sd:.2g}) |"
    assert lines[3] == "|  | flat | 0 (0) |"
    assert lines[4].startswith("| MAM | mild |")
    latex = skill.to_latex(texts)
    assert f"DJF & mild & {mean:.2g} ({sd:.2g}) \\\\" in latex
    assert latex.splitlines()[0] == r"\begin{tabular}{llr}"
    back = pd.read_csv(pd.io.common.StringIO(found.droplevel(0, axis=1).to_csv()))
    assert list(back.columns) == ["season", "method", "mae"]
    assert "<table" in texts.to_html()


def test_special_characters_are_escaped():
    frame = pd.DataFrame({"a_b": ["50 % & {x} \\ ~ ^ $ #"]}, index=["p|q"])
    row = skill.to_latex(frame).splitlines()[4]
    assert row == (
        r"p|q & 50 \% \& \{x\} \textbackslash{} \textasciitilde{} \textasciicircum{} \$ \# \\"
    )
    assert skill.to_markdown(frame).splitlines()[2].startswith(r"| p\|q |")


def test_what_a_table_lacks_stands_below_it(record):
    """Finding of a review: a table without a bicubic row did not say why."""
    predictions, truth = record
    given = {"mild": predictions["mild"]}
    spread_out = truth.isel(time=slice(None, None, 2))
    found = skill.table(given, spread_out, None, ["mae"])
    assert list(found.index) == ["mild"]
    lacking = {"bicubic", "bilinear + bias", "ridge", "climatology", "persistence"}
    assert set(found.attrs["left_out"]) == lacking
    note = (
        "Not in the table: bicubic (give coarse=, the coarse record of these days), climatology "
        "(give train=, the training days of the fine record), bilinear + bias, ridge (give "
        "coarse=, the coarse record of these days and of the training days, and train=, the "
        "training days of the fine record), persistence (no day has its yesterday in the truth or "
        "in train=)."
    )
    for table in (found, skill.format_table(found)):
        assert skill.to_markdown(table).splitlines()[-2:] == ["", note]
        assert skill.to_latex(table).splitlines()[-1] == f"% {note}"
    for own_rows in (None, {"flat": truth}):
        own = skill.table(given, truth, None, ["mae"], baselines=own_rows)
        assert own.attrs["left_out"] == {}
        assert skill.to_markdown(own).splitlines()[-1].startswith("| ")


def test_tables_are_written_with_their_spread(record):
    """Finding of a review: ``mean (sd)`` needed a further call."""
    predictions, truth = record
    found = skill.table({"mild": predictions["mild"]}, truth, None, ["mae"], baselines=None)
    mean, sd = found.iloc[0, 0], found.attrs["sd"]["physical", "mae"]["mild"]
    assert skill.to_markdown(found).splitlines()[2] == f"| mild | {mean:.3g} ({sd:.3g}) |"
    assert f"mild & {mean:.2g} ({sd:.2g})" in skill.to_latex(found, 2)
    assert skill.to_markdown(found, spread=False).splitlines()[2] == f"| mild | {mean:.3g} |"
    assert f"mild & {mean:.3g} " in skill.to_latex(found, spread=False)
    one = skill.table({"mild": predictions["mild"]}, truth[:1], None, ["mae"], baselines=None)
    assert skill.to_markdown(one).splitlines()[2] == f"| mild | {one.iloc[0, 0]:.3g} |"


def test_training_days_of_another_step_are_refused(pair):
    coarse, train, truth = pair
    hours = train.isel({train.dims[0]: slice(4)}).resample({train.dims[0]: "6h"}).ffill()
    with pytest.raises(TimeAxisError, match="training record has a time step of 6 hours and the t"):
        skill.table({"a": truth}, truth, train=hours)
    name = coarse.dims[0]
    sixhourly = coarse.isel({name: slice(40, 60)}).resample({name: "6h"}).ffill()
    with pytest.raises(TimeAxisError, match="The coarse record has a time step of 6 hours"):
        skill.table({"a": truth}, truth, coarse=sixhourly)
