"""Seeing a finished video once: where its face is, how its mouth moves, which frame is the most closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.faces.align import N_ANCHORS, anchors
from lipsync_cli.faces.landmarks import lips, mouth_width
from lipsync_cli.faces.track import FaceTrack, FaceTracker, Observation, build_track
from lipsync_cli.interfaces import FaceDetector, FrameStream, Image, LandmarkFinder, Landmarks
from lipsync_cli.metrics.landmarks import sampled

_GAP = 1.6  # frames: one missing frame is bridged by no one, jitter of the time stamps is


@dataclass(frozen=True)
class Watched:
    """One video of N frames, seen once; some 1 kB a frame is kept, and one picture."""

    track: FaceTrack
    widths: NDArray[np.float32]
    """[N] mouth width over face width, 0 without a face."""
    lips: NDArray[np.float32]
    """[N, P, 2] lip points in pixels of the picture, 0 without a face."""
    anchors: NDArray[np.float32]
    """[N, 5, 2] eyes, nose and corners of the mouth in pixels of the picture, 0 without a face."""
    size: tuple[int, int]
    """Width and height of the pictures."""
    period: float
    """Usual seconds from frame to frame."""
    most_closed: int | None
    """Frame with the smallest mouth opening; None when there is no face at all."""
    closed_image: Image | None
    """That frame's picture."""

    @property
    def duration(self) -> float:
        """Seconds from the first frame's start to the last one's end."""
        times = self.track.times
        return float(times[-1] - times[0]) + self.period if len(times) else 0.0

    def openings(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mouth openings at any times [M]; NaN where there is no face or no video."""
        return self._sampled(self.track.openings, at)

    def mouth_widths(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mouth widths at any times [M]; NaN where there is no face or no video."""
        return self._sampled(self.widths, at)

    def _sampled(self, values: NDArray[np.float32], at: NDArray[np.float64]) -> NDArray[np.float64]:
        present = self.track.present
        known = values[present].astype(np.float64)
        return sampled(self.track.times[present], known, at, longest_gap=_GAP * self.period)


@dataclass
class _Notes:
    times: list[float] = field(default_factory=list)
    starts: list[bool] = field(default_factory=list)
    faces: list[Observation | None] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)
    lips: list[NDArray[np.float32] | None] = field(default_factory=list)
    anchors: list[NDArray[np.float32] | None] = field(default_factory=list)
    smallest: float = float("inf")
    most_closed: int | None = None
    closed_image: Image | None = None

    def add(self, time: float, image: Image, landmarks: Landmarks | None, starts_shot: bool) -> None:
        face = None if landmarks is None else Observation.of(landmarks)
        self.times.append(time)
        self.starts.append(starts_shot)
        self.faces.append(face)
        self.widths.append(0.0 if landmarks is None else mouth_width(landmarks))
        self.lips.append(None if landmarks is None else lips(landmarks).astype(np.float32))
        self.anchors.append(None if landmarks is None else anchors(landmarks))
        if face is not None and face.opening < self.smallest:
            self.smallest, self.most_closed, self.closed_image = face.opening, len(self.times) - 1, image


def watch(frames: FrameStream, detector: FaceDetector, finder: LandmarkFinder) -> Watched:
    """Follow the largest face through all frames, keeping no more than one of them."""
    tracker, notes = FaceTracker(detector, finder), _Notes()
    size = (frames.info.width, frames.info.height)
    for frame in frames:
        landmarks, starts_shot = tracker.observe(frame.image)
        notes.add(frame.time, frame.image, landmarks, starts_shot)
    return Watched(
        track=build_track(notes.times, notes.starts, notes.faces),
        widths=np.asarray(notes.widths, dtype=np.float32),
        lips=_stacked(notes.lips),
        anchors=_stacked(notes.anchors, N_ANCHORS),
        size=size,
        period=usual_period(notes.times, float(1 / frames.info.rate)),
        most_closed=notes.most_closed,
        closed_image=notes.closed_image,
    )


def usual_period(times: Sequence[float], default: float) -> float:
    """Median of the steps between time stamps; the default for a single frame."""
    return float(np.median(np.diff(times))) if len(times) > 1 else default


def _stacked(points: Sequence[NDArray[np.float32] | None], default: int = 0) -> NDArray[np.float32]:
    n_points = next((len(each) for each in points if each is not None), default)
    empty = np.zeros((n_points, 2), dtype=np.float32)
    if not points:
        return np.zeros((0, 0, 2), dtype=np.float32)
    return np.stack([empty if each is None else each for each in points])
