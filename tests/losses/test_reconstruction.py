from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lipsync_cli.losses.reconstruction import LAYER_COEFFICIENTS, perceptual_loss, pixel_loss
from lipsync_cli.models.vgg import VGGFeatures, VGGSettings


def scaled(pictures: Tensor) -> list[Tensor]:
    """Five maps whose distances are 1 to 5 times that of the pictures."""
    return [pictures * k for k in (1, 2, 3, 4, 5)]


def test_pixel_loss_is_the_mean_absolute_difference():
    target = torch.tensor([0.0, 0.5, 1.0, 0.25]).view(1, 1, 2, 2)
    generated = torch.tensor([0.5, 0.5, 0.0, 0.75]).view(1, 1, 2, 2)
    assert pixel_loss(generated, target).item() == pytest.approx((0.5 + 0 + 1 + 0.5) / 4)
    assert pixel_loss(target, target).item() == 0


def test_perceptual_loss_is_equation_1():
    generated, target = torch.full((2, 3, 4, 4), 0.7), torch.full((2, 3, 4, 4), 0.2)
    expected = 0.5 * (1 / 32 * 1 + 1 / 16 * 2 + 1 / 8 * 3 + 1 / 4 * 4 + 1 * 5)
    assert perceptual_loss(scaled, generated, target).item() == pytest.approx(expected)


def test_perceptual_coefficients_must_be_as_many_as_the_maps():
    with pytest.raises(ValueError, match="shorter"):
        perceptual_loss(scaled, torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4), coefficients=(1.0, 1.0))


def test_perceptual_loss_gives_no_gradient_to_the_target():
    generated, target = (torch.rand(1, 3, 4, 4, requires_grad=True) for _ in range(2))
    perceptual_loss(scaled, generated, target).backward()
    assert target.grad is None
    assert generated.grad is not None
    assert generated.grad.abs().sum() > 0


def test_perceptual_loss_with_a_vgg_is_zero_for_the_target_and_leads_towards_it():
    torch.manual_seed(0)
    vgg = VGGFeatures(VGGSettings(depths=(2, 2, 3, 3, 3)))
    target = torch.rand(1, 3, 32, 32)
    assert perceptual_loss(vgg, target, target).item() == 0
    generated = torch.rand(1, 3, 32, 32, requires_grad=True)
    before = perceptual_loss(vgg, generated, target)
    (gradient,) = torch.autograd.grad(before, generated)
    assert gradient.isfinite().all()
    step = 0.02 * gradient / gradient.abs().max()
    assert perceptual_loss(vgg, generated.detach() - step, target) < before


def test_deeper_layers_weigh_more():
    assert list(LAYER_COEFFICIENTS) == sorted(LAYER_COEFFICIENTS)
    assert len(LAYER_COEFFICIENTS) == 5
