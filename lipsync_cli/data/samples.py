"""What a training step is made of: which clips, which frames, which references, which negatives.

A sample depends on the seed and the number of the step alone, so a run that was stopped goes on with
exactly the samples that it would have had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipsync_cli.data.augment import (
    Colour,
    PictureAugmentation,
    VoiceAugmentation,
    augment_voice,
    move_points,
    random_grid,
    sample_grid,
)
from lipsync_cli.data.layout import FRAMES_PER_SECOND, Clip
from lipsync_cli.errors import DataError
from lipsync_cli.faces.landmarks import SCHEMES
from lipsync_cli.regions import lower_half, to_network
from lipsync_cli.speech.embedding_mel import silence_floor
from lipsync_cli.speech.mel import SILENCE
from lipsync_cli.speech.windows import MelWindows, SpeechEmbeddingWindows

WINDOW = 5
"""Frames of one decision of a sync network."""
_RING = (*range(10, -1, -1), *range(19, 10, -1))
MIRRORED_LIPS = (*_RING, *(20 + place for place in _RING))
"""Which lip point (mesh468) takes whose place when a picture is mirrored: corners swap, rings turn round."""
_NEIGHBOURS = 2  # frames on either side of a target that may not be its reference


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusSettings:
    """Which speakers are trained on, and how often each is heard."""

    validation_speakers: tuple[str, ...] = ()
    """Kept out of training; the figures are measured on them."""
    test_speakers: tuple[str, ...] = ()
    """Kept out of training and of validation."""
    balance: float = 0.45
    """A speaker with n clips is drawn with weight n ** balance: 1 treats clips alike, 0 speakers."""


class Corpus:
    """The clips of a cache, split by speaker. Raises DataError when nothing is left to train on."""

    def __init__(self, clips: Sequence[Clip], settings: CorpusSettings) -> None:
        known = {clip.speaker for clip in clips}
        unknown = {*settings.validation_speakers, *settings.test_speakers} - known
        if unknown:
            raise DataError(
                f"the cache has no speaker {', '.join(sorted(unknown))}: it has {', '.join(sorted(known))}"
            )
        kept_out = {*settings.validation_speakers, *settings.test_speakers}
        self.validation = [clip for clip in clips if clip.speaker in settings.validation_speakers]
        self._by_speaker: dict[str, list[Clip]] = {}
        for clip in clips:
            if clip.speaker not in kept_out:
                self._by_speaker.setdefault(clip.speaker, []).append(clip)
        if not self._by_speaker:
            raise DataError("all speakers are kept out for validation or test: nothing is left to train on")
        self._speakers = sorted(self._by_speaker)
        weights = np.array([len(self._by_speaker[name]) ** settings.balance for name in self._speakers])
        self._chances = weights / weights.sum()

    @property
    def training(self) -> list[Clip]:
        """All clips that are trained on."""
        return [clip for name in self._speakers for clip in self._by_speaker[name]]

    def draw(self, rng: np.random.Generator) -> Clip:
        """A random clip of a random speaker."""
        clips = self._by_speaker[self._speakers[rng.choice(len(self._speakers), p=self._chances)]]
        return clips[rng.integers(len(clips))]


def step_rng(seed: int, step: int) -> np.random.Generator:
    """The randomness of one training step."""
    return np.random.default_rng([seed, step])


@dataclass(frozen=True)
class SyncBatch:
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
        crops = to_network(clip.crops(frames))
        crops = sample_grid(crops[None], random_grid(rng, crops.shape[-1], picture)[None])[0]
        crops = Colour.draw(rng, picture.colour).apply(lower_half(crops))
        lips.append(crops.unflatten(0, (n_windows, WINDOW)))
        mel = augment_voice(clip.read("mel"), rng, voice, per_decibel=0.08, floor=SILENCE)
        mels.append(MelWindows(mel).starting([start / FRAMES_PER_SECOND for start in starts]))
    return SyncBatch(torch.stack(lips), torch.stack(mels))


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
class FaceSampling:
    """How frames and references of one sample are drawn."""

    n_clips: int = 8
    """Clips in a batch."""
    n_frames: int = 4
    """Target frames of each."""
    open_share: float = 0.5
    """Share of the targets that are drawn from the most open third of the clip."""
    any_for_closed: float = 0.33
    """Share of the samples whose closed reference is any frame (reference dropout)."""
    closed_for_open: float = 0.33
    """Share of the samples whose open reference is the closed one again (a still image)."""
    silent_share: float = 0.04
    """Share of the samples that hear silence and show a closed mouth."""


@dataclass(frozen=True)
class FaceBatch:
    """C clips of F target frames each."""

    targets: Tensor
    """[C, F, 3, S, S] in [0, 1]."""
    references: Tensor
    """[C, 2, 3, S, S], closed and open."""
    log_mel: Tensor
    """[C, F, 76, 32] around each target."""
    lips: Tensor
    """[C, F, 40, 2] lip points over the face's side, (0, 0) in the middle of the lower half."""
    reference_lips: Tensor
    """[C, 2, 40, 2] those of the references."""


