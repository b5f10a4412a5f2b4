"""What a media file holds, and where its time line starts.

One file has one time line, shared by its picture and its sound: time 0 is where the earlier of the two
starts to be presented (the encoder delay of a sound codec, which no player plays, does not count).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar, cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lipsync_cli.errors import MediaError
from lipsync_cli.interfaces import AudioInfo, VideoInfo
from lipsync_cli.media.colours import bits_of, kept_colours
from lipsync_cli.media.picture import Geometry

StreamT = TypeVar("StreamT", bound=Stream)

PATIENCE = 100
"""So many packets in a row may fail to decode before a file of which nothing was decoded is given up."""
UNDECODABLE = "not one frame of it can be decoded; check that the file is complete and plays"

_PLAUSIBLE_RATES = (Fraction(1, 2), Fraction(500))
"""Frames a second; outside of this the declared rate is a time base in disguise (phones write 90000/1)."""
_MICROSECOND = Fraction(1, 1_000_000)
_WEBP_HEAD, _WEBP_ANIMATION = 21, 2
"""Bytes of a WebP file up to its flags, and the flag of one that moves."""
_MATROSKA_END = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")


def probe_video(path: Path) -> VideoInfo:
    """What is known of the picture of a file: its first frame is decoded, the rest only counted on.

    `duration` is the time at which the last frame ends, on the time line that `Frame.time` uses. A still
    picture is a video of one frame.

    Raises:
        MediaError: the file is missing, unreadable, or has no picture that can be decoded.
    """
    with open_media(path) as container:
        stream = video_stream(container, path)
        stream.thread_type = "SLICE"  # frame threads would decode many frames to hand out the first
        first = first_frame(container, stream, path)
        geometry = Geometry.of(first, stream.sample_aspect_ratio, path)
        codec = stream.codec_context.name
        delay = max(stream_start(stream) - time_zero(container), Fraction(0))
        rate = stream.average_rate or stream.guessed_rate
        declared, length = stream.frames, _declared_end(container, stream) - delay
    if rate is None or not _PLAUSIBLE_RATES[0] <= rate <= _PLAUSIBLE_RATES[1] or length <= 0:
        rate, declared, length = _measured(path)
    return VideoInfo(
        path=path,
        width=geometry.width,
        height=geometry.height,
        rate=rate,
        duration=float(delay + length),
        n_frames=declared or max(1, round(length * rate)),
        codec=codec,
        colours=kept_colours(first),
        bits=bits_of(first),
    )


def probe_audio(path: Path) -> AudioInfo:
    """What is known of the sound of a file, as its container declares it.

    Raises:
        MediaError: the file is missing, unreadable, or has no sound.
    """
    with open_media(path) as container:
        stream = audio_stream(container, path)
        return AudioInfo(
            path=path,
            sample_rate=stream.codec_context.sample_rate,
            channels=stream.codec_context.layout.nb_channels,
            duration=float(_declared_end(container, stream)),
            codec=stream.codec_context.name,
            layout=stream.codec_context.layout.name,
        )


@contextmanager
def open_media(path: Path) -> Iterator[InputContainer]:
    """The opened file; every error of the media library inside the block becomes a MediaError.

    Raises:
        MediaError: the file is missing, a folder, a pipe, not permitted, or not media.
    """
    if not path.exists():
        raise MediaError(f"{path}: there is no such file; check the path")
    if path.is_dir():
        raise MediaError(f"{path}: this is a folder; give a media file")
    if not path.is_file():  # to open a pipe would wait for its writer, and it can be read only once
        raise MediaError(f"{path}: this is a pipe or a device; save its content to a file first")
    try:
        # An absolute path cannot be taken for a protocol ("12:30.mp4") or for an option ("-a.mp4").
        with av.open(str(path.absolute()), metadata_errors="replace") as container:
            if container.format.name == "tty":  # plain text drawn as a picture
                raise MediaError(f"{path}: this is a text file; give a video, picture or sound file")
            yield container
    except av.error.PermissionError as error:
        raise MediaError(f"{path}: not permitted to read this file; change its permissions") from error
    except av.error.FFmpegError as error:
        raise MediaError(
            f"{path}: cannot be read as media ({error.strerror}); check that the file is complete and plays"
        ) from error


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first moving picture of a file. Cover art and thumbnails are not videos.

    Raises:
        MediaError: there is none, or no decoder for it.
    """
    not_videos = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if not stream.disposition & not_videos]
    for stream in streams:
        if stream.codec_context is not None:
            return stream
    if streams:
        raise MediaError(f"{path}: its video format is not known here; convert the file to H.264 first")
    if container.streams.audio:
        raise MediaError(f"{path}: has sound but no video; give a file with a picture")
    raise MediaError(f"{path}: has no video; give a file with a picture")


