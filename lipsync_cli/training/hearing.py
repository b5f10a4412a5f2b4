"""What a generator of the paper's class hears: mel windows, the speech embedding, or features from files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from lipsync_cli.data.features import Features
from lipsync_cli.data.layout import FRAMES_PER_SECOND, Clip
from lipsync_cli.data.samples import Hear
from lipsync_cli.speech.embedding_mel import N_BINS
from lipsync_cli.speech.mel import silent_mel
from lipsync_cli.speech.windows import MelWindows, SpeechEmbeddingWindows
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


def hear_steps(
    network: Callable[[Tensor], Tensor], further: int
) -> tuple[Callable[[Clip, int], Tensor], Tensor]:
    """What the default generator hears, for figures: of all frames of a clip [N, 10 + 2 further, 384], as
    `Hearing.whole`, and of digital silence.

    network: log mels -> steps, as `SpeechEmbedding.steps`. Without further steps the cache has them all.
    """

    def whole(clip: Clip, offset: int) -> Tensor:
        times = [(frame + offset) / FRAMES_PER_SECOND for frame in range(clip.n_frames)]
        return SpeechEmbeddingWindows(clip.read("log_mel"), network, further).around(times)

    nothing = np.zeros((0, N_BINS), np.float32)
    silence = SpeechEmbeddingWindows(nothing, network, further).around([0.0])[0]
    return whole if further else hear_embedding, silence


def embedding_hearing(silence: Tensor) -> Hearing:
    """The speech embedding as the cache has it; silence: [10, 384]."""
    return Hearing(lambda clip, frames: hear_embedding(clip)[list(frames)], hear_embedding, silence)


def feature_hearing(features: Features) -> Hearing:
    """Features from files."""

    def whole(clip: Clip, offset: int) -> Tensor:
        frames = (torch.arange(clip.n_frames) + offset).clamp(0, clip.n_frames - 1)
        return features.around(clip, frames.tolist())

    return Hearing(features.around, whole, features.silence())
