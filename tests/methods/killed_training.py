"""A training that kills itself; run as a script by the tests that take it up again.

python killed_training.py FOLDER STAGE EPOCH MOMENT
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def killed_training(folder: str, stage: str, epoch: int, moment: str) -> None:
    """Train, and end by SIGKILL at an epoch: in its midst, or while its checkpoint is written."""
    import torch

    from records import small_arrays, small_config
    from xdownscale import methods
    from xdownscale.models.training.run import TrainingRun
    from xdownscale.models.training.tasks import Denoise, Forecast

    torch.set_num_threads(1)
    kind = {"pretrain": Forecast, "denoise": Denoise}[stage]
    loss, replace, epochs = kind.loss, Path.replace, {"begun": 0, "closed": 0}

    def dying_loss(self, batch, generator):
        if torch.is_grad_enabled() and epochs["closed"] == epoch - 1 and moment == "midst":
            epochs["begun"] += 1
            if epochs["begun"] == (2 if stage == "denoise" else 1):
                os.kill(os.getpid(), signal.SIGKILL)
        return loss(self, batch, generator)

    def dying_replace(self, target):
        if self.stem == stage:
            epochs["closed"] += 1
            if epochs["closed"] == epoch and moment == "writing":
                os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)

    kind.loss, Path.replace = dying_loss, dying_replace
    config = small_config()
    run = TrainingRun(config=config, seed=3, device="cpu", checkpoint_dir=folder)
    methods.find(config.method).train(small_arrays(), run)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    killed_training(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
