"""What a training step of the paper's networks is made of: which clips, frames, references and negatives.

A sample depends on the seed and the number of the step alone, so a run that was stopped goes on with
exactly the samples that it would have had.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipsync_cli.data.augment import (
    Colour,
    PictureAugmentation,
    VoiceAugmentation,
    augment_voice,
    random_grid,
    sample_grid,
)
from lipsync_cli.data.corpus import Corpus
from lipsync_cli.data.layout import FRAMES_PER_SECOND, Clip
from lipsync_cli.errors import DataError, SettingsError
from lipsync_cli.regions import lower_half
from lipsync_cli.speech.mel import DECIBELS, SILENCE
from lipsync_cli.speech.windows import MelWindows

WINDOW = 5
"""Frames of one decision of a sync network."""
Hear = Callable[[Clip, Sequence[int]], Tensor]
"""Clip and frames -> what is heard around each of them, [B, n_steps, width]."""
NEIGHBOURS = 2
"""Frames on either side of a target that may not be its reference."""


@dataclass(frozen=True)
class Tensors:
    """A batch: all its fields are tensors."""

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""
        moved = {field.name: getattr(self, field.name).to(device) for field in fields(self)}
        return type(self)(**moved)


@dataclass(frozen=True)
class SyncBatch(Tensors):
    """C clips of K windows each; windows of one clip never overlap."""

    lips: Tensor
    """[C, K, 5, 3, S/2, S] in [0, 1]."""
    mel: Tensor
    """[C, K, 1, 80, 16]."""


def draw_sync_batch(
    corpus: Corpus,
    rng: np.random.Generator,
    *,
    n_clips: int,
    n_windows: int,
    picture: PictureAugmentation,
    voice: VoiceAugmentation,
) -> SyncBatch:
    """Windows of 5 frames with the sound of the same 0.2 s, pictures and voice changed alike in a clip."""
    lips, mels = [], []
    for _ in range(n_clips):
        clip = _long_enough(corpus, rng, n_windows * WINDOW)
        starts = _apart(rng, clip.n_frames, n_windows)
        frames = [start + i for start in starts for i in range(WINDOW)]
        faces = clip.crops(frames)
        grid = random_grid(rng, faces.shape[1], picture)
        pictures = coloured(faces, Colour.draw(rng, picture.colour))
        # only the lower half is drawn: a row of the grid for each of its rows
        halves = lower_half(pictures)
        if picture.moves:
            halves = sample_grid(pictures[None], grid[None, grid.shape[0] // 2 :])[0]
        lips.append(halves.reshape(n_windows, WINDOW, *halves.shape[1:]))
        mel = augment_voice(clip.read("mel"), rng, voice, per_decibel=1 / DECIBELS, floor=SILENCE)
        mels.append(MelWindows(mel).starting([start / FRAMES_PER_SECOND for start in starts]))
    return SyncBatch(torch.stack(lips), torch.stack(mels))


def coloured(faces: NDArray[np.uint8], colour: Colour) -> Tensor:
    """Crops uint8 [N, S, S, 3] -> [N, 3, S, S] in [0, 1], their colours changed.

    By a table: of 256 levels a power is taken once, not of every pixel.
    """
    levels = torch.linspace(0, 1, 256).expand(3, 1, 256)
    table = np.ascontiguousarray(colour.apply(levels)[:, 0].T.numpy())
    n_faces, size = faces.shape[:2]
    seen = cv2.LUT(faces.reshape(n_faces * size, size, 3), table[None])
    return torch.from_numpy(seen.reshape(faces.shape)).permute(0, 3, 1, 2)


def _long_enough(corpus: Corpus, rng: np.random.Generator, n_frames: int) -> Clip:
    for _ in range(1000):
        clip = corpus.draw(rng)
        if clip.n_frames >= n_frames:
            return clip
    raise DataError(f"hardly any clip has {n_frames} frames: prepare longer videos")


def _apart(rng: np.random.Generator, n_frames: int, n_windows: int) -> list[int]:
    """Starts of windows that do not overlap, in random order."""
    slack = np.sort(rng.integers(0, n_frames - n_windows * WINDOW + 1, size=n_windows))
    starts = slack + WINDOW * np.arange(n_windows)
    return [int(start) for start in rng.permutation(starts)]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSampling:
    """How many windows of 5 frames a batch of the paper's generators has."""

    n_windows: int = 8
    """Windows in a batch, each of a clip of its own (the paper does not say how many)."""

    def __post_init__(self) -> None:
        if self.n_windows < 1:
            raise SettingsError("sampling.n_windows must be at least 1")


@dataclass(frozen=True)
class WindowBatch(Tensors):
    """B windows of 5 consecutive frames (paper, section 4)."""

    targets: Tensor
    """[B, 5, 3, S, S] in [0, 1]."""
    references: Tensor
    """[B, 3, S, S], the identity reference of each window, from another time of its clip."""
    mel: Tensor
    """[B, 5, 1, 80, 16] around each target: what the generator hears (or [B, 5, n_steps, width])."""
    sync_mel: Tensor
    """[B, 1, 80, 16] of the 0.2 s of the five: what the sync network hears."""


def draw_window_batch(
    corpus: Corpus,
    rng: np.random.Generator,
    sampling: WindowSampling,
    *,
    picture: PictureAugmentation,
    voice: VoiceAugmentation,
    hear: Hear | None = None,
) -> WindowBatch:
    """Five consecutive frames, their sound and one random identity reference (paper, sections 3.1 and 4).

    Pictures and voice are changed alike within a window, its reference included. hear: what the generator
    hears around frames instead of mel windows; it is as it is, whatever happens to the voice.
    """
    targets, references, heard, sync_heard = [], [], [], []
    for _ in range(sampling.n_windows):
        clip = _long_enough(corpus, rng, WINDOW + 1)
        start = int(rng.integers(clip.n_frames - WINDOW + 1))
        window = list(range(start, start + WINDOW))
        faces = clip.crops([*window, _another_frame(clip.n_frames, window, rng)])
        grid = random_grid(rng, faces.shape[1], picture)
        pictures = coloured(faces, Colour.draw(rng, picture.colour))
        crops = move_alike(pictures[None], [grid], picture)[0]
        targets.append(crops[:WINDOW])
        references.append(crops[WINDOW])
        mel = augment_voice(clip.read("mel"), rng, voice, per_decibel=1 / DECIBELS, floor=SILENCE)
        windows = MelWindows(mel)
        if hear is None:
            heard.append(windows.around([frame / FRAMES_PER_SECOND for frame in window]))
        else:
            heard.append(hear(clip, window))
        sync_heard.append(windows.starting([start / FRAMES_PER_SECOND])[0])
    return WindowBatch(
        targets=torch.stack(targets),
        references=torch.stack(references),
        mel=torch.stack(heard),
        sync_mel=torch.stack(sync_heard),
    )


def _another_frame(n_frames: int, window: Sequence[int], rng: np.random.Generator) -> int:
    """A random frame that is neither in the window nor next to it (where the clip allows)."""
    near = range(window[0] - NEIGHBOURS, window[-1] + NEIGHBOURS + 1)
    free = [frame for frame in range(n_frames) if frame not in near]
    return int(rng.choice(free or [frame for frame in range(n_frames) if frame not in window]))


def move_alike(pictures: Tensor, grids: Sequence[Tensor], amount: PictureAugmentation) -> Tensor:
    """`sample_grid`, or the pictures [C, F, 3, S, S] as they are where nothing is to move."""
    return sample_grid(pictures, torch.stack(list(grids))) if amount.moves else pictures
