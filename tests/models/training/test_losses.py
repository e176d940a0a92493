from __future__ import annotations

import pytest
import torch

from xdownscale.core.errors import OptionError
from xdownscale.models.training.losses import almost_fair_crps, masked_loss, pooled_crps


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


def test_fair_crps_is_that_of_scoringrules():
    import scoringrules

    generator = torch.Generator().manual_seed(0)
    members = torch.randn(5, 2, 1, 6, 7, generator=generator, dtype=torch.float64)
    target = torch.randn(2, 1, 6, 7, generator=generator, dtype=torch.float64)
    valid = torch.rand(target.shape, generator=generator) > 0.3
    for alpha, estimator in ((1.0, "fair"), (0.0, "nrg")):
        theirs = scoringrules.crps_ensemble(
            target[valid].numpy(), members[:, valid].numpy().T, estimator=estimator
        )
        ours = almost_fair_crps(members, target, valid, alpha)
        assert ours.item() == pytest.approx(theirs.mean(), rel=1e-12)


def test_two_members_by_hand():
    members = torch.tensor([1.0, 4.0]).view(2, 1, 1, 1, 1)
    target = torch.full((1, 1, 1, 1), 2.0)
    # (1 + 2) / 2 - (1 - 0.05 / 2) * 3 / 2
    expected = 1.5 - 0.975 * 1.5
    found = almost_fair_crps(members, target, target == 2, 0.95)
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_pooled_crps_is_the_mean_over_averages():
    generator = torch.Generator().manual_seed(1)
    members = torch.randn(2, 3, 1, 8, 8, generator=generator)
    target = torch.randn(3, 1, 8, 8, generator=generator)
    every = torch.ones_like(target, dtype=torch.bool)

    def averaged(x, side):
        return x.unflatten(-1, (-1, side)).unflatten(-3, (-1, side)).mean((-1, -3))

    expected = [
        almost_fair_crps(averaged(members, s), averaged(target, s), averaged(target, s) > -9)
        for s in (1, 2, 4, 8)
    ]
    found = pooled_crps(members, target, every)  # squares of 16 pixels are left out
    assert found.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-6)


def test_gaps_count_for_nothing():
    generator = torch.Generator().manual_seed(2)
    members = torch.randn(2, 1, 1, 8, 8, generator=generator)
    target = torch.randn(1, 1, 8, 8, generator=generator)
    valid = torch.rand(target.shape, generator=generator) > 0.4
    seen = []
    for hole in (torch.nan, 1e6):
        given = torch.where(valid, target, hole)
        moved = torch.where(valid, members, torch.full_like(members, hole if hole > 0 else 0.0))
        moved.requires_grad_()
        score = pooled_crps(moved, given, valid)
        score.backward()
        assert moved.grad.isfinite().all()
        assert (moved.grad[:, ~valid] == 0).all()
        seen.append(score.item())
    assert seen[0] == pytest.approx(seen[1], rel=1e-6)
    nothing = pooled_crps(members, target, torch.zeros_like(valid))
    assert nothing.item() == 0


def test_one_member_and_squares_that_do_not_fit_are_refused():
    target = torch.zeros(1, 1, 4, 6)
    with pytest.raises(OptionError, match="1 member is no ensemble"):
        almost_fair_crps(target[None], target, target == 0)
    with pytest.raises(OptionError, match=r"No square of \(8, 16\) pixels fits into .*\(4, 6\)"):
        pooled_crps(torch.stack([target, target]), target, target == 0, factors=(8, 16))


def test_the_true_spread_scores_best():
    # a proper score: of ensembles N(0, s^2), the one with the observations' own s is best
    generator = torch.Generator().manual_seed(3)
    draw = torch.randn(9, 1, 1, 200, 200, generator=generator)
    members, target = draw[:8], draw[8]
    every = torch.ones_like(target, dtype=torch.bool)
    scores = [almost_fair_crps(s * members, target, every, 1.0).item() for s in (0.7, 1.0, 1.4)]
    assert min(scores) == scores[1] == pytest.approx(1 / torch.pi**0.5, rel=0.01)


def test_pooling_sees_what_single_pixels_do_not():
    # members with the right distribution at each pixel, but whose neighbours go together
    generator = torch.Generator().manual_seed(4)
    white = torch.randn(5, 1, 1, 128, 128, generator=generator)
    target = white[4]
    coarse = torch.randn(4, 1, 1, 16, 16, generator=generator)
    patchy = coarse.repeat_interleave(8, -1).repeat_interleave(8, -2)
    every = torch.ones_like(target, dtype=torch.bool)
    alone = [pooled_crps(m, target, every, (1,)).item() for m in (white[:4], patchy)]
    pooled = [pooled_crps(m, target, every).item() for m in (white[:4], patchy)]
    assert alone[0] == pytest.approx(alone[1], rel=0.05)
    assert pooled[0] < 0.8 * pooled[1]


@pytest.mark.parametrize(("present", "counts"), [(1, False), (2, True), (3, True)])
def test_a_square_counts_where_half_of_its_pixels_do(present, counts):
    # one square of pixels without error, one of which some have an error of 4
    target, valid = torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4, dtype=torch.bool)
    valid[..., 2:] = True
    valid[0, 0].view(-1)[[0, 1, 4][:present]] = True
    members = torch.where(torch.arange(4) < 2, 4.0, 0.0).expand(2, 1, 1, 2, 4)
    found = pooled_crps(members, target, valid, factors=(2,)).item()
    assert found == pytest.approx((4 + 0) / 2 if counts else 0)
