"""The paper's analyses of sync networks on real clips: how steady they are, and what disturbs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from lipsync_cli.errors import DataError, LipsyncError
from lipsync_cli.evaluation.clip_figures import Instruments, lower_halves
from lipsync_cli.evaluation.results import LeftOut
from lipsync_cli.evaluation.sync import RATE, WINDOW, at_25_fps, beside, is_silent, lips_windows
from lipsync_cli.evaluation.watch import watch
from lipsync_cli.interfaces import Image, SyncScorer
from lipsync_cli.media.audio import load_waveform
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.metrics.base import Summary, summarise
from lipsync_cli.regions import to_network
from lipsync_cli.speech.mel import mel_spectrogram
from lipsync_cli.speech.windows import MelWindows

Floats = NDArray[np.float64]

CHANGES: Mapping[str, tuple[float, ...]] = {
    "shift of the sound (frames)": (-8, -5, -3, -2, -1, 0, 1, 2, 3, 5, 8),
    "rotation (degrees)": (-20, -15, -10, -5, 0, 5, 10, 15, 20),
    "scale": (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3),
    "translation (share of the width)": (-0.15, -0.1, -0.05, 0, 0.05, 0.1, 0.15),
    "brightness (factor)": (0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6),
}
"""What is done to the lips (or the sound), and how much; the unchanged pair is among the values."""
_FEWEST = 2  # pairs


@dataclass(frozen=True)
class RealPairs:
    """The lips and the sound of one real clip, cut into pairs that do not overlap."""

    name: str
    lips: NDArray[np.uint8]
    """[N, 5, h, w, 3]"""
    times: Floats
    """[N] seconds at which the pairs begin."""
    mel: MelWindows
    duration: float
    """Seconds of sound."""


@dataclass(frozen=True)
class Steadiness:
    """Figure 1 of the paper for one network."""

    scores: Floats
    """[N] cosine of each real pair, clip after clip."""
    per_clip: Summary
    """Of the clips' means."""
    deviation: float
    """Standard deviation over all pairs: what the paper shows to be large for SyncNet."""
    within_clip: float
    """Mean standard deviation within a clip."""
    mismatched: Summary
    """Means of the clips with sound of their own half a clip away: what a wrong pair scores."""
    told_apart: float
    """Share of pairs that score above the wrong pair of the same lips."""


def real_pairs(
    videos: Mapping[str, Path], instruments: Instruments, most: int = 40
) -> Iterator[RealPairs | LeftOut]:
    """The pairs of each clip, at most so many, evenly over it; or why there are none."""
    for name, video in videos.items():
        try:
            yield _pairs_of(name, video, instruments, most)
        except LipsyncError as error:
            yield LeftOut(name, str(error))


def _pairs_of(name: str, video: Path, instruments: Instruments, most: int) -> RealPairs:
    waveform = load_waveform(video)
    if is_silent(waveform.samples, waveform.sample_rate):
        raise DataError(f"{video}: its sound is silent")
    seen = watch(VideoReader(video), instruments.detector, instruments.finder)
    windows = islice(lips_windows(at_25_fps(lower_halves(video, seen))), 0, None, WINDOW)
    last = waveform.duration - WINDOW / RATE + 0.5 / RATE
    kept = [(time, lips) for _, time, lips in windows if time <= last]
    if len(kept) < _FEWEST:
        raise DataError(f"{video}: only {len(kept)} pairs of 5 frames with a face and sound, 2 are needed")
    chosen = [
        kept[i] for i in np.unique(np.linspace(0, len(kept) - 1, min(most, len(kept))).round().astype(int))
    ]
    lips = np.stack([np.stack(pictures) for _, pictures in chosen])
    times = np.array([time for time, _ in chosen])
    return RealPairs(name, lips, times, MelWindows(mel_spectrogram(waveform)), waveform.duration)


def steadiness(clips: Sequence[RealPairs], scorer: SyncScorer) -> Steadiness:
    """How much a network's score of real pairs moves. Raises DataError when there is no clip."""
    if not clips:
        raise DataError("no real clip could be used")
    matched = [_scores(clip.lips, clip, 0.0, scorer) for clip in clips]
    wrong = [_wrong_scores(clip, scorer) for clip in clips]
    together = np.concatenate(matched)
    return Steadiness(
        scores=together,
        per_clip=summarise([float(each.mean()) for each in matched]),
        deviation=float(together.std()),
        within_clip=float(np.mean([each.std() for each in matched])),
        mismatched=summarise([float(each.mean()) for each in wrong]),
        told_apart=float((together > np.concatenate(wrong)).mean()),
    )


def disturbed(clips: Sequence[RealPairs], scorer: SyncScorer) -> dict[str, list[tuple[float, Summary]]]:
    """Change -> [(how much, mean cosine over clips)]. Raises DataError when there is no clip."""
    if not clips:
        raise DataError("no real clip could be used")
    curves: dict[str, list[tuple[float, Summary]]] = {}
    for change, amounts in CHANGES.items():
        curves[change] = []
        for amount in amounts:
            is_sound = change.startswith("shift")
            shift = amount / RATE if is_sound else 0.0
            means = []
            for clip in clips:
                lips = clip.lips if is_sound else changed_lips(clip.lips, change, amount)
                means.append(float(_scores(lips, clip, shift, scorer).mean()))
            curves[change].append((amount, summarise(means)))
    return curves


def changed_lips(lips: NDArray[np.uint8], change: str, amount: float) -> NDArray[np.uint8]:
    """Every picture of [N, 5, h, w, 3] changed alike; what comes in from outside repeats the edge."""
    if change.startswith("brightness"):
        return np.clip(lips.astype(np.float64) * amount, 0, 255).round().astype(np.uint8)
    height, width = lips.shape[2:4]
    centre = ((width - 1) / 2, (height - 1) / 2)
    angle = amount if change.startswith("rotation") else 0.0
    scale = amount if change.startswith("scale") else 1.0
    matrix = cv2.getRotationMatrix2D(centre, angle, scale)
    if change.startswith("translation"):
        matrix[0, 2] += amount * width
    warped = np.empty_like(lips)
    for index in np.ndindex(lips.shape[:2]):
        warped[index] = _warp(lips[index], matrix)
    return warped


def _warp(image: Image, matrix: NDArray[Any]) -> Image:
    size = (image.shape[1], image.shape[0])
    return np.asarray(
        cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def _wrong_scores(clip: RealPairs, scorer: SyncScorer) -> Floats:
    """Each pair's lips with the sound of the pair half of the clip away, which does not overlap it."""
    n_pairs = len(clip.times)
    wrong = np.roll(clip.times, n_pairs // 2)
    return _scored(clip.lips, clip.mel, wrong, scorer)


def _scores(lips: NDArray[np.uint8], clip: RealPairs, shift: float, scorer: SyncScorer) -> Floats:
    """[M] cosines with the sound `shift` seconds later; pairs whose sound would lie outside are left out."""
    starts = clip.times + shift
    inside = (starts >= -0.5 / RATE) & (starts + WINDOW / RATE <= clip.duration + 0.5 / RATE)
    return _scored(lips[inside], clip.mel, starts[inside], scorer)


def _scored(lips: NDArray[np.uint8], mel: MelWindows, starts: Floats, scorer: SyncScorer) -> Floats:
    with torch.inference_mode():
        scores = scorer(beside(scorer, to_network(lips)), beside(scorer, mel.starting(starts.tolist())))
    values = np.asarray(scores.double().cpu().numpy())
    if not np.isfinite(values).all():
        raise DataError("the sync network's scores are not finite; check its weights")
    return values
