"""What a training step of the default networks is made of: targets, a closed and an open reference, sound.

As in `samples.py`, a sample depends on the seed and the number of the step alone.
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
)
from lipsync_cli.data.corpus import Corpus
from lipsync_cli.data.layout import FRAMES_PER_SECOND, Clip
from lipsync_cli.data.samples import NEIGHBOURS, WINDOW, Tensors, move_alike
from lipsync_cli.errors import SettingsError
from lipsync_cli.faces.landmarks import SCHEMES
from lipsync_cli.regions import to_network
from lipsync_cli.speech.embedding_mel import silence_floor
from lipsync_cli.speech.windows import MelWindows, SpeechEmbeddingWindows

_RING = (*range(10, -1, -1), *range(19, 10, -1))
MIRRORED_LIPS = (*_RING, *(20 + place for place in _RING))
"""Which lip point (mesh468) takes whose place when a picture is mirrored: corners swap, rings turn round."""
_LOG_MEL_PER_DECIBEL = 0.1  # (`embedding_mel`: a tenth of the decibels of the power)


_OPEN_IN_SILENCE = 0.6  # of the silent samples have an open mouth to close: the work of G_S


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
    """Share of the samples whose closed reference is any frame or, as often, an open one: dropout."""
    closed_for_open: float = 0.33
    """Share of the samples whose open reference is the closed one again (a still image)."""
    silent_share: float = 0.08
    """Share of the samples that hear silence and show a closed mouth."""
    consecutive: bool = False
    """The targets of a clip follow one another: n_frames is 5, what a sync network decides on. open_share is
    then of the windows whose middle frame is an open one."""

    def __post_init__(self) -> None:
        if self.consecutive and self.n_frames != WINDOW:
            raise SettingsError(
                f"sampling.n_frames must be {WINDOW} where sampling.consecutive is true, not {self.n_frames}"
            )


@dataclass(frozen=True)
class FaceBatch(Tensors):
    """C clips of F target frames each."""

    targets: Tensor
    """[C, F, 3, S, S] in [0, 1]."""
    references: Tensor
    """[C, 2, 3, S, S], closed and open."""
    log_mel: Tensor
    """[C, F, 76 + 8 further, 32] around each target."""
    lips: Tensor
    """[C, F, 40, 2] lip points over the face's side, (0, 0) in the middle of the lower half."""
    reference_lips: Tensor
    """[C, 2, 40, 2] those of the references."""
    sync_mel: Tensor
    """[C, 1, 80, 16] from the first target on: what a sync network hears with five consecutive targets."""
    spoken: Tensor
    """[C] bool: whether the targets are of the speech in `sync_mel`, and consecutive."""


def draw_face_batch(
    corpus: Corpus,
    rng: np.random.Generator,
    sampling: FaceSampling,
    *,
    picture: PictureAugmentation,
    voice: VoiceAugmentation,
    further: int = 0,
) -> FaceBatch:
    """Targets, references and what is heard around the targets; one change of colours and shape a clip.

    further: steps of the speech embedding that are heard on either side of the usual ten.
    """
    samples = [_draw_face_sample(corpus, rng, sampling, voice, further) for _ in range(sampling.n_clips)]
    pictures = torch.stack([sample.pictures for sample in samples])
    size = pictures.shape[-1]
    grids = [random_grid(rng, size, picture) for _ in samples]
    pictures = move_alike(pictures, grids, picture)
    colours = [Colour.draw(rng, picture.colour) for _ in samples]
    pictures = torch.stack([colour.apply(one) for colour, one in zip(colours, pictures, strict=True)])
    lips = torch.stack([_moved_lips(sample.lips, grid) for sample, grid in zip(samples, grids, strict=True)])
    return FaceBatch(
        targets=pictures[:, 2:],
        references=pictures[:, :2],
        log_mel=torch.stack([sample.log_mel for sample in samples]),
        lips=lips[:, 2:],
        reference_lips=lips[:, :2],
        sync_mel=torch.stack([sample.sync_mel for sample in samples]),
        spoken=torch.tensor([sample.spoken for sample in samples]),
    )


@dataclass(frozen=True)
class _FaceSample:
    pictures: Tensor  # [2 + F, 3, S, S]: closed, open, targets
    lips: Tensor  # [2 + F, 40, 2] in [-1, 1]
    log_mel: Tensor  # [F, 76 + 8 further, 32]
    sync_mel: Tensor  # [1, 80, 16]
    spoken: bool


