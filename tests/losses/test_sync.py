from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lipsync_cli.losses.sync import (
    CLOSEST,
    EPSILON,
    LOWEST,
    SyncScores,
    lip_sync_loss,
    stabilized_sync_loss,
    sync_scores,
)


def scores(x: float, y: float, d: float) -> SyncScores:
    return SyncScores(*(torch.tensor([v], dtype=torch.float64) for v in (x, y, d)))


def equation_3(x: float, y: float, d: float) -> float:
    """As the paper prints it."""
    missed, room = abs(x - y), abs(y - d)
    return -math.log(1 - (missed + EPSILON) / (missed + room + EPSILON))


@pytest.mark.parametrize(
    ("x", "y", "d"), [(0.2, 0.7, 0.1), (0.9, 0.7, 0.1), (0.7, 0.7, 0.1), (0.3, 0.4, 0.8), (-0.5, 0.2, -0.1)]
)
def test_stabilized_sync_is_equation_3_away_from_its_pole(x, y, d):
    assert stabilized_sync_loss(scores(x, y, d)).item() == pytest.approx(equation_3(x, y, d), rel=1e-6)


def test_stabilized_sync_by_hand():
    # log((0.5 + 0.6) / 0.6)
    assert stabilized_sync_loss(scores(0.2, 0.7, 0.1)).item() == pytest.approx(math.log(11 / 6), abs=1e-5)


def test_stabilized_sync_is_a_mean_over_samples():
    both = SyncScores(torch.tensor([0.2, 0.7]), torch.tensor([0.7, 0.7]), torch.tensor([0.1, 0.1]))
    assert stabilized_sync_loss(both).item() == pytest.approx(math.log(11 / 6) / 2, abs=1e-5)


def test_the_score_of_the_real_video_costs_nothing():
    assert stabilized_sync_loss(scores(0.7, 0.7, 0.1)).item() == pytest.approx(0, abs=1e-5)


def test_a_reference_that_scores_like_the_target_makes_the_same_miss_cost_more():
    assert stabilized_sync_loss(scores(0.5, 0.7, 0.6)) > stabilized_sync_loss(scores(0.5, 0.7, 0.1))


@pytest.mark.parametrize("d", [0.7, 0.7 + 1e-7, 0.7 - 1e-4, 0.7 + CLOSEST / 2])
@pytest.mark.parametrize("x", [0.7, 0.7 + 1e-7, 0.2, 1.0])
def test_at_and_near_the_pole_the_loss_is_that_of_the_clamp(x, d):
    """Eq. 3 itself is infinite at y = d, even for x = y."""
    at_pole = stabilized_sync_loss(scores(x, 0.7, d)).item()
    assert at_pole == pytest.approx(math.log((abs(x - 0.7) + EPSILON + CLOSEST) / CLOSEST), abs=1e-9)


@pytest.mark.parametrize("d", [0.7, 0.7 + 1e-7, 0.6, -0.2])
@pytest.mark.parametrize("x", [0.2, 0.7 - 1e-6, 0.7, 0.7 + 1e-6, 1.0])
def test_the_gradient_is_finite_bounded_and_towards_y(x, d):
    given = scores(x, 0.7, d)
    given.x.requires_grad_()
    stabilized_sync_loss(given).backward()
    (gradient,) = given.x.grad.tolist()
    room = max(abs(0.7 - d), CLOSEST)
    direction = (x > 0.7) - (x < 0.7)
    assert gradient == pytest.approx(direction / (abs(x - 0.7) + EPSILON + room))
    assert abs(gradient) <= 1 / CLOSEST


def test_only_the_generated_score_has_a_gradient():
    given = SyncScores(*(torch.rand(3, requires_grad=True) for _ in range(3)))
    stabilized_sync_loss(given).backward()
    assert given.x.grad is not None
    assert given.y.grad is None
    assert given.d.grad is None


def test_stabilized_sync_gradient_is_that_of_finite_differences():
    y, d = torch.tensor([0.6, 0.5]).double(), torch.tensor([0.1, 0.5]).double()
    x = torch.tensor([0.2, 0.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: stabilized_sync_loss(SyncScores(x, y, d)), x)


def brightness(lips: Tensor, mel: Tensor) -> Tensor:
    """A scorer that can be reckoned by hand."""
    return lips.mean(dim=(1, 2, 3, 4)) * mel.mean(dim=(1, 2, 3))


def test_scores_are_those_of_equation_4():
    lips = [torch.full((2, 5, 3, 4, 8), v, requires_grad=True) for v in (0.2, 0.6, 0.4)]
    found = sync_scores(
        brightness, torch.full((2, 1, 80, 16), 0.5), generated=lips[0], target=lips[1], reference=lips[2]
    )
    for score, expected in zip((found.x, found.y, found.d), (0.1, 0.3, 0.2), strict=True):
        torch.testing.assert_close(score.detach(), torch.full((2,), expected))
    assert found.x.requires_grad
    assert not found.y.requires_grad
    assert not found.d.requires_grad


def test_lip_sync_is_cross_entropy_with_one():
    x = torch.tensor([0.25, 0.5, 1.0])
    expected = torch.nn.functional.binary_cross_entropy(x, torch.ones(3))
    torch.testing.assert_close(lip_sync_loss(x), expected)
    assert lip_sync_loss(x).item() == pytest.approx((math.log(4) + math.log(2)) / 3)


@pytest.mark.parametrize("x", [LOWEST, 0.0, -0.3, -1.0])
def test_lip_sync_stays_finite_below_zero_and_leads_out(x):
    cosine = torch.tensor([x], dtype=torch.float64, requires_grad=True)
    loss = lip_sync_loss(cosine)
    loss.backward()
    assert loss.item() == pytest.approx(-math.log(LOWEST) + (LOWEST - x) / LOWEST)
    if x < LOWEST:
        assert cosine.grad.item() == pytest.approx(-1 / LOWEST)


def test_lip_sync_has_no_kink_where_its_tangent_begins():
    x = torch.tensor([LOWEST + 1e-4, LOWEST - 1e-4], dtype=torch.float64, requires_grad=True)
    lip_sync_loss(x).backward()
    above, below = x.grad.tolist()
    assert above == pytest.approx(below, rel=0.02)
    assert torch.autograd.gradcheck(lip_sync_loss, x)
