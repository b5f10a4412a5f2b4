"""Writes a video with its speech, under its name only when it is complete."""

from __future__ import annotations

import math
import os
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream

from lipsync_cli.errors import MediaError, SettingsError
from lipsync_cli.interfaces import Colours, Frame
from lipsync_cli.media.mix import Sound
from lipsync_cli.media.muxer import FORMATS, Muxer, named_errors
from lipsync_cli.media.picture import PictureEncoder
from lipsync_cli.processor import has_avx512

SUFFIXES = tuple(FORMATS)
"""What an output may be called."""
ENCODERS = {"h264": "libx264", "hevc": "libx265"}
PRESETS = (
    "auto",
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
)
"""What is traded for time. `auto` is `veryfast`, and of H.264 a coarser search for motion between pixels: two
thirds of the time, files 7 to 17 % larger, SSIM lower by 0.0003 to 0.0013 (two videos, crf 18)."""
LARGEST_CRF = 51

_IN_ORDER = 2
"""Videos of at most so many frames are stored in the order in which they are shown."""
_FINEST_TICK = 90_000
"""Time stamps are at least this fine, in units a second."""
_LARGEST_RATE_NUMERATOR = 10_000_000


def check_output(path: Path, codec: str = "h264") -> None:
    """Find out before any work whether a video can be written there.

    Raises:
        MediaError: the folder is missing or not writable, the path is a folder or a device, or its name
            does not end in one of `SUFFIXES`; or this installation lacks the encoder.
        SettingsError: there is no such codec.
    """
    folder = path.resolve().parent
    if path.is_dir():
        raise MediaError(f"{path}: the output is a folder; give the name of a file in it")
    if path.suffix.lower() not in SUFFIXES:
        raise MediaError(f"{path}: the output must end in {', '.join(SUFFIXES)}; rename it")
    if not folder.is_dir():
        raise MediaError(f"{path}: the folder {folder} does not exist; make it first")
    if path.exists() and not path.is_file():
        raise MediaError(f"{path}: the output is not a plain file; give another name")
    if not os.access(folder, os.W_OK | os.X_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise MediaError(
            f"{path}: not permitted to write there; change the permissions or choose another folder"
        )
    if codec not in ENCODERS:
        raise SettingsError(f"codec {codec!r} is unknown; choose one of {', '.join(ENCODERS)}")
    for encoder in (ENCODERS[codec], "aac"):
        try:
            av.codec.Codec(encoder, "w")
        except ValueError as error:
            raise MediaError(
                f"{path}: the installed media library has no {encoder} encoder; install PyAV from its wheel"
            ) from error


def check_quality(crf: float, preset: str) -> None:
    """SettingsError unless this is a quality from 0 to `LARGEST_CRF` and one of `PRESETS`."""
    if not 0 <= crf <= LARGEST_CRF:
        raise SettingsError(f"crf {crf} is out of range; give 0 (best) to {LARGEST_CRF}")
    if preset not in PRESETS:
        raise SettingsError(f"preset {preset!r} is unknown; choose one of {', '.join(PRESETS)}")


def quality_options(encoder: str, crf: float, preset: str) -> dict[str, str]:
    """What libx264 or libx265 is told; preset: one of `PRESETS`."""
    options = {"crf": str(crf), "preset": "veryfast" if preset == "auto" else preset}
    if encoder == "libx265":
        return options | {"x265-params": "log-level=error"}
    # With AVX-512 libx264 (r3223) gives the same pictures other bytes from run to run, by its macroblock
    # trees; with AVX2 the same ones always, and as fast.
    more = (["asm=avx2"] if has_avx512() else []) + (["subme=1"] if preset == "auto" else [])
    return options | ({"x264-params": ":".join(more)} if more else {})


def check_not_an_input(output: Path, *inputs: Path) -> None:
    """Refuse to write over a file that is being read.

    Raises:
        MediaError: `output` is one of `inputs`, whatever links or spellings lie between.
    """
    for path in inputs:
        same = output.resolve() == path.resolve()
        if same or (output.exists() and path.exists() and output.samefile(path)):
            raise MediaError(
                f"{output}: is also an input and would be overwritten; give the output another name"
            )


class VideoWriter:
    """Writes frames as H.264 or HEVC with the speech into an mp4, mov or Matroska file (a `FrameSink`).

    Each frame is shown from its own `time` to that of the next, the last one for 1 / `rate` seconds: any
    rate, constant or variable, is kept. Time 0 of the frames is time 0 of the speech. Speech that is encoded
    ends with the last frame, cut or filled up with silence; speech that is copied ends with the packet that
    sounds there, or where it is over. Sound is read and muxed as the frames come.

    Pictures are written as 4:2:0, limited range, in the given colours or, without such, in 8 bits of BT.709
    above 576 lines and of BT.601 (SMPTE 170M) up to there, and tagged so. What is unchanged of a
    `StoredPicture` is not converted at all. That format needs even sizes: an odd size gets its last row or
    column twice.

    The file is written as `.NAME.part.mp4` beside `path` and renamed on a clean exit; on any error it is
    removed, and a file that was there before stays as it was.

    Args:
        path: ends in one of `SUFFIXES`; a link is followed.
        width: pixels of every frame.
        height: pixels of every frame.
        rate: frames a second, nominally: time stamps that are multiples of 1 / rate are kept exactly.
        speech: any file with sound, a mixture, or None for a silent video. The first track of a file is
            copied where the container takes its format (`COPIED_CODECS`); else it is written as AAC at its
            own sample rate, at up to 192 kbit/s, in mono, stereo or the channels of `SURROUND`.
        crf: quality, 0 (best) to 51.
        preset: one of `PRESETS`.
        codec: `h264` or `hevc`.
        comment: written into the file's comment tag.
        called: what errors call the file, where it is only a part of that one.
        colours: of the pictures, as in `VideoInfo`, and the bits that are written; else those of their size.

    Raises:
        MediaError: as `check_output`, or the speech has no sound; later: the disk is full or the like.
        SettingsError: crf, preset or codec out of range.
    """

    def __init__(  # noqa: PLR0913 - what a user may choose about a file
        self,
        path: Path,
        *,
        width: int,
        height: int,
        rate: Fraction,
        speech: Path | Sound | None,
        crf: float = 18,
        preset: str = "auto",
        codec: str = "h264",
        comment: str | None = None,
        called: Path | None = None,
        colours: Colours | None = None,
    ) -> None:
        check_output(path, codec)
        check_quality(crf, preset)
        self._path = called or path
        self._shape = (height, width, 3)
        self._rate = rate
        self._codec = codec
        self._options = quality_options(ENCODERS[codec], crf, preset)
        self._ticks = ticks_a_second(rate)
        self._muxer = Muxer(path, ticks=self._ticks, speech=speech, comment=comment)
        self._held: VideoFrame | None = None
        self._durations: dict[int, int] = {}
        self._n_written = 0
        self._picture = PictureEncoder(height, colours)

    def __enter__(self) -> Self:
        try:
            with self._named_errors():
                self._video = self._muxer.open(self._video_stream)
        except BaseException:
            self._muxer.close()
            raise
        return self

    def write(self, frame: Frame) -> None:
        """Add a frame, later than the one before.

        Raises:
            MediaError: the file cannot be written (disk full) or the speech cannot be read on.
        """
        latest = -1 if self._held is None else self._held.pts or 0
        tick = tick_of(frame, self._shape, self._ticks, latest=latest)
        with self._named_errors():
            self._release(tick)
            self._held = self._picture.encode(frame)
            self._held.pts, self._held.time_base = tick, Fraction(1, self._ticks)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with self._named_errors():
                    self._finish()
        finally:
            self._muxer.close()

    def _video_stream(self, container: OutputContainer) -> VideoStream:
        encoder = ENCODERS[self._codec]
        stream = cast(VideoStream, container.add_stream(encoder, rate=self._rate, options=self._options))
        stream.time_base = Fraction(1, self._ticks)
        context = stream.codec_context
        context.time_base = Fraction(1, self._ticks)
        context.height, context.width = (side + side % 2 for side in self._shape[:2])
        context.pix_fmt = self._picture.pixel_format
        colours = self._picture.colours
        context.colorspace = colours.matrix
        context.color_primaries, context.color_trc = colours.primaries, colours.transfer
        context.color_range = int(ColorRange.MPEG)
        if self._codec == "hevc" and container.format.name != "matroska":
            context.codec_tag = "hvc1"  # the only one that Apple's players take
        return stream

    def _release(self, next_tick: int) -> None:
        """Encode the frame held back, now that its end is known, and the speech up to there."""
        if self._held is None or self._held.pts is None:
            return
        self._n_written += 1
        self._durations[self._held.pts] = next_tick - self._held.pts
        self._mux_video(self._held)
        self._muxer.speak_until(Fraction(next_tick, self._ticks))

    def _mux_video(self, frame: VideoFrame | None) -> None:
        for packet in self._video.encode(frame):
            if self._n_written <= _IN_ORDER:
                packet.dts = packet.pts  # x265 leaves it unset in a video shorter than its own delay
            if packet.pts in self._durations:
                packet.duration = self._durations.pop(packet.pts)
            self._muxer.mux(packet)

    def _finish(self) -> None:
        if self._held is None or self._held.pts is None:
            raise MediaError(f"{self._path}: there was no frame to write")
        end = self._held.pts + max(1, round(self._ticks / self._rate))
        self._release(end)
        self._mux_video(None)
        self._muxer.finish(Fraction(end, self._ticks))

    def _named_errors(self) -> AbstractContextManager[None]:
        height, width, _ = self._shape
        return named_errors(
            self._path,
            f"the {self._codec} encoder refuses {width}x{height} pictures; take another size or codec",
        )


def ticks_a_second(rate: Fraction) -> int:
    """A time base in which a frame of this rate is a whole number of ticks, and other times are fine."""
    if not 0 < rate.numerator <= _LARGEST_RATE_NUMERATOR:
        return _FINEST_TICK
    return rate.numerator * math.ceil(_FINEST_TICK / rate.numerator)


def tick_of(frame: Frame, shape: tuple[int, int, int], ticks: int, *, latest: int) -> int:
    """The time stamp of a frame, in units of 1 / `ticks` seconds; latest: that of the frame before, or -1.

    ValueError for a picture of another shape than the video's, or a time that does not come after `latest`.
    """
    picture = frame.picture
    if picture.shape != shape or (isinstance(picture, np.ndarray) and picture.dtype != np.uint8):
        raise ValueError(f"frame {frame.index} is {picture.shape}, the video {shape}, uint8")
    tick = round(frame.time * ticks)
    if tick <= latest:
        raise ValueError(f"frame {frame.index} at {frame.time} s does not come after the one before")
    return tick
