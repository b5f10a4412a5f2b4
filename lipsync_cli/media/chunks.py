"""A long video written in pieces, each safe on the disk, that are joined at the end without encoding anew."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from lipsync_cli.errors import MediaError
from lipsync_cli.interfaces import Frame, FrameSink
from lipsync_cli.media.mix import Sound
from lipsync_cli.media.muxer import Muxer, named_errors
from lipsync_cli.media.writer import ticks_a_second


@dataclass(frozen=True, slots=True)
class Chunk:
    """A finished piece of a video: a video file of its own, whose time begins at 0."""

    path: Path
    first: int
    """Index of its first frame in the whole video."""
    tick: int
    """When that is shown, in units of `ticks_a_second` of the whole video's rate."""

    @classmethod
    def at(cls, folder: Path, first: int, tick: int) -> Self:
        """Of this place in the video: its name says it."""
        return cls(folder / f"frames-{first:08d}-{tick}.mp4", first, tick)


def finished_chunks(folder: Path, n_frames: int) -> list[Chunk]:
    """The pieces in a folder of `n_frames` each, without a gap from the start on; all others are left out."""
    found: list[Chunk] = []
    for path in sorted(folder.glob("frames-*-*.mp4")):
        _, first, tick = path.stem.split("-")
        if int(first) != len(found) * n_frames or not _holds(path, n_frames):
            break
        found.append(Chunk(path, int(first), int(tick)))
    return found


class ChunkedWriter:
    """A `FrameSink` that can go on after it was stopped, however that came about.

    Each `n_frames` frames become a `Chunk` with an encoder of its own, so that the bytes of one do not depend
    on when the work was stopped: a video that was gone on with is the same to the bit as one that was not. A
    clean exit joins the pieces, with the speech, to the file `path`; the pieces themselves stay, for their
    owner to remove.

    Args:
        path: of the whole video; as for `VideoWriter`, which also says how `rate` and `speech` are used.
        folder: holds the pieces, and those that are there already.
        n_frames: of a piece.
        open_chunk: path -> what encodes a silent piece of the same rate into that file.
        rate: frames a second.
        speech: any file with sound, a mixture, or None.
        comment: written into the file's comment tag.

    Raises:
        MediaError: a file cannot be written, the speech has no sound.
    """

    def __init__(
        self,
        path: Path,
        folder: Path,
        *,
        n_frames: int,
        open_chunk: Callable[[Path], FrameSink],
        rate: Fraction,
        speech: Path | Sound | None,
        comment: str | None = None,
    ) -> None:
        self._path = path
        self._folder = folder
        self._n_frames = n_frames
        self._open_chunk = open_chunk
        self._rate = rate
        self._ticks = ticks_a_second(rate)
        self._muxer = Muxer(path, ticks=self._ticks, speech=speech, comment=comment)
        self._chunks = finished_chunks(folder, n_frames)
        self._n_kept = len(self._chunks) * n_frames
        self._n_in_chunk = 0
        self._sink: FrameSink | None = None

    @property
    def n_kept(self) -> int:
        """Frames that are there from before: the next one to write has this index."""
        return self._n_kept

    def __enter__(self) -> Self:
        for path in self._folder.glob("frames-*.mp4"):
            if path not in [chunk.path for chunk in self._chunks]:
                path.unlink()
        return self

    def write(self, frame: Frame) -> None:
        """Add a frame, later than the one before.

        Raises:
            MediaError: a file cannot be written (disk full).
        """
        if self._n_in_chunk == self._n_frames:
            self._end_chunk()
        if self._sink is None:
            chunk = Chunk.at(self._folder, frame.index, round(frame.time * self._ticks))
            self._sink = self._open_chunk(chunk.path).__enter__()
            self._chunks.append(chunk)
        # A whole number of ticks is taken off, so that rounding comes out as for the whole time.
        begin = self._chunks[-1].tick / self._ticks
        self._sink.write(replace(frame, time=max(0.0, frame.time - begin)))
        self._n_in_chunk += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            if self._sink is not None:
                self._sink.__exit__(kind, error, trace)
            return
        self._end_chunk()
        try:
            with named_errors(self._path):
                self._join()
        finally:
            self._muxer.close()

    def _end_chunk(self) -> None:
        sink, self._sink, self._n_in_chunk = self._sink, None, 0
        if sink is not None:
            sink.__exit__(None, None, None)

    def _join(self) -> None:
        if not self._chunks:
            raise MediaError(f"{self._path}: there was no frame to write")
        with av.open(str(self._chunks[0].path)) as first:
            stream = self._muxer.open(lambda container: self._like(first.streams.video[0], container))
        end, step = 0, max(1, round(self._ticks / self._rate))
        for packet in _in_one_line(self._chunks, self._ticks, step):
            begin = cast(int, packet.pts)
            end = max(end, begin + step)
            packet.stream = stream
            self._muxer.mux(packet)
            self._muxer.speak_until(Fraction(begin, self._ticks))
        self._muxer.finish(Fraction(end, self._ticks))

    def _like(self, template: VideoStream, container: OutputContainer) -> VideoStream:
        stream = container.add_stream_from_template(template)
        stream.time_base = Fraction(1, self._ticks)
        if template.codec_context.name == "hevc" and container.format.name != "matroska":
            stream.codec_context.codec_tag = "hvc1"
        return stream


