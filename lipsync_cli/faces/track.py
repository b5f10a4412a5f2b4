"""From frames to the track of one face: where its crop lies in every frame, steady and without leaks.

The crop's box comes from points that speech does not move (hair line, base of the nose, cheeks, eyes),
with the chin at a fixed ratio for the whole shot: a box that followed the chin would tell the generator
how far the original mouth is open.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.faces.align import N_ANCHORS, anchors
from lipsync_cli.faces.choice import FaceChoice, Largest
from lipsync_cli.faces.landmarks import SCHEMES, extent, levelled, opening, outline, roll, turn, yaw
from lipsync_cli.faces.occlusion import Look, mouth_look, strangeness
from lipsync_cli.faces.shots import ShotDetector
from lipsync_cli.interfaces import Box, FaceDetector, Frame, Image, LandmarkFinder, Landmarks, Picture
from lipsync_cli.nameless_file import StoredRows
from lipsync_cli.pictures import surroundings, whole

SMOOTHING = 7
"""Frames over which boxes are averaged (field notes, section 5)."""
TOP_MARGIN = 0.12
"""The crop begins this far below the hair line, in face heights."""
CHIN_MARGIN = 0.08
"""The crop ends this far below the chin of the calm face, in face heights."""
_MINIMUM_SCORE = 0.5
_MOST_FACES = 12  # of one picture among which is chosen
_SMALLEST = 16  # pixels; a smaller face is not worth a mouth


@dataclass(frozen=True)
class FaceTrack:
    """One face through a video of N frames; rows without a face are zero."""

    times: NDArray[np.float64]
    """[N] presentation times, seconds."""
    boxes: NDArray[np.float32]
    """[N, 5] x0, y0, x1, y1, angle of the smoothed crop box."""
    present: NDArray[np.bool_]
    """[N]"""
    openings: NDArray[np.float32]
    """[N] mouth opening over face height."""
    yaws: NDArray[np.float32]
    """[N] degrees, about."""
    outlines: NDArray[np.float32] | StoredRows
    """[N, P, 2] ring around the face, pixels; smoothed as the boxes are."""
    shot_starts: NDArray[np.bool_]
    """[N] True where a new shot begins (always at frame 0)."""
    anchors: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, N_ANCHORS, 2), np.float32))
    """[N, 5, 2] eyes, nose and corners of the mouth (`faces.align`), pixels; smoothed as the boxes are."""
    strange: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    """[N] how strange the mouth's surroundings look (`faces.occlusion`); empty where nobody looked."""

    def __len__(self) -> int:
        return len(self.times)

    def box(self, index: int) -> Box | None:
        """The crop box of a frame, None where there is no face (also past the track's end)."""
        if index >= len(self) or not self.present[index]:
            return None
        return Box(*(float(value) for value in self.boxes[index]))

    def shot_of(self, index: int) -> slice:
        """Frames of the shot that a frame belongs to."""
        starts = np.flatnonzero(self.shot_starts)
        place = int(np.searchsorted(starts, index, side="right"))
        end = int(starts[place]) if place < len(starts) else len(self)
        return slice(int(starts[place - 1]), end)


@dataclass
class FaceTracker:
    """Follows one face; the detector is called only when the track is lost or a shot begins.

    The face that `choice` picks among those of the picture is taken up and kept until it is lost.
    """

    detector: FaceDetector
    finder: LandmarkFinder
    choice: FaceChoice = field(default_factory=Largest)
    shots: ShotDetector = field(default_factory=ShotDetector)
    _last: Landmarks | None = None

    def observe(self, picture: Picture, starts_shot: bool | None = None) -> tuple[Landmarks | None, bool]:
        """The face of the next frame, if there is one, and whether the frame begins a shot.

        starts_shot: whether it does, where somebody has looked already.
        """
        if starts_shot is None:
            starts_shot = self.shots.starts_shot(picture)
        if starts_shot:
            self._last = None
        self._last = self._follow(picture) or self._find_anew(whole(picture))
        return self._last, starts_shot

    def _follow(self, picture: Picture) -> Landmarks | None:
        if self._last is None:
            return None
        box = extent(self._last)
        near = surroundings(picture, box, self.finder.reach, self.finder.pixels)
        found = self.finder.find(near.image, near.box(box))
        return None if found is None else _if_certain(near.in_picture(found))

    def _find_anew(self, image: Image) -> Landmarks | None:
        by_size = sorted(self.detector.detect(image), key=lambda found: -found.box.width * found.box.height)
        faces: list[Landmarks] = []
        for detection in by_size[:_MOST_FACES]:
            face = find_twice(self.finder, image, detection.box)
            if face is not None and not any(_is_same(face, other) for other in faces):
                faces.append(face)
                if self.choice.takes_the_first:
                    break
        return self.choice.pick(image, faces)


