"""The paper's analyses of sync networks on real clips: how steady they are, and what disturbs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipsync_cli.errors import DataError
from lipsync_cli.evaluation.pairs import ExaminedNetwork, Floats, PairSound, RealPairs
from lipsync_cli.evaluation.sync import RATE, WINDOW, SyncEmbedder, beside
from lipsync_cli.interfaces import Image
from lipsync_cli.regions import to_network

SHIFT = "shift of the sound (frames)"
CHANGES: Mapping[str, tuple[float, ...]] = {
    SHIFT: (-8, -5, -3, -2, -1, 0, 1, 2, 3, 5, 8),
    "rotation (degrees)": (-20, -15, -10, -5, 0, 5, 10, 15, 20),
    "scale": (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3),
    "translation (share of the width)": (-0.15, -0.1, -0.05, 0, 0.05, 0.1, 0.15),
    "brightness (factor)": (0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6),
}
"""What is done to the pictures (or the sound), and how much; the unchanged pair is among the values."""
_BATCH = 20  # pairs that a network sees at once


@dataclass(frozen=True)
class PairScores:
    """Cosines of one clip's pictures with three sounds."""

    right: Floats
    """[N] with their own."""
    other_time: Floats
    """[N] with that of the pair half of the clip away, which does not overlap it."""
    other_clip: Floats
    """[N] with another clip's; empty where there is none."""


class Examiner:
    """Shows one clip to one network; what no change touches is shown once."""

    def __init__(self, clip: RealPairs, other: PairSound | None, network: ExaminedNetwork) -> None:
        self._clip, self._other, self._network = clip, other, network
        self._pictures = clip.pictures[network.sees]

    def real(self) -> PairScores:
        """The clip as it is. Raises DataError when a score is not finite."""
        return self._real

    @cached_property
    def _real(self) -> PairScores:
        return self._scores(self._seen)

    def changed(self, change: str, amount: float) -> PairScores:
        """Under one of `CHANGES`. Raises as `real`.

        A shift moves the right sound only; pairs whose sound would then lie outside are left out.
        """
        if change != SHIFT:
            return self._scores(self._see(changed_pictures(self._pictures, change, amount)))
        starts = self._clip.times + amount / RATE
        inside = np.flatnonzero(self._clip.sound.reaches(starts))
        real = self.real()
        right = self._cosines(self._seen[inside], self._hear(self._clip.sound, starts[inside]))
        return PairScores(right, real.other_time[inside], real.other_clip[inside[: len(real.other_clip)]])

    @cached_property
    def _seen(self) -> Tensor:
        return self._see(self._pictures)

    @cached_property
    def _sounds(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Of the right pairs, of another time, of another clip (at the same times, begun anew at its end)."""
        clip, other = self._clip, self._other
        right = self._hear(clip.sound, clip.times)
        other_time = right.roll(len(clip.times) // 2, 0)
        if other is None:
            return right, other_time, None
        last = max(other.duration - (WINDOW - 0.5) / RATE, 1 / RATE)
        return right, other_time, self._hear(other, clip.times % last)

    def _scores(self, seen: Tensor) -> PairScores:
        right, other_time, other_clip = self._sounds
        nothing = np.zeros(0)
        return PairScores(
            self._cosines(seen, right),
            self._cosines(seen, other_time),
            nothing if other_clip is None else self._cosines(seen, other_clip),
        )

    def _see(self, pictures: NDArray[np.uint8]) -> Tensor:
        """Features of the pictures, or the pictures, for networks that have no features."""
        scorer = self._network.scorer
        if not isinstance(scorer, SyncEmbedder):
            return to_network(pictures)
        with torch.inference_mode():
            parts = [
                scorer.embed_lips(beside(scorer, to_network(pictures[first : first + _BATCH]))).cpu()
                for first in range(0, len(pictures), _BATCH)
            ]
        return torch.cat(parts)

    def _hear(self, sound: PairSound, starts: Floats) -> Tensor:
        """Features of the sounds, or the sounds."""
        scorer = self._network.scorer
        windows = sound.windows(starts.tolist(), self._network.hears)
        if not isinstance(scorer, SyncEmbedder) or not len(windows):
            return windows
        with torch.inference_mode():
            return scorer.embed_speech(beside(scorer, windows)).cpu()

    def _cosines(self, seen: Tensor, heard: Tensor) -> Floats:
        scorer = self._network.scorer
        if not len(seen):
            return np.zeros(0)
        if isinstance(scorer, SyncEmbedder):
            scores = (seen * heard).sum(dim=1)
        else:
            with torch.inference_mode():
                scores = scorer(beside(scorer, seen), beside(scorer, heard))
        values = np.asarray(scores.double().cpu().numpy())
        if not np.isfinite(values).all():
            raise DataError("the sync network's scores are not finite; check its weights")
        return values


def changed_pictures(pictures: NDArray[np.uint8], change: str, amount: float) -> NDArray[np.uint8]:
    """Every picture of [N, 5, h, w, 3] changed alike; what comes in from outside repeats the edge."""
    if change.startswith("brightness"):
        return np.asarray(np.clip(pictures.astype(np.float32) * amount, 0, 255).round(), np.uint8)
    height, width = pictures.shape[2:4]
    centre = ((width - 1) / 2, (height - 1) / 2)
    angle = amount if change.startswith("rotation") else 0.0
    scale = amount if change.startswith("scale") else 1.0
    matrix = cv2.getRotationMatrix2D(centre, angle, scale)
    if change.startswith("translation"):
        matrix[0, 2] += amount * width
    warped = np.empty_like(pictures)
    for index in np.ndindex(pictures.shape[:2]):
        warped[index] = _warp(pictures[index], matrix)
    return warped


def _warp(image: Image, matrix: NDArray[Any]) -> Image:
    size = (image.shape[1], image.shape[0])
    return np.asarray(
        cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )
