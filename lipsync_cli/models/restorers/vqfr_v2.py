"""VQFR v2 (TencentARC/VQFR, VQFRv2) for its public weights: 83.5 M parameters."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.models.restorers.vqfr_blocks import (
    CONDITION,
    Attention,
    ResidualBlock,
    TextureWarp,
    next_guide,
    normalisation,
    require_torchvision,
)
from lipsync_cli.models.restorers.vqfr_quantizer import CODE_DEPTH, N_CODES, CodeBook

SIZE = 512
"""Pixels of the aligned face."""
_DEPTHS = (64, 128, 128, 256, 256, 512)
"""Of the levels, each half as large as the one before it."""
_N_BLOCKS = 2
_TOP = len(_DEPTHS) - 1


class VQFRv2(nn.Module):
    """Names and arithmetic of the public network; the codes are predicted, not searched for."""

    def __init__(self) -> None:
        super().__init__()
        require_torchvision()
        self.encoder = _Encoder()
        self.feat2index = nn.Sequential(nn.LayerNorm(CODE_DEPTH), nn.Linear(CODE_DEPTH, N_CODES))
        self.decoder = _TextureDecoder()
        self.main_branch = _MainBranch()
        self.inpfeat_extraction = nn.Conv2d(3, CONDITION, 3, 1, 1)
        self.quantizer = CodeBook()

    def forward(self, faces: Tensor, fidelity_ratio: float = 1.0) -> Tensor:
        """faces [B, 3, 512, 512], RGB in [-1, 1], aligned -> restored, same shape, about in [-1, 1].

        This is the output `main_dec` of the public code. fidelity_ratio: 0 draws the face from the codes
        alone (sharp, less like the person), 1 and more follow the degraded face.
        """
        condition = self.inpfeat_extraction(faces)
        logits = self.feat2index(self.encoder(faces).movedim(1, -1))
        textures = self.decoder(self.quantizer(logits.argmax(-1)))
        drawn = self.main_branch(textures, condition)
        return cast(Tensor, self.decoder.conv_out(textures[0] + fidelity_ratio * drawn))


def _block(inputs: int, outputs: int) -> ResidualBlock:
    return ResidualBlock(inputs, outputs, "residual_func")


def _middle() -> nn.Sequential:
    depth = _DEPTHS[_TOP]
    return nn.Sequential(_block(depth, depth), Attention(depth), _block(depth, depth))


def _level(inputs: int, level: int) -> list[nn.Module]:
    """The blocks of one level; those of the smallest map are followed by attention."""
    depth = _DEPTHS[level]
    layers: list[nn.Module] = []
    for i in range(_N_BLOCKS):
        layers.append(_block(depth if i else inputs, depth))
        if level == _TOP:
            layers.append(Attention(depth))
    return layers


class _Halve(nn.Module):
    """A convolution of stride 2; the map is padded at its right and lower edge alone."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(depth, depth, 3, 2, 0)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv(F.pad(x, (0, 1, 0, 1))))


class _Double(nn.Module):
    """Nearest neighbour, then a convolution."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(depth, depth, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest")))


class _Encoder(nn.Module):
    """Faces [B, 3, 512, 512] -> [B, 256, 16, 16]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, _DEPTHS[0], 3, 1, 1)
        self.blocks = nn.ModuleList([nn.Sequential(*_level(_DEPTHS[0], 0))])
        for level in range(1, len(_DEPTHS)):
            before = _DEPTHS[level - 1]
            self.blocks.append(nn.Sequential(_Halve(before), *_level(before, level)))
        self.mid_blocks = _middle()
        self.conv_out = nn.Sequential(
            normalisation(_DEPTHS[_TOP]), nn.SiLU(), nn.Conv2d(_DEPTHS[_TOP], CODE_DEPTH, 3, 1, 1)
        )

    def forward(self, faces: Tensor) -> Tensor:
        x = self.conv_in(faces)
        for block in self.blocks:
            x = block(x)
        return cast(Tensor, self.conv_out(self.mid_blocks(x)))


class _TextureDecoder(nn.Module):
    """Codes [B, 256, 16, 16] -> a texture map for each level; `conv_out` makes a picture of the largest."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(CODE_DEPTH, _DEPTHS[_TOP], 3, 1, 1)
        self.mid_blocks = _middle()
        self.blocks = nn.ModuleList([nn.Sequential(*_level(_DEPTHS[_TOP], _TOP))])
        for level in reversed(range(_TOP)):
            before = _DEPTHS[level + 1]
            self.blocks.append(nn.Sequential(_Double(before), *_level(before, level)))
        self.conv_out = nn.Sequential(normalisation(_DEPTHS[0]), nn.SiLU(), nn.Conv2d(_DEPTHS[0], 3, 3, 1, 1))

    def forward(self, codes: Tensor) -> dict[int, Tensor]:
        textures: dict[int, Tensor] = {}
        x = self.mid_blocks(self.conv_in(codes))
        for level, block in zip(reversed(range(len(_DEPTHS))), self.blocks, strict=True):
            x = textures[level] = block(x)
        return textures


class _MainBranch(nn.Module):
    """Textures, warped to where the degraded face has them -> what is added to the largest, [B, 64, H, W]."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder_dict = nn.ModuleDict()
        self.pre_upsample_dict = nn.ModuleDict()
        self.align_func_dict = nn.ModuleDict()
        for level in reversed(range(len(_DEPTHS))):
            name, depth = f"Level_{2**level}", _DEPTHS[level]
            below = _DEPTHS[level + 1] if level < _TOP else 0
            self.align_func_dict[name] = TextureWarp(depth, below, convolves_condition=False)
            if level < _TOP:
                self.pre_upsample_dict[name] = nn.Sequential(
                    nn.UpsamplingNearest2d(scale_factor=2), nn.Conv2d(below, depth, 3, 1, 1)
                )
                self.decoder_dict[name] = _block(2 * depth, depth)

    def forward(self, textures: dict[int, Tensor], condition: Tensor) -> Tensor:
        x, guide = self.align_func_dict[f"Level_{2**_TOP}"](textures[_TOP], condition, None)
        for level in reversed(range(_TOP)):
            name = f"Level_{2**level}"
            x = self.pre_upsample_dict[name](x)
            warped, guide = self.align_func_dict[name](textures[level], condition, next_guide(guide))
            x = self.decoder_dict[name](torch.cat([x, warped], dim=1))
        return cast(Tensor, x)