def face_in_crop(size: int) -> Box:
    """Where a calm face lies in its crop of size x size pixels: partly above it."""
    step = size / (1 + CHIN_MARGIN - TOP_MARGIN)
    return Box(0, -TOP_MARGIN * step, size, (1 - TOP_MARGIN) * step)


def find_twice(finder: LandmarkFinder, image: Image, box: Box) -> Landmarks | None:
    """The face that lies about in `box`, looked at again from where it really is; None where not sure."""
    rough = _if_certain(finder.find(image, box))
    return None if rough is None else _if_certain(finder.find(image, extent(rough)))


def _is_same(face: Landmarks, other: Landmarks) -> bool:
    """Whether two finds are one face: a finder may slide over to the neighbour."""
    first, second = extent(face), extent(other)
    (x, y), (u, v) = first.centre, second.centre
    return math.hypot(x - u, y - v) < min(first.width, second.width) / 2


def _if_certain(landmarks: Landmarks | None) -> Landmarks | None:
    if landmarks is None or landmarks.score < _MINIMUM_SCORE:
        return None
    box = extent(landmarks)
    return landmarks if min(box.width, box.height) >= _SMALLEST else None


def track_faces(frames: Iterable[Frame], detector: FaceDetector, finder: LandmarkFinder) -> FaceTrack:
    """Watch all frames once, keep none. The memory is some 0.4 kB a frame."""
    tracker = FaceTracker(detector, finder)
    times: list[float] = []
    starts: list[bool] = []
    faces: list[Observation | None] = []
    for frame in frames:
        landmarks, starts_shot = tracker.observe(frame.picture)
        times.append(frame.time)
        starts.append(starts_shot)
        faces.append(None if landmarks is None else Observation.of(landmarks))
    return build_track(times, starts, faces)


@dataclass(frozen=True, slots=True)
class Observation:
    """What is kept of one frame's landmarks; lengths in pixels of the levelled face."""

    left: float
    right: float
    top: float
    """Level of the hair line."""
    nose: float
    """Level of the base of the nose."""
    chin: float
    angle: float
    opening: float
    yaw: float
    outline: NDArray[np.float32]
    anchors: NDArray[np.float32]
    look: Look | None = None
    """[40 + P, 3] of `mouth_look`."""

    @classmethod
    def of(cls, landmarks: Landmarks, picture: Picture | None = None) -> Observation:
        """Read from the points of one face and, to find things before its mouth, from the picture."""
        scheme = SCHEMES[landmarks.scheme]
        points = levelled(landmarks)
        chin = float(points[scheme.chin, 1])
        top = chin - (chin - float(points[scheme.top, 1])) * scheme.height_over_top
        nose = float(points[list(scheme.nose_base), 1].mean())
        return cls(
            left=float(points[:, 0].min()),
            right=float(points[:, 0].max()),
            top=min(top, nose - 1),
            nose=nose,
            chin=chin,
            angle=roll(landmarks),
            opening=opening(landmarks),
            yaw=yaw(landmarks),
            outline=outline(landmarks).astype(np.float32),
            anchors=anchors(landmarks),
            look=None if picture is None else mouth_look(picture, landmarks),
        )

    def crop_numbers(self, chin_ratio: float) -> tuple[float, float, float, float, float]:
        """Centre x, y, width, height and angle of the crop, for a chin at `chin_ratio` times the distance
        from hair line to nose."""
        height = (self.nose - self.top) * chin_ratio
        low, high = self.top + TOP_MARGIN * height, self.top + (1 + CHIN_MARGIN) * height
        centre = np.array([[(self.left + self.right) / 2, (low + high) / 2]], dtype=np.float32)
        x, y = turn(centre, self.angle)[0]
        return float(x), float(y), self.right - self.left, high - low, self.angle


