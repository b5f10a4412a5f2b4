"""A dub: watch the video once to find the face, then stream it through the stages. Memory stays flat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice, takewhile

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.dubbing import restoration, stages
from lipsync_cli.dubbing.job import DubCounts, DubSettings, Progress
from lipsync_cli.dubbing.references import CandidateKeeper, References, references_of
from lipsync_cli.dubbing.stages import DubFrame
from lipsync_cli.errors import FaceError, MediaError
from lipsync_cli.faces.track import FaceTrack, FaceTracker, Observation, build_track, join_tracks
from lipsync_cli.interfaces import (
    FaceDetector,
    FaceGenerator,
    Frame,
    FrameSink,
    FrameStream,
    LandmarkFinder,
    Landmarks,
    Restorer,
    Speech,
)

STILL_RATE = Fraction(25)
"""Frames a second of a dubbed still picture."""
REFERENCE_SECONDS = 10.0
"""At least so much of the video is watched, however short the speech: a shot's references come from it."""
_BATCH_BYTES = 200_000_000
"""Whole pictures that wait for the generator take at most about this much memory."""
_FEWEST = 5


@dataclass(frozen=True)
class DubParts:
    """What a dub is made with; all of it protocols."""

    stream: FrameStream
    speech: Speech
    duration: float
    """Seconds of speech."""
    detector: FaceDetector
    finder: LandmarkFinder
    silent_lip: FaceGenerator
    """G_S."""
    talking_face: FaceGenerator
    """G_L."""
    restorer: Restorer | None = None
    """For the settings' `restore`, where that is a network."""


@dataclass(frozen=True)
class Watched:
    """What the first pass finds out."""

    track: FaceTrack
    references: Mapping[int, References]
    """By number of the shot; shots without a face have none."""

    @property
    def shots(self) -> NDArray[np.intp]:
        """[N] number of the shot of each frame."""
        return np.cumsum(self.track.shot_starts) - 1

    @property
    def is_still(self) -> bool:
        """Whether the video is one picture."""
        return len(self.track) == 1


def dub(
    parts: DubParts,
    open_sink: Callable[[Fraction], FrameSink],
    settings: DubSettings,
    progress: Progress | None = None,
) -> DubCounts:
    """Make the face in the stream say the speech, frame by frame into the sink.

    open_sink: frame rate -> the sink; called after the video was watched. FaceError when no frame has a face;
    the sink is then never opened. Frames without a face come out as the same array that came in.
    """
    report = progress or _nobody
    watched = watch(parts, report)
    track = watched.track
    rate = STILL_RATE if watched.is_still else parts.stream.info.rate
    plan = list(
        stages.schedule(track.times, duration=parts.duration, step=float(1 / rate), longer=settings.longer)
    )
    n_used = max(source for source, _ in plan) + 1
    if not track.present[:n_used].any():
        raise FaceError(
            f"{parts.stream.info.path}: no face in any of the {n_used} frames that the speech "
            "lasts for; use a video that shows the speaker's face"
        )
    n_dubbed = 0
    with open_sink(rate) as sink, ExitStack() as stack:
        for item in _second_pass(parts, watched, plan, settings, stack):
            sink.write(item.frame)
            n_dubbed += item.face is not None
            report("dub", item.frame.index + 1, len(plan))
    return DubCounts(
        frames=len(plan),
        dubbed=n_dubbed,
        passed_through=len(plan) - n_dubbed,
        shots=(n_shots := int(track.shot_starts[:n_used].sum())),
        silenced_references=sum(
            found.silenced for shot, found in watched.references.items() if shot < n_shots
        ),
        video_seconds=plan[-1][1] + float(1 / rate),
    )


def watch(parts: DubParts, progress: Progress) -> Watched:
    """Pass 1: follow the face through as much of the video as is needed, and choose references."""
    info = parts.stream.info
    expected = max(1, min(info.n_frames, round(_watched_seconds(parts) * info.rate)))
    tracker = FaceTracker(parts.detector, parts.finder)
    shots = _Shots(parts.silent_lip, parts.speech)
    with closing(stages.ahead(_first_seconds(parts))) as frames:
        for frame in frames:
            shots.see(frame, *tracker.observe(frame.image))
            progress("watch", frame.index + 1, max(expected, frame.index + 1))
    shots.end()
    if not shots.tracks:
        raise MediaError(f"{info.path}: has no frames: check that the file is complete and plays")
    return Watched(join_tracks(shots.tracks), shots.references)


class _Shots:
    """Collects what pass 1 sees; of a shot that has ended only its track and references are kept."""

    def __init__(self, silent_lip: FaceGenerator, speech: Speech) -> None:
        self.tracks: list[FaceTrack] = []
        self.references: dict[int, References] = {}
        self._silent_lip = silent_lip
        self._speech = speech
        self._times: list[float] = []
        self._faces: list[Observation | None] = []
        self._keeper = CandidateKeeper()

    def see(self, frame: Frame, landmarks: Landmarks | None, starts_shot: bool) -> None:
        if starts_shot:
            self.end()
        face = None if landmarks is None else Observation.of(landmarks)
        if landmarks is not None and face is not None:
            place = len(self._times)
            self._keeper.offer(place, frame.image, landmarks, opening=face.opening, yaw=face.yaw)
        self._times.append(frame.time)
        self._faces.append(face)

    def end(self) -> None:
        """The shot is over: build its track, choose its references."""
        if not self._times:
            return
        starts = [index == 0 for index in range(len(self._times))]
        track = build_track(self._times, starts, self._faces)
        found = references_of(track, self._keeper.take(), self._silent_lip, self._speech)
        if found is not None:
            self.references[len(self.tracks)] = found
        self.tracks.append(track)
        self._times, self._faces = [], []


def _first_seconds(parts: DubParts) -> Iterator[Frame]:
    """The frames to watch, at least one."""
    frames = iter(parts.stream)
    return chain(islice(frames, 1), takewhile(lambda frame: frame.time < _watched_seconds(parts), frames))


def _watched_seconds(parts: DubParts) -> float:
    """As long as the speech lasts; for a short one longer, to find a closed and an open mouth."""
    return max(parts.duration, REFERENCE_SECONDS)


def _second_pass(
    parts: DubParts,
    watched: Watched,
    plan: list[tuple[int, float]],
    settings: DubSettings,
    stack: ExitStack,
) -> Iterator[DubFrame]:
    """All stages, joined; decoding and drawing each run in a thread that ends with the stack."""
    info = parts.stream.info
    batch = min(settings.batch, max(_FEWEST, _BATCH_BYTES // (3 * info.width * info.height)))
    track, references = watched.track, watched.references
    frames = stages.fit(parts.stream, plan)
    frames = stages.crop(frames, track, watched.shots, references)
    frames = stack.enter_context(closing(stages.ahead(frames)))
    frames = stages.speak(frames, parts.talking_face, parts.speech, references, batch=batch)
    if parts.restorer is not None:
        frames = restoration.restore(
            frames,
            parts.restorer,
            track,
            strength=settings.restore_strength,
            memory=settings.restore_memory,
        )
    elif settings.restore == "light":
        frames = restoration.borrow(frames, settings.restore_strength)
    frames = stack.enter_context(closing(stages.ahead(frames, batch)))
    return stages.paste(frames, track)


def _nobody(stage: str, done: int, total: int) -> None:
    """For callers who do not ask for progress."""
