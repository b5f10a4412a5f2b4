"""Makes the videos that runs over corpora need: cut parts, and the baselines that a method has to beat."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from lipsync_cli.data.corpora.source import SourceClip
from lipsync_cli.errors import FaceError, MediaError
from lipsync_cli.evaluation.watch import watch
from lipsync_cli.interfaces import AudioInfo, FaceDetector, Frame, LandmarkFinder, VideoInfo
from lipsync_cli.media.audio import Samples, SoundReader
from lipsync_cli.media.mix import Sound
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.media.writer import VideoWriter

_CRF = 12  # what is made here must look like its source


def still_video(
    video: Path, speech: Path, output: Path, *, detector: FaceDetector, finder: LandmarkFinder
) -> None:
    """The static baseline: the video's most closed frame, held, under the speech.

    Raises MediaError for unreadable files, FaceError when no frame has a face.
    """
    reader = VideoReader(video)
    seen = watch(reader, detector, finder)
    image = seen.closed_image
    if image is None:
        raise FaceError(f"{video}: no frame of it has a face")
    frames = (Frame(index, float(time), image) for index, time in enumerate(seen.track.times))
    _write(output, reader.info, frames, speech)


def with_other_sound(video: Path, speech: Path, output: Path) -> None:
    """The shuffled baseline: the real pictures under another clip's speech. Raises MediaError."""
    reader = VideoReader(video)
    _write(output, reader.info, reader, speech)


def cut_part(clip: SourceClip, output: Path) -> None:
    """The part of a video (and of its picture) that a corpus means, from time 0.

    Raises MediaError when the video is unreadable or does not reach into the part.
    """
    reader = VideoReader(clip.path)
    info, sound = reader.info, PartOfSound(clip.path, clip.start, clip.end)
    left, top, width, height = _window(clip, info)
    part = VideoInfo(info.path, width, height, info.rate, info.duration, info.n_frames, info.codec)

    def frames() -> Iterator[Frame]:
        n_frames = 0
        for frame in reader:
            if frame.time >= clip.end:
                break
            if frame.time >= clip.start - 1e-6:
                picture = frame.image[top : top + height, left : left + width]
                yield Frame(n_frames, max(0.0, frame.time - clip.start), picture)
                n_frames += 1
        if not n_frames:
            raise MediaError(f"{clip.path}: ends before {clip.start:g} s, where the clip {clip.name} begins")

    _write(output, part, frames(), sound)


def _window(clip: SourceClip, info: VideoInfo) -> tuple[int, int, int, int]:
    """Left, top, width and height in pixels."""
    if clip.region is None:
        return 0, 0, info.width, info.height
    box = clip.region
    left, top = (min(max(0, round(value * info.height)), info.height - 2) for value in (box.x0, box.y0))
    left = min(max(0, round(box.x0 * info.height)), info.width - 2)
    width = min(round((box.x1 - box.x0) * info.height), info.width - left)
    height = min(round((box.y1 - box.y0) * info.height), info.height - top)
    if min(width, height) < 2:
        raise MediaError(f"{clip.path}: the window of the clip {clip.name} lies outside of its picture")
    return left, top, width, height


def _write(output: Path, info: VideoInfo, frames: Iterable[Frame], speech: Path | Sound) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(
        output,
        width=info.width,
        height=info.height,
        rate=info.rate,
        speech=speech,
        crf=_CRF,
    ) as writer:
        for frame in frames:
            writer.write(frame)


class PartOfSound:
    """The sound of a file from one second to another (a `Sound`), block by block."""

    def __init__(self, path: Path, start: float, end: float) -> None:
        self._reader = SoundReader(path)
        whole = self._reader.info
        self._span = start, min(end, whole.duration)
        seconds = max(0.0, self._span[1] - start)
        self._info = replace(whole, duration=seconds)

    @property
    def info(self) -> AudioInfo:
        """Of the part."""
        return self._info

    @property
    def layout(self) -> str:
        """Mono or stereo."""
        return self._reader.layout

    @property
    def channels(self) -> int:
        """1 or 2."""
        return self._reader.channels

    def __iter__(self) -> Generator[Samples]:
        rate = self._info.sample_rate
        first = round(self._span[0] * rate)
        last = math.inf if math.isinf(self._span[1]) else round(self._span[1] * rate)
        place = 0
        for block in self._reader:
            begin, end = max(first - place, 0), min(last - place, block.shape[1])
            if begin < end:
                yield block[:, begin : int(end)]
            place += block.shape[1]
            if place >= last:
                return
