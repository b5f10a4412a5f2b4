"""The public sync networks: Wav2Lip's SyncNet_color, and SyncNet v2 (of LSE-C and LSE-D)."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.models.blocks import Wav2LipConv, residual_convs
from lipsync_cli.models.wav2lip import speech_layers


class SyncNetColor(nn.Module):
    """SyncNet_color (Rudrabha/Wav2Lip, models/syncnet.py), names as public: 16.4 M parameters.

    `narrow` divides all numbers of channels; 1 as public.
    """

    def __init__(self, narrow: int = 1) -> None:
        super().__init__()
        w32, w64, w128, w256, w512 = (width // narrow for width in (32, 64, 128, 256, 512))
        self.face_encoder = nn.Sequential(
            Wav2LipConv(15, w32, 7, 1, 3),
            Wav2LipConv(w32, w64, 5, (1, 2), 1),
            *residual_convs(w64, 2),
            Wav2LipConv(w64, w128, 3, 2, 1),
            *residual_convs(w128, 3),
            Wav2LipConv(w128, w256, 3, 2, 1),
            *residual_convs(w256, 2),
            Wav2LipConv(w256, w512, 3, 2, 1),
            *residual_convs(w512, 2),
            Wav2LipConv(w512, w512, 3, 2, 1),
            Wav2LipConv(w512, w512, 3),
            Wav2LipConv(w512, w512, 1),
        )
        self.audio_encoder = nn.Sequential(*speech_layers(n_residual=2, narrow=narrow))

    def forward(self, mel: Tensor, lips: Tensor) -> tuple[Tensor, Tensor]:
        """mel [B, 1, 80, 16], lips [B, 15, 48, 96] -> speech and lips embeddings, unit vectors [B, 512].

        Lips are the lower halves of five frames in order of time, BGR in [0, 1], stacked in depth.
        """
        speech = F.normalize(self.audio_encoder(mel).flatten(1), dim=1)
        return speech, F.normalize(self.face_encoder(lips).flatten(1), dim=1)


class SyncNetV2(nn.Module):
    """SyncNet v2 (joonson/syncnet_python, SyncNetModel.py), names as public: 13.6 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_conv2d(1, 64),
            nn.MaxPool2d(1, 1),
            *_conv2d(64, 192),
            nn.MaxPool2d(3, (1, 2)),
            *_conv2d(192, 384),
            *_conv2d(384, 256),
            *_conv2d(256, 256),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(256, 512, (5, 4)),
            nn.BatchNorm2d(512),
            nn.ReLU(),
        )
        self.netfcaud = _linear()
        self.netfclip = _linear()
        self.netcnnlip = nn.Sequential(
            *_conv3d(3, 96, (5, 7, 7), 2, 0),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_conv3d(96, 256, (1, 5, 5), 2, 1),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *_conv3d(256, 256, (1, 3, 3), 1, 1),
            *_conv3d(256, 256, (1, 3, 3), 1, 1),
            *_conv3d(256, 256, (1, 3, 3), 1, 1),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_conv3d(256, 512, (1, 6, 6), 1, 0),
        )

    def embed_speech(self, mfcc: Tensor) -> Tensor:
        """[B, 1, 13, 20], 20 columns at 100 Hz -> [B, 1024], not normalised (LSE is a Euclidean distance)."""
        return cast(Tensor, self.netfcaud(self.netcnnaud(mfcc).flatten(1)))

    def embed_lips(self, frames: Tensor) -> Tensor:
        """Five whole frames or face crops [B, 3, 5, 224, 224], BGR in [0, 255] -> [B, 1024]."""
        return cast(Tensor, self.netfclip(self.netcnnlip(frames).flatten(1)))

    def forward_aud(self, mfcc: Tensor) -> Tensor:
        """`embed_speech` under its public name."""
        return self.embed_speech(mfcc)

    def forward_lip(self, frames: Tensor) -> Tensor:
        """`embed_lips` under its public name."""
        return self.embed_lips(frames)

    def forward(self, mfcc: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Speech and lips embeddings, [B, 1024] each."""
        return self.embed_speech(mfcc), self.embed_lips(frames)


def _conv2d(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, 1, 1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _conv3d(
    inputs: int, outputs: int, kernel: tuple[int, int, int], stride: int, padding: int
) -> list[nn.Module]:
    conv = nn.Conv3d(inputs, outputs, kernel, (1, stride, stride), (0, padding, padding))
    return [conv, nn.BatchNorm3d(outputs), nn.ReLU(inplace=True)]


def _linear() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))
