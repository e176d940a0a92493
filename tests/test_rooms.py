"""A newcomer's questions, and the file that answers each: a search among file names finds it.

Each row of `ANSWERS` has

* the question;
* the word that a newcomer searches for (``find xdownscale | grep -i word``);
* the file that answers;
* a name that stands in that file: the function, class or key that one looks for;
* where a search for the word leads to the file: ``NAME``, its path; ``LINE``, only the first line
  of its docstring; ``TEXT``, neither, so that one has to search the code itself.

Who renames a file changes its row. A new file gets a row if a newcomer would ask for it.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

import xdownscale as xd

PACKAGE = Path(xd.__file__).parent
NAME = "the file's path"
LINE = "the first line of its docstring"
TEXT = "its code alone"
CROWD = 4  # files with the word in their names: with more, a search leads nowhere


class Answer(NamedTuple):
    question: str
    word: str
    file: str
    symbol: str
    found: str = NAME


ANSWERS = [
    Answer("Where is the EMA of the weights?", "ema", "models/training/ema.py", "decay"),
    Answer("Where is early stopping?", "callback", "models/training/callbacks.py", "patience"),
    Answer("Where is the optimiser?", "optimizer", "models/training/optimizer.py", "AdamW"),
    Answer(
        "Where is the Lightning module?",
        "lightning",
        "models/training/lightning_module.py",
        "training_step",
    ),
    Answer("Where is DDP?", "distributed", "models/training/distributed.py", "ddp"),
    Answer("Where are batches prefetched?", "prefetch", "models/training/prefetch.py", "thread"),
    Answer(
        "Where is the learning-rate schedule?", "lr", "models/training/lr_schedule.py", "cosine"
    ),
    Answer("Where are checkpoints written?", "checkpoint", "models/training/checkpoint.py", "csv"),
    Answer("Where are the losses?", "loss", "models/training/losses.py", "almost_fair_crps"),
    Answer("Where is DPM-Solver++?", "sampler", "models/diffusion/samplers.py", "dpmpp_2m"),
    Answer("Where is Heun's method?", "sampler", "models/diffusion/samplers.py", "heun"),
    Answer("Where is DDIM?", "sampler", "models/diffusion/samplers.py", "ddim"),
    Answer(
        "Where is the preconditioning of Karras et al.?",
        "precondition",
        "models/diffusion/preconditioning.py",
        "preconditioning",
    ),
    Answer("Where is the noise schedule?", "schedule", "models/diffusion/schedules.py", "Schedule"),
    Answer(
        "Where is noise correlated in time?",
        "temporal_noise",
        "models/diffusion/temporal_noise.py",
        "fit_shares",
    ),
    Answer("Where is ridge regression?", "ridge", "models/statistical/ridge.py", "class Ridge"),
    Answer("Where are analogues?", "analogue", "models/statistical/analogues.py", "Analogues"),
    Answer("Where is dressing?", "dressing", "models/statistical/dressing.py", "Dressing"),
    Answer("Where is ASDM, the model of single pixels?", "asdm", "methods/asdm.py", "target_day"),
    Answer("Where is the U-Net?", "unet", "models/networks/unet.py", "Denoiser"),
    Answer(
        "Where is the KL divergence of latent variables?",
        "latent",
        "models/networks/latent.py",
        "def kl",
    ),
    Answer(
        "Where is the variational autoencoder's network?",
        "variational",
        "models/networks/variational.py",
        "VariationalNetworks",
    ),
    Answer(
        "What makes results independent of the batch?",
        "batch",
        "models/networks/batch_invariance.py",
        "RowLinear",
    ),
    Answer("Where are large domains tiled?", "tiling", "models/sampling/tiling.py", "halo"),
    Answer("How much memory is free?", "memory", "models/sampling/memory.py", "available_memory"),
    Answer("Where is the device chosen?", "device", "models/device.py", "resolve_device"),
    Answer("Where is the drift alarm?", "drift", "fitting/drift.py", "Alarm"),
    Answer("Where is a model fitted?", "fit.py", "fitting/fit.py", "def "),
    Answer("Where are predictions written to Zarr?", "zarr", "prediction/zarr.py", "open_store"),
    Answer("What makes a Zarr run resumable?", "manifest", "prediction/manifest.py", "json"),
    Answer("Where are lazy predictions cut into pieces?", "chunk", "prediction/chunks.py", "dask"),
    Answer("Where are coarse means conserved?", "constraint", "prediction/constraints.py", "apply"),
    Answer("Where do regions blend?", "blend", "prediction/blending.py", "Blend"),
    Answer("Where are malloc settings changed?", "malloc", "prediction/malloc.py", "MALLOC"),
    Answer(
        "Where are quantiles mapped?",
        "quantile_mapping",
        "preprocessing/quantile_mapping.py",
        "QuantileMap",
    ),
    Answer("Where are records validated?", "valid", "preprocessing/validation.py", "check_pair"),
    Answer("Where are gaps imputed?", "imput", "preprocessing/imputation.py", "fill_gaps"),
    Answer(
        "Where are static fields?", "static", "preprocessing/static_features.py", "static_fields"
    ),
    Answer(
        "Where are calendar features?", "calendar", "preprocessing/calendar_features.py", "Calendar"
    ),
    Answer("Where are units compared?", "units", "core/units.py", "same_units"),
    Answer("Where are missing values counted?", "missing", "core/missing.py", "missing_share"),
    Answer("Where are time axes matched?", "time", "core/time.py", "match_times"),
    Answer("Where are grids found to be the same?", "grid", "core/grids.py", "same_grid"),
    Answer("Where are area weights?", "area", "core/grids.py", "cell_areas", LINE),
    Answer("Where are records normalized?", "normaliz", "core/normalization.py", "Scaling"),
    Answer(
        "Where is the twin's turbulence?", "turbulence", "datasets/twin/turbulence.py", "Turbulence"
    ),
    Answer(
        "Which part of the twin can be predicted?",
        "predictable",
        "datasets/twin/predictable.py",
        "Predictable",
    ),
    Answer("Where is the log10 transform?", "transform", "core/normalization.py", "log10", LINE),
    Answer("Where are patches stitched?", "patches", "patches/arrays.py", "Stitcher"),
    Answer("Where are baselines?", "baseline", "skill/baselines.py", "climatology"),
    Answer("Where is the CRPS?", "score", "skill/_scores.py", "def crps"),
    Answer(
        "Where is the energy score?", "multivariate", "skill/_multivariate.py", "def energy_score"
    ),
    Answer(
        "Where is spread against error by scale?",
        "scale",
        "skill/_scales.py",
        "def spread_skill_by_scale",
    ),
    Answer("Where are semivariogram models?", "variogram", "core/variogram_models.py", "spherical"),
    Answer("Where is kriging?", "kriging", "models/statistical/kriging.py", "def solve"),
    Answer("Where are power spectra?", "spectrum", "geostat/spectrum.py", "power_spectrum"),
    Answer("Where is the structure tensor?", "structure", "geostat/structure.py", "anisotropy"),
    Answer("Where is the Wasserstein distance?", "wasserstein", "geostat/wasserstein.py", "pooled"),
    Answer("Where is the model card written?", "model_card", "io/hub/model_card.py", "licence"),
    Answer("Where are models downloaded?", "download", "io/hub/download.py", "sha256"),
    Answer("Where is the format of a model file?", "container", "io/container.py", "zip"),
    Answer("Where is a model saved?", "serializ", "io/serialization.py", "def save"),
    Answer("Where is the command line?", "cli", "cli/_app.py", "def main"),
    Answer("Where are commands read from YAML?", "configuration", "cli/_configuration.py", "yaml"),
    Answer("Where are CF conventions kept?", "cf", "io/cf.py", "Conventions"),
]
each = pytest.mark.parametrize("answer", ANSWERS, ids=lambda a: a.question)


def named(word: str) -> list[str]:
    """Return the files of the package in whose path a word stands, or begins a longer one."""
    paths = (path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
    begins = re.compile(rf"(?:^|[/_]){re.escape(word)}", re.IGNORECASE)
    return sorted(path for path in paths if begins.search(path))


def first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].lower()


def place(answer: Answer) -> str:
    """Return where a search for the word of a question leads to its answer."""
    if answer.file in named(answer.word):
        return NAME
    return LINE if answer.word in first_line(PACKAGE / answer.file) else TEXT


@each
def test_the_answer_is_there(answer: Answer) -> None:
    path = PACKAGE / answer.file
    assert path.is_file(), f"{answer.question} {answer.file} is not there: change its row"
    text = path.read_text(encoding="utf-8").lower()
    assert answer.symbol.lower() in text, f"{answer.file} does not name {answer.symbol}"


@each
def test_a_search_for_the_word_leads_there(answer: Answer) -> None:
    found = place(answer)
    assert found == answer.found, f"{answer.question} {answer.word!r} is found by {found}"
    others = named(answer.word)
    if found == NAME:
        crowded = [path for path in others if Path(path).parent != Path(answer.file).parent]
        assert len(crowded) <= CROWD, f"{answer.word!r} is in the names of {others}"
    elif found == TEXT:
        assert not others, f"{answer.question} {others} would answer it by name: change its row"


def test_most_questions_are_answered_by_a_file_name() -> None:
    hidden = [a.question for a in ANSWERS if a.found != NAME]
    assert len(ANSWERS) >= 30
    assert len({a.question for a in ANSWERS}) == len(ANSWERS)
    assert len(hidden) <= 4, hidden
