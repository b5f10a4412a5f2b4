"""Wav2Lip's generator (Rudrabha/Wav2Lip, models/wav2lip.py) for its public weights: 36.3 M parameters."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from lipsync_cli.models.blocks import Wav2LipConv, residual_convs

_ENCODER = ((32, 2), (64, 3), (128, 2), (256, 2), (512, 1))
"""Width and number of residual convolutions of the encoder blocks that halve the picture (96 -> 3)."""
_DECODER = ((1024, 512, 2), (768, 384, 2), (512, 256, 2), (320, 128, 2), (160, 64, 2))
"""Depth in, depth out and residual convolutions of the decoder blocks that double the picture (3 -> 96)."""


def speech_layers(n_residual: int, narrow: int = 1) -> list[nn.Module]:
    """The audio encoder of Wav2Lip's networks: mel [B, 1, 80, 16] -> [B, 512 / narrow, 1, 1].

    `n_residual`: residual convolutions at 256 channels, 1 in the generator and 2 in the SyncNet; `narrow`
    divides all numbers of channels, 1 as public.
    """
    w32, w64, w128, w256, w512 = (width // narrow for width in (32, 64, 128, 256, 512))
    return [
        Wav2LipConv(1, w32, 3, 1, 1),
        *residual_convs(w32, 2),
        Wav2LipConv(w32, w64, 3, (3, 1), 1),
        *residual_convs(w64, 2),
        Wav2LipConv(w64, w128, 3, 3, 1),
        *residual_convs(w128, 2),
        Wav2LipConv(w128, w256, 3, (3, 2), 1),
        *residual_convs(w256, n_residual),
        Wav2LipConv(w256, w512, 3),
        Wav2LipConv(w512, w512, 1),
    ]


class Wav2Lip(nn.Module):
    """Names and arithmetic of the public generator."""

    def __init__(self) -> None:
        super().__init__()
        encoder = [nn.Sequential(Wav2LipConv(6, 16, 7, 1, 3))]
        inputs = 16
        for outputs, n in _ENCODER:
            encoder.append(nn.Sequential(Wav2LipConv(inputs, outputs, 3, 2, 1), *residual_convs(outputs, n)))
            inputs = outputs
        encoder.append(nn.Sequential(Wav2LipConv(512, 512, 3), Wav2LipConv(512, 512, 1)))
        self.face_encoder_blocks = nn.ModuleList(encoder)
        self.audio_encoder = nn.Sequential(*speech_layers(n_residual=1))
        decoder = [
            nn.Sequential(Wav2LipConv(512, 512, 1)),
            nn.Sequential(Wav2LipConv(1024, 512, 3, up=True), *residual_convs(512, 1)),
        ]
        decoder += [
            nn.Sequential(Wav2LipConv(depth, outputs, 3, 2, 1, up=True), *residual_convs(outputs, n))
            for depth, outputs, n in _DECODER
        ]
        self.face_decoder_blocks = nn.ModuleList(decoder)
        self.output_block = nn.Sequential(Wav2LipConv(80, 32, 3, 1, 1), nn.Conv2d(32, 3, 1), nn.Sigmoid())

    def forward(self, mel: Tensor, faces: Tensor) -> Tensor:
        """mel [B, 1, 80, 16], faces [B, 6, 96, 96] -> [B, 3, 96, 96].

        Faces are BGR in [0, 1]: the target with rows from 48 on zeroed, then the reference. As the public
        code, it also takes T frames of each sample: mel [B, T, 1, 80, 16], faces [B, 6, T, 96, 96] ->
        [B, 3, T, 96, 96].
        """
        if faces.dim() == 5:
            each = self(mel.flatten(0, 1), faces.transpose(1, 2).flatten(0, 1))
            return cast(Tensor, each.unflatten(0, mel.shape[:2]).transpose(1, 2))
        maps = [faces]
        for block in self.face_encoder_blocks:
            maps.append(block(maps[-1]))
        x = self.audio_encoder(mel)
        for block in self.face_decoder_blocks:
            x = torch.cat([block(x), maps.pop()], dim=1)
        return cast(Tensor, self.output_block(x))