def _in_one_line(chunks: Sequence[Chunk], ticks: int, step: int) -> Iterator[Packet[VideoStream]]:
    """The packets of all pieces, as one encoder would have put them out; the last frame is shown for `step`.

    Decoding times are made anew from the times of presentation: each packet is decoded when the frame is
    shown that comes as many places before as the encoder reorders, which is told by the first piece.
    """
    delay: int | None = None
    shown: list[int] = []  # the last few times of presentation, then those of the piece, in order
    for chunk, following in zip(chunks, [*chunks[1:], None], strict=True):
        packets = _packets(chunk, ticks)
        if delay is None:
            delay = sum(packet.dts < packets[0].pts for packet in packets)  # type: ignore[operator]
        n_before = len(shown)
        for packet in packets:
            insort(shown, cast(int, packet.pts))
        for place, packet in enumerate(packets, start=n_before):
            packet.dts = _decoded_at(shown, place - delay)
        end = following.tick if following is not None else shown[-1] + step
        durations = {begin: after - begin for begin, after in pairwise([*shown, end])}
        for packet in packets:
            packet.duration = durations[cast(int, packet.pts)]
        yield from packets
        shown = shown[-delay:] if delay else []


def _decoded_at(shown: Sequence[int], place: int) -> int:
    """The time of presentation at a place; before the first one as long as after it."""
    if place >= 0:
        return shown[place]
    return 2 * shown[0] - shown[min(-place, len(shown) - 1)] - (0 if -place < len(shown) else -place)


def _packets(chunk: Chunk, ticks: int) -> list[Packet[VideoStream]]:
    """The packets of a piece in the order of decoding, on the time line of the whole video."""
    with av.open(str(chunk.path)) as container:
        stream = container.streams.video[0]
        scale = (stream.time_base or Fraction(1, ticks)) * ticks
        packets = [packet for packet in container.demux(stream) if packet.size]
    for packet in packets:
        if packet.pts is None or packet.dts is None:
            raise MediaError(f"{chunk.path}: a packet has no time; remove this file")
        packet.pts, packet.dts = (
            chunk.tick + round(packet.pts * scale),
            chunk.tick + round(packet.dts * scale),
        )
        packet.duration = round((packet.duration or 0) * scale)
        packet.time_base = Fraction(1, ticks)
    return packets


def _holds(path: Path, n_frames: int) -> bool:
    """Whether a file is a video of exactly so many frames."""
    try:
        with av.open(str(path)) as container:
            return container.streams.video[0].frames == n_frames
    except (av.error.FFmpegError, OSError, IndexError):
        return False
