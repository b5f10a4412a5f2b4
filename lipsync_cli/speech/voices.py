"""Hearing one speech as several voices: what a speech network says of all of them on average.

A voice is changed as another length of the vocal tract would change it, by stretching the mel axis. What is
said stays, who says it does not, so the mean depends less on the speaker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

VOICES = (-0.08, 0.0, 0.08)
"""How far the mel axis is stretched: the one that was recorded, and two beside it."""


def heard_as(
    network: Callable[[Tensor], Tensor], n_bins: int, voices: Sequence[float] = VOICES
) -> Callable[[Tensor], Tensor]:
    """The network that hears each of `voices` and answers with the mean.

    Args:
        network: log mels [B, T, n_bins] -> features [B, ...].
        n_bins: of the log mels.
        voices: relative changes of the frequency: 0 leaves the voice as it is.
    """
    stretched = torch.stack([_stretching(n_bins, voice) for voice in voices]).float()[:, None]

    def hear(log_mel: Tensor) -> Tensor:
        as_voices = log_mel @ stretched.to(log_mel)
        heard: Tensor = network(as_voices.flatten(0, 1))
        return heard.reshape(len(voices), len(log_mel), *heard.shape[1:]).mean(dim=0)

    return hear


def _stretching(n_bins: int, voice: float) -> Tensor:
    """[n_bins, n_bins], right factor: bin b of the product is read at b * (1 + voice), linearly, and the last
    bin past it."""
    places = (torch.arange(n_bins, dtype=torch.float64) * (1 + voice)).clamp(0, n_bins - 1)
    bins = torch.arange(n_bins, dtype=torch.float64)
    return (1 - (bins[:, None] - places).abs()).clamp(0, 1)
