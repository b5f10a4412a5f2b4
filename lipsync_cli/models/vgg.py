"""VGG-16 and VGG-19 as feature extractors for the perceptual and the triplet loss (eq. 1 and 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from lipsync_cli.errors import SettingsError

_WIDTHS = (64, 128, 256, 512, 512)


@dataclass(frozen=True, slots=True, kw_only=True)
class VGGSettings:
    """Numbers of `VGGFeatures`; the defaults are VGG-19 (the paper's)."""

    depths: tuple[int, int, int, int, int] = (2, 2, 4, 4, 4)
    """Convolutions of each stage: VGG-16 has 2, 2, 3, 3, 3."""
    taps: tuple[int, int, int, int, int] = (1, 1, 1, 1, 1)
    """Which convolution's ReLU gives the stage's features, from 1 on; the paper does not name its layers."""

    def __post_init__(self) -> None:
        if any(not 1 <= tap <= depth for tap, depth in zip(self.taps, self.depths, strict=True)):
            raise SettingsError(f"vgg: taps {self.taps} must lie between 1 and the depths {self.depths}")


class VGGFeatures(nn.Module):
    """Frozen; `features.N.weight` are the names of torchvision's vgg16 and vgg19."""

    mean: Tensor
    std: Tensor

    def __init__(self, settings: VGGSettings) -> None:
        super().__init__()
        self.settings = settings
        layers: list[nn.Module] = []
        self.taps: list[int] = []
        inputs = 3
        for width, depth, tap in zip(_WIDTHS, settings.depths, settings.taps, strict=True):
            for i in range(depth):
                # not in place: a tapped map must stay as it was
                layers += [nn.Conv2d(inputs, width, 3, 1, 1), nn.ReLU()]
                inputs = width
                if i + 1 == tap:
                    self.taps.append(len(layers) - 1)
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers[: self.taps[-1] + 1])
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)
        self.requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Five maps of images [B, 3, H, W], RGB in [0, 1], at least 16 pixels a side.

        They go from [B, 64, H, W] to [B, 512, H / 16, W / 16].
        """
        x = (images - self.mean) / self.std
        maps: list[Tensor] = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.taps:
                maps.append(x)
        return maps

    def train(self, mode: bool = True) -> Self:
        """Stays in eval mode, whatever is asked for."""
        return super().train(False)

    def own_weights(self, public: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The part of a public vgg16 or vgg19 state_dict that is used here: no classifier, nothing deeper.

        Names that are missing there are missing here too; who loads it must compare.
        """
        return {name: public[name] for name in self.state_dict() if name in public}
