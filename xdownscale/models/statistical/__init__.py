"""Statistical downscaling without networks: numpy and SciPy alone, neither torch nor labels.

Point estimates are `Driver`, `Bias`, `QuantileMapping` and `Ridge`; `choose_mean` takes the one
with the smallest held-out error. Members of an ensemble come from `Dressing` (residual fields of
similar training times), `Gaussian` (correlated noise) and `Analogues` (fields of similar training
times). All of them work on arrays whose rows are time steps in chronological order; NaN is missing.
"""

from xdownscale.models.statistical.analogues import Analogues
from xdownscale.models.statistical.blocks import cross_predict, time_blocks
from xdownscale.models.statistical.choice import MEANS, Choice, choose_mean
from xdownscale.models.statistical.dressing import Dressing
from xdownscale.models.statistical.ensembles import fair_crps
from xdownscale.models.statistical.gaussian import Gaussian
from xdownscale.models.statistical.interpolated import Bias, Driver, QuantileMapping
from xdownscale.models.statistical.marginal import Marginal
from xdownscale.models.statistical.predictors import Predictors
from xdownscale.models.statistical.ridge import Ridge

__all__ = [
    "MEANS",
    "Analogues",
    "Bias",
    "Choice",
    "Dressing",
    "Driver",
    "Gaussian",
    "Marginal",
    "Predictors",
    "QuantileMapping",
    "Ridge",
    "choose_mean",
    "cross_predict",
    "fair_crps",
    "time_blocks",
]
