from __future__ import annotations

import pytest
import torch

from xdownscale.errors import OptionError
from xdownscale.models.losses import masked_loss


@pytest.mark.parametrize(("kind", "expected"), [("mae", 2.0), ("mse", 5.0)])
def test_only_valid_pixels_count(kind, expected):
    target = torch.tensor([[[[1.0, 3.0, float("nan"), 100.0]]]])
    valid = torch.tensor([[[[True, True, False, False]]]])
    assert masked_loss(kind, torch.zeros(1, 1, 1, 4), target, valid).item() == expected


def test_nan_leaves_no_trace_in_the_gradient():
    prediction = torch.zeros(1, 1, 1, 2, requires_grad=True)
    target = torch.tensor([[[[1.0, float("nan")]]]])
    masked_loss("mse", prediction, target, target.isfinite()).backward()
    assert prediction.grad.tolist() == [[[[-2.0, 0.0]]]]


def test_nothing_valid_is_no_loss():
    nothing = torch.zeros(1, 1, 2, 2)
    assert masked_loss("mae", nothing + 1, nothing, nothing.bool()).item() == 0


def test_an_unknown_loss_is_refused():
    nothing = torch.zeros(1, 1, 2, 2)
    with pytest.raises(OptionError, match="Unknown loss: 'mea'"):
        masked_loss("mea", nothing, nothing, nothing.bool())
