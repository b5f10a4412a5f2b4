"""Writes a video by the ffmpeg program of the system: its encoders, those of graphics cards among them."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

from lipsync_cli.errors import MediaError, SettingsError
from lipsync_cli.interfaces import Colours, Frame
from lipsync_cli.media.ffmpeg_program import Program, check_encoder, ffmpeg_python
from lipsync_cli.media.mix import Sound
from lipsync_cli.media.muxer import Muxer, named_errors
from lipsync_cli.media.picture import PIXEL_FORMATS, PictureEncoder
from lipsync_cli.media.writer import (
    ENCODERS,
    check_output,
    check_quality,
    quality_options,
    tick_of,
    ticks_a_second,
)

_BUFFER = 1 << 20
_LARGEST_Q = 51


def encoder_options(encoder: str, crf: float, preset: str, bits: int = 8) -> dict[str, Any]:
    """How each family of encoders is told the quality, 0 (best) to 51, the bits of a colour and, where it
    knows it, the preset.

    Raises:
        SettingsError: not an encoder of H.264 or HEVC, or of a family whose options are not known here.
    """
    codec, _, family = encoder.partition("_")
    whole, on_card = round(crf), "p010le" if bits > 8 else "nv12"
    options: dict[str, dict[str, Any]] = {
        "nvenc": {"rc": "vbr", "cq": whole, "b:v": 0, "preset": "p4"},
        "qsv": {"global_quality": max(1, whole)},
        "amf": {"rc": "cqp", "qp_i": whole, "qp_p": whole} | ({"qp_b": whole} if codec == "h264" else {}),
        "videotoolbox": {"q:v": round(100 - 98 * crf / _LARGEST_Q)},
        "vaapi": {"qp": whole, "vaapi_device": "/dev/dri/renderD128", "vf": f"format={on_card},hwupload"},
    }
    hardware = family if codec in ENCODERS else ""
    if encoder in ENCODERS.values():
        return {**quality_options(encoder, crf, preset), "pix_fmt": PIXEL_FORMATS[bits]}
    if hardware not in options:
        raise SettingsError(
            f"--encoder {encoder} is not known here; take {', '.join(ENCODERS.values())}, or h264_ or hevc_ "
            "and one of nvenc, qsv, amf, videotoolbox, vaapi"
        )
    # Filters end in the card's own format.
    return options[hardware] if hardware == "vaapi" else {**options[hardware], "pix_fmt": on_card}


class FfmpegWriter:
    """Writes frames as H.264 or HEVC with the speech into an mp4, mov or Matroska file (a `FrameSink`).

    As `VideoWriter` in all that it promises. Pictures go to the program with their time stamps (raw video in
    NUT) and come to lie in a file of their own beside the output, which on a clean exit is joined with the
    speech, without encoding anew.

    Args:
        path: as for `VideoWriter`, like all that is not named here.
        width: pixels of every frame.
        height: pixels of every frame.
        rate: frames a second, nominally.
        speech: a file with sound, a mixture, or None.
        crf: quality, 0 (best) to 51, which is translated for encoders that measure it otherwise.
        preset: of libx264 and libx265 only.
        codec: `h264` or `hevc`: which encoder is taken where none is named.
        encoder: any of the program's for H.264 or HEVC, as `h264_nvenc`.
        comment: written into the file's comment tag.
        called: what errors call the file, where it is only a part of that one.
        colours: of the pictures, and the bits that are written.

    Raises:
        MediaError: as `VideoWriter`.
        SettingsError: ffmpeg or ffmpeg-python is missing, or the encoder does not work on this machine.
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
        encoder: str | None = None,
        comment: str | None = None,
        called: Path | None = None,
        colours: Colours | None = None,
    ) -> None:
        check_output(path, codec)
        check_quality(crf, preset)
        self._encoder = encoder or ENCODERS[codec]
        self._picture = PictureEncoder(height, colours)
        self._options = encoder_options(self._encoder, crf, preset, self._picture.colours.bits)
        if self._encoder not in ENCODERS.values():
            check_encoder(self._encoder, tuple(self._options.items()))
        self._path = called or path
        self._shape = (height, width, 3)
        self._rate = rate
        self._ticks = ticks_a_second(rate)
        self._muxer = Muxer(path, ticks=self._ticks, speech=speech, comment=comment)
        self._video_part = self._muxer.part.with_name(f"{self._muxer.part.stem}.video.mp4")
        self._shown = array("q")
        self._files = ExitStack()

    def __enter__(self) -> Self:
        try:
            # A program whose owner was killed may still write there: it keeps that file, this one a new one.
            self._video_part.unlink(missing_ok=True)
            self._files.callback(self._video_part.unlink, missing_ok=True)
            self._program = self._files.enter_context(Program(self._output(), reads=True, writes=False))
            self._pipe = av.open(self._program.stdin, "w", format="nut", buffer_size=_BUFFER)
            self._raw = self._pipe.add_stream("rawvideo", rate=self._rate)
            self._raw.height, self._raw.width = (side + side % 2 for side in self._shape[:2])
            self._raw.pix_fmt = self._picture.pixel_format
            self._raw.codec_context.time_base = self._raw.time_base = Fraction(1, self._ticks)
        except BaseException:
            self._close()
            raise
        return self

    def write(self, frame: Frame) -> None:
        """Add a frame, later than the one before.

        Raises:
            MediaError: the file cannot be written (disk full).
        """
        latest = self._shown[-1] if self._shown else -1
        tick = tick_of(frame, self._shape, self._ticks, latest=latest)
        self._shown.append(tick)
        picture = self._picture.encode(frame)
        picture.pts, picture.time_base = tick, Fraction(1, self._ticks)
        with self._named_errors():
            self._pipe.mux(self._raw.encode(picture))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._close()

    def _output(self) -> Any:
        ffmpeg = ffmpeg_python()
        colours = self._picture.colours
        return ffmpeg.output(
            ffmpeg.input("pipe:0", format="nut"),
            str(self._video_part),
            format="mp4",
            vcodec=self._encoder,
            color_range="tv",
            fps_mode="passthrough",
            enc_time_base=f"1/{self._ticks}",
            video_track_timescale=self._ticks,
            **({"tag:v": "hvc1"} if "265" in self._encoder or "hevc" in self._encoder else {}),
            colorspace=colours.matrix,  # ITU-T H.273
            color_primaries=colours.primaries,
            color_trc=colours.transfer,
            **self._options,
        ).overwrite_output()

    def _finish(self) -> None:
        if not self._shown:
            raise MediaError(f"{self._path}: there was no frame to write")
        with self._named_errors():
            self._pipe.mux(self._raw.encode(None))
            self._pipe.close()
        problem = self._program.finish()
        if problem:
            raise MediaError(f"{self._path}: cannot be written ({problem}); check the free space")
        with named_errors(self._path), av.open(str(self._video_part)) as video:
            self._join(video.streams.video[0], video)

    def _join(self, source: VideoStream, video: Any) -> None:
        """Copy the finished pictures beside the speech."""
        end = self._shown[-1] + max(1, round(self._ticks / self._rate))

        def like(container: OutputContainer) -> VideoStream:
            stream = container.add_stream_from_template(source)
            stream.time_base = Fraction(1, self._ticks)
            if source.codec_context.name == "hevc" and container.format.name != "matroska":
                stream.codec_context.codec_tag = "hvc1"
            return stream

        stream = self._muxer.open(like)
        for packet in video.demux(source):
            if packet.pts is None:
                continue
            scale = (packet.time_base or Fraction(1, self._ticks)) * self._ticks
            tick, decoded = round(packet.pts * scale), round(packet.dts * scale)
            place = bisect_right(self._shown, tick)
            following = self._shown[place] if place < len(self._shown) else end
            packet.time_base = Fraction(1, self._ticks)
            packet.pts, packet.dts, packet.duration = tick, decoded, following - tick
            packet.stream = stream
            self._muxer.mux(packet)
            self._muxer.speak_until(Fraction(tick, self._ticks))
        self._muxer.finish(Fraction(end, self._ticks))

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """A pipe that broke is told by what the program said."""
        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            problem = self._program.finish(1) or error.strerror
            raise MediaError(
                f"{self._path}: {self._encoder} cannot go on ({problem}); check the free space, the size of "
                "the picture and the encoder"
            ) from error

    def _close(self) -> None:
        self._files.close()
        self._muxer.close()
