"""From a video to the arrays of one clip: detect and track, cut crops at 25 fps by time, hear."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.data.corpora.source import SourceClip
from lipsync_cli.data.layout import FRAMES_PER_SECOND, CacheSettings, ClipArrays, ClipFacts
from lipsync_cli.errors import DataError
from lipsync_cli.faces.centring import centred_on_features
from lipsync_cli.faces.crop import crop_face, points_in_crop
from lipsync_cli.faces.landmarks import opening, roll, yaw
from lipsync_cli.faces.track import FaceTracker, Observation, build_track
from lipsync_cli.interfaces import (
    Box,
    FaceDetector,
    Frame,
    FrameStream,
    LandmarkFinder,
    Landmarks,
    VideoInfo,
    Waveform,
)
from lipsync_cli.media.audio import load_waveform
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.speech.embedding_mel import embedding_mel
from lipsync_cli.speech.mel import mel_spectrogram

SHORTEST = 25
"""Frames (one second): a shorter run of a face is of no use."""


@dataclass(frozen=True)
class Tools:
    """The networks that preparation needs."""

    detector: FaceDetector
    finder: LandmarkFinder
    speech_steps: Callable[[NDArray[np.float32], int], NDArray[np.float32]]
    """(log mel [T, 32], N frames) -> steps of the speech embedding [N + 9, 384]."""
    offset: Callable[[ClipArrays], tuple[int, float]] | None = None
    """AV offset of a clip in frames (picture at t matches sound at t + offset) and its confidence."""


LARGEST_OFFSET = 12
"""Frames: a clip that fits best at a larger offset belongs to another sound."""
LEAST_CONFIDENCE = 0.09
"""An offset that is less certain is not corrected (own sound: 0.12 to 0.37, mumbled 0.05; the sound of other
videos: median 0.06, one in six above 0.15)."""
FEWEST_FOR_OFFSET = 50
"""Frames of a clip that is long enough for offsets of 15 frames to either side to mean something."""


def prepare_clip(path: Path, tools: Tools, settings: CacheSettings) -> ClipArrays:
    """The longest run of one face in a video, as a clip; errors as `prepare_source`."""
    return prepare_source(SourceClip(path, "", ""), tools, settings)[0]


def prepare_source(source: SourceClip, tools: Tools, settings: CacheSettings) -> tuple[ClipArrays, ClipFacts]:
    """The longest run of one face in a clip of a corpus.

    Raises MediaError for an unreadable file and DataError when no run is at least a second long, or its sound
    is of something else (see `LARGEST_OFFSET`).
    """
    waveform = load_waveform(source.path, settings.sample_rate)
    stream = _stream_of(source)
    tracked = _track(stream, tools)
    end = min(tracked.times[-1] + 1 / FRAMES_PER_SECOND, waveform.duration)
    times = _grid(tracked.times[0], end)
    if len(times) < SHORTEST:
        raise DataError(f"{source.path}: {len(times)} frames with a face and sound, fewer than {SHORTEST}")
    # Half a frame of tolerance: the frame that is shown in the middle of the grid's step.
    nearest = np.searchsorted(tracked.times, times + 0.5 / FRAMES_PER_SECOND, side="right") - 1
    nearest = nearest.clip(0, len(tracked.times) - 1)
    start = round(float(times[0]) * settings.sample_rate)
    sound = replace(waveform, samples=waveform.samples[start:])
    crops = _cut(stream, tracked, nearest, settings.image_size)
    arrays = _assemble(crops, tracked, nearest, sound, tools)
    facts = ClipFacts(
        rate=float(stream.info.rate),
        face_width=float(np.median(tracked.boxes[:, 2] - tracked.boxes[:, 0])),
        roll=math.degrees(float(np.median([roll(face) for face in tracked.landmarks]))),
    )
    if settings.offsets == "off" or tools.offset is None or len(nearest) < FEWEST_FOR_OFFSET:
        return arrays, facts
    offset, confidence = tools.offset(arrays)
    facts = replace(facts, offset=offset, confidence=confidence)
    if settings.offsets == "measure" or confidence < LEAST_CONFIDENCE or offset == 0:
        return arrays, facts
    if abs(offset) > LARGEST_OFFSET:
        raise DataError(
            f"{source.path}: lips and sound fit best {offset} frames apart (confidence {confidence:.2f}), "
            f"more than {LARGEST_OFFSET}: the sound is of something else"
        )
    moved, part = _moved(sound, offset, len(nearest), settings.sample_rate)
    return _assemble(crops[part], tracked, nearest[part], moved, tools), replace(facts, corrected=True)


def _moved(sound: Waveform, offset: int, n_frames: int, sample_rate: int) -> tuple[Waveform, slice]:
    """The sound moved by an offset in frames against the picture, and the frames that still have both."""
    if offset > 0:  # it comes late: begin later in it
        n_samples = round(offset * sample_rate / FRAMES_PER_SECOND)
        return replace(sound, samples=sound.samples[n_samples:]), slice(0, n_frames - offset)
    return sound, slice(-offset, n_frames)


def _stream_of(source: SourceClip) -> FrameStream:
    """The part of the video that the clip is."""
    whole = VideoReader(source.path)
    if source.start <= 0 and math.isinf(source.end) and source.region is None:
        return whole
    return _Part(whole, source)


class _Part:
    """A stretch of time and a region of a stream, with its indices and times."""

    def __init__(self, whole: FrameStream, source: SourceClip) -> None:
        self._whole = whole
        self._source = source

    @property
    def info(self) -> VideoInfo:
        """Of the whole."""
        return self._whole.info

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._whole:
            if frame.time >= self._source.end:
                return
            if frame.time >= self._source.start:
                yield replace(frame, picture=self._region(frame.image))

    def _region(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        region = self._source.region
        if region is None:
            return image
        height, width = image.shape[:2]
        x0, x1 = (min(max(round(x * height), 0), width) for x in (region.x0, region.x1))
        y0, y1 = (min(max(round(y * height), 0), height) for y in (region.y0, region.y1))
        if x1 - x0 < 2 or y1 - y0 < 2:
            raise DataError(f"{self._source.path}: its annotated region lies outside of the picture")
        return np.ascontiguousarray(image[y0:y1, x0:x1])


@dataclass(frozen=True)
class _Tracked:
    """The longest run of one face: landmarks and boxes by frame."""

    indices: list[int]
    times: NDArray[np.float64]
    landmarks: list[Landmarks]
    boxes: NDArray[np.float32]


def _track(stream: FrameStream, tools: Tools) -> _Tracked:
    tracker = FaceTracker(tools.detector, tools.finder)
    frames: list[tuple[int, float, bool, Landmarks | None]] = []
    for frame in stream:
        landmarks, starts_shot = tracker.observe(frame.image)
        frames.append((frame.index, frame.time, starts_shot, landmarks))
    run = _longest_run([(starts, face is not None) for _, _, starts, face in frames])
    faces = [(index, time, face) for index, time, _, face in frames[run] if face is not None]
    if len(faces) < SHORTEST:
        seen = sum(face is not None for *_, face in frames)
        raise DataError(f"{stream.info.path}: {seen} of {len(frames)} frames have a face, no second in a row")
    track = centred_on_features(
        build_track(
            [time for _, time, _ in faces],
            [i == 0 for i in range(len(faces))],
            [Observation.of(face) for *_, face in faces],
        )
    )
    return _Tracked([index for index, _, _ in faces], track.times, [face for *_, face in faces], track.boxes)


def _longest_run(frames: Sequence[tuple[bool, bool]]) -> slice:
    """The longest stretch of (starts a shot, has a face) with a face and without a cut."""
    best, begin = slice(0, 0), 0
    for index, (starts_shot, has_face) in enumerate(frames):
        if starts_shot or not has_face:
            begin = index if has_face else index + 1
        if index + 1 - begin > best.stop - best.start:
            best = slice(begin, index + 1)
    return best


def _grid(start: float, end: float) -> NDArray[np.float64]:
    """Time stamps of 25 fps from start on, all whole steps that end by `end`."""
    n = int(np.floor((end - start) * FRAMES_PER_SECOND + 1e-3))
    return start + np.arange(max(n, 0)) / FRAMES_PER_SECOND


def _cut(
    stream: FrameStream, tracked: _Tracked, nearest: NDArray[np.intp], image_size: int
) -> NDArray[np.uint8]:
    """Crops [N, S, S, 3] of the frames that the grid asks for."""
    wanted = {tracked.indices[place]: place for place in set(nearest.tolist())}
    found: dict[int, NDArray[np.uint8]] = {}
    for frame in _until(stream, max(wanted)):
        place = wanted.get(frame.index)
        if place is not None:
            found[place] = crop_face(frame.image, _box(tracked, place), image_size)
    return np.stack([found[place] for place in nearest.tolist()])


def _until(stream: FrameStream, last: int) -> Iterator[Frame]:
    for frame in stream:
        yield frame
        if frame.index >= last:
            return


def _box(tracked: _Tracked, place: int) -> Box:
    return Box(*(float(value) for value in tracked.boxes[place]))


def _assemble(
    crops: NDArray[np.uint8], tracked: _Tracked, nearest: NDArray[np.intp], sound: Waveform, tools: Tools
) -> ClipArrays:
    places = nearest.tolist()
    size = crops.shape[1]
    log_mel = embedding_mel(sound)
    return ClipArrays(
        crops=crops,
        landmarks=np.stack(
            [points_in_crop(tracked.landmarks[place].points, _box(tracked, place), size) for place in places]
        ),
        openings=np.array([opening(tracked.landmarks[place]) for place in places], dtype=np.float32),
        yaws=np.array([yaw(tracked.landmarks[place]) for place in places], dtype=np.float32),
        mel=mel_spectrogram(sound),
        log_mel=log_mel,
        speech=tools.speech_steps(log_mel, len(places)).astype(np.float16),
    )
