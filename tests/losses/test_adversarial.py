from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from lipsync_cli.losses.adversarial import discriminator_loss, gan_loss


def test_undecided_logits_cost_the_logarithm_of_two():
    zeros = torch.zeros(2, 1)
    assert gan_loss(zeros).item() == pytest.approx(math.log(2))
    assert discriminator_loss(zeros, zeros).item() == pytest.approx(2 * math.log(2))


def test_losses_are_binary_cross_entropy_on_logits():
    real, fake = torch.tensor([[2.0], [-1.0]]), torch.tensor([[0.5], [-3.0]])
    bce = F.binary_cross_entropy_with_logits
    torch.testing.assert_close(gan_loss(fake), bce(fake, torch.ones(2, 1)))
    expected = bce(real, torch.ones(2, 1)) + bce(fake, torch.zeros(2, 1))
    torch.testing.assert_close(discriminator_loss(real, fake), expected)


def test_a_generator_that_is_found_out_still_learns():
    """The non-saturating form: far down its gradient goes to -1, where log(1 - D) would have none."""
    fake = torch.tensor([[-80.0]], requires_grad=True)
    gan_loss(fake).backward()
    assert fake.grad is not None
    assert fake.grad.item() == pytest.approx(-1)


def test_the_discriminator_pushes_real_up_and_generated_down():
    real, fake = torch.zeros(1, 1, requires_grad=True), torch.zeros(1, 1, requires_grad=True)
    discriminator_loss(real, fake).backward()
    assert real.grad is not None
    assert fake.grad is not None
    assert real.grad.item() == pytest.approx(-0.5)
    assert fake.grad.item() == pytest.approx(0.5)


@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_extreme_logits_stay_finite(logit):
    extreme = torch.tensor([[logit]], requires_grad=True)
    (gan_loss(extreme) + discriminator_loss(extreme, extreme)).backward()
    assert extreme.grad is not None
    assert extreme.grad.isfinite().all()


def test_gradients_are_those_of_finite_differences():
    real, fake = (torch.randn(3, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(gan_loss, fake)
    assert torch.autograd.gradcheck(discriminator_loss, (real, fake))
