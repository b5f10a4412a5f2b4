"""The clips of a cache, split by speaker, and which of them a training step takes."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lipsync_cli.data.layout import Clip
from lipsync_cli.errors import DataError, SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusSettings:
    """Which speakers are trained on, and how often each is heard."""

    validation_speakers: tuple[str, ...] = ()
    """Kept out of training; the figures are measured on them."""
    validation_share: float = 0.0
    """Where no validation speakers are named: share of the speakers that are kept out (those with the fewest
    clips, but never all of them); 0: nobody."""
    validation_clips: int = 24
    """At most so many of their clips are measured, evenly spread."""
    test_speakers: tuple[str, ...] = ()
    """Kept out of training and of validation."""
    balance: float = 0.45
    """A speaker with n clips is drawn with weight n ** balance: 1 treats clips alike, 0 speakers."""

    def __post_init__(self) -> None:
        if not 0 <= self.validation_share < 1:
            raise SettingsError("corpus.validation_share must be at least 0 and below 1")
        both = sorted({*self.validation_speakers} & {*self.test_speakers})
        if both:
            raise SettingsError(f"speaker {both[0]} is named for validation and for test: choose one")


class Corpus:
    """The clips of a cache, split by speaker. Raises DataError when nothing is left to train on."""

    def __init__(self, clips: Sequence[Clip], settings: CorpusSettings) -> None:
        by_speaker: dict[str, list[Clip]] = {}
        for clip in clips:
            by_speaker.setdefault(clip.speaker, []).append(clip)
        named = {*settings.validation_speakers, *settings.test_speakers}
        unknown = sorted(named - by_speaker.keys())
        if unknown:
            raise DataError(f"the cache has no speaker {', '.join(unknown)}: it has {_listed(by_speaker)}")
        chosen = settings.validation_speakers or _fewest(by_speaker, settings)
        watched = [clip for clip in clips if clip.speaker in chosen]
        self.validation = _spread(watched, settings.validation_clips)
        """Clips that figures are measured on."""
        self._by_speaker = {
            name: own for name, own in by_speaker.items() if name not in named and name not in chosen
        }
        if not self._by_speaker:
            raise DataError("all speakers are kept out for validation or test: nothing is left to train on")
        self._speakers = sorted(self._by_speaker)
        weights = np.array([len(self._by_speaker[name]) ** settings.balance for name in self._speakers])
        self._chances = weights / weights.sum()

    @property
    def training(self) -> list[Clip]:
        """All clips that are trained on."""
        return [clip for name in self._speakers for clip in self._by_speaker[name]]

    def draw(self, rng: np.random.Generator) -> Clip:
        """A random clip of a random speaker."""
        clips = self._by_speaker[self._speakers[rng.choice(len(self._speakers), p=self._chances)]]
        return clips[rng.integers(len(clips))]


def step_rng(seed: int, step: int) -> np.random.Generator:
    """The randomness of one training step."""
    return np.random.default_rng([seed, step])


def _fewest(by_speaker: Mapping[str, Sequence[Clip]], settings: CorpusSettings) -> tuple[str, ...]:
    """The speakers kept out where none are named: they cost the training least."""
    free = [name for name in by_speaker if name not in settings.test_speakers]
    if settings.validation_share == 0 or len(free) < 2:
        return ()
    ranked = sorted(free, key=lambda name: (len(by_speaker[name]), zlib.crc32(name.encode()), name))
    wanted = max(1, round(settings.validation_share * len(free)))
    return tuple(ranked[: min(wanted, len(free) - 1)])


def _spread(clips: Sequence[Clip], most: int) -> list[Clip]:
    if len(clips) <= most:
        return list(clips)
    return [clips[place] for place in np.linspace(0, len(clips) - 1, most).round().astype(int)]


def _listed(names: Mapping[str, object], most: int = 12) -> str:
    shown = sorted(names)[:most]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")
