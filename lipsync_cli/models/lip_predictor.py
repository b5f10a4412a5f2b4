"""What speech tells of the lips' movement, heard over 1.6 seconds.

Not of the paper. A generator that learns from pictures is trained on few frames of few people; lips alone are
learnt in minutes, and of people never heard they are told better than the generator's own ear tells them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.errors import SettingsError

FURTHER_STEPS = 15
"""Steps of 40 ms that `speech_embedding_wide` has before and after the ten of `speech_embedding`."""
N_MOVEMENTS = 2
"""Opening and width of the mouth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LipPredictorSettings:
    """Numbers of `LipPredictor`."""

    inputs: int = 384
    """Numbers of one step of the speech embedding."""
    width: int = 96
    """Channels."""
    dilations: tuple[int, ...] = (1, 2, 4, 8)
    """Of the convolutions over three steps, in steps."""
    n_networks: int = 4
    """Networks whose mean is the answer: each errs in its own way."""
    dropout: float = 0.2
    """Share of the channels' values that are dropped in training."""
    channel_dropout: float = 0.1
    """Share of the inputs that are dropped in training, each over a whole sample."""
    noise: float = 0.3
    """Standard deviation of the noise that is added to the inputs in training, over theirs."""

    def __post_init__(self) -> None:
        if sum(self.dilations) != FURTHER_STEPS:
            raise SettingsError(
                f"dilations {self.dilations} add up to {sum(self.dilations)}: use some that add up to "
                f"{FURTHER_STEPS}, the steps that are heard on either side"
            )


class LipPredictor(nn.Module):
    """Steps of the speech embedding -> how the mouth opens and widens, in a speaker's standard deviations."""

    def __init__(self, settings: LipPredictorSettings) -> None:
        super().__init__()
        self.settings = settings
        self.normalise = nn.BatchNorm1d(settings.inputs, affine=False)
        self.networks = nn.ModuleList(_Network(settings) for _ in range(settings.n_networks))

    def forward(self, steps: Tensor) -> Tensor:
        """[B, T, inputs] -> [B, T - 31, 2], opening and width: place p is the moment in the middle between
        steps p + 15 and p + 16."""
        normal = self._normal(steps)
        return torch.stack([network(normal) for network in self.networks]).mean(dim=0).transpose(1, 2)

    def each(self, steps: Tensor) -> Tensor:
        """In training: every network is shown a sample of its own: [n_networks * B, T, inputs] -> the same
        number of answers as forward's."""
        parts = self._normal(steps).chunk(len(self.networks))
        answers = [network(part) for network, part in zip(self.networks, parts, strict=True)]
        return torch.cat(answers).transpose(1, 2)

    def _normal(self, steps: Tensor) -> Tensor:
        """[B, T, inputs] -> [B, inputs, T]."""
        return cast(Tensor, self.normalise(steps.transpose(1, 2)))


class _Network(nn.Module):
    def __init__(self, settings: LipPredictorSettings) -> None:
        super().__init__()
        self.settings = settings
        self.enter = nn.Conv1d(settings.inputs, settings.width, 1)
        self.pair = nn.Conv1d(settings.width, settings.width, 2)
        self.dropout = nn.Dropout(settings.dropout)
        self.blocks = nn.ModuleList(
            _Block(settings.width, dilation, settings.dropout) for dilation in settings.dilations
        )
        self.out = nn.Conv1d(settings.width, N_MOVEMENTS, 1)
        nn.init.normal_(self.out.weight, std=0.02)

    def forward(self, steps: Tensor) -> Tensor:
        """[B, inputs, T] -> [B, 2, T - 31]."""
        if self.training:
            steps = F.dropout1d(
                steps + self.settings.noise * torch.randn_like(steps), self.settings.channel_dropout
            )
        x = self.dropout(F.gelu(self.pair(self.enter(steps))))
        for block in self.blocks:
            x = block(x)
        return cast(Tensor, self.out(self.dropout(F.gelu(x))))


class _Block(nn.Module):
    """A residual block of one dilated convolution; not padded, so that each end loses `dilation` places."""

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, width, 3, dilation=dilation)
        self.mix = nn.Conv1d(width, width, 1)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(cast(Tensor, self.mix.bias))

    def forward(self, x: Tensor) -> Tensor:
        """[B, width, T] -> [B, width, T - 2 dilation]."""
        y = self.norm(x.transpose(1, 2)).transpose(1, 2)
        y = self.dropout(self.mix(F.gelu(self.conv(y))))
        return cast(Tensor, x[:, :, self.dilation : -self.dilation] + y)
