"""The paper's face generator (sections 3.1 and 3.3, fig. 2); one class in both roles, G_S and G_L."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.errors import SettingsError
from lipsync_cli.models.audio_encoder import (
    AudioEncoder,
    AudioEncoderSettings,
    FeatureProjection,
    FeatureSettings,
    FrozenAudioEncoder,
)
from lipsync_cli.models.blocks import FDBlock, FEBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class UNetSettings:
    """Numbers of `UNetFaceGenerator`; the defaults make it paper-sized (the paper names no widths)."""

    image_size: int = 96
    """Height and width of the faces, pixels."""
    stem: int = 16
    """Channels of the full-size map before the first FE block and after the last FD block."""
    widths: tuple[int, ...] = (32, 64, 128, 256, 384, 512)
    """Channels of each FE block; the last is the depth of the face embedding."""
    strides: tuple[int, ...] = (2, 2, 2, 2, 2, 3)
    """Stride of each FE block, 2 or 3; together they bring the face down to one pixel."""
    speech: AudioEncoderSettings = field(default_factory=AudioEncoderSettings)
    """The audio encoder E_A, the same as in the AVSyncNet that its weights come from."""
    frozen_speech: bool = True
    """E_A keeps the weights that it is given (the paper). False: it learns with the generator (setup A)."""
    listens: Literal["mel", "speech_embedding", "features"] = "mel"
    """mel: through E_A. speech_embedding: to that of the default networks. features: to those of any other
    frozen speech network, from files (setup C: Wav2Vec2); both through a projection that learns."""
    features: FeatureSettings = field(default_factory=FeatureSettings)
    """What that projection takes."""

    def __post_init__(self) -> None:
        if self.listens != "mel" and not self.frozen_speech:
            raise SettingsError(
                f"face generator: frozen_speech = false lets E_A learn, but with listens = '{self.listens}' "
                "there is none: leave one of them out"
            )
        if len(self.widths) != len(self.strides):
            raise SettingsError("face generator: widths and strides need one number for each block")
        if math.prod(self.strides) != self.image_size:
            raise SettingsError(
                f"face generator: the product of the strides is {math.prod(self.strides)} and must be"
                f" image_size, {self.image_size}, so that a face becomes one pixel"
            )


class FaceEncoder(nn.Module):
    """Identity or pose encoder: a full-size convolution, then FE blocks down to one pixel."""

    def __init__(self, settings: UNetSettings) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, settings.stem, 7, 1, 3, bias=False),
            nn.BatchNorm2d(settings.stem),
            nn.ReLU(inplace=True),
        )
        blocks: list[nn.Module] = []
        inputs, size = settings.stem, settings.image_size
        for outputs, stride in zip(settings.widths, settings.strides, strict=True):
            size //= stride
            blocks.append(FEBlock(inputs, outputs, stride, size))
            inputs = outputs
        self.blocks = nn.ModuleList(blocks)

    def forward(self, faces: Tensor) -> list[Tensor]:
        """[B, 3, S, S] in [0, 1] -> maps from [B, stem, S, S] to the embedding [B, widths[-1], 1, 1]."""
        maps: list[Tensor] = [self.stem(faces)]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return maps


class UNetFaceGenerator(nn.Module):
    """A `FaceGenerator`: two face encoders, the frozen audio encoder, and a U-Net decoder of FD blocks.

    Choices where the paper is silent: the face embeddings are one pixel in size, as the audio's is; E_A's
    embedding enters as its direction, which is all that AVSyncNet trains, scaled to a root mean square of 1;
    there is one identity reference a frame.
    """

    n_references = 1
    scalable = False

    def __init__(self, settings: UNetSettings) -> None:
        super().__init__()
        self.settings = settings
        self.image_size = settings.image_size
        self.identity_encoder = FaceEncoder(settings)
        self.pose_encoder = FaceEncoder(settings)
        self.hears: str = settings.listens
        self.audio_encoder: nn.Module
        if settings.listens != "mel":
            self.audio_encoder = FeatureProjection(settings.features, settings.speech.outputs)
        elif settings.frozen_speech:
            self.audio_encoder = FrozenAudioEncoder(settings.speech)
        else:
            self.audio_encoder = AudioEncoder(settings.speech)
        deepest = settings.widths[-1]
        self.fuse = nn.Sequential(
            nn.Conv2d(2 * deepest, deepest, 1, bias=False), nn.BatchNorm2d(deepest), nn.ReLU(inplace=True)
        )
        blocks: list[nn.Module] = []
        inputs = deepest + settings.speech.outputs
        targets = (settings.stem, *settings.widths[:-1])
        for outputs, stride in zip(reversed(targets), reversed(settings.strides), strict=True):
            blocks.append(FDBlock(inputs, outputs, stride))
            inputs = 3 * outputs  # its own map and those of both encoders
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Sequential(
            nn.Conv2d(inputs, 2 * settings.stem, 3, 1, 1, bias=False),
            nn.BatchNorm2d(2 * settings.stem),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * settings.stem, 3, 1),
        )

    def forward(self, speech: Tensor, references: Tensor, pose: Tensor) -> Tensor:
        """speech [B, 1, 80, 16], references [B, 1, 3, S, S], pose [B, 3, S, S] -> whole faces [B, 3, S, S].

        Mel in [-4, 4], or features [B, n_steps, width]; pictures in [0, 1], the pose's lower half zero.
        """
        identity = self.identity_encoder(references[:, 0])
        posed = self.pose_encoder(pose)
        x = self.fuse(torch.cat([identity.pop(), posed.pop()], dim=1))
        x = torch.cat([x, self._hear(speech).to(x.dtype)], dim=1)
        for block in self.blocks:
            x = torch.cat([block(x), identity.pop(), posed.pop()], dim=1)
        # float32: in bfloat16 the sigmoid's result would have fewer than 256 shades
        return torch.sigmoid(self.head(x).float())

    def _hear(self, speech: Tensor) -> Tensor:
        """F_A (section 3.1): [B, 1, 80, 16] -> [B, outputs, 1, 1]."""
        embedding = F.normalize(self.audio_encoder(speech).float(), dim=1)
        return embedding[:, :, None, None] * math.sqrt(self.settings.speech.outputs)
