"""Options, seed, device and checkpoints of one training."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from xdownscale.config import DownscalerConfig
from xdownscale.models.training.data import Floats, TrainingData
from xdownscale.models.training.progress import Progress

if TYPE_CHECKING:
    from xdownscale.models.training.stages import Stages


_LEAST = 1e-6  # minutes


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """Options, seed, device and checkpoints of the training of one group.

    Attributes
    ----------
    config : DownscalerConfig
        Options.
    seed : int
        Of everything random.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    checkpoint_dir : path or None
        Folder for a checkpoint and a CSV table of losses after every epoch; training resumes from
        what is there.
    progress : Progress
        What a user sees of the training.
    fingerprint : str
        Of the data. A folder with another fingerprint or configuration is refused.
    encoder : mapping or None
        Weights ``encoder. ...`` of an earlier training, which stand in for the first stage.
    minutes : float or None
        Time for this group; None: ``training.max_minutes``.
    started : float
        When it began, by `time.monotonic`.
    """

    config: DownscalerConfig
    seed: int
    device: str = "auto"
    checkpoint_dir: str | Path | None = None
    progress: Progress = field(default_factory=lambda: Progress(shown=False))
    fingerprint: str = ""
    encoder: Mapping[str, Floats] | None = None
    minutes: float | None = None
    started: float = field(default_factory=time.monotonic)

    def share_of_time(self, share: float) -> float | None:
        """Return the minutes of a stage: its share, or what is left where that is less.

        Parameters
        ----------
        share : float
            Part of the time for the group.

        Examples
        --------
        >>> from xdownscale.config import preset
        >>> run = TrainingRun(config=preset("fast"), seed=0, minutes=10.0)
        >>> run.share_of_time(0.25)
        2.5
        >>> late = TrainingRun(config=preset("fast"), seed=0, minutes=10.0, started=-1e9)
        >>> late.share_of_time(0.25) < 1e-3  # a stage makes one update at least
        True
        """
        minutes = self.config.training.max_minutes if self.minutes is None else self.minutes
        if minutes is None:
            return None
        left = minutes - (time.monotonic() - self.started) / 60
        return max(min(share * minutes, left), _LEAST)

    def stages(self, data: TrainingData) -> Stages:
        """Check the data and return the stages of this run.

        Raises
        ------
        DataError
            If there is no time step to train on.
        OptionError
            If the device is unknown or not there.
        ModelMismatchError
            If the folder belongs to another training.
        StorageError
            If the folder cannot be written.
        """
        from xdownscale.models.device import resolve_device
        from xdownscale.models.training.checkpoint import Checkpoints
        from xdownscale.models.training.stages import Stages, check_targets, training_fingerprint

        device = resolve_device(self.device)
        check_targets(data, self.config)
        store = None
        if self.checkpoint_dir is not None:
            named = training_fingerprint(data, self.config, self.seed, self.fingerprint)
            store = Checkpoints(self.checkpoint_dir, named)
        return Stages(self, data, device, store)
