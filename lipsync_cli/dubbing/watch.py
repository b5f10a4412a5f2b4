"""Pass 1: where the faces are, and which pictures of them a generator is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, islice, takewhile

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.dubbing import stages
from lipsync_cli.dubbing.job import Progress
from lipsync_cli.dubbing.parts import DubParts
from lipsync_cli.dubbing.references import CandidateKeeper, references_of
from lipsync_cli.dubbing.silencing import Silencer
from lipsync_cli.dubbing.stored_references import StoredReferences
from lipsync_cli.errors import MediaError
from lipsync_cli.faces.centring import centred_on_features
from lipsync_cli.faces.shots import ShotDetector
from lipsync_cli.faces.track import FaceTrack, FaceTracker, Observation, build_track, join_tracks
from lipsync_cli.interfaces import Frame, FrameStream, Landmarks
from lipsync_cli.nameless_file import NamelessFile, StoredRows


@dataclass(frozen=True)
class Watched:
    """What the first pass finds out."""

    track: FaceTrack
    references: StoredReferences
    """By number of the shot; shots without a face have none."""

    @property
    def shots(self) -> NDArray[np.intp]:
        """[N] number of the shot of each frame."""
        return np.cumsum(self.track.shot_starts) - 1

    def with_outlines_in(self, file: NamelessFile) -> Watched:
        """The same, with the outlines of the face in a file: of 20 minutes 9 MB."""
        rows = StoredRows(self.track.outlines[:], file)
        return replace(self, track=replace(self.track, outlines=rows))

    @property
    def is_still(self) -> bool:
        """Whether the video is one picture."""
        return len(self.track) == 1


def watch(
    parts: DubParts, progress: Progress, seconds: float, open_references: Callable[[], StoredReferences]
) -> tuple[Watched, ...]:
    """Pass 1: follow each speaker's face through the first seconds of the video, and choose references.

    open_references: where those of one speaker go; called once for each.
    """
    info = parts.stream.info
    expected = max(1, min(info.n_frames, round(min(seconds, info.duration + 1) * info.rate)))
    followed = [
        (
            FaceTracker(parts.detector, parts.finder, speaker.choice),
            _Shots(parts, number, open_references()),
        )
        for number, speaker in enumerate(parts.speakers)
    ]
    with closing(stages.ahead(_with_cuts(_first_seconds(parts.stream, seconds)))) as frames:
        for frame, starts_shot in frames:
            for tracker, shots in followed:
                shots.see(frame, *tracker.observe(frame.picture, starts_shot))
            progress("watch", frame.index + 1, max(expected, frame.index + 1))
    for _, shots in followed:
        shots.end()
        if not shots.tracks:
            raise MediaError(f"{info.path}: has no frames: check that the file is complete and plays")
    return tuple(Watched(join_tracks(shots.tracks), shots.references) for _, shots in followed)


class _Shots:
    """Collects what pass 1 sees; of a shot that has ended only its track and references are kept."""

    def __init__(self, parts: DubParts, speaker: int, references: StoredReferences) -> None:
        self.tracks: list[FaceTrack] = []
        self.references = references
        self._parts = parts
        self._speaker = speaker
        self._times: list[float] = []
        self._faces: list[Observation | None] = []
        self._keeper = CandidateKeeper()

    def see(self, frame: Frame, landmarks: Landmarks | None, starts_shot: bool) -> None:
        if starts_shot:
            self.end()
        face = None if landmarks is None else Observation.of(landmarks, frame.picture)
        if landmarks is not None and face is not None:
            place = len(self._times)
            self._keeper.offer(place, frame.picture, landmarks, opening=face.opening, yaw=face.yaw)
        self._times.append(frame.time)
        self._faces.append(face)

    def end(self) -> None:
        """The shot is over: build its track, choose its references."""
        if not self._times:
            return
        starts = [index == 0 for index in range(len(self._times))]
        track = centred_on_features(build_track(self._times, starts, self._faces))
        candidates = self._keeper.take()
        if candidates:
            drawing = self._parts.drawing()
            silencer = Silencer(drawing.silent_lip, drawing.speeches[self._speaker], self._parts.finder)
            self.references.add(len(self.tracks), references_of(track, candidates, silencer))
        self.tracks.append(track)
        self._times, self._faces = [], []


def _first_seconds(stream: FrameStream, seconds: float) -> Iterator[Frame]:
    """The frames to watch, at least one."""
    frames = iter(stream)
    return chain(islice(frames, 1), takewhile(lambda frame: frame.time < seconds, frames))


def _with_cuts(frames: Iterator[Frame]) -> Iterator[tuple[Frame, bool]]:
    """Each frame, and whether it begins a shot: told by the thread that reads, which has the time."""
    shots = ShotDetector()
    return ((frame, shots.starts_shot(frame.picture)) for frame in frames)
