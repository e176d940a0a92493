"""Bad input to diagnostics and scores."""

from __future__ import annotations

from functools import partial

from bad_input.changes import later, moved, no_time
from xdownscale import geostat, patches, skill
from xdownscale.core.errors import DataError, GridError, OptionError, TimeAxisError

GEOSTAT = [
    (
        "variogram-distance",
        lambda w: partial(geostat.semivariogram, w.fine, -5),
        OptionError,
        "max_distance is -5; give a positive number of km",
    ),
    (
        "variogram-distance-text",
        lambda w: partial(geostat.semivariogram, w.fine, "far"),
        OptionError,
        "max_distance is 'far'; give a positive number of km",
    ),
    (
        "variogram-too-short",
        lambda w: partial(geostat.semivariogram, w.fine, 1.0),
        GridError,
        "No two of the 480 cells.*times the grid spacing",
    ),
    (
        "variogram-bins",
        lambda w: partial(geostat.semivariogram, w.fine, bins=0),
        OptionError,
        "bins is 0; give a whole.*number, 3 or more",
    ),
    (
        "variogram-model",
        lambda w: partial(geostat.semivariogram, w.fine, model="sphere"),
        OptionError,
        r"Unknown model: 'sphere'\. Choose one of.*Did you mean 'spherical'",
    ),
    (
        "variogram-no-grid",
        lambda w: partial(geostat.semivariogram, w.fine.drop_vars("lat")),
        GridError,
        "No latitude found in t with.*or set its standard_name",
    ),
    (
        "variogram-all-nan",
        lambda w: partial(geostat.semivariogram, w.fine.where(w.fine > 1e9)),
        DataError,
        "At most 0 of the 480.*gaps, or more pairs",
    ),
    (
        "variogram-array",
        lambda w: partial(geostat.semivariogram, w.fine.values),
        DataError,
        r"The field is a ndarray; give.*an xarray\.DataArray, with coordinates",
    ),
    (
        "variogram-average",
        lambda w: partial(geostat.semivariogram, w.fine, average="day"),
        OptionError,
        r"Unknown average \(besides None\): 'day'\. Choose one of 'time'",
    ),
    (
        "spectrum-window",
        lambda w: partial(geostat.power_spectrum, w.fine, window="box"),
        OptionError,
        r"Unknown window: 'box'\. Choose one of 'hann', 'none'",
    ),
    (
        "spectrum-missing",
        lambda w: partial(geostat.power_spectrum, w.fine, max_missing=-1),
        OptionError,
        "max_missing is -1; give a share.*0 to below 1",
    ),
    (
        "structure-distance",
        lambda w: partial(geostat.structure, w.fine, (1, 500)),
        OptionError,
        "distances is .*give whole numbers of pixels from 1 to",
    ),
    (
        "structure-fraction",
        lambda w: partial(geostat.structure, w.fine, (1.5,)),
        OptionError,
        "distances is .*give whole numbers of pixels from 1 to",
    ),
    (
        "structure-window",
        lambda w: partial(geostat.structure, w.fine, window=-1),
        OptionError,
        "window is -1; give a positive.*such as 3",
    ),
    (
        "structure-seed",
        lambda w: partial(geostat.structure, w.fine, seed="a"),
        OptionError,
        "seed is 'a'; give a whole number",
    ),
    (
        "structure-season-no-time",
        lambda w: partial(geostat.structure, no_time(w.fine), by="season"),
        TimeAxisError,
        "sorted by season has no time dimension.*standard_name='time'",
    ),
    (
        "structure-daily-season",
        lambda w: partial(geostat.structure, w.fine, average=None, by="season"),
        OptionError,
        "by='season' pools the time steps.*give average='time'",
    ),
    (
        "acf-no-time",
        lambda w: partial(geostat.acf, no_time(w.fine)),
        TimeAxisError,
        "The record has no time dimension.*coordinate the attribute standard_name='time'",
    ),
    (
        "acf-lag-zero",
        lambda w: partial(geostat.acf, w.fine, 0),
        OptionError,
        "max_lag is 0; give a whole.*steps, 1 or more",
    ),
    (
        "acf-lag-too-long",
        lambda w: partial(geostat.acf, w.fine, 500),
        TimeAxisError,
        "The record has 80 time steps;.*longer record or max_lag=78",
    ),
    (
        "acf-reduce",
        lambda w: partial(geostat.acf, w.fine, reduce="sum"),
        OptionError,
        r"Unknown reduce \(None for every cell,.*Choose one of 'mean'",
    ),
    (
        "acf-alpha",
        lambda w: partial(geostat.acf, w.fine, alpha=2),
        OptionError,
        r"alpha is 2; give a number.*1, such as 0\.05",
    ),
    (
        "pacf-lag-fraction",
        lambda w: partial(geostat.pacf, w.fine, 2.5),
        OptionError,
        r"max_lag is 2\.5; give a whole.*steps, 1 or more",
    ),
    (
        "pacf-too-short",
        lambda w: partial(geostat.pacf, w.fine.isel(time=slice(5))),
        TimeAxisError,
        "The record has 5 time steps;.*longer record or max_lag=3",
    ),
    (
        "lag-curve-lag",
        lambda w: partial(geostat.lag_rmse, w.fine, -2),
        OptionError,
        "max_lag is -2; give a whole.*steps, 1 or more",
    ),
    (
        "lag-curve-kind",
        lambda w: partial(geostat.lag_r2, w.fine, kind="r"),
        OptionError,
        r"Unknown kind: 'r'\. Choose one of.*Did you mean 'r2'",
    ),
    (
        "wasserstein-kind",
        lambda w: partial(geostat.wasserstein, w.fine, w.fine, "weekly"),
        OptionError,
        r"Unknown kind of distance: 'weekly'\. Choose.*one of 'daily', 'pooled'",
    ),
    (
        "wasserstein-log10",
        lambda w: partial(geostat.wasserstein, w.fine, w.fine, transform="log10"),
        DataError,
        "20328 of 38400 values are 0.*'asinh', 'sqrt' or 'identity'",
    ),
    (
        "distribution-quantile",
        lambda w: partial(geostat.distribution, w.fine, [1.5]),
        OptionError,
        r"quantiles are \[1\.5\]; give probabilities from 0 to 1",
    ),
    (
        "seams-other-map",
        lambda w: partial(geostat.seams, w.fine, patches.PatchLayout((30, 30), 8, 4, 0)),
        GridError,
        r"The field has \(24, 20\) rows.*layout with shape=\(24, 20\)",
    ),
    (
        "advice-days",
        lambda w: partial(geostat.advise_patch, w.fine, days=0),
        OptionError,
        "days is 0 and factor 8;.*and 2 or more",
    ),
    (
        "pairing-no-common-day",
        lambda w: partial(geostat.diagnose_pairing, w.coarse, later(w.fine)),
        TimeAxisError,
        r"The first record \(2000-01-01T00:00:\S+ to.*Give records that overlap",
    ),
    (
        "pairing-shifts",
        lambda w: partial(geostat.diagnose_pairing, w.coarse, w.fine, 0),
        OptionError,
        "shifts is 0; the 99 %.*needs 100 or more",
    ),
]


