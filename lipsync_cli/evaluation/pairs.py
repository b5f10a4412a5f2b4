"""Pairs of five real pictures and their sound, as sync networks are shown them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipsync_cli.errors import DataError, LipsyncError
from lipsync_cli.evaluation.clip_figures import Instruments
from lipsync_cli.evaluation.lse import HEARD, face_squares, square_crop
from lipsync_cli.evaluation.pictures import SIZE
from lipsync_cli.evaluation.results import LeftOut
from lipsync_cli.evaluation.sync import RATE, WINDOW, at_25_fps, is_silent, lips_windows
from lipsync_cli.evaluation.watch import Watched, watch
from lipsync_cli.faces.crop import crop_face
from lipsync_cli.interfaces import Image, SyncScorer, Waveform
from lipsync_cli.media.audio import load_waveform
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.speech import mfcc
from lipsync_cli.speech.mel import mel_spectrogram
from lipsync_cli.speech.windows import MelWindows

Floats = NDArray[np.float64]
Sight = Literal["lips", "face"]
Hearing = Literal["mel", "mfcc"]
_FEWEST = 2  # pairs


@dataclass(frozen=True)
class ExaminedNetwork:
    """A sync network, and what it has to be shown."""

    scorer: SyncScorer
    """Lips (or faces) and sound -> cosines."""
    sees: Sight = "lips"
    """`lips`: lower halves of the face crop, [5, 3, 48, 96]; `face`: SyncNet v2's crop of a face track,
    [5, 3, 224, 224]."""
    hears: Hearing = "mel"
    """`mel`: [1, 80, 16]; `mfcc`: [1, 13, 20]."""


class PairSound:
    """The sound of a clip, in windows of 0.2 s."""

    def __init__(self, waveform: Waveform) -> None:
        self._mel = MelWindows(mel_spectrogram(waveform))
        self._cepstra = mfcc.mfcc(waveform)
        self.duration = waveform.duration
        """Seconds."""

    def reaches(self, starts: Floats) -> NDArray[np.bool_]:
        """Whether the windows that begin at `starts` [N] lie in the sound, but for half a frame."""
        return np.asarray((starts >= -0.5 / RATE) & (starts + (WINDOW - 0.5) / RATE <= self.duration))

    def windows(self, starts: Sequence[float], hears: Hearing) -> Tensor:
        """[N, 1, 80, 16] or [N, 1, 13, 20]."""
        if hears == "mel":
            return self._mel.starting(starts)
        latest = max(0, len(self._cepstra) - HEARD)
        first = [min(max(0, round(start * mfcc.RATE)), latest) for start in starts]
        columns = np.stack([self._cepstra[place : place + HEARD].T for place in first])
        return torch.from_numpy(columns[:, None].astype(np.float32))


@dataclass(frozen=True)
class RealPairs:
    """The pictures and the sound of one real clip, cut into pairs that do not overlap."""

    name: str
    pictures: Mapping[Sight, NDArray[np.uint8]]
    """[N, 5, h, w, 3] of each sight that was asked for."""
    times: Floats
    """[N] seconds at which the pairs begin."""
    sound: PairSound


def real_pairs(
    videos: Mapping[str, Path], instruments: Instruments, sights: Iterable[Sight] = ("lips",), most: int = 40
) -> Iterator[RealPairs | LeftOut]:
    """The pairs of each clip, at most so many, evenly over it; or why there are none."""
    wanted = tuple(sights)
    for name, video in videos.items():
        try:
            yield _pairs_of(name, video, instruments, wanted, most)
        except LipsyncError as error:
            yield LeftOut(name, str(error))


def with_next(clips: Iterable[RealPairs]) -> Iterator[tuple[RealPairs, PairSound | None]]:
    """Each clip with the sound of the next one (the last with the first one's; None for a single clip).

    Holds two clips, however many there are.
    """
    first: PairSound | None = None
    held: RealPairs | None = None
    for clip in clips:
        if held is None:
            first = clip.sound
        else:
            yield held, clip.sound
        held = clip
    if held is not None:
        yield held, first if first is not held.sound else None


def _pairs_of(
    name: str, video: Path, instruments: Instruments, sights: Sequence[Sight], most: int
) -> RealPairs:
    waveform = load_waveform(video)
    if is_silent(waveform.samples, waveform.sample_rate):
        raise DataError(f"{video}: its sound is silent")
    seen = watch(VideoReader(video), instruments.detector, instruments.finder)
    sound = PairSound(waveform)
    windows = _windows(seen, sound)
    if len(windows) < _FEWEST:
        raise DataError(f"{video}: only {len(windows)} pairs of 5 frames with a face and sound, 2 are needed")
    places = np.linspace(0, len(windows) - 1, min(most, len(windows))).round().astype(int)
    chosen = [windows[place] for place in np.unique(places)]
    views = _views(video, seen, sights, {index for _, indices in chosen for index in indices})
    pictures = {
        sight: np.stack([np.stack([views[index][sight] for index in indices]) for _, indices in chosen])
        for sight in sights
    }
    return RealPairs(name, pictures, np.array([time for time, _ in chosen]), sound)


def _windows(seen: Watched, sound: PairSound) -> list[tuple[float, list[int]]]:
    """Time and frames of all windows with a face and sound; known from the track, before any decoding."""
    track = seen.track
    marks = ((float(time), index if track.present[index] else None) for index, time in enumerate(track.times))
    windows = islice(lips_windows(at_25_fps(marks)), 0, None, WINDOW)
    return [(time, indices) for _, time, indices in windows if sound.reaches(np.array([time]))[0]]


def _views(
    video: Path, seen: Watched, sights: Sequence[Sight], wanted: set[int]
) -> dict[int, dict[Sight, Image]]:
    """What the wanted frames look like to the networks."""
    squares = face_squares(seen.track)
    views: dict[int, dict[Sight, Image]] = {}
    for frame in VideoReader(video):
        box = seen.track.box(frame.index) if frame.index in wanted else None
        if box is None:
            continue
        views[frame.index] = {}
        if "lips" in sights:
            views[frame.index]["lips"] = crop_face(frame.image, box, SIZE)[SIZE // 2 :]
        if "face" in sights:
            views[frame.index]["face"] = square_crop(frame.image, squares[frame.index])
    return views
