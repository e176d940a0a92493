"""Command ``fit``: train a model on a coarse and a fine record."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from xdownscale.cli import _options as options
from xdownscale.cli import _records as records
from xdownscale.cli import _results as results
from xdownscale.cli._app import Command
from xdownscale.cli._configuration import read_config


@click.command(
    cls=Command,
    short_help="Train a model on a coarse and a fine record.",
    examples=[
        "xdownscale fit merra2.nc g5nr.nc -o dust.xd --static elevation.nc",
        "xdownscale fit 'merra2/*.nc4' g5nr.zarr -o dust.xd --variable DUEXTTAU \\",
        "    --preset fast --set training.max_minutes=30 --checkpoint-dir checkpoints",
        "xdownscale fit merra2.nc g5nr.nc -o dust.xd --config run.yaml \\",
        "    --seasons DJF,MAM,JJA,SON --regions gulf=45,60,20,32",
    ],
)
@click.argument("coarse")
@click.argument("fine")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    required=True,
    help="Model file to write, such as dust.xd.",
)
@click.option("--static", metavar="FILE", help="Fields without time, such as elevation.")
@click.option(
    "--preset",
    metavar="NAME",
    help="auto (the default), fast, paper and others; see `xdownscale config --help`.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="YAML",
    help="Configuration: keys of a preset to change, as `xdownscale config` prints them.",
)
@click.option(
    "--set",
    "changes",
    type=options.Assignment(),
    multiple=True,
    help="A key of the configuration, such as training.max_minutes=5; repeat it for several. "
    "Counts more than --config.",
)
@options.variable_option(
    "Variable of the coarse record; repeat it for several drivers. Default: all with latitude, "
    "longitude and time."
)
@click.option(
    "--fine-variable",
    "fine_variables",
    multiple=True,
    metavar="NAME",
    help="Variable of the fine record; repeat it for several. Default: those of --variable that "
    "it has, else all.",
)
@click.option(
    "--driver",
    "drivers",
    type=options.Pairs(),
    metavar="FINE=COARSE",
    help="Which coarse variable is which fine one, where names do not tell.",
)
@click.option(
    "--seasons", metavar="NAMES", help="One model for each, such as DJF,MAM,JJA,SON. Default: one."
)
@options.regions_option
@options.transform_option
@options.seed_option
@options.device_option
@click.option(
    "--checkpoint-dir",
    type=click.Path(path_type=Path),
    help="Folder of checkpoints. After an interruption the same command goes on from them.",
)
@click.option(
    "--pairing",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Whether both records show the same weather: auto, paired or self.",
)
@click.option(
    "--outliers",
    default="raise",
    show_default=True,
    metavar="NAME",
    help="What to do about values that cannot be of a record: raise, mask or keep.",
)
@click.option(
    "--encoder", metavar="MODEL", help="Model, or name of a pretrained one, whose encoder to take."
)
@options.chunks_option
@options.quiet_option
def command(
    coarse: str,
    fine: str,
    output: Path,
    static: str | None,
    preset: str | None,
    config: Path | None,
    changes: tuple[tuple[str, Any], ...],
    variables: tuple[str, ...],
    fine_variables: tuple[str, ...],
    drivers: dict[str, Any] | None,
    seasons: str | None,
    regions: tuple[tuple[str, Any], ...],
    transform: str,
    seed: int,
    device: str,
    checkpoint_dir: Path | None,
    pairing: str,
    outliers: str,
    encoder: str | None,
    chunks: dict[str, Any] | None,
    quiet: bool,
) -> None:
    """Train a model on a COARSE and a short overlapping FINE record.

    COARSE and FINE are netCDF files, Zarr stores or quoted globs; several are separated by commas.
    The model goes to a file for `xdownscale predict`.

    Under srun each task trains for itself; give --set training.devices=N --set
    training.strategy=ddp, with N the number of tasks, to let them train one model together.
    """
    results.check_output(output)
    settings = read_config(preset, config, changes)
    _note_tasks(settings.training.devices)
    long = records.open_record(coarse, variables, chunks)
    short = records.open_record(fine, fine_variables or _shared(fine, variables), chunks)
    fields = None if static is None else records.open_record(static, static=True)
    base = None if encoder is None else results.open_model(encoder)
    from xdownscale.downscaler import fit

    with results.interruptible(_hint(checkpoint_dir)):
        model = fit(
            long,
            short,
            static=fields,
            preset=settings,
            seasons=options.words(seasons),
            regions=dict(regions) or None,
            transform=transform,
            seed=seed,
            device=device,
            checkpoint_dir=checkpoint_dir,
            progress=not quiet,
            drivers=drivers,
            pairing=pairing,
            encoder=base,
            outliers=outliers,
        )
        model.save(output)
    click.echo(repr(model))
    click.echo(f"Wrote {output}.", err=True)


def _shared(fine: str, variables: tuple[str, ...]) -> list[str]:
    """Return the variables of the coarse record that were named and that the fine one has."""
    if not variables:
        return []
    record = records.open_record(fine)
    known = [record.name] if not hasattr(record, "data_vars") else list(record.data_vars)
    return [name for name in variables if name in known]


def _hint(folder: Path | None) -> str:
    again = results.this_command()
    if folder is None:
        return (
            "No checkpoint was asked for, so nothing is kept. Add --checkpoint-dir FOLDER: then "
            "the same command goes on where it was stopped."
        )
    return f"Finished epochs are in {folder}. Go on with the same command:\n  {again}"


def _note_tasks(devices: int) -> None:
    """Say that tasks of srun train the same model, each for itself."""
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS", "1")
    if devices == 1 and tasks != "1" and os.environ.get("SLURM_PROCID", "0") == "0":
        click.echo(
            f"Note: srun runs this command in {tasks} tasks, and each trains the whole model for "
            "itself. To train it once, give srun --ntasks=1; to train together, see the help.",
            err=True,
        )
