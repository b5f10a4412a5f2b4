"""Reads the sound of any media file."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from lipsync_cli.errors import MediaError
from lipsync_cli.interfaces import Waveform
from lipsync_cli.media.probe import PATIENCE, audio_stream, open_media, packets, stream_start, time_zero

Samples = NDArray[np.float32]

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
    with open_media(path) as container:
        stream = audio_stream(container, path)
        zero, end = time_zero(container), None
        if stream.duration is not None and stream.time_base is not None:
            end = float(stream_start(stream) + stream.duration * stream.time_base - zero)
        resampler = AudioResampler("fltp", "mono", sample_rate)
        pieces: list[Samples] = []
        for piece, rate in _Timeline(zero, end).place(_decode(container, stream, path)):
            block = AudioFrame.from_ndarray(piece[None], "fltp", "mono")
            block.sample_rate = rate
            pieces += _samples(resampler.resample(block))
        pieces += _samples(resampler.resample(None))
        exact_end = end is not None and "mp4" in container.format.name
    samples = np.concatenate(pieces)
    if end is not None and exact_end:
        # This family declares the end to the sample, while decoders hand out whole blocks.
        samples = samples[: max(1, round(end * sample_rate))]
    return Waveform(np.clip(samples, -1.0, 1.0), sample_rate)


class _Timeline:
    """Puts decoded sound where its time stamps say."""

    def __init__(self, zero: Fraction, end: float | None) -> None:
        self._zero = zero
        self._latest_start = None if end is None else end + 1.0
        self._n_placed = 0

    def place(self, frames: Iterator[AudioFrame]) -> Iterator[tuple[Samples, int]]:
        """Blocks of sound of any form -> (mono float32 [n], sample rate) without gaps, from time 0 on."""
        mixer = _Mixer()
        for frame in frames:
            samples = mixer.mono(frame)
            offset = self._offset(frame, mixer.sample_rate)
            if offset > 0:
                yield from _silence(offset, mixer.sample_rate)
                self._n_placed += offset
            samples = samples[max(0, -offset) :]
            if len(samples):
                self._n_placed += len(samples)
                yield samples, mixer.sample_rate

    def _offset(self, frame: AudioFrame, rate: int) -> int:
        """By how many samples a block has to be moved on (or, below 0, cut at its start)."""
        if frame.pts is None or frame.time_base is None:
            return 0
        start = frame.pts * frame.time_base - self._zero
        offset = round(start * rate) - self._n_placed
        if self._n_placed and abs(offset) <= _TOLERANCE * rate:
            return 0
        too_late = (
            start > self._latest_start if self._latest_start is not None else offset > _LONGEST_GAP * rate
        )
        if too_late or offset < -_LONGEST_STEP_BACK * rate:
            self._zero += Fraction(offset, rate)
            return 0
        return offset


class _Mixer:
    """Sound of any sample format and layout -> mono float32 at the rate of the first block."""

    def __init__(self) -> None:
        self.sample_rate = 0
        self._form: tuple[str, str, int] | None = None
        self._resampler: AudioResampler | None = None

    def mono(self, frame: AudioFrame) -> Samples:
        """One block -> float32 [n]."""
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or form != self._form:
            self.sample_rate = self.sample_rate or frame.sample_rate
            # The library's own way from stereo to mono is 3 dB too loud and clips: it stops at stereo here.
            layout = "mono" if frame.layout.nb_channels == 1 else "stereo"
            self._resampler, self._form = AudioResampler("fltp", layout, self.sample_rate), form
        frames = self._resampler.resample(frame)
        if not frames:
            return np.zeros(0, np.float32)
        return np.concatenate([np.mean(block.to_ndarray(), axis=0, dtype=np.float32) for block in frames])


def _decode(container: InputContainer, stream: AudioStream, path: Path) -> Iterator[AudioFrame]:
    n_decoded = failures = 0
    for packet in packets(container, stream):
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


def _samples(frames: list[AudioFrame]) -> list[Samples]:
    # Without anything to convert the resampler hands back what it got, at the end None.
    return [frame.to_ndarray()[0] for frame in frames if frame is not None]


def _silence(n_samples: int, rate: int) -> Iterator[tuple[Samples, int]]:
    for start in range(0, n_samples, rate):
        yield np.zeros(min(rate, n_samples - start), np.float32), rate
