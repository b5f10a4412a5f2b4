"""A verdict on a cache, and how it is worded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lipsync_cli.data.check import ClipFigures

Level = Literal["ok", "warning", "problem", "not measured"]
SHOWN = 3
"""Names that are shown of many."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one topic."""

    topic: str
    level: Level
    found: str
    """What, and how many."""
    advice: str = ""
    """What to do; empty where nothing is to be done."""

    def __str__(self) -> str:
        """One line."""
        advice = f": {self.advice}" if self.advice else ""
        return f"{self.level:12}  {self.topic:10}  {self.found}{advice}"


def clip_name(clip: ClipFigures) -> str:
    """SPEAKER/CLIP"""
    return f"{clip.speaker}/{clip.name}"


def not_measured(topic: str, how: str = "") -> Verdict:
    """On a figure that the preparation (of an older version) did not note."""
    return Verdict(
        topic, "not measured", "the preparation noted nothing", f"prepare it again{how}, into a new folder"
    )


def examples(clips: Sequence[ClipFigures], how: str = "") -> str:
    """The first names of some clips, in brackets after what they are; nothing of none."""
    if not clips:
        return ""
    more = f" and {len(clips) - SHOWN} more" if len(clips) > SHOWN else ""
    return f" ({how + ': ' if how else ''}{', '.join(map(clip_name, clips[:SHOWN]))}{more})"


def part(n: int, of: int) -> str:
    """Some clips of all, with their share."""
    return f"{n} of {of} clips ({100 * n / max(of, 1):.1f} %)"


def by_share(topic: str, share: float, limits: tuple[float, float], found: str, advice: str) -> Verdict:
    """By the share of clips that are in trouble: above the first limit a warning, above the second a problem.

    Where all is well there is nothing to advise.
    """
    if share <= limits[0]:
        return Verdict(topic, "ok", found)
    return Verdict(topic, "problem" if share > limits[1] else "warning", found, advice)
