"""LSE-C and LSE-D of a finished video, by the public SyncNet v2, in both public protocols."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipsync_cli.errors import DataError, FaceError
from lipsync_cli.evaluation.sync import FEWEST_WINDOWS, WINDOW, at_25_fps
from lipsync_cli.evaluation.watch import Watched
from lipsync_cli.faces.track import FaceTrack
from lipsync_cli.interfaces import Image
from lipsync_cli.media.audio import load_waveform
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.metrics.sync import Lse
from lipsync_cli.speech.mfcc import RATE, mfcc

LseProtocol = Literal["lrs", "tracks"]
"""`lrs`: whole frames, which in LRS2 and LRW are little more than a face (Wav2Lip's scripts for LRS).
`tracks`: crops of the face, of at least 100 frames (its scripts for real videos, `crop_scale` 0.40)."""

SHORTEST_TRACK = 100
"""Frames at 25 fps with a face that the protocol of real videos asks for."""

HEARD = 20
"""Columns of cepstra to one window."""

_SIZE = 224
_MEDIAN = 13  # frames
_BATCH = 20
_CROP_SCALE = 0.40
_GREY = 110  # of what lies outside of the picture, as in the public script


class LseNetwork(Protocol):
    """The public SyncNet v2, in eval mode."""

    def embed_lips(self, frames: Tensor) -> Tensor:
        """[B, 3, 5, 224, 224], BGR in [0, 255] -> [B, 1024]."""
        ...

    def embed_speech(self, mfcc: Tensor) -> Tensor:
        """[B, 1, 13, 20] -> [B, 1024]."""
        ...


@dataclass(frozen=True, slots=True)
class LseResult:
    """The two figures and the offset that they belong to."""

    distance: float
    """LSE-D"""
    confidence: float
    """LSE-C"""
    offset: int
    """Frames: the picture at t matches the sound at t + offset / 25 s."""


def measure_lse(
    video: Path, network: LseNetwork, protocol: LseProtocol, seen: Watched | None = None
) -> LseResult:
    """LSE-C and LSE-D of a video with its own sound.

    Frames are resampled to 25 fps by time; a window's sound begins at its first frame's time. In `tracks`
    the longest stretch of one shot with a face is shown: squares of 1.4 times the longer side of the face's
    outline, their middle 0.2 of it lower than the face's, medians over 13 frames (crop_video of the public
    run_pipeline.py, with our outline in place of S3FD's box, which is about as large).

    Args:
        video: with sound.
        network: SyncNet v2.
        protocol: what the network is shown.
        seen: the video's face, for `tracks`.

    Raises:
        MediaError: the file is missing, unreadable or without sound.
        FaceError: `tracks`, and fewer than 100 consecutive frames (at 25 fps) with a face and sound.
        DataError: `lrs`, and fewer than 15 frames with sound.
    """
    if protocol == "tracks" and seen is None:
        raise ValueError("the protocol of tracks needs the video's face")
    pictures = _whole_frames(video) if seen is None or protocol == "lrs" else _face_crops(video, seen)
    cepstra = mfcc(load_waveform(video))
    metric = Lse()
    n_windows = 0
    for lips, heard in _batches(_windows(at_25_fps(pictures), cepstra)):
        with torch.inference_mode():
            metric.update(_array(network.embed_lips(lips)), _array(network.embed_speech(heard)))
        n_windows += len(lips)
    if protocol == "lrs" and n_windows < FEWEST_WINDOWS:
        raise DataError(f"{video}: LSE needs {FEWEST_WINDOWS + WINDOW - 1} frames with sound")
    if protocol == "tracks" and n_windows < SHORTEST_TRACK - WINDOW + 1:
        raise FaceError(f"{video}: LSE of a real video needs {SHORTEST_TRACK} frames on end with a face")
    return LseResult(metric.distance(), metric.confidence(), metric.offset())


def _whole_frames(video: Path) -> Iterator[tuple[float, Image | None]]:
    for frame in VideoReader(video):
        yield frame.time, cv2.resize(frame.image, (_SIZE, _SIZE)).astype(np.uint8, copy=False)


def _face_crops(video: Path, seen: Watched) -> Iterator[tuple[float, Image | None]]:
    """Crops of the longest stretch with a face."""
    stretch = longest_stretch(seen.track)
    squares = face_squares(seen.track)
    for frame in VideoReader(video):
        if frame.index >= stretch.stop:
            return
        if frame.index >= stretch.start:
            yield frame.time, square_crop(frame.image, squares[frame.index])


def longest_stretch(track: FaceTrack) -> slice:
    """Frames of the longest part of one shot that has a face in every frame (the first of equally long)."""
    return max(_stretches(track), key=lambda part: part.stop - part.start, default=slice(0, 0))


def _stretches(track: FaceTrack) -> Iterator[slice]:
    """Parts of one shot with a face in every frame, in order."""
    begin = 0
    for index in range(len(track) + 1):
        ends = index == len(track) or not track.present[index] or bool(track.shot_starts[index])
        if ends:
            if index > begin:
                yield slice(begin, index)
            begin = index if index < len(track) and track.present[index] else index + 1


def face_squares(track: FaceTrack) -> NDArray[np.float64]:
    """[N, 3]: middle x, y of the face and half of its longer side, pixels; NaN without a face.

    Medians over 13 frames of one stretch, as the public pipeline smooths its tracks.
    """
    squares = np.full((len(track), 3), np.nan)
    for stretch in _stretches(track):
        squares[stretch] = _squares(track.outlines[stretch])
    return squares


def _squares(outlines: NDArray[np.float32]) -> NDArray[np.float64]:
    """[N, 3]: middle x, y of the face and half of its longer side, medians over 13 frames."""
    low, high = outlines.min(axis=1), outlines.max(axis=1)
    numbers = np.concatenate([(low + high) / 2, (high - low).max(axis=1, keepdims=True) / 2], axis=1)
    padded = np.pad(numbers.astype(np.float64), [(_MEDIAN // 2, _MEDIAN // 2), (0, 0)], mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, _MEDIAN, axis=0)
    return np.asarray(np.median(windows, axis=-1), dtype=np.float64)


def square_crop(image: Image, square: NDArray[np.float64]) -> Image:
    """One crop of a row of `face_squares`, 224 x 224; grey 110 outside of the picture."""
    x, y, half = square
    side = 2 * half * (1 + _CROP_SCALE)
    step = side / _SIZE
    left, top = x - side / 2, y - half
    corner = [left + (step - 1) / 2, top + (step - 1) / 2]
    matrix = np.array([[step, 0, corner[0]], [0, step, corner[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(image, matrix, (_SIZE, _SIZE), flags=flags, borderValue=(_GREY, _GREY, _GREY))
    return crop.astype(np.uint8, copy=False)


_Window = tuple[list[Image], NDArray[np.float64]]


def _windows(
    pictures: Iterable[tuple[int, float, Image | None]], cepstra: NDArray[np.float64]
) -> Iterator[_Window]:
    """Five consecutive pictures and the 20 columns of sound that begin with the first of them."""
    held: deque[tuple[float, Image]] = deque(maxlen=WINDOW)
    for _, time, picture in pictures:
        if picture is None:  # `_face_crops` has no holes
            continue
        held.append((time, picture))
        first = round(held[0][0] * RATE)
        if len(held) == WINDOW and 0 <= first <= len(cepstra) - HEARD:
            yield [each for _, each in held], cepstra[first : first + HEARD]


def _batches(windows: Iterable[_Window]) -> Iterator[tuple[Tensor, Tensor]]:
    """[B, 3, 5, 224, 224] BGR in [0, 255] and [B, 1, 13, 20]."""
    remaining = iter(windows)
    while batch := list(islice(remaining, _BATCH)):
        frames = np.stack([np.stack(pictures) for pictures, _ in batch])[..., ::-1]
        lips = torch.from_numpy(frames.transpose(0, 4, 1, 2, 3).astype(np.float32))
        heard = np.stack([columns.T for _, columns in batch])[:, None]
        yield lips, torch.from_numpy(heard.astype(np.float32))


def _array(features: Tensor) -> NDArray[np.float64]:
    return np.asarray(features.double().cpu().numpy())
