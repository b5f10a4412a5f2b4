"""VQFR v1 (TencentARC/VQFR, VQFRv1) for its public weights: 76.6 M parameters."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from lipsync_cli.models.restorers.vqfr_blocks import (
    CONDITION,
    ResidualBlock,
    TextureWarp,
    next_guide,
    normalisation,
    require_torchvision,
    resized,
)
from lipsync_cli.models.restorers.vqfr_quantizer import NearestCode

SIZE = 512
"""Pixels of the aligned face."""
_DEPTHS = {1: 128, 2: 128, 4: 256, 8: 256, 16: 256, 32: 512}
"""Level (how many times smaller than the face) -> depth."""
_LEVELS = tuple(_DEPTHS)
_DEEPEST = 32


class VQFRv1(nn.Module):
    """Names and arithmetic of the public network; the codes are the k-means ones (nearest in L2)."""

    def __init__(self) -> None:
        super().__init__()
        require_torchvision()
        self.inpfeat_extraction = nn.ModuleDict({"conv": nn.Conv2d(3, CONDITION, 3, 1, 1)})
        self.encoder = _Encoder()
        self.decoder = _TextureDecoder()
        self.main_decoder = _MainDecoder()
        self.quantizer = nn.ModuleDict(
            {"quantize_dict": nn.ModuleDict({_name(_DEEPEST): NearestCode(_DEPTHS[_DEEPEST])})}
        )

    def forward(self, faces: Tensor, fidelity_ratio: float | None = None) -> Tensor:
        """faces [B, 3, 512, 512], RGB in [-1, 1], aligned -> restored, same shape, about in [-1, 1].

        This is the output `main_dec` of the public code. fidelity_ratio is taken and not used, as there.
        """
        condition = self.inpfeat_extraction["conv"](faces)
        quantize = cast(nn.ModuleDict, self.quantizer["quantize_dict"])[_name(_DEEPEST)]
        textures = self.decoder(quantize(self.encoder(faces)))
        return cast(Tensor, self.main_decoder(textures, condition, faces))


def _name(level: int) -> str:
    return f"Level_{level}"


def _block(inputs: int, outputs: int) -> ResidualBlock:
    return ResidualBlock(inputs, outputs, "shortcut_conv")


def _blocks(depth: int, n: int) -> nn.Sequential:
    return nn.Sequential(*[_block(depth, depth) for _ in range(n)])


class _Resample(nn.Module):
    """A bilinear change of size by two, with a convolution on the smaller side."""

    def __init__(self, inputs: int, outputs: int, *, up: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, 1, 1)
        self._up = up

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if self._up:
            return resized(self.conv(x), 2 * height, 2 * width)
        return cast(Tensor, self.conv(resized(x, height // 2, width // 2)))


class _Encoder(nn.Module):
    """Faces [B, 3, 512, 512] -> [B, 512, 16, 16]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, _DEPTHS[1], 3, 1, 1)
        self.encoder_dict = nn.ModuleDict({_name(level): _blocks(_DEPTHS[level], 2) for level in _LEVELS})
        self.pre_downsample_dict = nn.ModuleDict(
            {
                _name(level): _Resample(_DEPTHS[level // 2], _DEPTHS[level], up=False)
                for level in _LEVELS
                if level > 1
            }
        )
        depth = _DEPTHS[_DEEPEST]
        self.enc_convout_dict = nn.ModuleDict(
            {
                _name(_DEEPEST): nn.Sequential(
                    normalisation(depth), nn.SiLU(), nn.Conv2d(depth, depth, 3, 1, 1)
                )
            }
        )

    def forward(self, faces: Tensor) -> Tensor:
        x = self.conv_in(faces)
        for level in _LEVELS:
            if level > 1:
                x = self.pre_downsample_dict[_name(level)](x)
            x = self.encoder_dict[_name(level)](x)
        return cast(Tensor, self.enc_convout_dict[_name(_DEEPEST)](x))


class _TextureDecoder(nn.Module):
    """Quantised features [B, 512, 16, 16] -> a texture map for each level.

    `conv_out` draws a face from the codes alone: part of the public weights, not used by the main branch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.decoder_dict = nn.ModuleDict(
            {_name(level): _blocks(_DEPTHS[level], 3) for level in reversed(_LEVELS)}
        )
        self.pre_upsample_dict = _upsamplings()
        self.conv_out = nn.Sequential(normalisation(_DEPTHS[1]), nn.SiLU(), nn.Conv2d(_DEPTHS[1], 3, 3, 1, 1))

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        textures: dict[int, Tensor] = {}
        for level in reversed(_LEVELS):
            if level < _DEEPEST:
                x = self.pre_upsample_dict[_name(level)](x)
            x = textures[level] = self.decoder_dict[_name(level)](x)
        return textures


class _MainDecoder(nn.Module):
    """Textures, warped to where the degraded face has them -> the restored face."""

    def __init__(self) -> None:
        super().__init__()
        upper = [level for level in reversed(_LEVELS) if level < _DEEPEST]
        self.decoder_dict = nn.ModuleDict(
            {_name(level): _block(2 * _DEPTHS[level], _DEPTHS[level]) for level in upper}
        )
        self.pre_upsample_dict = _upsamplings()
        self.align_func_dict = nn.ModuleDict(
            {
                _name(level): TextureWarp(
                    _DEPTHS[level],
                    _DEPTHS[2 * level] if level < _DEEPEST else 0,
                    convolves_condition=level > 1,
                )
                for level in reversed(_LEVELS)
            }
        )
        self.conv_out_1 = nn.Sequential(normalisation(_DEPTHS[1]), nn.SiLU())
        self.conv_out = nn.Sequential(nn.Conv2d(_DEPTHS[1] + 3, 3, 3, 1, 1))

    def forward(self, textures: dict[int, Tensor], condition: Tensor, faces: Tensor) -> Tensor:
        x, guide = self.align_func_dict[_name(_DEEPEST)](textures[_DEEPEST], condition, None)
        for level in reversed(_LEVELS[:-1]):
            x = self.pre_upsample_dict[_name(level)](x)
            warp = self.align_func_dict[_name(level)]
            warped, guide = warp(textures[level], condition, next_guide(guide))
            x = self.decoder_dict[_name(level)](torch.cat([x, warped], dim=1))
        return cast(Tensor, self.conv_out(torch.cat([self.conv_out_1(x), faces], dim=1)))


def _upsamplings() -> nn.ModuleDict:
    upper = [level for level in reversed(_LEVELS) if level < _DEEPEST]
    return nn.ModuleDict(
        {_name(level): _Resample(_DEPTHS[2 * level], _DEPTHS[level], up=True) for level in upper}
    )
