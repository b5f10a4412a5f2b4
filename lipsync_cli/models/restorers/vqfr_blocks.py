"""Blocks of VQFR v1 and v2 (TencentARC/VQFR; Gu et al., ECCV 2022), named as in the public weights."""

from __future__ import annotations

from importlib import import_module
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.errors import SettingsError

DEFORMABLE_GROUPS = 4
"""Groups of channels that are displaced independently."""
CONDITION = 32
"""Depth of the features of the degraded face that guide the displacement."""


def require_torchvision() -> None:
    """Raises SettingsError, with the command that helps, unless torchvision is there and fits torch."""
    try:
        import_module("torchvision.ops")
    except (ImportError, RuntimeError) as error:
        raise SettingsError(
            "VQFR needs torchvision (one that fits the installed torch) for its deformable convolutions: "
            f"pip install 'lipsync_cli[vqfr]' ({error})"
        ) from error


def normalisation(depth: int) -> nn.GroupNorm:
    """The group norm that VQFR uses everywhere."""
    return nn.GroupNorm(32, depth, eps=1e-6)


class ResidualBlock(nn.Module):
    """Twice group norm, SiLU, 3x3 convolution; [B, inputs, H, W] -> [B, outputs, H, W].

    shortcut: the public name of the 1x1 convolution around the block, which only blocks that change the depth
    have (`shortcut_conv` in v1, `residual_func` in v2).
    """

    def __init__(self, inputs: int, outputs: int, shortcut: str) -> None:
        super().__init__()
        self.norm1 = normalisation(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1)
        self.norm2 = normalisation(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self._shortcut = shortcut if inputs != outputs else None
        if self._shortcut is not None:
            self.add_module(self._shortcut, nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        inner = self.conv1(F.silu(self.norm1(x)))
        inner = self.conv2(F.silu(self.norm2(inner)))
        around = x if self._shortcut is None else self.get_submodule(self._shortcut)(x)
        return cast(Tensor, inner + around)


class Attention(nn.Module):
    """Self-attention over all places of a map, one head; [B, C, H, W] -> the same shape."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.norm = normalisation(depth)
        self.q = nn.Conv2d(depth, depth, 1)
        self.k = nn.Conv2d(depth, depth, 1)
        self.v = nn.Conv2d(depth, depth, 1)
        self.proj_out = nn.Conv2d(depth, depth, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        normed = self.norm(x)
        query, key, value = (layer(normed).flatten(2).transpose(1, 2) for layer in (self.q, self.k, self.v))
        seen = F.scaled_dot_product_attention(query, key, value)
        return cast(Tensor, x + self.proj_out(seen.transpose(1, 2).reshape(x.shape)))


class DeformableConv(nn.Module):
    """A 3x3 convolution whose taps another map displaces and weighs (DCN v2).

    Names: `weight` and `bias` of the convolution, `conv_offset` that reads displacements and weights.
    """

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(depth, depth, 3, 3))
        self.bias = nn.Parameter(torch.zeros(depth))
        self.conv_offset = nn.Conv2d(depth, DEFORMABLE_GROUPS * 3 * 9, 3, 1, 1)
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """x and guide [B, C, H, W] -> [B, C, H, W]."""
        from torchvision.ops import deform_conv2d  # slow to import and an extra

        read = self.conv_offset(guide).float()
        n_offsets = DEFORMABLE_GROUPS * 2 * 9
        # In float32 whatever the rest computes in: displacements are pixels, and CPUs have no other kernel.
        out = deform_conv2d(
            x.float(),
            read[:, :n_offsets].contiguous(),
            self.weight.float(),
            self.bias.float(),
            padding=1,
            mask=read[:, n_offsets:].sigmoid(),
        )
        return cast(Tensor, out.to(x.dtype))


class TextureWarp(nn.Module):
    """Displaces decoded texture to where the degraded face has it.

    Args:
        depth: Of the texture map.
        previous: Depth of the guide of the level below (0: there is none).
        convolves_condition: v1 has a convolution after it has shrunk the condition, v2 has none.
    """

    def __init__(self, depth: int, previous: int, *, convolves_condition: bool) -> None:
        super().__init__()
        if convolves_condition:
            self.downsample = nn.ModuleDict({"conv": nn.Conv2d(CONDITION, CONDITION, 3, 1, 1)})
        self._convolves = convolves_condition
        self.offset_conv1 = nn.Sequential(
            nn.Conv2d(depth + CONDITION, depth, 1),
            normalisation(depth),
            nn.SiLU(),
            nn.Conv2d(depth, depth, 7, 1, 3, groups=depth),
            normalisation(depth),
            nn.SiLU(),
            nn.Conv2d(depth, depth, 1),
        )
        self.offset_conv2 = nn.Sequential(
            nn.Conv2d(depth + previous, depth, 3, 1, 1), normalisation(depth), nn.SiLU()
        )
        self.dcn = DeformableConv(depth)

    def forward(self, texture: Tensor, condition: Tensor, guide: Tensor | None) -> tuple[Tensor, Tensor]:
        """texture [B, C, h, w], condition [B, 32, H, W], guide [B, previous, h, w] -> the warped texture and
        the guide of the next level, [B, C, h, w] each."""
        small = resized(condition, texture.shape[-2], texture.shape[-1])
        if self._convolves:
            small = self.downsample["conv"](small)
        own = self.offset_conv1(torch.cat([small, texture], dim=1))
        own = self.offset_conv2(own if guide is None else torch.cat([own, guide], dim=1))
        return self.dcn(texture, own), own


def resized(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, as the public code does it: shrinking does not average."""
    if x.shape[-2:] == (height, width):
        return x
    return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=False)


def next_guide(guide: Tensor) -> Tensor:
    """The guide of a level for the one of twice its size: displacements double with the picture."""
    return F.interpolate(guide, scale_factor=2.0, mode="bilinear", align_corners=False) * 2
