"""Reconstruction losses of the paper (section 3.3): pixels, and features of a VGG (eq. 1).

Pictures are [B, 3, H, W] RGB in [0, 1]. The losses of the default networks, which weigh pixels by what
moves, are in `movement.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Features = Callable[[Tensor], Sequence[Tensor]]
"""Pictures [B, 3, H, W] -> maps [B, C, h, w], shallow to deep, of a network whose weights are frozen."""

LAYER_COEFFICIENTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
"""c_i of eq. 1, shallow to deep. The paper takes them from Johnson et al., who name no five; these are in
common use for ReLU 1_1 to 5_1 of VGG-19."""


def pixel_loss(generated: Tensor, target: Tensor) -> Tensor:
    """L_pixel = |I' - I_GT|_1, as a mean over pixels: pictures of any size weigh alike. -> []"""
    return (generated - target).abs().mean()


def perceptual_loss(
    features: Features,
    generated: Tensor,
    target: Tensor,
    coefficients: Sequence[float] = LAYER_COEFFICIENTS,
) -> Tensor:
    """L_per (eq. 1): sum over layers of c_i |phi_i(I') - phi_i(I_GT)|_1, each norm a mean. -> []

    ValueError when there are not as many coefficients as maps.
    """
    with torch.no_grad():
        wanted = features(target)
    layers = zip(features(generated), wanted, coefficients, strict=True)
    terms = [c * (own.float() - other.float()).abs().mean() for own, other, c in layers]
    return torch.stack(terms).sum()
