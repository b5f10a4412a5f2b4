"""Losses of the default networks: weight where something moves (no part of the paper).

All pictures are [B, 3, H, W] in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def mouth_window(size: int) -> tuple[slice, slice]:
    """Rows and columns of the mouth in a crop of `size` pixels: the lower half, without the cheeks' edges."""
    return slice(size // 2, size), slice(size // 8, size - size // 8)


def movement_weight(target: Tensor, still: Tensor) -> Tensor:
    """Weight of each pixel [B, 1, H, W]: 1, one more in the mouth window, and up to 4 more where the target
    differs from the still reference: 4 min(1, 5 blur5(|target - still|))."""
    difference = (target - still).abs().mean(dim=1, keepdim=True)
    moved = F.avg_pool2d(difference, 5, stride=1, padding=2, count_include_pad=False)
    weight = 1 + 4 * (5 * moved).clamp(max=1)
    rows, columns = mouth_window(target.shape[-1])
    weight[:, :, rows, columns] += 1
    return weight


def weighted_l1(generated: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean of weight * |generated - target|. -> []"""
    return (weight * (generated - target).abs()).mean()


def weighted_gradient_l1(generated: Tensor, target: Tensor, weight: Tensor, first_row: int) -> Tensor:
    """Mean of weight * |difference of neighbouring pixels' steps|, across and down, from
    first_row on. -> []"""
    generated, target, weight = (x[:, :, first_row:] for x in (generated, target, weight))
    error = generated - target
    across = (error[..., 1:] - error[..., :-1]).abs() * weight[..., 1:]
    down = (error[..., 1:, :] - error[..., :-1, :]).abs() * weight[..., 1:, :]
    return across.mean() + down.mean()


def structure_loss(generated: Tensor, target: Tensor) -> Tensor:
    """1 - SSIM (Wang, Bovik, Sheikh and Simoncelli 2004, eq. 13; means over 7 x 7 pixels), averaged. -> []

    Where a pixel loss is content with a blur, this asks for the target's local contrast.
    """

    def mean(pictures: Tensor) -> Tensor:
        return F.avg_pool2d(pictures, 7, stride=1)

    first, second = mean(generated), mean(target)
    covariance = mean(generated * target) - first * second
    variances = mean(generated.square()) + mean(target.square()) - first.square() - second.square()
    likeness = (2 * first * second + 0.01**2) * (2 * covariance + 0.03**2)
    likeness = likeness / ((first.square() + second.square() + 0.01**2) * (variances + 0.03**2))
    return 1 - likeness.mean()


def flow_variation(flows: Tensor) -> Tensor:
    """Total variation of flows [B, ..., H, W] (in parts of the side): mean |step| across and down. -> []"""
    across = (flows[..., 1:] - flows[..., :-1]).abs().mean()
    down = (flows[..., 1:, :] - flows[..., :-1, :]).abs().mean()
    return across + down


def high_pass(pictures: Tensor, gain: float = 8.0) -> Tensor:
    """Detail: gain times the picture less its 5 x 5 mean. [B, 3, H, W] -> the same shape."""
    mean = F.avg_pool2d(pictures, 5, stride=1, padding=2, count_include_pad=False)
    return gain * (pictures - mean)


def discriminator_hinge(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of the discriminator's scores: mean relu(1 - real) + mean relu(1 + fake). -> []"""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def feature_matching(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Mean L1 between the discriminator's features of real (constant) and generated pictures. -> []"""
    distances = [
        (of_fake - of_real.detach()).abs().mean() for of_real, of_fake in zip(real, fake, strict=True)
    ]
    return torch.stack(distances).mean()
