"""Method "dressed_unet": regressions by field U-Nets, plus residual fields of similar times.

1. A small U-Net is trained to forecast the coarse record; its encoder feeds all networks.
2. Regressions of the conditional mean are trained on blocks of time that leave one out each
   (cross-fitting), all known time steps but the test part; the mean is the average of all of them.
   They are trained for 48 epochs or for 16, whichever is better on the first block left out.
3. What the regressions add to their first guess is multiplied by one number for each target,
   between 0 and 1, which has the smallest error on the blocks that they did not see: what they only
   remember is taken back. Their average holds less of that than each of them, and keeps more.
4. The residual at each known time step is that of a regression that did not see its block. The
   average of all has smaller errors than one of them; residuals are multiplied by what the
   corrections' disagreement says of that.
5. A member adds the residual field of one of the k known times whose means are nearest in 6
   principal components; k has the smallest CRPS with residuals from other blocks.

A member's residual is a true field, so its structure is true at every scale; generating one takes
the mean of the time step, which all members share, and an addition.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from xdownscale.config import DownscalerConfig
from xdownscale.core.errors import OptionError
from xdownscale.methods._field_unet import (
    DATA,
    NETWORK,
    SAMPLING,
    FieldTraining,
    FieldUNetMethod,
)
from xdownscale.methods._statistical import known_part, known_rows
from xdownscale.methods.base import Floats, Trained
from xdownscale.models.networks.channels import Sizes
from xdownscale.models.sampling.request import SampleRequest
from xdownscale.models.statistical import Dressing
from xdownscale.models.statistical.predictors import entry, prefixed, under
from xdownscale.models.training.data import Rows, TrainingData, corrected_fields, read_rows
from xdownscale.models.training.plan import PlannedStage

if TYPE_CHECKING:
    from xdownscale.methods._statistical import Records
    from xdownscale.models.networks.field_unet import FieldNet, FieldNetworks
    from xdownscale.models.sampling.fields import FieldSampler, Guess
    from xdownscale.models.training.run import TrainingRun

REGRESSION_SHARE = 0.85  # of max_minutes
LONG, SHORT = 48, 16  # epochs that are tried
LEAST_LEFT = 0.25  # of the mean square, when regressions are averaged; an estimate may be below 0
AVERAGED = 120  # time steps at which the regressions are averaged to see how much they agree


class DressedUNet(FieldUNetMethod):
    """Regressions by field U-Nets, plus residual fields of similar times."""

    name = "dressed_unet"
    summary = "Regression by the field U-Net, plus residual fields of similar days; one evaluation"
    uses: ClassVar[Mapping[str, frozenset[str]]] = {
        "data": DATA,
        "network": NETWORK,
        "diffusion": frozenset({"loss", "folds"}),
        "training": frozenset({"mean_epochs", "lag_noise", "lag_dropout"}),
        "sampling": SAMPLING,
    }

    holds_out_validation = False

    def knows_cells(self, config: DownscalerConfig) -> bool:
        """Return True: statistics are kept for every cell."""
        return True

    def stitchings(self, config: DownscalerConfig) -> tuple[str, ...]:
        """Return whole fields."""
        return ("whole",)

    def regressions(self, config: DownscalerConfig) -> int:
        """Return one regression for each block of time."""
        return config.diffusion.folds

    def check(self, config: DownscalerConfig) -> None:
        """Raise for a single block, and for an encoder that is trained further."""
        super().check(config)
        if config.diffusion.folds < 2:
            raise OptionError(
                f"Method {self.name!r} measures residuals on time steps that a regression was not "
                f"trained on: diffusion.folds is {config.diffusion.folds}; give 2 or more."
            )
        if config.network.encoder == "finetuned":
            raise OptionError(
                "encoder 'finetuned' does not suit cross-fitting: each regression must know "
                "nothing of the fine fields that its residual is measured on, and one encoder "
                "serves them all. Use 'frozen' or 'none'."
            )

    def train(self, data: TrainingData, run: TrainingRun) -> Trained:
        """Train the regressions on all but one block of time each, and keep their residuals."""
        return self.train_out_of_fold(data, run)[0]

    def train_out_of_fold(
        self, data: TrainingData, run: TrainingRun, records: Records | None = None
    ) -> tuple[Trained, Rows, Floats]:
        """Train as `train` does.

        Parameters
        ----------
        data, run
            As for `train`.
        records : Records, optional
            The known time steps, where they were read before.

        Returns
        -------
        trained : Trained
        rows : ndarray of int (n,)
            Time steps whose residuals are kept.
        means : ndarray (n, target, y, x)
            Their means, by regressions that were not trained on their block of time.
        """
        from xdownscale.models.training.residual import conditional_means, cross_fitted_means
        from xdownscale.models.training.tasks import fold_of

        data = _of_known(data)
        known = data.train_targets
        stages = run.stages(data)
        training = FieldTraining(stages, self, records)
        networks = training.networks
        count = training.regressions
        folds = fold_of(known, count)
        train_regressions(training, known, folds)
        rows = known_part(known, data)
        run.progress.doing("residuals of held-out blocks")
        means = cross_fitted_means(stages, networks, folds, count, known[:0])
        means = np.stack([means[int(row)] for row in rows])
        fine = np.where(data.mask, read_rows(data.fine, rows), np.float32(np.nan))
        corrected = corrected_fields(stages.data, rows)
        added = means - corrected
        some = np.arange(len(rows))[:: -(-len(rows) // AVERAGED)]
        together = conditional_means(stages, networks, rows[some]) - corrected[some]
        share = kept_share(fine - corrected, added)
        relative = _relative(together, added[some])
        share_together = kept_share(fine - corrected, added, relative)
        for net in networks.regressors:
            net.scale_outputs(share_together)
        means = np.asarray(corrected + share[:, None, None] * added, np.float32)
        dressing = Dressing.fit(means, fine, censored=data.censored)
        left = left_error(fine - corrected, added, share_together, relative)
        single = left_error(fine - corrected, added, share)
        ratio = np.where(single > 0, left / np.where(single > 0, single, 1), 1)
        smaller = np.sqrt(np.clip(ratio, LEAST_LEFT, 1))
        residuals = np.asarray(dressing.residuals * smaller[:, None, None], np.float32)
        dressing = replace(dressing, residuals=residuals)
        state = training.state() | prefixed(dressing.to_state(), "dressing")
        state["dressing.kept_share"] = share_together
        state["dressing.error"] = np.array([np.sqrt(np.nanmean(np.square(fine - means)))], "f4")
        return Trained(state=state, history=stages.history()), rows, means

    def plan(self, data: TrainingData, run: TrainingRun) -> list[PlannedStage]:
        """Return the stages, which see all known time steps."""
        return super().plan(_of_known(data), run)

    def planned(self, training: FieldTraining) -> list[PlannedStage]:
        """Return the regressions, all for the larger number of epochs."""
        from xdownscale.models.training.tasks import fold_of

        known = training.stages.data.train_targets
        return _planned(training, known, fold_of(known, training.regressions))

    def describe(self, config: DownscalerConfig, state: Mapping[str, Floats]) -> str:
        """Describe the networks, their error on held-out blocks, and the residual fields."""
        error = float(state["dressing.error"][0])
        kept = ", ".join(f"{100 * each:.0f} %" for each in state["dressing.kept_share"].tolist())
        return (
            f"{super().describe(config, state)}, {kept} of what the networks add kept, "
            f"held-out RMSE {error:.3f}, "
            f"residuals of {int(state['dressing.neighbours'][0])} of "
            f"{len(state['dressing.residuals'])} time steps"
        )

    def sampler(
        self, networks: FieldNetworks, state: Mapping[str, Floats], guess: Guess | None
    ) -> DressedFieldSampler:
        """Return a sampler of the mean plus residual fields."""
        from xdownscale.models.sampling.fields import FieldSampler

        own = under(state, "dressing")
        targets, *shape = own["residuals"].shape[1:]
        dressing = Dressing.from_state(own, targets, (shape[0], shape[1]))
        return DressedFieldSampler(FieldSampler(networks, first_guess=guess), dressing)

    def check_state(
        self, state: Mapping[str, Floats], config: DownscalerConfig, sizes: Sizes
    ) -> None:
        """Check the weights, and the residual fields."""
        super().check_state(state, config, sizes)
        entry(state, "dressing.kept_share", (sizes.targets,))
        entry(state, "dressing.error", (1,))
        own = under(state, "dressing")
        shape = entry(own, "residuals", (None, sizes.targets, None, None)).shape[-2:]
        Dressing.from_state(own, sizes.targets, (shape[0], shape[1]))


def train_regressions(training: FieldTraining, known: Rows, folds: Rows) -> None:
    """Train each regression on the time steps outside its block.

    Where ``training.mean_epochs`` is not given, the first one is trained for 48 epochs and for 16,
    and the number that has the smaller error on the block that it did not see is taken for all:
    noisy records, such as rain, are soon learnt by heart.
    """
    stages = training.stages
    first, *others = _planned(training, known, folds)
    epochs = first.epochs
    stages.train(first.task, first.share, epochs)
    if training.config.training.mean_epochs is None:
        short, *others = others
        done = len(stages.histories[-1]["epoch"])
        if done > (SHORT + LONG) / 2:  # else the time is too short for a choice
            stages.train(short.task, short.share, short.epochs)
            own = known[folds == 0]
            nets = [each.task.network.net for each in (short, first)]
            errors = [block_error(training, net, own) for net in nets]
            if errors[0] < errors[1]:
                nets[1].load_state_dict(nets[0].state_dict())
                epochs = SHORT
    for each in others:
        stages.train(each.task, each.share, epochs)


def _planned(training: FieldTraining, known: Rows, folds: Rows) -> list[PlannedStage]:
    """Return the regressions, the first one also for fewer epochs unless they are given."""
    from xdownscale.models.training.tasks import Regress

    given = training.config.training.mean_epochs
    nets = list(training.networks.regressors)
    unit = REGRESSION_SHARE / (len(nets) + (SHORT / LONG if given is None else 0))
    rows = [known[folds != k] if len(nets) > 1 else known for k in range(len(nets))]

    def planned(k: int, net: FieldNet, epochs: int, share: float, name: str) -> PlannedStage:
        task = training.task(Regress, name, 10 + k, net, rows=rows[k])
        return PlannedStage(task=task, epochs=epochs, share=share, kind="regress")

    stages = [planned(k, net, given or LONG, unit, f"regress{k}") for k, net in enumerate(nets)]
    if given is None:
        copied = copy.deepcopy(nets[0])
        stages.insert(1, planned(0, copied, SHORT, unit * SHORT / LONG, "regress0_short"))
    return stages


def _of_known(data: TrainingData) -> TrainingData:
    """Return the data with all known time steps to train on, and none held out."""
    known = known_rows(data)
    return replace(data, train_targets=known, stop_targets=known[:0], tune_targets=known[:0])


def block_error(training: FieldTraining, net: FieldNet, rows: Rows) -> float:
    """Return the mean square error of a regression, after the share that is kept, over targets."""
    from xdownscale.models.training.residual import conditional_means, with_regressions

    data = training.stages.data
    corrected = corrected_fields(data, rows)
    fine = np.where(data.mask, read_rows(data.fine, rows), np.float32(np.nan))
    means = conditional_means(training.stages, with_regressions(training.networks, [net]), rows)
    added = means - corrected
    return float(left_error(fine - corrected, added, kept_share(fine - corrected, added)).sum())


def _relative(some: Floats, other: Floats) -> Floats:
    """Return the mean square of fields (n, target, y, x) over that of others, for each target."""
    above, below = (np.square(each, dtype=np.float64).mean((0, 2, 3)) for each in (some, other))
    return np.asarray(above / np.where(below > 0, below, 1))


def kept_share(residual: Floats, change: Floats, relative: Any = 1.0) -> Floats:
    r"""Return the share of a correction that has the smallest squared error, for each target.

    .. math:: \alpha = \min(1, \max(0, \langle r, c \rangle / (q \langle c, c \rangle)))

    Parameters
    ----------
    residual : ndarray (n, target, y, x)
        Truth minus what is corrected; NaN where the truth is missing.
    change : ndarray (n, target, y, x)
        The correction c, made without knowledge of that truth.
    relative : float or ndarray (target,)
        q: mean square of the correction that the share is of, over that of `change`. An average of
        corrections like `change` has the same covariance with the residual and is smaller.

    Examples
    --------
    >>> true = np.random.default_rng(0).normal(size=(99, 1, 8, 8))
    >>> noise = np.random.default_rng(1).normal(size=true.shape)
    >>> kept_share(true, true + noise).round(1)
    array([0.5], dtype=float32)
    >>> kept_share(true, true + noise, relative=0.75).round(1)  # half as much noise
    array([0.7], dtype=float32)
    """
    axes = (0, 2, 3)
    known = np.isfinite(residual)
    both = np.where(known, residual * change, 0).sum(axes, dtype=np.float64)
    own = relative * np.where(known, np.square(change), 0).sum(axes, dtype=np.float64)
    return np.asarray(np.clip(both / np.where(own > 0, own, 1), 0, 1), np.float32)


def left_error(
    residual: Floats, change: Floats, share: Floats, relative: Any = 1.0
) -> NDArray[np.float64]:
    r"""Return the mean square that is left after a share of a correction, for each target.

    .. math:: \langle r, r \rangle - 2 \alpha \langle r, c \rangle + \alpha^2 q \langle c, c \rangle

    Parameters
    ----------
    residual, change, relative
        As for `kept_share`.
    share : ndarray (target,)
        The share.

    Examples
    --------
    >>> true = np.random.default_rng(0).normal(size=(99, 1, 8, 8))
    >>> noise = np.random.default_rng(1).normal(size=true.shape)
    >>> left_error(true, true + noise, np.float32([0.5])).round(1)
    array([0.5])
    """
    axes = (0, 2, 3)
    known = np.isfinite(residual)
    each = [
        np.where(known, product, 0).sum(axes, dtype=np.float64) / np.maximum(known.sum(axes), 1)
        for product in (np.square(residual), residual * change, np.square(change))
    ]
    return np.asarray(each[0] - 2 * share * each[1] + share**2 * relative * each[2])


class DressedFieldSampler:
    """Adds residual fields of similar times to the mean of the networks.

    Parameters
    ----------
    mean : FieldSampler
        Samples the mean.
    dressing : Dressing
        Residual fields.
    """

    def __init__(self, mean: FieldSampler, dressing: Dressing) -> None:
        self.mean = mean
        self.dressing = dressing

    def sample(self, request: SampleRequest) -> Floats:
        """Return fields (realization, n, target, y, x) in scaled units."""
        means = self.mean.sample(replace(request, realizations=(0,)))[0]
        near = [self.dressing.similar(mean) for mean in means]
        if request.config.sampling.sampler == "mean":
            return np.stack([self.dressing.mean(each) for each in near])[None]
        fields = [
            self.dressing.member(
                near[item], request.seed, realization, int(request.conditions.keys[item])
            )
            for realization, item in request.fields()
        ]
        return np.stack(fields).reshape(-1, *means.shape)
