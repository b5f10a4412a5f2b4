"""What is in a cache, clip by clip: the figures by which `data.verdicts` judges it before days are lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.data.corpora.source import read_list
from lipsync_cli.data.cut import LEAST_CONFIDENCE
from lipsync_cli.data.duplicates import Content, content_of, duplicates
from lipsync_cli.data.layout import FRAMES_PER_SECOND, CacheSettings, Clip, ClipFacts, open_cache
from lipsync_cli.data.log import LOG, read_log
from lipsync_cli.errors import DataError
from lipsync_cli.speech.pauses import silent_share

STILL = 0.006
"""Standard deviation of the opening of a mouth that hardly moves."""
MOSTLY_SILENT = 0.9
"""Share of silence beyond which a clip teaches nothing."""
_REMEMBERED = 256  # mels of clips that are compared with others


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFigures:
    """What was found in one clip."""

    speaker: str
    name: str
    damage: str = ""
    """Why it cannot be read; everything else is then empty."""
    seconds: float = 0.0
    silence: float = 0.0
    """Share of its sound, 0 to 1."""
    movement: float = 0.0
    """Standard deviation of the mouth's opening over the face's height."""
    yaw: float = 0.0
    """Median degrees, of whichever sign."""
    facts: ClipFacts | None = None
    """None where the preparation noted nothing (an older version)."""
    content: Content | None = None

    @property
    def offset_before(self) -> int | None:
        """Frames by which the sound of the video was off; None where that is uncertain or unknown."""
        facts = self.facts
        if facts is None or (facts.confidence or 0.0) < LEAST_CONFIDENCE:
            return None
        return facts.offset

    @property
    def offset(self) -> int | None:
        """Frames by which the sound in the cache is off; None where that is uncertain or unknown."""
        corrected = self.facts is not None and self.facts.corrected
        return 0 if corrected and self.offset_before is not None else self.offset_before

    @property
    def trouble(self) -> str:
        """Why nothing can be learnt from it; empty where it is usable."""
        if self.damage:
            return "damaged"
        if self.silence > MOSTLY_SILENT:
            return "silent"
        if self.movement < STILL:
            return "mouth hardly moves"
        offset = self.offset
        return "out of sync" if offset is not None and abs(offset) > 1 else ""


@dataclass(frozen=True, slots=True)
class KeptOut:
    """How the speakers of a cache meet those that are kept for validation or test."""

    source: Path
    shared: tuple[str, ...]
    """Speakers with clips both here, to be trained on, and there."""
    listed: tuple[str, ...]
    """Speakers whose clips here are all on the list: fine once the training keeps them out."""


@dataclass(frozen=True)
class CacheFigures:
    """What was found in a cache."""

    cache: Path
    settings: CacheSettings
    clips: Sequence[ClipFigures]
    copies: Sequence[Sequence[int]]
    """Groups of places in `clips`: the same clip."""
    same_sound: Sequence[Sequence[int]]
    """Groups of places in `clips`: one recording, encoded anew."""
    left_out: Mapping[str, str]
    """Clips that the preparation left out -> why."""
    kept_out: Sequence[KeptOut]

    @property
    def whole(self) -> list[ClipFigures]:
        """The clips that can be read."""
        return [clip for clip in self.clips if not clip.damage]

    @property
    def speakers(self) -> Counter[str]:
        """Clips of each."""
        return Counter(clip.speaker for clip in self.clips)


def look_at_clips(cache: Path) -> tuple[int, Iterator[ClipFigures]]:
    """How many clips there are, and the figures of each as it is read; one clip is held at a time.

    Raises DataError when there is no cache or no clip in it.
    """
    _, clips = open_cache(cache)
    logged = {
        (entry.speaker, entry.name): entry.facts
        for entry in read_log(cache / LOG)
        if entry.speaker is not None and not entry.left_out
    }
    return len(clips), (_figures(clip, logged.get((clip.speaker, clip.name))) for clip in clips)


def _figures(clip: Clip, logged: ClipFacts | None) -> ClipFigures:
    try:
        mel = clip.read("mel")
        return ClipFigures(
            speaker=clip.speaker,
            name=clip.name,
            seconds=clip.n_frames / FRAMES_PER_SECOND,
            silence=silent_share(mel),
            movement=float(clip.openings.std()),
            yaw=float(np.median(np.abs(clip.read("yaws")))),
            facts=clip.facts or logged,
            content=content_of(clip, mel),
        )
    except DataError as error:
        return ClipFigures(speaker=clip.speaker, name=clip.name, damage=str(error))


def gather(cache: Path, figures: Sequence[ClipFigures], kept_out: Sequence[Path] = ()) -> CacheFigures:
    """All that is to be known of a cache, from the figures of its clips in the order of `look_at_clips`.

    kept_out: lists of clips (SPEAKER/CLIP or SPEAKER first in each line), or other caches, that the training
    must not see.

    Raises DataError when a list or a cache cannot be read.
    """
    settings, clips = open_cache(cache)

    @lru_cache(_REMEMBERED)
    def mel(place: int) -> NDArray[np.float32]:
        return clips[whole[place]].read("mel")

    contents = [(place, one.content) for place, one in enumerate(figures) if one.content is not None]
    whole = [place for place, _ in contents]
    copies, same = duplicates([content for _, content in contents], mel)
    return CacheFigures(
        cache,
        settings,
        figures,
        [[whole[place] for place in group] for group in copies],
        [[whole[place] for place in group] for group in same],
        _left_out(cache),
        [_compare(source, figures) for source in kept_out],
    )


def _left_out(cache: Path) -> dict[str, str]:
    """The last word of the log on each clip counts."""
    reasons = {f"{entry.file.path}#{entry.name}": entry for entry in read_log(cache / LOG)}
    return {clip: entry.left_out for clip, entry in reasons.items() if entry.left_out}


def _compare(source: Path, figures: Sequence[ClipFigures]) -> KeptOut:
    ours = {clip.speaker for clip in figures}
    if source.is_dir():
        theirs = {clip.speaker for clip in open_cache(source)[1]}
        return KeptOut(source, tuple(sorted(ours & theirs)), ())
    entries = {tuple(name.strip("/").split("/")[-2:]) for name in read_list(source)}
    named = {entry[0] for entry in entries} & ours
    trained_on = {
        clip.speaker
        for clip in figures
        if (clip.speaker,) not in entries and (clip.speaker, clip.name) not in entries
    }
    return KeptOut(source, tuple(sorted(named & trained_on)), tuple(sorted(named - trained_on)))
