"""The file that a video is written into: pictures beside their speech, under its name only when complete."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from lipsync_cli.errors import MediaError, unwritable
from lipsync_cli.media.audio import SoundReader
from lipsync_cli.media.mix import Sound
from lipsync_cli.media.speech_track import Track, open_track

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""How an output may end -> the container that it becomes."""
_LONGEST_NAME = 200
"""Bytes of a file's name that the temporary name keeps: most file systems end at 255."""


class Muxer:
    """An mp4, mov or Matroska file with one video stream and, if wanted, the speech.

    It is written as `.NAME.part.SUFFIX` beside `path` (a link is followed) and renamed by `finish`, after its
    bytes have reached the disk; `close` without `finish` leaves no trace.

    Args:
        path: ends in one of `FORMATS`. Matroska rounds times to milliseconds, the others to `ticks`.
        ticks: units a second of the time stamps.
        speech: the sound (a file, or a mixture), or None. Raises MediaError when it has none.
        comment: written into the file's comment tag.
    """

    def __init__(self, path: Path, *, ticks: int, speech: Path | Sound | None, comment: str | None) -> None:
        self._target = path.resolve()
        self._part = _part_name(self._target)
        self._ticks = ticks
        self._comment = comment
        self._sound = SoundReader(speech, surround=True) if isinstance(speech, Path) else speech
        self._speech: Track | None = None
        self._container: OutputContainer | None = None

    @property
    def part(self) -> Path:
        """What the file is called until it is complete."""
        return self._part

    def open(self, add_video: Callable[[OutputContainer], VideoStream]) -> VideoStream:
        """Begin the file with the stream that `add_video` adds to it."""
        container = FORMATS[self._target.suffix.lower()]
        options = {"movflags": "+faststart", "movie_timescale": str(self._ticks)}
        self._container = av.open(
            str(self._part),
            "w",
            format=container,
            container_options={} if container == "matroska" else options,
        )
        if self._comment is not None:
            self._container.metadata["comment"] = self._comment
        stream = add_video(self._container)
        if self._sound is not None:
            self._speech = open_track(self._container, self._sound)
        self._container.start_encoding()
        return stream

    def mux(self, packet: Packet[VideoStream]) -> None:
        """Write a packet of the video."""
        self._opened.mux(packet)

    def speak_until(self, time: Fraction) -> None:
        """Write the speech up to a time in seconds, as far as there is any."""
        if self._speech is not None:
            for packet in self._speech.until(time):
                self._opened.mux(packet)

    def finish(self, time: Fraction) -> None:
        """Write speech and silence up to a time, then give the file its name."""
        if self._speech is not None:
            for packet in self._speech.end(time):
                self._opened.mux(packet)
        self._opened.close()
        _to_disk(self._part)
        self._part.replace(self._target)
        with suppress(OSError):  # a folder cannot be opened everywhere
            _to_disk(self._target.parent)

    def close(self) -> None:
        """Let go of all files; an unfinished one is removed."""
        if self._speech is not None:
            self._speech.close()
        if self._container is not None:
            with suppress(av.error.FFmpegError, OSError):  # a second close does nothing
                self._container.close()
        self._part.unlink(missing_ok=True)

    @property
    def _opened(self) -> OutputContainer:
        if self._container is None:
            raise ValueError("the file is not open")
        return self._container


@contextmanager
def named_errors(path: Path, refusal: str | None = None) -> Iterator[None]:
    """Errors of writing become MediaErrors that name the file; `refusal`: what it means when the encoder
    does not take what it is given."""
    try:
        yield
    except (av.error.ArgumentError, av.error.ExternalError) as error:
        raise MediaError(f"{path}: {refusal or error}") from error
    except (av.error.FFmpegError, OSError) as error:
        raise unwritable(path, error.strerror) from error


def _to_disk(path: Path) -> None:
    """Wait until a file, or a folder's list of names, would survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _part_name(target: Path) -> Path:
    stem = target.stem.encode()[:_LONGEST_NAME].decode(errors="ignore")
    return target.with_name(f".{stem}.part{target.suffix}")
