"""Reads the frames of a video by the ffmpeg program of the system: its decoders, its filters."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame

from lipsync_cli.errors import MediaError, SettingsError
from lipsync_cli.interfaces import Frame, VideoInfo
from lipsync_cli.media.chroma import chroma_place
from lipsync_cli.media.colours import bits_of, is_transparent, kept_colours, matrix_and_range
from lipsync_cli.media.ffmpeg_program import Program, ffmpeg_python
from lipsync_cli.media.picture import Geometry, PictureDecoder
from lipsync_cli.media.probe import (
    UNDECODABLE,
    first_frame,
    open_media,
    probe_video,
    time_zero,
    video_stream,
)
from lipsync_cli.media.stored import picture_of
from lipsync_cli.media.writer import ticks_a_second

_BUFFER = 1 << 20
_MATRICES = {"ITU709": "bt709", "FCC": "fcc", "ITU601": "bt601", "SMPTE240M": "smpte240m", "BT2020": "bt2020"}
"""The converter's name for a colour matrix -> that of ffmpeg's filter `scale`."""
_SHOWING = "bicubic+accurate_rnd+full_chroma_int"
_PIXEL = 256
"""The side of a pixel, as the filter `scale` counts where colours lie."""
_EIGHT, _TEN = 8, 10
_AS_STORED = {f"yuv{form}p{bits}" for form in ("420", "422", "444") for bits in ("", "10le", "12le")}
"""Formats that the program hands over as they are, so that nothing of them is lost."""


class FfmpegReader:
    """The frames of a video file in order of presentation, uint8 [H, W, 3] RGB (a `FrameStream`).

    As `VideoReader`, but decoded by the ffmpeg program, which hands pictures over with their time stamps
    (raw video in NUT). Filters see it upright with square pixels; behind them it has 8 bits a colour.

    Args:
        path: a video or a picture.
        filters: a chain of ffmpeg's video filters, as in `yadif,hqdn3d`; they may change size and rate.

    Raises:
        MediaError: (also while iterating) the file is missing, unreadable, or has no picture.
        SettingsError: ffmpeg-python or ffmpeg is missing, or the filters are refused.
    """

    def __init__(self, path: Path, *, filters: str = "") -> None:
        ffmpeg_python()
        self._info = probe_video(path)
        self._filters = filters
        with open_media(path) as container:
            stream = video_stream(container, path)
            self._zero = time_zero(container)
            picture = first_frame(container, stream, path)
            self._geometry = Geometry.of(picture, stream.sample_aspect_ratio, path)
            self._coded = picture.width, picture.height
            self._transparent = is_transparent(picture)
            self._bits = bits_of(picture)
            self._chroma = chroma_place(picture)
            matrix, full_range = matrix_and_range(picture)
            self._colours = _MATRICES[matrix.name], "full" if full_range else "limited"
            form, kept = picture.format.name, kept_colours(picture)
            self._form = form if kept and form in _AS_STORED and not filters else "rgb24"
            self._tags = (picture.colorspace, picture.color_range, picture.color_primaries, picture.color_trc)
        if filters:
            self._info = self._filtered()

    @property
    def info(self) -> VideoInfo:
        """Size after rotation and filters, average rate, duration."""
        return self._info

    def __iter__(self) -> Generator[Frame]:
        latest, index = -1.0, 0
        decoder = PictureDecoder(self._geometry)
        with self._run() as container:
            for picture in container.decode(video=0):
                time = latest + float(1 / self._info.rate)
                if picture.pts is not None and picture.time_base is not None:
                    time = float(picture.pts * picture.time_base)
                if time > latest:
                    latest = time
                    yield self._frame(index, time, picture, decoder)
                    index += 1
        if index == 0:
            raise MediaError(f"{self._info.path}: {UNDECODABLE}")

    def _frame(self, index: int, time: float, picture: VideoFrame, decoder: PictureDecoder) -> Frame:
        if self._form == "rgb24":
            return Frame(index, time, picture.to_ndarray().astype(np.uint8, copy=False))
        picture.colorspace, picture.color_range, picture.color_primaries, picture.color_trc = self._tags
        return Frame(index, time, picture_of(picture, decoder))

    @contextmanager
    def _run(self) -> Iterator[InputContainer]:
        """The program's output, opened; the program ends with the block."""
        with Program(self._output(), reads=False, writes=True) as program:
            try:
                with av.open(program.stdout, "r", format="nut", buffer_size=_BUFFER) as container:
                    # Raw pictures do not say it themselves.
                    container.streams.video[0].codec_context.options = {
                        "chroma_sample_location": self._chroma.name
                    }
                    yield container
            except av.error.FFmpegError as error:
                problem = program.finish(1) or error.strerror
                if self._filters:
                    raise SettingsError(f"--filter {self._filters}: ffmpeg refuses it ({problem})") from error
                raise MediaError(
                    f"{self._info.path}: cannot be read by ffmpeg ({problem}); check that it plays"
                ) from error

    def _output(self) -> Any:
        ffmpeg = ffmpeg_python()
        # An absolute path cannot be taken for a protocol or an option.
        source = ffmpeg.input(str(self._info.path.absolute()), noautorotate=None, copyts=None)
        return ffmpeg.output(
            source,
            "pipe:1",
            map="0:V:0",
            vf=",".join(self._chain()),
            format="nut",
            vcodec="rawvideo",
            pix_fmt=self._form,
            fps_mode="passthrough",
            enc_time_base=f"1/{ticks_a_second(self._info.rate)}",
        )

    def _chain(self) -> Iterator[str]:
        """Filters: time line; unless pictures go on as stored: square pixels, upright, the user's, RGB."""
        matrix, values = self._colours
        geometry = self._geometry
        yield f"setpts=PTS-({float(self._zero)!r})/TB"
        if self._form != "rgb24":
            return
        chroma = self._chroma_at("in")
        size = f"{geometry.scaled_width}:{geometry.scaled_height}"
        is_turned = geometry.transposed or geometry.mirrored or geometry.flipped
        if is_turned and chroma:  # then colours would lie elsewhere: each pixel gets its own before
            yield f"scale={size}:in_range={values}:out_range={values}{chroma}:flags={_SHOWING}"
            yield f"setsar=1,format={self._full_chroma()}"
            chroma = ""
        elif (geometry.scaled_width, geometry.scaled_height) != self._coded:
            yield f"scale={size}{chroma}{self._chroma_at('out')}:flags=bicubic,setsar=1"
        if geometry.transposed:
            yield "transpose=cclock_flip"
        if geometry.mirrored:
            yield "hflip"
        if geometry.flipped:
            yield "vflip"
        if self._filters:
            yield self._filters
        yield f"scale=in_color_matrix={matrix}:in_range={values}:out_range=full{chroma}:flags={_SHOWING}"
        if self._transparent:
            yield "format=gbrap,premultiply=inplace=1"
        yield "format=rgb24"

    def _chroma_at(self, end: str) -> str:
        """Options that tell the filter `scale` where colours lie, if not in the middle as it takes it."""
        places = (("h", self._chroma.x), ("v", self._chroma.y))
        return "".join(
            f":{end}_{axis}_chr_pos={round(_PIXEL * place)}" for axis, place in places if place in (0, 1)
        )

    def _full_chroma(self) -> str:
        """The format in which each pixel has a colour of its own, in the depth of the file's."""
        depth = "" if self._bits == _EIGHT else "10le" if self._bits <= _TEN else "12le"
        return f"yuv{'a' if self._transparent else ''}444p{depth}"

    def _filtered(self) -> VideoInfo:
        """What is known of the pictures behind the filters."""
        with self._run() as container:
            stream = container.streams.video[0]
            rate = Fraction(stream.average_rate or self._info.rate)  # a few pictures do not tell it
            context = stream.codec_context
            kept = self._info.colours
            return replace(
                self._info,
                colours=None if kept is None else replace(kept, bits=8),
                width=context.width,
                height=context.height,
                rate=rate,
                n_frames=max(1, round(self._info.duration * rate)),
            )
