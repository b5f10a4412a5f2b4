"""The discriminator (paper, section 3.3): strided convolutions, leaky ReLU, spectral norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from lipsync_cli.errors import SettingsError
from lipsync_cli.models.blocks import strided


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscriminatorSettings:
    """Numbers of `Discriminator`; the defaults match the paper-sized face encoders, level by level."""

    inputs: int = 3
    """Channels of the pictures."""
    widths: tuple[int, ...] = (32, 64, 128, 256, 384, 512)
    """Channels of each strided convolution."""
    strides: tuple[int, ...] = (2, 2, 2, 2, 2, 3)
    """Stride of each of them, 2 or 3."""
    spectral_norm: bool = True
    """Whether every convolution's largest singular value is held at 1."""

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.strides):
            raise SettingsError("discriminator: widths and strides need one number for each layer")


class Discriminator(nn.Module):
    """Tells real faces from generated ones, by logits: above 0 is real.

    The paper leaves its input open: here it is the whole face, as the generator draws it. With other numbers
    it looks at the mouth alone. Each pixel that is left after the last stride gives one logit.
    """

    def __init__(self, settings: DiscriminatorSettings) -> None:
        super().__init__()
        self.settings = settings
        layers: list[nn.Module] = []
        inputs = settings.inputs
        for outputs, stride in zip(settings.widths, settings.strides, strict=True):
            conv = self._normed(strided(inputs, outputs, stride, bias=True))
            layers.append(nn.Sequential(conv, nn.LeakyReLU(0.2)))
            inputs = outputs
        self.layers = nn.ModuleList(layers)
        self.head = self._normed(nn.Conv2d(inputs, 1, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        """[B, inputs, H, W] in [0, 1] -> logits [B, n], n = 1 for a 96x96 face."""
        return self.judge(pictures)[0]

    def judge(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits [B, n] and the map of each layer, for feature matching."""
        x, maps = pictures, []
        for layer in self.layers:
            x = layer(x)
            maps.append(x)
        return cast(Tensor, self.head(x)).flatten(1), maps

    def _normed(self, conv: nn.Conv2d) -> nn.Module:
        return spectral_norm(conv) if self.settings.spectral_norm else conv
