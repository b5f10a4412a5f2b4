"""Discriminator of the default generator's mouths: looks at the picture and at its detail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class MouthDiscriminatorSettings:
    """Numbers of `MouthDiscriminator`."""

    inputs: int = 6
    """Channels: the picture's three and its detail's three."""
    widths: tuple[int, ...] = (32, 64, 128, 128)
    """Channels of each strided convolution."""


class MouthDiscriminator(nn.Module):
    """Strided convolutions with LeakyReLU; one score for each patch."""

    def __init__(self, settings: MouthDiscriminatorSettings) -> None:
        super().__init__()
        self.settings = settings
        self.layers = nn.ModuleList()
        inputs = settings.inputs
        for width in settings.widths:
            self.layers.append(
                nn.Sequential(nn.Conv2d(inputs, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True))
            )
            inputs = width
        self.score = nn.Conv2d(inputs, 1, 1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[B, inputs, h, w] -> scores [B, 1, h / 16, w / 16] and the features of every layer."""
        features = []
        x = pictures
        for layer in self.layers:
            x = cast(Tensor, layer(x))
            features.append(x)
        return cast(Tensor, self.score(x)), features
