"""The speech of a video that is being written: decoded, encoded and handed out as the picture goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from lipsync_cli.media.audio import Samples, SoundReader, resample
from lipsync_cli.media.mix import Sound
from lipsync_cli.media.probe import audio_stream, open_media, packets, time_zero

_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_BIT_RATE = 192_000
"""Bits a second, of mono and stereo."""
_CHANNEL_BIT_RATE = 80_000
_BITS_A_SAMPLE = 6
"""AAC holds at most 6144 bits in a block of 1024 samples of one channel."""


_EVERYWHERE = ("aac", "mp3", "mp3float", "alac", "ac3", "eac3")
_UNCOMPRESSED = ("pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le")
COPIED_CODECS = {
    "mp4": _EVERYWHERE,
    "mov": (*_EVERYWHERE, *_UNCOMPRESSED),
    "matroska": (*_EVERYWHERE, *_UNCOMPRESSED, "flac"),
}
"""Container -> what it takes as it is."""


class Track(Protocol):
    """A sound track in an output."""

    def until(self, time: Fraction) -> Iterator[Packet[AudioStream]]:
        """Packets of the sound up to a time in seconds, as far as there is any."""
        ...

    def end(self, time: Fraction) -> Iterator[Packet[AudioStream]]:
        """The last packets, up to a time in seconds."""
        ...

    def close(self) -> None:
        """Let go of the sound file."""
        ...


def open_track(container: OutputContainer, sound: Sound) -> Track:
    """A file's own packets where the container takes them, so that nothing is lost; else encoded anew."""
    if isinstance(sound, SoundReader) and _can_be_copied(sound, container.format.name):
        return CopiedTrack(container, sound.info.path)
    return SpeechTrack(container, sound)


def _can_be_copied(sound: SoundReader, container: str) -> bool:
    """Whether its packets alone say when they are heard: a track that starts late has to be decoded.

    Matroska has no place for packets before time 0, which warm up the decoders of some formats.
    """
    if sound.info.codec not in COPIED_CODECS[container]:
        return False
    with open_media(sound.info.path) as source:
        stream = audio_stream(source, sound.info.path)
        first = next(packets(source, stream), None)
        if first is None or first.pts is None or first.time_base is None:
            return False
        start = first.pts * first.time_base - time_zero(source)
        return start == 0 if container == "matroska" else start <= 0


class CopiedTrack:
    """The packets of a sound file as they are, on the time line of `load_waveform`.

    Packets are whole: the sound ends with the last one that begins before the end (AAC: 1024 samples each).
    """

    def __init__(self, container: OutputContainer, path: Path) -> None:
        self._files = ExitStack()
        source = self._files.enter_context(open_media(path))
        stream = audio_stream(source, path)
        self._zero = time_zero(source)
        self._packets = packets(source, stream)
        self._stream: AudioStream = container.add_stream_from_template(stream)
        self._next = next(self._packets, None)

    def until(self, time: Fraction) -> Iterator[Packet[AudioStream]]:
        """Packets that begin before a time in seconds."""
        while (packet := self._next) is not None:
            if packet.pts is None or packet.time_base is None:
                return
            if packet.pts * packet.time_base - self._zero >= time:
                return
            shift = round(self._zero / packet.time_base)
            self._next = next(self._packets, None)
            packet.pts -= shift
            packet.dts = packet.pts
            packet.stream = self._stream
            yield packet

    def end(self, time: Fraction) -> Iterator[Packet[AudioStream]]:
        """The last packets."""
        yield from self.until(time)

    def close(self) -> None:
        """Let go of the sound file."""
        self._files.close()


class SpeechTrack:
    """An AAC track in an output, filled from a sound file up to the times asked for.

    At most a block of sound is held. Sound at a rate that AAC does not know is resampled to the next one up.
    """

    def __init__(self, container: OutputContainer, sound: Sound) -> None:
        rate, channels = sound.info.sample_rate, sound.channels
        self._rate = next((known for known in _AAC_RATES if known >= rate), _AAC_RATES[-1])
        self._layout = sound.layout
        self._channels = channels
        self._source = iter(sound)
        self._blocks = (
            self._source if rate == self._rate else resample(self._source, rate, self._rate, self._layout)
        )
        self._rest: Samples = np.zeros((channels, 0), np.float32)
        self._n_written = 0
        wanted = max(_BIT_RATE, _CHANNEL_BIT_RATE * channels)
        bit_rate = min(wanted, _BITS_A_SAMPLE * self._rate * channels)
        stream = container.add_stream("aac", rate=self._rate, bit_rate=bit_rate, layout=self._layout)
        self._stream: AudioStream = stream

    def until(self, time: Fraction) -> Iterator[Packet[AudioStream]]:
        """Packets of the sound up to a time in seconds, as far as there is any."""
        n_wanted = int(time * self._rate) - self._n_written
        while n_wanted > 0:
            if not self._rest.shape[1]:
                block = next(self._blocks, None)
                if block is None:
                    return
                self._rest = block
            piece, self._rest = self._rest[:, :n_wanted], self._rest[:, n_wanted:]
            n_wanted -= piece.shape[1]
            yield from self._encode(piece)

    def end(self, time: Fraction) -> Iterator[Packet[AudioStream]]:
        """The last packets: sound, then silence, up to a time in seconds exactly."""
        yield from self.until(time)
        while (n_missing := int(time * self._rate) - self._n_written) > 0:
            yield from self._encode(np.zeros((self._channels, min(n_missing, self._rate)), np.float32))
        yield from self._stream.encode(None)

    def close(self) -> None:
        """Let go of the sound file."""
        self._source.close()

    def _encode(self, piece: Samples) -> list[Packet[AudioStream]]:
        if not piece.size:
            return []
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(piece), "fltp", self._layout)
        frame.sample_rate = self._rate
        frame.pts, frame.time_base = self._n_written, Fraction(1, self._rate)
        self._n_written += piece.shape[1]
        return self._stream.encode(frame)
