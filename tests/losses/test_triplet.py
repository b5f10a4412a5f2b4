from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lipsync_cli.losses.triplet import (
    CLOSEST,
    EPSILON,
    adaptive_triplet_loss,
    feature_distance,
    vanilla_triplet_loss,
)


def itself(pictures: Tensor) -> list[Tensor]:
    """Features whose deepest map is the picture; the shallow one must not count."""
    return [torch.full_like(pictures, 9.0) * pictures, pictures]


def grey(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None, None, None].expand(-1, 3, 4, 4).clone()


def test_distance_is_the_root_mean_square_of_each_sample():
    first, second = torch.zeros(2, 2), torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    torch.testing.assert_close(
        feature_distance(first, second), torch.tensor([(25 / 2) ** 0.5, 0.0]), check_dtype=False
    )


def test_distance_has_gradient_zero_at_zero():
    first = torch.ones(1, 4, requires_grad=True)
    feature_distance(first, torch.ones(1, 4)).sum().backward()
    assert first.grad is not None
    assert torch.equal(first.grad, torch.zeros(1, 4))


def test_adaptive_triplet_is_equation_2():
    # D(I', GT) = 0.3, D(I', R) = 0.5, D(GT, R) = 0.8
    loss = adaptive_triplet_loss(itself, grey(0.3), grey(0.0), grey(0.8))
    assert loss.item() == pytest.approx(0.3 - 0.5 / 0.8 + 1)


def test_adaptive_triplet_is_a_mean_over_samples():
    one = adaptive_triplet_loss(itself, grey(0.3), grey(0.0), grey(0.8))
    other = adaptive_triplet_loss(itself, grey(0.1), grey(0.6), grey(0.2))
    both = adaptive_triplet_loss(itself, grey(0.3, 0.1), grey(0.0, 0.6), grey(0.8, 0.2))
    assert both.item() == pytest.approx((one.item() + other.item()) / 2)


def test_of_the_target_itself_nothing_but_epsilon_is_left():
    # 0 - 1 + 1
    assert adaptive_triplet_loss(itself, grey(0.0), grey(0.0), grey(0.8)).item() == pytest.approx(EPSILON)


def test_far_from_the_reference_the_loss_does_not_fall_below_epsilon():
    # 0.5 - 0.9 / 0.4 + 1 is negative
    assert adaptive_triplet_loss(itself, grey(-0.5), grey(0.0), grey(0.4)).item() == pytest.approx(EPSILON)


@pytest.mark.parametrize("generated", [0.0, 1e-4, 0.5])
def test_a_reference_that_is_the_target_gives_epsilon_and_no_gradient(generated):
    pictures = grey(generated).requires_grad_()
    loss = adaptive_triplet_loss(itself, pictures, grey(0.0), grey(0.0))
    loss.backward()
    assert loss.item() == pytest.approx(EPSILON)
    assert pictures.grad is not None
    assert torch.equal(pictures.grad, torch.zeros_like(pictures))


def test_one_such_sample_does_not_touch_the_others():
    pictures = grey(0.3, 0.3).requires_grad_()
    adaptive_triplet_loss(itself, pictures, grey(0.0, 0.0), grey(0.8, 0.0)).backward()
    assert pictures.grad is not None
    assert pictures.grad[0].abs().sum() > 0
    assert pictures.grad[1].abs().sum() == 0


@pytest.mark.parametrize("scale", [CLOSEST, 2 * CLOSEST, 0.5])
def test_the_pull_away_from_the_reference_is_bounded(scale):
    # between target and reference both terms push the same way, and the ratio is steepest
    pictures = grey(scale / 2).requires_grad_()
    adaptive_triplet_loss(itself, pictures, grey(0.0), grey(scale)).backward()
    assert pictures.grad is not None
    assert pictures.grad.isfinite().all()
    # towards the target: a step of all pixels changes D by as much
    assert pictures.grad.sum().item() == pytest.approx(1 + 1 / scale)


def test_the_room_that_the_loss_asks_for_shrinks_with_the_distance_of_the_reference():
    """L_at is idle where I' is about as far from R as GT is (why it is adaptive)."""
    for scale in (0.1, 0.2, 0.4):
        idle = adaptive_triplet_loss(itself, grey(-0.15 * scale), grey(0.0), grey(scale)).item()
        active = adaptive_triplet_loss(itself, grey(0.05 * scale), grey(0.0), grey(scale)).item()
        assert idle < 0.01
        assert active > 0.05


def test_no_gradient_goes_to_target_and_reference():
    generated, target, reference = (grey(v).requires_grad_() for v in (0.3, 0.0, 0.8))
    adaptive_triplet_loss(itself, generated, target, reference).backward()
    vanilla_triplet_loss(itself, generated, target, reference).backward()
    assert target.grad is None
    assert reference.grad is None


def test_vanilla_triplet_is_distance_less_distance_plus_margin():
    assert vanilla_triplet_loss(itself, grey(0.3), grey(0.0), grey(0.8)).item() == pytest.approx(0.8)
    assert vanilla_triplet_loss(itself, grey(0.0), grey(0.0), grey(2.0)).item() == 0


@pytest.mark.parametrize("loss", [adaptive_triplet_loss, vanilla_triplet_loss])
def test_gradients_are_those_of_finite_differences(loss):
    rng = torch.Generator().manual_seed(0)
    target, reference, generated = (
        torch.rand(2, 1, 3, 3, dtype=torch.float64, generator=rng) for _ in range(3)
    )

    def of(pictures: Tensor) -> Tensor:
        return loss(lambda x: [x], pictures, target, reference)

    # features are compared in float32, which bounds what a difference quotient can tell
    assert torch.autograd.gradcheck(of, generated.requires_grad_(), eps=1e-3, atol=1e-2)
