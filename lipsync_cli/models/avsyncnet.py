"""AVSyncNet (paper, section 3.4): tells whether lips and speech belong together.

A residual lips encoder (ResNet-50 on five lower halves stacked in depth, 15x112x224) and the audio encoder
E_A. Every width and depth is a number of the settings, so the small variant is the same class.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.errors import SettingsError
from lipsync_cli.models.audio_encoder import AudioEncoder, AudioEncoderSettings
from lipsync_cli.regions import resize

FRAMES = 5
"""Consecutive frames of one decision: 0.2 s at 25 fps, as long as 16 mel columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LipsEncoderSettings:
    """Numbers of `LipsEncoder`; the defaults are the paper's ResNet-50."""

    size: tuple[int, int] = (112, 224)
    """Height and width of the lips."""
    stem_width: int = 64
    """Channels of the first convolution."""
    stem_kernel: int = 7
    """Size of the first convolution, which halves the picture."""
    stem_pool: int = 2
    """Step of the maximum pooling after it; 1: none."""
    widths: tuple[int, ...] = (64, 128, 256, 512)
    """Inner channels of each stage's blocks."""
    depths: tuple[int, ...] = (3, 4, 6, 3)
    """Residual blocks of each stage."""
    strides: tuple[int, ...] = (1, 2, 2, 2)
    """Step of each stage's first block."""
    expansion: int = 4
    """A block's outer over its inner channels; 1: basic blocks (two 3x3 convolutions), else bottlenecks."""
    pool: tuple[int, int] = (1, 1)
    """Cells (rows, columns) over which the last map is averaged before the linear layer."""

    def __post_init__(self) -> None:
        if not len(self.widths) == len(self.depths) == len(self.strides):
            raise SettingsError("lips encoder: widths, depths and strides need one number for each stage")


@dataclass(frozen=True, slots=True, kw_only=True)
class AVSyncNetSettings:
    """Numbers of `AVSyncNet`; the defaults are the paper's."""

    lips: LipsEncoderSettings = field(default_factory=LipsEncoderSettings)
    """The picture side."""
    speech: AudioEncoderSettings = field(default_factory=AudioEncoderSettings)
    """The sound side, E_A; its `outputs` is the length of both embeddings."""
    rectified: bool = True
    """ReLU before normalising: cosines lie in [0, 1], as binary cross-entropy needs. False: in [-1, 1]."""


class ResidualBlock(nn.Module):
    """Basic block (expansion 1) or bottleneck (more) of He et al.; names as in the public ResNets."""

    def __init__(self, inputs: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        outputs = width * expansion
        bottleneck = expansion > 1
        self.conv1 = nn.Conv2d(
            inputs,
            width,
            1 if bottleneck else 3,
            1 if bottleneck else stride,
            0 if bottleneck else 1,
            bias=False,
        )
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride if bottleneck else 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.last: nn.Module = nn.Sequential()
        if bottleneck:
            self.last = nn.Sequential(
                nn.ReLU(inplace=True), nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
            )
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, width * expansion, H / stride, W / stride]."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.last(self.bn2(self.conv2(y)))
        return cast(Tensor, self.relu(y + self.downsample(x)))


class LipsEncoder(nn.Module):
    """What the lips of five frames show."""

    def __init__(self, settings: LipsEncoderSettings, outputs: int) -> None:
        super().__init__()
        kernel, width = settings.stem_kernel, settings.stem_width
        self.conv1 = nn.Conv2d(3 * FRAMES, width, kernel, 2, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.pool: nn.Module = nn.Sequential()
        if settings.stem_pool > 1:
            self.pool = nn.MaxPool2d(3, settings.stem_pool, 1)
        stages: list[nn.Module] = []
        for inner, depth, stride in zip(settings.widths, settings.depths, settings.strides, strict=True):
            for i in range(depth):
                stages.append(ResidualBlock(width, inner, stride if i == 0 else 1, settings.expansion))
                width = inner * settings.expansion
        self.blocks = nn.Sequential(*stages)
        self.average = nn.AdaptiveAvgPool2d(settings.pool)
        self.fc = nn.Linear(width * settings.pool[0] * settings.pool[1], outputs)

    def forward(self, lips: Tensor) -> Tensor:
        """Stacked lower halves [B, 15, h, w] in [0, 1] -> embeddings [B, outputs], not normalised."""
        x = self.pool(self.relu(self.bn1(self.conv1(lips))))
        return cast(Tensor, self.fc(self.average(self.blocks(x)).flatten(1)))


class AVSyncNet(nn.Module):
    """Cosine between what the lips show and what the speech says; a `SyncScorer`."""

    def __init__(self, settings: AVSyncNetSettings) -> None:
        super().__init__()
        self.settings = settings
        self.lips_size = settings.lips.size
        self.lips_encoder = LipsEncoder(settings.lips, settings.speech.outputs)
        self.audio_encoder = AudioEncoder(settings.speech)

    def embed_lips(self, lips: Tensor) -> Tensor:
        """Lower halves [B, 5, 3, h, w] in [0, 1] of consecutive frames at 25 fps -> unit vectors [B, D].

        Lips of another size are resized to `lips_size`, differentiably.
        """
        return self._normalise(self.lips_encoder(resize(lips.flatten(1, 2), self.lips_size)))

    def embed_speech(self, mel: Tensor) -> Tensor:
        """Mel windows [B, 1, 80, 16] in [-4, 4] of the same 0.2 s -> unit vectors [B, D]."""
        return self._normalise(self.audio_encoder(mel))

    def forward(self, lips: Tensor, mel: Tensor) -> Tensor:
        """AVSIM (eq. 4): lips [B, 5, 3, h, w], mel [B, 1, 80, 16] -> cosine [B].

        It lies in [0, 1] if `rectified`, else in [-1, 1].
        """
        return (self.embed_lips(lips) * self.embed_speech(mel)).sum(dim=1)

    def _normalise(self, embedding: Tensor) -> Tensor:
        # float32: eight bits of mantissa are too few for a cosine that losses compare to 0.01
        embedding = embedding.float()
        if self.settings.rectified:
            embedding = F.relu(embedding)
        return F.normalize(embedding, dim=1)
