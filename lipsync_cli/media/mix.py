"""Several sounds as one: speeches of several people, and what is heard behind them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from lipsync_cli.interfaces import AudioInfo
from lipsync_cli.media.audio import Samples, SoundReader, resample

_BLOCK = 4096


class Sound(Protocol):
    """Sound from time 0 on, in blocks; `SoundReader` is one."""

    @property
    def info(self) -> AudioInfo:
        """Rate of the blocks, and where they come from."""
        ...

    @property
    def layout(self) -> str:
        """Of the blocks, by ffmpeg's names."""
        ...

    @property
    def channels(self) -> int:
        """Of the blocks."""
        ...

    def __iter__(self) -> Generator[Samples]:
        """Blocks float32 [channels, n] at the rate of `info`; every iteration starts again."""
        ...


@dataclass(frozen=True)
class Voice:
    """A sound of a mixture."""

    path: Path
    volume: float = 1.0
    repeats: bool = False
    """Starts again at its end, without end: for what is heard behind a speech."""


class MixedSound:
    """The sum of sounds, at the rate of the first one (the highest of all channels), clipped to [-1, 1].

    It ends with the longest of those that do not repeat.

    Raises:
        MediaError: a file is missing, unreadable, or has no sound.
    """

    def __init__(self, voices: Sequence[Voice]) -> None:
        self._voices = [(SoundReader(voice.path), voice) for voice in voices]
        first = self._voices[0][0]
        self._channels = max(reader.channels for reader, _ in self._voices)
        ends = [reader.info.duration for reader, voice in self._voices if not voice.repeats]
        self._info = replace(
            first.info,
            channels=self._channels,
            duration=max(ends, default=first.info.duration),
            codec="mixed",
        )

    @property
    def info(self) -> AudioInfo:
        """Of the first sound, with the mixture's channels and length."""
        return self._info

    @property
    def layout(self) -> str:
        """Mono or stereo."""
        return "mono" if self._channels == 1 else "stereo"

    @property
    def channels(self) -> int:
        """1 or 2."""
        return self._channels

    def __iter__(self) -> Generator[Samples]:
        sources = [self._source(reader, voice) for reader, voice in self._voices]
        ending = [not voice.repeats for _, voice in self._voices]
        while True:
            pieces = [source.take(_BLOCK) for source in sources]
            length = max(
                (piece.shape[1] for piece, ends in zip(pieces, ending, strict=True) if ends), default=_BLOCK
            )
            if length == 0:
                return
            mixed = np.zeros((self._channels, length), np.float32)
            for piece in pieces:
                part = piece[:, :length]
                mixed[:, : part.shape[1]] += part
            yield np.clip(mixed, -1, 1, out=mixed)

    def _source(self, reader: SoundReader, voice: Voice) -> _Taker:
        return _Taker(self._blocks(reader, voice), self._channels)

    def _blocks(self, reader: SoundReader, voice: Voice) -> Iterator[Samples]:
        rate = self._info.sample_rate
        while True:
            blocks: Iterator[Samples] = iter(reader)
            if reader.info.sample_rate != rate:
                blocks = resample(blocks, reader.info.sample_rate, rate)
            n_samples = 0
            for block in blocks:
                n_samples += block.shape[1]
                yield voice.volume * np.broadcast_to(block, (self._channels, block.shape[1]))
            if not voice.repeats or n_samples == 0:
                return


class _Taker:
    """Hands out blocks in pieces of the length that is asked for."""

    def __init__(self, blocks: Iterator[Samples], channels: int) -> None:
        self._blocks = blocks
        self._rest: Samples = np.zeros((channels, 0), np.float32)

    def take(self, n_samples: int) -> Samples:
        """So many samples, fewer at the end."""
        pieces = [self._rest]
        held = self._rest.shape[1]
        while held < n_samples:
            block = next(self._blocks, None)
            if block is None:
                break
            pieces.append(block)
            held += block.shape[1]
        joined = np.concatenate(pieces, axis=1)
        self._rest = joined[:, n_samples:]
        return joined[:, :n_samples]
