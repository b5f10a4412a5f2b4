"""Reads the frames of a video, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lipsync_cli.errors import MediaError
from lipsync_cli.interfaces import Frame, VideoInfo
from lipsync_cli.media.picture import Geometry, PictureDecoder
from lipsync_cli.media.probe import (
    PATIENCE,
    UNDECODABLE,
    open_media,
    packets,
    probe_video,
    stream_start,
    time_zero,
    video_stream,
)
from lipsync_cli.media.stored import picture_of

_LONGEST_STEP_BACK = 1.0
"""Seconds. A time stamp that falls back further starts a new count (files joined end to end)."""


class VideoReader:
    """The frames of a video file in order of presentation, uint8 [H, W, 3] RGB (a `FrameStream`).

    Rotation, pixel aspect ratio, colour matrix and range are applied. `Frame.time` is exact and on the
    time line of `load_waveform` of the same file. Only the frames that the decoder's threads work on are
    held, and the file is closed when an iteration ends or is abandoned. Packets that cannot be decoded are
    left out. A still picture is a video of one frame at time 0.

    Raises:
        MediaError: (also while iterating) the file is missing, unreadable, or has no picture.
    """

    def __init__(self, path: Path) -> None:
        self._info = probe_video(path)
        self._n_skipped = 0

    @property
    def info(self) -> VideoInfo:
        """Size after rotation, average rate, duration."""
        return self._info

    @property
    def n_skipped(self) -> int:
        """Packets of the latest iteration that could not be decoded."""
        return self._n_skipped

    def __iter__(self) -> Iterator[Frame]:
        path = self._info.path
        self._n_skipped = 0
        with open_media(path) as container:
            stream = video_stream(container, path)
            stream.thread_type = "AUTO"
            clock = _Clock(container, stream, self._info.rate)
            decoder: PictureDecoder | None = None
            for index, picture in enumerate(self._decode(container, stream)):
                if decoder is None:
                    decoder = PictureDecoder(Geometry.of(picture, stream.sample_aspect_ratio, path))
                yield Frame(index, clock.time(picture), picture_of(picture, decoder))

    def _decode(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        n_decoded = failures = 0
        for packet in packets(container, stream):
            try:
                pictures = packet.decode()
            except av.error.FFmpegError:
                self._n_skipped += 1
                failures += 1
                if failures >= PATIENCE and n_decoded == 0:
                    break
                continue
            failures = 0
            n_decoded += len(pictures)
            yield from pictures
        if n_decoded == 0:
            raise MediaError(f"{self._info.path}: {UNDECODABLE}")


class _Clock:
    """Gives each picture its time: strictly increasing, whatever the file says."""

    def __init__(self, container: InputContainer, stream: VideoStream, rate: Fraction) -> None:
        self._zero = time_zero(container)
        self._start = stream_start(stream)
        # AVI files number the pictures as they are stored, not as they are shown.
        self._in_decoding_order = container.format.name == "avi"
        self._step = float(1 / rate)
        self._latest: float | None = None

    def time(self, picture: VideoFrame) -> float:
        """Seconds since the start of the file."""
        time = self._stamped(picture)
        if self._latest is None:
            self._latest = 0.0 if time is None else time
        elif time is None:
            self._latest += self._step
        elif time > self._latest:
            self._latest = time
        elif self._latest - time > _LONGEST_STEP_BACK:
            self._zero -= Fraction(self._latest + self._step - time)
            self._latest += self._step
        else:
            # Half a step: the next picture, if its own time is right, still comes later.
            self._latest += self._step / 2
        return self._latest

    def _stamped(self, picture: VideoFrame) -> float | None:
        stamp = picture.dts if self._in_decoding_order else picture.pts
        if stamp is None or picture.time_base is None:
            return None
        clock = stamp * picture.time_base
        if self._in_decoding_order and self._latest is None:
            self._zero += clock - self._start  # the decoder's delay is no part of the time line
        return float(clock - self._zero)
