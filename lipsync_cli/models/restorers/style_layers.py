"""What GFPGAN and GPEN share: StyleGAN2's depths and modulated convolution (Karras et al., 2020)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

STYLE = 512
"""Numbers of a style code."""
SIZE = 512
"""Pixels of the aligned face."""
DEPTHS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64}
"""Side of a map -> its depth (channel multiplier 2)."""
SLOPE = 0.2
"""Of every leaky ReLU."""


def modulated_weight(weight: Tensor, style: Tensor, *, demodulate: bool) -> Tensor:
    """The kernels of each sample: weight [1, O, I, k, k], style [B, I] -> [B, O, I, k, k].

    Input depths are scaled by the style; demodulated, each kernel then has unit norm.
    """
    scaled = weight * style[:, None, :, None, None]
    if demodulate:
        scaled = scaled * torch.rsqrt(scaled.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    return scaled


def convolve_each(x: Tensor, weight: Tensor) -> Tensor:
    """x [B, I, H, W] with kernels of its own for each sample [B, O, I, k, k] -> [B, O, H, W]."""
    batch, outputs = weight.shape[:2]
    height, width = x.shape[-2:]
    grouped = F.conv2d(
        x.reshape(1, -1, height, width), weight.flatten(0, 1), padding=weight.shape[-1] // 2, groups=batch
    )
    return grouped.reshape(batch, outputs, height, width)


def doubled(x: Tensor) -> Tensor:
    """Bilinear enlargement by two."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def halved(x: Tensor) -> Tensor:
    """Bilinear reduction by two."""
    return F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)
