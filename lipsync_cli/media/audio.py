"""Reads the sound of any media file."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from lipsync_cli.errors import MediaError
from lipsync_cli.interfaces import AudioInfo, Waveform
from lipsync_cli.media.probe import (
    PATIENCE,
    audio_stream,
    open_media,
    packets,
    probe_audio,
    refuse_encrypted,
    stream_start,
    time_zero,
)

Samples = NDArray[np.float32]
"""float32 [channels, n]."""

SURROUND = {
    "3.0": "3.0",
    "4.0": "4.0",
    "5.0": "5.0",
    "5.0(side)": "5.0",
    "5.1": "5.1",
    "5.1(side)": "5.1",
    "7.1": "5.1",
}
"""Channels that are kept -> as which: the layouts that every AAC decoder knows."""

_TOLERANCE = 0.04
"""Seconds that time stamps inside a track may be off before silence is put in or sound is cut."""
_LONGEST_STEP_BACK = 1.0
_LONGEST_GAP = 60.0
"""Seconds: a longer leap of the time stamps is a new count, not a pause (where no end is declared)."""


def load_waveform(path: Path, sample_rate: int = 16000) -> Waveform:
    """The first sound track of a media file: float32 [n] in [-1, 1], mono (the mean of left and right).

    Sample 0 is time 0 of the file, the time line of `VideoReader`: a track that starts later begins with
    silence, and samples that no player plays (encoder delay, padding) are cut. Of the sound only the result
    is held.

    Raises:
        MediaError: the file is missing, unreadable, has no sound, or none that can be decoded.
    """
    sound = SoundReader(path)
    mono = (block.mean(axis=0, keepdims=True) for block in sound)
    held = bytearray()  # grows in place: pieces and what they are joined to would be twice the sound
    for block in resample(mono, sound.info.sample_rate, sample_rate):
        held += block[0].tobytes()
    samples = np.frombuffer(held, np.float32)
    return Waveform(np.clip(samples, -1.0, 1.0, out=samples), sample_rate)


class SoundReader:
    """The first sound track of a media file, without gaps from time 0 of the file on.

    Iterating gives blocks of float32 [channels, n] at the file's own rate. Every iteration starts again; the
    file is closed when one ends or is abandoned.

    Args:
        path: of any file with sound.
        surround: keep up to six channels, where they are among `SURROUND`; else, and of all others, what is
            more than stereo is mixed to stereo.

    Raises:
        MediaError: (also while iterating) the file is missing, unreadable, or has no sound.
    """

    def __init__(self, path: Path, *, surround: bool = False) -> None:
        self._info = probe_audio(path)
        self._layout = "mono" if self._info.channels == 1 else "stereo"
        if surround:
            self._layout = SURROUND.get(self._info.layout, self._layout)

    @property
    def info(self) -> AudioInfo:
        """As the file declares."""
        return self._info

    @property
    def layout(self) -> str:
        """Of the blocks: mono, stereo or a value of `SURROUND`."""
        return self._layout

    @property
    def channels(self) -> int:
        """Of the blocks."""
        return AudioLayout(self._layout).nb_channels

    def __iter__(self) -> Generator[Samples]:
        path, rate = self._info.path, self._info.sample_rate
        with open_media(path) as container:
            stream = audio_stream(container, path)
            zero, end = time_zero(container), None
            if stream.duration is not None and stream.time_base is not None:
                end = stream_start(stream) + stream.duration * stream.time_base - zero
            timeline = _Timeline(rate, zero, end)
            blocks = timeline.place(_decode(container, stream, path), _Mixer(rate, self._layout))
            if end is not None and "mp4" in container.format.name:
                # This family declares the end to the sample, while decoders hand out whole blocks.
                blocks = _cut(blocks, max(1, round(end * rate)))
            yield from blocks


def resample(
    blocks: Iterable[Samples], rate: int, new_rate: int, layout: str | None = None
) -> Iterator[Samples]:
    """Blocks of float32 [channels, n] at one rate -> the same at another; layout: if not mono or stereo."""
    resampler: AudioResampler | None = None
    for block in blocks:
        layout = layout or ("mono" if len(block) == 1 else "stereo")
        resampler = resampler or AudioResampler("fltp", layout, new_rate)
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(block), "fltp", layout)
        frame.sample_rate = rate
        yield from _arrays(resampler.resample(frame))
    if resampler is not None:
        yield from _arrays(resampler.resample(None))


class _Timeline:
    """Puts decoded sound where its time stamps say."""

    def __init__(self, rate: int, zero: Fraction, end: Fraction | None) -> None:
        self._rate = rate
        self._zero = zero
        self._latest_start = None if end is None else end + 1
        self._n_placed = 0

    def place(self, frames: Iterator[AudioFrame], mixer: _Mixer) -> Iterator[Samples]:
        """Decoded blocks -> blocks that follow each other without gaps from time 0 on."""
        for frame in frames:
            offset = self._offset(frame)
            for n_samples in _split(max(offset, 0), self._rate):
                self._n_placed += n_samples
                yield np.zeros((mixer.channels, n_samples), np.float32)
            block = mixer.mix(frame)[:, max(-offset, 0) :]
            if block.size:
                self._n_placed += block.shape[1]
                yield block
        rest = mixer.rest()
        if rest.size:  # an empty block is an error to the library
            yield rest

    def _offset(self, frame: AudioFrame) -> int:
        """By how many samples a block has to be moved on (or, below 0, cut at its start)."""
        if frame.pts is None or frame.time_base is None:
            return 0
        start = frame.pts * frame.time_base - self._zero
        offset = round(start * self._rate) - self._n_placed
        if self._n_placed and abs(offset) <= _TOLERANCE * self._rate:
            return 0
        if self._latest_start is not None:
            too_late = start > self._latest_start
        else:
            too_late = offset > _LONGEST_GAP * self._rate
        if too_late or offset < -_LONGEST_STEP_BACK * self._rate:
            self._zero += Fraction(offset, self._rate)
            return 0
        return offset


class _Mixer:
    """Sound of any sample format, layout and rate -> float32 [channels, n] at one rate.

    From stereo to mono the library would add 3 dB and clip, so that is never asked of it.
    """

    def __init__(self, rate: int, layout: str) -> None:
        self.channels = AudioLayout(layout).nb_channels
        self._rate = rate
        self._layout = layout
        self._form: tuple[str, str, int] | None = None
        self._resampler: AudioResampler | None = None

    def mix(self, frame: AudioFrame) -> Samples:
        """One block."""
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        rest = None
        if self._resampler is None or form != self._form:
            rest = self.rest()
            self._resampler, self._form = AudioResampler("fltp", self._layout, self._rate), form
        block = self._joined(self._resampler.resample(frame))
        return block if rest is None else np.concatenate([rest, block], axis=1)

    def rest(self) -> Samples:
        """What the conversion still held back."""
        return self._joined(self._resampler.resample(None) if self._resampler else [])

    def _joined(self, frames: list[AudioFrame]) -> Samples:
        return np.concatenate([np.zeros((self.channels, 0), np.float32), *_arrays(frames)], axis=1)


def _arrays(frames: Iterable[AudioFrame | None]) -> Iterator[Samples]:
    for frame in frames:
        if frame is not None:  # a resampler with nothing to do hands the end mark back
            yield frame.to_ndarray().astype(np.float32, copy=False)


def _decode(container: InputContainer, stream: AudioStream, path: Path) -> Iterator[AudioFrame]:
    n_decoded = failures = 0
    for packet in packets(container, stream):
        refuse_encrypted(packet, path)
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            failures += 1
            if failures >= PATIENCE and n_decoded == 0:
                break
            continue
        failures = 0
        n_decoded += len(frames)
        yield from frames
    if n_decoded == 0:
        raise MediaError(f"{path}: its sound cannot be decoded; check that the file is complete and plays")


def _cut(blocks: Iterator[Samples], n_samples: int) -> Iterator[Samples]:
    for block in blocks:
        yield block[:, :n_samples]
        n_samples -= block.shape[1]
        if n_samples <= 0:
            return


def _split(n_samples: int, size: int) -> Iterator[int]:
    for start in range(0, n_samples, size):
        yield min(size, n_samples - start)
