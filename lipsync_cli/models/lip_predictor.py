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
        return torch.stack([network(normal) for network in self.networks]).mean(dim=0)

    def of_windows(self, windows: Tensor) -> Tensor:
        """As forward; windows of which each begins one step after the one before it share their work.

        So do those of frames at 25 fps: a batch of 25 takes a sixth of the time.
        """
        if not bool((windows[1:, :-1] == windows[:-1, 1:]).all()):
            return self.forward(windows)
        n_answers = windows.shape[1] - 2 * FURTHER_STEPS - 1
        in_line = torch.cat([windows[0], windows[1:, -1]])
        return self.forward(in_line[None])[0].unfold(0, n_answers, 1).transpose(1, 2)

    def each(self, steps: Tensor) -> Tensor:
        """In training: every network is shown a sample of its own: [n_networks * B, T, inputs] -> the same
        number of answers as forward's."""
        parts = self._normal(steps).chunk(len(self.networks))
        return torch.cat([network(part) for network, part in zip(self.networks, parts, strict=True)])

    def _normal(self, steps: Tensor) -> Tensor:
        """[B, T, inputs], over the spread of each input."""
        return cast(Tensor, self.normalise(steps.flatten(0, 1))).reshape(steps.shape)


class _Network(nn.Module):
    def __init__(self, settings: LipPredictorSettings) -> None:
        super().__init__()
        self.settings = settings
        self.enter = _Convolution(settings.inputs, settings.width, 1)
        self.pair = _Convolution(settings.width, settings.width, 2)
        self.dropout = nn.Dropout(settings.dropout)
        self.blocks = nn.ModuleList(
            _Block(settings.width, dilation, settings.dropout) for dilation in settings.dilations
        )
        self.out = _Convolution(settings.width, N_MOVEMENTS, 1)
        nn.init.normal_(self.out.weight, std=0.02)

    def forward(self, steps: Tensor) -> Tensor:
        """[B, T, inputs] -> [B, T - 31, 2]."""
        if self.training:
            steps = steps + self.settings.noise * torch.randn_like(steps)
            steps = F.dropout1d(steps.transpose(1, 2), self.settings.channel_dropout).transpose(1, 2)
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
        self.conv = _Convolution(width, width, 3, dilation=dilation)
        self.mix = _Convolution(width, width, 1)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(cast(Tensor, self.mix.bias))

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, width] -> [B, T - 2 dilation, width]."""
        y = self.dropout(self.mix(F.gelu(self.conv(self.norm(x)))))
        return cast(Tensor, x[:, self.dilation : -self.dilation] + y)


class _Convolution(nn.Conv1d):
    """Over time, not padded, of [B, T, inputs]: one matrix product, which for one long sample takes half of
    the time of torch's convolution."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, inputs] -> [B, T - dilation (kernel - 1), outputs]."""
        (n,), (dilation,) = self.kernel_size, self.dilation
        length = x.shape[1] - dilation * (n - 1)
        heard = torch.cat([x[:, dilation * i : dilation * i + length] for i in range(n)], dim=2)
        return F.linear(heard, self.weight.transpose(1, 2).flatten(1), self.bias)