def audio_stream(container: InputContainer, path: Path) -> AudioStream:
    """The first sound track of a file that can be decoded.

    Raises:
        MediaError: there is none.
    """
    stream = _audio_stream(container)
    if stream is not None:
        return stream
    if container.streams.audio:
        raise MediaError(f"{path}: its sound format is not known here; convert the file to WAV first")
    raise MediaError(f"{path}: has no sound; give a file with speech in it")


def stream_start(stream: VideoStream | AudioStream) -> Fraction:
    """When a stream starts by its own clock, in seconds; 0 where it does not say."""
    if stream.start_time is None or stream.time_base is None:
        return Fraction(0)
    return stream.start_time * stream.time_base


def time_zero(container: InputContainer) -> Fraction:
    """The clock of the streams, in seconds, at time 0 of the file."""
    starts = []
    not_videos = Disposition.attached_pic | Disposition.timed_thumbnails
    for video in container.streams.video:
        if not video.disposition & not_videos and video.start_time is not None:
            starts.append(stream_start(video))
            break
    audio = _audio_stream(container)
    if audio is not None and audio.start_time is not None:
        start = stream_start(audio)
        # A start just before 0 is encoder delay, which is cut off and never heard.
        starts.append(start if start > 0 or not starts else max(start, Fraction(0)))
    return min(starts, default=Fraction(0))


def packets(container: InputContainer, stream: StreamT) -> Iterator[Packet[StreamT]]:
    """The packets of a stream and, last, an empty one that drains its decoder; a broken file just ends."""
    source = cast("Iterator[Packet[StreamT]]", container.demux(stream))
    while True:
        try:
            packet = next(source)
        except (StopIteration, av.error.FFmpegError):
            return
        # An empty packet in the middle (a frame dropped in an AVI file) would drain the decoder for good.
        if packet.size or packet.dts is None:
            yield packet


def _audio_stream(container: InputContainer) -> AudioStream | None:
    for stream in container.streams.audio:
        if stream.codec_context is not None and stream.codec_context.sample_rate:
            return stream
    return None


def _declared_end(container: InputContainer, stream: VideoStream | AudioStream) -> Fraction:
    """Time at which a stream ends; 0 where nothing is declared."""
    zero = time_zero(container)
    if stream.duration is not None and stream.time_base is not None:
        return max(stream_start(stream) - zero, Fraction(0)) + stream.duration * stream.time_base
    tag = _MATROSKA_END.fullmatch(stream.metadata.get("DURATION", ""))
    if tag is not None:
        return int(tag[1]) * 3600 + int(tag[2]) * 60 + Fraction(tag[3]) - zero
    return (container.duration or 0) * _MICROSECOND


def first_frame(container: InputContainer, stream: VideoStream, path: Path) -> VideoFrame:
    """The first picture that can be decoded; MediaError when there is none."""
    failures = 0
    for packet in container.demux(stream):
        refuse_encrypted(packet, path)
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            failures += 1
            if failures >= PATIENCE:
                break
            continue
        if frames:
            return frames[0]
    if _is_animated_webp(path):
        raise MediaError(
            f"{path}: this is an animated WebP, for which there is no decoder here; save it as MP4, GIF or "
            "animated PNG first"
        )
    raise MediaError(f"{path}: {UNDECODABLE}")


def refuse_encrypted(packet: Packet[Any], path: Path) -> None:
    """MediaError for a packet of a copy-protected file: its noise now and then decodes to a picture."""
    if packet.has_sidedata("encryption_info"):
        raise MediaError(f"{path}: is encrypted (copy protection); give a file without it")


def _is_animated_webp(path: Path) -> bool:
    """By the header of its extended format (RFC 9649, 2.7)."""
    with path.open("rb") as file:
        head = file.read(_WEBP_HEAD)
    is_extended = head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X"
    return is_extended and len(head) == _WEBP_HEAD and bool(head[-1] & _WEBP_ANIMATION)


def _measured(path: Path) -> tuple[Fraction, int, Fraction]:
    """Average rate, number of frames and length in seconds, by reading (not decoding) the whole stream."""
    n_frames, first, last, step = 0, None, None, 0
    with open_media(path) as container:
        stream = video_stream(container, path)
        time_base = stream.time_base or Fraction(1)
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            n_frames += 1
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None:
                first = stamp if first is None else min(first, stamp)
                last = stamp if last is None else max(last, stamp)
                step = packet.duration or step
    n_frames = max(n_frames, 1)
    if first is None or last is None or last <= first or n_frames < 2:
        rate = Fraction(25)
        return rate, n_frames, n_frames / rate
    span = (last - first) * time_base
    rate = ((n_frames - 1) / span).limit_denominator(1001)
    return rate, n_frames, span + span / (n_frames - 1)
