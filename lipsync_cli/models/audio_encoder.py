"""The audio encoder E_A (paper, sections 3.1 and 3.4): a ResNetSE-34 on 16 columns of mel spectrogram.

Names and arithmetic are those of ResNetSE34V2 (clovaai/voxceleb_trainer) without its filter bank and
instance norm, with 80 mels, self-attentive pooling and 512 outputs: 7.4 M parameters (8.7 M belong to the
pooling that joins deviations to means).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, cast

import torch
from torch import Tensor, nn

from lipsync_cli.errors import SettingsError

MEL_BINS = 80
MEL_COLUMNS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioEncoderSettings:
    """Numbers of `AudioEncoder`; the defaults are the paper's ResNetSE-34."""

    widths: tuple[int, ...] = (32, 64, 128, 256)
    """Channels of each stage."""
    depths: tuple[int, ...] = (3, 4, 6, 3)
    """Residual blocks of each stage."""
    strides: tuple[int, ...] = (1, 2, 2, 2)
    """Step of each stage's first block, the same in mel bins and in time."""
    squeeze: int = 8
    """The squeeze-and-excitation layers are this many times narrower than their block."""
    attention: int = 128
    """Width of the self-attentive pooling over time; 0: no pooling, the time steps stay side by side."""
    outputs: int = 512
    """Length of the embedding."""

    def __post_init__(self) -> None:
        if not len(self.widths) == len(self.depths) == len(self.strides):
            raise SettingsError("audio encoder: widths, depths and strides need one number for each stage")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSettings:
    """Numbers of `FeatureProjection`; the defaults fit the speech embedding, 10 steps of 40 ms."""

    n_steps: int = 10
    """Steps around a frame."""
    width: int = 384
    """Numbers of one step; 768 in Wav2Vec2's base network."""
    hidden: int = 256
    """Units between."""


class SqueezeExcitation(nn.Module):
    """Weighs channels by what the whole picture holds."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // squeeze),
            nn.ReLU(inplace=True),
            nn.Linear(channels // squeeze, channels),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        return x * cast(Tensor, self.fc(x.mean(dim=(2, 3))))[:, :, None, None]


class SEBlock(nn.Module):
    """Two 3x3 convolutions and squeeze-and-excitation beside a shortcut; ReLU comes before the first norm."""

    def __init__(self, inputs: int, outputs: int, stride: int, squeeze: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.se = SqueezeExcitation(outputs, squeeze)
        self.downsample: nn.Module = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        y = self.bn1(self.relu(self.conv1(x)))
        y = self.se(self.bn2(self.conv2(y)))
        return cast(Tensor, self.relu(y + self.downsample(x)))


class AudioEncoder(nn.Module):
    """E_A: what is said in 0.2 s of speech."""

    def __init__(self, settings: AudioEncoderSettings) -> None:
        super().__init__()
        self.settings = settings
        width = settings.widths[0]
        self.conv1 = nn.Conv2d(1, width, 3, 1, 1)
        self.relu = nn.ReLU(inplace=True)
        self.bn1 = nn.BatchNorm2d(width)
        bins, columns = MEL_BINS, MEL_COLUMNS
        self.n_stages = len(settings.widths)
        for i, (outputs, depth, stride) in enumerate(
            zip(settings.widths, settings.depths, settings.strides, strict=True), start=1
        ):
            blocks = [SEBlock(width, outputs, stride, settings.squeeze)]
            blocks += [SEBlock(outputs, outputs, 1, settings.squeeze) for _ in range(depth - 1)]
            self.add_module(f"layer{i}", nn.Sequential(*blocks))
            width, bins, columns = outputs, -(-bins // stride), -(-columns // stride)
        features = width * bins
        self.attention: nn.Module | None = None
        if settings.attention:
            self.attention = nn.Sequential(
                nn.Conv1d(features, settings.attention, 1),
                nn.ReLU(),
                nn.BatchNorm1d(settings.attention),
                nn.Conv1d(settings.attention, features, 1),
                nn.Softmax(dim=2),
            )
        else:
            features *= columns
        self.fc = nn.Linear(features, settings.outputs)

    def forward(self, mel: Tensor) -> Tensor:
        """Mel windows [B, 1, 80, 16] in [-4, 4] -> [B, outputs], neither rectified nor normalised."""
        x = self.bn1(self.relu(self.conv1(mel)))
        for i in range(self.n_stages):
            x = self.get_submodule(f"layer{i + 1}")(x)
        x = x.flatten(1, 2)  # [B, channels * bins, columns]
        x = x.flatten(1) if self.attention is None else (x * self.attention(x)).sum(dim=2)
        return cast(Tensor, self.fc(x))


class FrozenAudioEncoder(AudioEncoder):
    """E_A inside a generator (paper, section 3.1): never trained, always in eval mode.

    In train mode batch norm would go on changing its statistics, frozen weights or not.
    """

    def __init__(self, settings: AudioEncoderSettings) -> None:
        super().__init__(settings)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stays in eval mode, whatever is asked for."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, mel: Tensor) -> Tensor:
        """As `AudioEncoder`, without gradients."""
        return super().forward(mel)


class FeatureProjection(nn.Module):
    """In the place of E_A (setup C of table 2): what a frozen speech network said, brought to its length.

    The features are computed beforehand; only this projection learns.
    """

    def __init__(self, settings: FeatureSettings, outputs: int) -> None:
        super().__init__()
        self.normalise = nn.BatchNorm1d(settings.width, affine=False)
        self.layers = nn.Sequential(
            nn.Linear(settings.n_steps * settings.width, settings.hidden),
            nn.ReLU(),
            nn.Linear(settings.hidden, outputs),
        )

    def forward(self, features: Tensor) -> Tensor:
        """[B, n_steps, width] -> [B, outputs], neither rectified nor normalised."""
        x = self.normalise(features.flatten(0, 1)).unflatten(0, features.shape[:2])
        return cast(Tensor, self.layers(x.flatten(1)))