def draw_face_batch(
    corpus: Corpus,
    rng: np.random.Generator,
    sampling: FaceSampling,
    *,
    picture: PictureAugmentation,
    voice: VoiceAugmentation,
) -> FaceBatch:
    """Targets, references and what is heard around the targets; one change of colours and shape a clip."""
    samples = [_draw_face_sample(corpus, rng, sampling, voice) for _ in range(sampling.n_clips)]
    pictures = torch.stack([sample.pictures for sample in samples])
    size = pictures.shape[-1]
    grids = [random_grid(rng, size, picture) for _ in samples]
    pictures = sample_grid(pictures, torch.stack(grids))
    colours = [Colour.draw(rng, picture.colour) for _ in samples]
    pictures = torch.stack([colour.apply(one) for colour, one in zip(colours, pictures, strict=True)])
    lips = torch.stack(
        [_moved_lips(sample.lips, grid) for sample, grid in zip(samples, grids, strict=True)]
    )
    return FaceBatch(
        targets=pictures[:, 2:],
        references=pictures[:, :2],
        log_mel=torch.stack([sample.log_mel for sample in samples]),
        lips=lips[:, 2:],
        reference_lips=lips[:, :2],
    )


@dataclass(frozen=True)
class _FaceSample:
    pictures: Tensor  # [2 + F, 3, S, S]: closed, open, targets
    lips: Tensor  # [2 + F, 40, 2] in [-1, 1]
    log_mel: Tensor  # [F, 76, 32]


def _draw_face_sample(
    corpus: Corpus, rng: np.random.Generator, sampling: FaceSampling, voice: VoiceAugmentation
) -> _FaceSample:
    clip = corpus.draw(rng)
    order = np.argsort(clip.openings, kind="stable")
    is_silent = rng.random() < sampling.silent_share
    targets = _draw_targets(order, rng, sampling, is_silent)
    closed, opened = _draw_references(order, targets, rng, sampling)
    frames = [closed, opened, *targets]
    landmarks = clip.read("landmarks")[frames]
    crops = to_network(clip.crops(frames))
    lips = landmarks[:, list(SCHEMES["mesh468"].lips)]
    return _FaceSample(
        pictures=crops,
        lips=torch.from_numpy((lips + 0.5) / crops.shape[-1] * 2 - 1),
        log_mel=_hear(clip, targets, rng, voice, is_silent),
    )


def _draw_targets(
    order: NDArray[np.intp], rng: np.random.Generator, sampling: FaceSampling, is_silent: bool
) -> list[int]:
    n = len(order)
    if is_silent:
        return [int(frame) for frame in rng.choice(order[: max(n // 6, 1)], size=sampling.n_frames)]
    opened = order[n - max(n // 3, 1) :]
    return [
        int(rng.choice(opened if rng.random() < sampling.open_share else order))
        for _ in range(sampling.n_frames)
    ]


def _draw_references(
    order: NDArray[np.intp], targets: Sequence[int], rng: np.random.Generator, sampling: FaceSampling
) -> tuple[int, int]:
    """A closed and an open frame, never a target or next to one (where the clip allows)."""
    taken = {target + step for target in targets for step in range(-_NEIGHBOURS, _NEIGHBOURS + 1)}

    def draw(frames: NDArray[np.intp]) -> int:
        free = [frame for frame in frames.tolist() if frame not in taken]
        return int(rng.choice(free if free else frames))

    n = len(order)
    closed = draw(order if rng.random() < sampling.any_for_closed else order[: max(n // 6, 1)])
    if rng.random() < sampling.closed_for_open:
        return closed, closed
    return closed, draw(order[n - max(n // 8, 1) :])


def _hear(
    clip: Clip, frames: Sequence[int], rng: np.random.Generator, voice: VoiceAugmentation, is_silent: bool
) -> Tensor:
    log_mel = clip.read("log_mel")
    if is_silent:
        floor = silence_floor(log_mel)
        level = floor + (rng.uniform(0, 1.5) if rng.random() < 0.5 else 0.0)
        log_mel = (level + rng.normal(0, 0.15, size=log_mel.shape) * (level > floor)).astype(np.float32)
    else:
        log_mel = augment_voice(
            log_mel.T, rng, voice, per_decibel=0.1, floor=silence_floor(log_mel)
        ).T
    times = [frame / FRAMES_PER_SECOND for frame in frames]
    return torch.from_numpy(SpeechEmbeddingWindows.columns_around(np.ascontiguousarray(log_mel), times))


def _moved_lips(lips: Tensor, grid: Tensor) -> Tensor:
    """Lip points [N, 40, 2] in [-1, 1] of the picture -> after the grid, in units of the lower half."""
    moved = move_points(lips.flatten(0, 1), grid).unflatten(0, lips.shape[:2])
    if grid[0, 0, 0] > grid[0, -1, 0]:  # mirrored: the left corner has become the right one
        moved = moved[:, list(MIRRORED_LIPS)]
    return moved / 2 - torch.tensor([0.0, 0.25])