def build_track(
    times: Sequence[float], starts: Sequence[bool], faces: Sequence[Observation | None]
) -> FaceTrack:
    """Smooth the boxes within runs of one face in one shot, and never across their ends."""
    n = len(times)
    n_outline = next((len(face.outline) for face in faces if face is not None), 0)
    boxes = np.zeros((n, 5), dtype=np.float32)
    outlines = np.zeros((n, n_outline, 2), dtype=np.float32)
    places = np.zeros((n, N_ANCHORS, 2), dtype=np.float32)
    strange = np.zeros(n, dtype=np.float32)
    for run in _runs(starts, faces):
        seen = [face for face in faces[run] if face is not None]
        chin_ratio = float(np.median([(face.chin - face.top) / (face.nose - face.top) for face in seen]))
        numbers = np.array([face.crop_numbers(chin_ratio) for face in seen])
        boxes[run] = _as_corners(smooth(numbers))
        outlines[run] = _smooth_points(np.stack([face.outline for face in seen]))
        places[run] = _smooth_points(np.stack([face.anchors for face in seen]))
        strange[run] = _strangeness(seen)
    return FaceTrack(
        times=np.asarray(times, dtype=np.float64),
        boxes=boxes,
        present=np.array([face is not None for face in faces], dtype=np.bool_),
        openings=np.array([0.0 if face is None else face.opening for face in faces], dtype=np.float32),
        yaws=np.array([0.0 if face is None else face.yaw for face in faces], dtype=np.float32),
        outlines=outlines,
        shot_starts=np.asarray(starts, dtype=np.bool_),
        anchors=places,
        strange=strange,
    )


def _strangeness(faces: Sequence[Observation]) -> NDArray[np.float32]:
    """[N] of one run; 0 where nobody looked."""
    looks = [face.look for face in faces if face.look is not None]
    if len(looks) < len(faces):
        return np.zeros(len(faces), np.float32)
    yaws = np.array([face.yaw for face in faces], np.float32)
    openings = np.array([face.opening for face in faces], np.float32)
    return strangeness(np.stack(looks), yaws, openings)


def join_tracks(parts: Sequence[FaceTrack]) -> FaceTrack:
    """Tracks of one stream, each of whole shots, one after the other."""
    outlines = [part.outlines[:] for part in parts]
    n_outline = max(part.shape[1] for part in outlines)  # 0 in shots without any face
    return FaceTrack(
        times=np.concatenate([part.times for part in parts]),
        boxes=np.concatenate([part.boxes for part in parts]),
        present=np.concatenate([part.present for part in parts]),
        openings=np.concatenate([part.openings for part in parts]),
        yaws=np.concatenate([part.yaws for part in parts]),
        outlines=np.concatenate(
            [np.pad(part, ((0, 0), (0, n_outline - part.shape[1]), (0, 0))) for part in outlines]
        ),
        shot_starts=np.concatenate([part.shot_starts for part in parts]),
        anchors=np.concatenate([part.anchors for part in parts]),
        strange=np.concatenate([part.strange for part in parts]),
    )


def _runs(starts: Sequence[bool], faces: Sequence[Observation | None]) -> list[slice]:
    """Stretches of frames of one shot in which one face is always there."""
    runs: list[slice] = []
    begin: int | None = None
    for index, face in enumerate(faces):
        breaks = face is None or starts[index] or _jumps(faces[index - 1] if index else None, face)
        if breaks and begin is not None:
            runs.append(slice(begin, index))
            begin = None
        if face is not None and begin is None:
            begin = index
    if begin is not None:
        runs.append(slice(begin, len(faces)))
    return runs


def _jumps(before: Observation | None, now: Observation) -> bool:
    """True where the track has gone over to another face: further than half a face in one frame."""
    if before is None:
        return False
    step = math.hypot(now.left + now.right - before.left - before.right, 2 * (now.nose - before.nose)) / 2
    return step > (now.right - now.left) / 2


def smooth(values: NDArray[np.float64], width: int = SMOOTHING) -> NDArray[np.float64]:
    """Centred moving average of rows [N, K]; near the ends over as many rows as there are on both sides."""
    sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    index = np.arange(len(values))
    reach = np.minimum(np.minimum(index, len(values) - 1 - index), width // 2)
    averaged: NDArray[np.float64] = (sums[index + reach + 1] - sums[index - reach]) / (2 * reach + 1)[:, None]
    return averaged


def _smooth_points(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N, P, 2] -> the same shape. A point at a time: of a long shot all at once would be many copies."""
    smoothed = np.empty_like(points)
    for place in range(points.shape[1]):
        smoothed[:, place] = smooth(points[:, place].astype(np.float64))
    return smoothed


def _as_corners(numbers: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rows of centre x, y, width, height, angle -> x0, y0, x1, y1, angle."""
    centre, half, angle = numbers[:, :2], numbers[:, 2:4] / 2, numbers[:, 4:]
    return np.concatenate([centre - half, centre + half, angle], axis=1).astype(np.float32)