def ensemble(w):
    return w.fine.expand_dims(realization=2)


def alone(w):
    return w.fine.to_dataset(name="t")


SKILL = [
    (
        "rmse-other-grid",
        lambda w: partial(skill.rmse, moved(w.fine), w.fine),
        GridError,
        r"'prediction' and the truth are on.*the other, with xdownscale\.regrid",
    ),
    (
        "rmse-other-cells",
        lambda w: partial(skill.rmse, w.coarse, w.fine),
        GridError,
        r"'prediction' and the truth are on.*the other, with xdownscale\.regrid",
    ),
    (
        "rmse-no-common-day",
        lambda w: partial(skill.rmse, later(w.fine), w.fine),
        TimeAxisError,
        "No day is common to all:.*of the same days",
    ),
    (
        "rmse-no-time",
        lambda w: partial(skill.rmse, w.fine, no_time(w.fine)),
        TimeAxisError,
        "The truth, unlike 'prediction', has no.*coordinate the attribute standard_name='time'",
    ),
    (
        "rmse-array",
        lambda w: partial(skill.rmse, w.fine.values, w.fine),
        DataError,
        r"Prediction 'prediction' is a ndarray; give an xarray\.DataArray, with coordinates",
    ),
    (
        "rmse-other-units",
        lambda w: partial(skill.rmse, w.fine.assign_attrs(units="g"), w.fine),
        DataError,
        "'prediction' is in 'g' and the.*where it is wrong",
    ),
    (
        "rmse-transform",
        lambda w: partial(skill.rmse, w.fine, w.fine, transform="ln"),
        OptionError,
        r"Unknown transform: 'ln'\. Choose one of.*'asinh', 'log1p', 'sqrt', 'identity'",
    ),
    (
        "rmse-log10",
        lambda w: partial(skill.rmse, w.fine, w.fine, transform="log10"),
        DataError,
        "'prediction' cannot be scored in log10.*units alone, with transform='identity'",
    ),
    (
        "rmse-weights",
        lambda w: partial(skill.rmse, w.fine, w.fine, weights="area"),
        OptionError,
        "weights is 'area'; give True for.*grid of the truth",
    ),
    (
        "spread-no-members",
        lambda w: partial(skill.spread_skill, w.fine, w.fine),
        DataError,
        r"spread_skill needs an ensemble; the.*more, with predict\(\.\.\., realizations=8\)",
    ),
    (
        "scales-one-member",
        lambda w: partial(skill.spread_skill_by_scale, w.fine, w.fine),
        DataError,
        r"spread_skill_by_scale needs an ensemble; the.*predict\(\.\.\., realizations=8\)",
    ),
    (
        "ralsd-convention",
        lambda w: partial(skill.ralsd, w.fine, w.fine, convention="db"),
        OptionError,
        r"Unknown convention: 'db'\. Choose one of 'root', 'mean_square'",
    ),
    (
        "energy-other-grid",
        lambda w: partial(skill.energy_score, moved(w.fine), w.fine),
        GridError,
        "'prediction' and the truth are on different grids",
    ),
    (
        "variogram-score-distance",
        lambda w: partial(skill.variogram_score, ensemble(w), w.fine, max_distance=1000),
        OptionError,
        "max_distance is 1000 pixels; the pixels of this.*give a distance from there",
    ),
    (
        "variogram-score-km",
        lambda w: partial(skill.variogram_score, w.fine, w.fine, max_distance=1, unit="km"),
        OptionError,
        "max_distance is 1 km; the pixels of this.*give a distance from there",
    ),
    (
        "variogram-score-order",
        lambda w: partial(skill.variogram_score, w.fine, w.fine, order=-1),
        OptionError,
        r"order is -1; give a number above 0, such as 0\.5",
    ),
    (
        "intervariable-one-variable",
        lambda w: partial(
            skill.intervariable_correlation,
            w.fine.to_dataset(name="t"),
            w.fine.to_dataset(name="t"),
        ),
        DataError,
        "1 variables on a grid that both have.*two variables of the same names",
    ),
    (
        "intervariable-array",
        lambda w: partial(skill.intervariable_correlation, w.fine, w.fine),
        DataError,
        "The prediction is a DataArray; give a Dataset with two variables or more",
    ),
    (
        "ranks-average",
        lambda w: partial(skill.rank_histogram, ensemble(w), w.fine, average="day"),
        OptionError,
        r"Unknown average: 'day'\. Choose one of 'time'",
    ),
    (
        "events-no-threshold",
        lambda w: partial(skill.events, w.fine, w.fine, []),
        OptionError,
        r"The thresholds are \[\], so there.*finite number or more",
    ),
    (
        "events-quantile",
        lambda w: partial(skill.events, w.fine, w.fine, quantiles=3),
        OptionError,
        r"Quantiles must lie between 0 and.*events: give e\.g\. 0\.95",
    ),
    (
        "events-both",
        lambda w: partial(skill.events, w.fine, w.fine, 1.0, quantiles=0.9),
        OptionError,
        "An event needs a level; thresholds.*between 0 and 1",
    ),
    (
        "fss-even-window",
        lambda w: partial(skill.fss, w.fine, w.fine, 1.0, 0),
        OptionError,
        "windows is 0; give sides in.*side of the grid",
    ),
    (
        "kge-method",
        lambda w: partial(skill.kge, w.fine, w.fine, method="2010"),
        OptionError,
        r"Unknown method of kge: '2010'\. Choose.*Did you mean '2012'",
    ),
    (
        "table-nothing",
        lambda w: partial(skill.table, {}, w.fine),
        OptionError,
        "There is no prediction to score;.*of name to DataArray",
    ),
    (
        "table-array",
        lambda w: partial(skill.table, w.fine, w.fine),
        OptionError,
        r"The predictions are a DataArray; give.*for instance \{'model': prediction\}",
    ),
    (
        "table-score",
        lambda w: partial(skill.table, {"a": w.fine}, w.fine, None, ("rmsd",)),
        OptionError,
        r"Unknown score: 'rmsd'\. Choose one of.*Did you mean 'rmse'",
    ),
    (
        "table-by",
        lambda w: partial(skill.table, {"a": w.fine}, w.fine, None, by="month"),
        OptionError,
        "Unknown way of grouping in by:.*one of 'season', 'region'",
    ),
    (
        "table-baseline",
        lambda w: partial(skill.table, {"a": w.fine}, w.fine, None, baselines=("zero",)),
        OptionError,
        r"Unknown baselines: \('zero',\)\. Choose one of 'auto'",
    ),
    (
        "describe-quantile",
        lambda w: partial(skill.describe, {"a": w.fine}, quantiles=(2,)),
        OptionError,
        r"Quantiles must lie between 0 and.*events: give e\.g\. 0\.95",
    ),
]
CASES = GEOSTAT + SKILL
