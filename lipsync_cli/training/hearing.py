"""What a generator of the paper's class hears: mel windows, the speech embedding, or features from files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lipsync_cli.data.features import Features
from lipsync_cli.data.layout import Clip
from lipsync_cli.data.samples import Hear
from lipsync_cli.speech.mel import silent_mel
from lipsync_cli.speech.windows import MelWindows
from lipsync_cli.training.figures import hear_embedding, hear_mel


def silent_window() -> Tensor:
    """What a generator hears of digital silence around a frame: mel [1, 80, 16]."""
    return MelWindows(silent_mel(1)).around([0.0])[0]


@dataclass(frozen=True)
class Hearing:
    """By default mel windows, as the paper has it."""

    around: Hear | None = None
    """For training; None: mel windows of the changed voice."""
    whole: Callable[[Clip, int], Tensor] = hear_mel
    """For figures: all frames of a clip [N, ...], the sound `offset` frames late."""
    silence: Tensor = field(default_factory=silent_window)
    """Around one frame."""


def embedding_hearing(silence: Tensor) -> Hearing:
    """The speech embedding as the cache has it; silence: [10, 384]."""
    return Hearing(lambda clip, frames: hear_embedding(clip)[list(frames)], hear_embedding, silence)


def feature_hearing(features: Features) -> Hearing:
    """Features from files."""

    def whole(clip: Clip, offset: int) -> Tensor:
        frames = (torch.arange(clip.n_frames) + offset).clamp(0, clip.n_frames - 1)
        return features.around(clip, frames.tolist())

    return Hearing(features.around, whole, features.silence())
