"""Short samples of a generator: the real clip and the generated one side by side, with what it heard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.data.layout import FRAMES_PER_SECOND, Clip
from lipsync_cli.speech.windows import MelWindows
from lipsync_cli.training.figures import Talker, show

_LONGEST = 75  # frames: 3 s


@dataclass(frozen=True)
class Film:
    """Pictures at 25 fps and the mel spectrogram of their sound: caches hold no waveform."""

    frames: NDArray[np.uint8]
    """[N, S, 2 S, 3] RGB: real on the left, generated on the right."""
    mel: NDArray[np.float32]
    """[80, T], 80 columns a second."""


def sample_films(talker: Talker, clips: Sequence[Clip]) -> list[Film]:
    """The first 3 s of each clip, dubbed with its own speech."""
    films = []
    for clip in clips:
        shown = show(clip)
        crops = shown.crops[:_LONGEST]
        references = talker.references(shown.crops[shown.closed], shown.crops[shown.opened])
        spoken = talker.speak(talker.hear(clip, 0)[: len(crops)], references, crops)
        n_columns = round(len(crops) / FRAMES_PER_SECOND * MelWindows.RATE)
        frames = np.concatenate([crops, spoken], axis=2)
        films.append(Film(frames, clip.read("mel")[:, :n_columns]))
    return films