def _draw_face_sample(
    corpus: Corpus, rng: np.random.Generator, sampling: FaceSampling, voice: VoiceAugmentation, further: int
) -> _FaceSample:
    clip = corpus.draw(rng)
    order = np.argsort(clip.openings, kind="stable")
    is_silent = rng.random() < sampling.silent_share
    targets = _draw_targets(order, rng, sampling, is_silent)
    closed, opened = _draw_references(order, targets, rng, sampling, is_silent)
    frames = [closed, opened, *targets]
    landmarks = clip.read("landmarks")[frames]
    crops = to_network(clip.crops(frames))
    lips = landmarks[:, list(SCHEMES["mesh468"].lips)]
    return _FaceSample(
        pictures=crops,
        lips=torch.from_numpy((lips + 0.5) / crops.shape[-1] * 2 - 1),
        log_mel=_hear(clip, targets, rng, voice, further=further, is_silent=is_silent),
        sync_mel=MelWindows(clip.read("mel")).starting([targets[0] / FRAMES_PER_SECOND])[0],
        spoken=sampling.consecutive and not is_silent,
    )


def _draw_targets(
    order: NDArray[np.intp], rng: np.random.Generator, sampling: FaceSampling, is_silent: bool
) -> list[int]:
    n = len(order)
    if is_silent:
        return [int(frame) for frame in rng.choice(order[: max(n // 6, 1)], size=sampling.n_frames)]
    opened = order[n - max(n // 3, 1) :]
    if sampling.consecutive:
        middle = int(rng.choice(opened if rng.random() < sampling.open_share else order))
        first = min(max(middle - WINDOW // 2, 0), n - WINDOW)
        return list(range(first, first + WINDOW))
    return [
        int(rng.choice(opened if rng.random() < sampling.open_share else order))
        for _ in range(sampling.n_frames)
    ]


def _draw_references(
    order: NDArray[np.intp],
    targets: Sequence[int],
    rng: np.random.Generator,
    sampling: FaceSampling,
    is_silent: bool,
) -> tuple[int, int]:
    """A closed and an open frame, never a target or next to one (where the clip allows)."""
    taken = {target + step for target in targets for step in range(-NEIGHBOURS, NEIGHBOURS + 1)}

    def draw(frames: NDArray[np.intp]) -> int:
        free = [frame for frame in frames.tolist() if frame not in taken]
        return int(rng.choice(free if free else frames))

    n = len(order)
    closed = draw(order[: max(n // 6, 1)])
    if is_silent and rng.random() < _OPEN_IN_SILENCE:
        closed = draw(order[n - max(n // 3, 1) :])
    elif rng.random() < sampling.any_for_closed:
        closed = draw(order[n - max(n // 3, 1) :] if rng.random() < 0.5 else order)
    if rng.random() < sampling.closed_for_open:
        return closed, closed
    return closed, draw(order[n - max(n // 8, 1) :])


def _hear(
    clip: Clip,
    frames: Sequence[int],
    rng: np.random.Generator,
    voice: VoiceAugmentation,
    *,
    further: int,
    is_silent: bool,
) -> Tensor:
    log_mel = clip.read("log_mel")
    if is_silent:
        floor = silence_floor(log_mel)
        level = floor + (rng.uniform(0, 1.5) if rng.random() < 0.5 else 0.0)
        log_mel = (level + rng.normal(0, 0.15, size=log_mel.shape) * (level > floor)).astype(np.float32)
    else:
        log_mel = augment_voice(
            log_mel.T, rng, voice, per_decibel=_LOG_MEL_PER_DECIBEL, floor=silence_floor(log_mel)
        ).T
    times = [frame / FRAMES_PER_SECOND for frame in frames]
    return torch.from_numpy(
        SpeechEmbeddingWindows.columns_around(np.ascontiguousarray(log_mel), times, further)
    )


def _moved_lips(lips: Tensor, grid: Tensor) -> Tensor:
    """Lip points [N, 40, 2] in [-1, 1] of the picture -> after the grid, in units of the lower half."""
    moved = move_points(lips.flatten(0, 1), grid).reshape(lips.shape)
    if grid[0, 0, 0] > grid[0, -1, 0]:  # mirrored: the left corner has become the right one
        moved = moved[:, list(MIRRORED_LIPS)]
    return moved / 2 - torch.tensor([0.0, 0.25])
