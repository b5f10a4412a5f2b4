"""`lipsync prepare`: from videos to the cache that training reads.

Detect and track, cut crops at 25 fps by time, compute mel and speech embedding; each clip on its own, in
worker processes, written at once: a run that was stopped goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lipsync_cli.data.corpora.folder import SourceClip
from lipsync_cli.data.layout import (
    FRAMES_PER_SECOND,
    CacheSettings,
    ClipArrays,
    clip_path,
    start_cache,
    write_clip,
)
from lipsync_cli.errors import DataError, LipsyncError
from lipsync_cli.faces.crop import crop_face, points_in_crop
from lipsync_cli.faces.landmarks import opening, yaw
from lipsync_cli.faces.track import FaceTracker, Observation, build_track
from lipsync_cli.interfaces import Box, FaceDetector, Frame, FrameStream, LandmarkFinder, Landmarks, Waveform
from lipsync_cli.media.audio import load_waveform
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.speech.embedding_mel import embedding_mel
from lipsync_cli.speech.mel import mel_spectrogram

SHORTEST = 25
"""Frames (one second): a shorter run of a face is of no use."""


@dataclass(frozen=True)
class Tools:
    """The networks that preparation needs; built anew in each worker."""

    detector: FaceDetector
    finder: LandmarkFinder
    speech_steps: Callable[[NDArray[np.float32], int], NDArray[np.float32]]
    """(log mel [T, 32], N frames) -> steps of the speech embedding [N + 9, 384]."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a clip."""

    source: SourceClip
    n_frames: int
    reason: str
    """Empty when it was prepared, else why it was left out."""


def prepare_clip(source: SourceClip, tools: Tools, settings: CacheSettings) -> ClipArrays:
    """The longest run of one face in a video, as a clip.

    Raises MediaError for an unreadable file and DataError when no run is at least a second long.
    """
    waveform = load_waveform(source.path, settings.sample_rate)
    stream = VideoReader(source.path)
    tracked = _track(stream, tools)
    times = _grid(tracked.times[0], min(tracked.times[-1] + 1 / FRAMES_PER_SECOND, waveform.duration))
    if len(times) < SHORTEST:
        raise DataError(f"{source.path}: {len(times)} frames with a face and sound, fewer than {SHORTEST}")
    # Half a frame of tolerance: the frame that is shown in the middle of the grid's step.
    nearest = np.searchsorted(tracked.times, times + 0.5 / FRAMES_PER_SECOND, side="right") - 1
    nearest = nearest.clip(0, len(tracked.times) - 1)
    start = round(float(times[0]) * settings.sample_rate)
    sound = replace(waveform, samples=waveform.samples[start:])
    return _assemble(_cut(stream, tracked, nearest, settings.image_size), tracked, nearest, sound, tools)


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
    track = build_track(
        [time for _, time, _ in faces],
        [i == 0 for i in range(len(faces))],
        [Observation.of(face) for *_, face in faces],
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


_worker_tools: Tools | None = None


def _start_worker(make_tools: Callable[[], Tools]) -> None:
    """Build the networks once in each worker process; the workers themselves are the parallelism."""
    global _worker_tools  # noqa: PLW0603 (an executor's initializer has no other way to hand over)
    cv2.setNumThreads(1)
    _worker_tools = make_tools()


def _work(source: SourceClip, cache: Path, settings: CacheSettings) -> Outcome:
    if _worker_tools is None:
        raise RuntimeError("the worker was not started by _start_worker")
    try:
        arrays = prepare_clip(source, _worker_tools, settings)
        write_clip(clip_path(cache, source.speaker, source.name), arrays)
    except LipsyncError as error:
        return Outcome(source, 0, str(error))
    return Outcome(source, len(arrays.openings), "")


def prepare(
    sources: Sequence[SourceClip],
    cache: Path,
    make_tools: Callable[[], Tools],
    *,
    settings: CacheSettings,
    workers: int,
) -> Iterator[Outcome]:
    """Prepare what is not in the cache yet; yields the outcome of each clip as it is done.

    A clip that cannot be used is reported with its reason and left out. make_tools must be importable by
    name (it is called in every worker process). Raises DataError when the cache cannot be written or was
    made with other settings.
    """
    start_cache(cache, settings)
    todo = []
    for source in sources:
        if clip_path(cache, source.speaker, source.name).is_file():
            yield Outcome(source, 0, "")
        else:
            todo.append(source)
    with (cache / "log.jsonl").open("a", encoding="utf-8") as log:
        for outcome in _run(todo, cache, make_tools, settings, workers):
            line = {"path": str(outcome.source.path), "frames": outcome.n_frames, "left_out": outcome.reason}
            log.write(json.dumps(line, ensure_ascii=False) + "\n")
            log.flush()
            yield outcome


def _run(
    todo: Sequence[SourceClip],
    cache: Path,
    make_tools: Callable[[], Tools],
    settings: CacheSettings,
    workers: int,
) -> Iterator[Outcome]:
    """Outcomes in the order in which they are done, with a few clips for each worker under way."""
    if not todo:
        return
    executor = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(make_tools,)
    )
    pending: set[Future[Outcome]] = set()
    try:
        for source in todo:
            pending.add(executor.submit(_work, source, cache, settings))
            if len(pending) >= 3 * workers:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
