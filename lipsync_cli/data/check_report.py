"""A checked cache as distributions, for plots, and as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.data.check import STILL, CacheFigures
from lipsync_cli.data.cut import LEAST_CONFIDENCE
from lipsync_cli.data.verdict import Verdict, clip_name
from lipsync_cli.data.verdicts import (
    MUCH_SILENCE,
    SHORT,
    SLOW,
    TILTED,
    TURNED,
    n_usable,
)
from lipsync_cli.settings import to_mapping

Floats = NDArray[np.float64]
_BINS = 20


@dataclass(frozen=True, slots=True)
class Distribution:
    """How the clips are spread in a figure."""

    title: str
    values: Floats
    """Empty where nothing was measured."""
    lowest: float | None = None
    """Smaller values are doubtful."""
    highest: float | None = None
    """Larger values are doubtful."""


def distributions(found: CacheFigures) -> dict[str, Distribution]:
    """Everything that can be shown as a histogram, by its name."""
    clips = found.whole
    facts = [clip.facts for clip in clips if clip.facts is not None]
    small = found.settings.image_size / 2
    return {
        "offset": Distribution("AV offset left, frames", _known([c.offset for c in clips]), -1, 1),
        "offset_before": Distribution(
            "AV offset of the videos, frames", _known([c.offset_before for c in clips])
        ),
        "confidence": Distribution(
            "confidence of the offset", _known([one.confidence for one in facts]), LEAST_CONFIDENCE
        ),
        "silence": Distribution(
            "silence, % of a clip", _known([100 * c.silence for c in clips]), None, 100 * MUCH_SILENCE
        ),
        "movement": Distribution("movement of the mouth", _known([c.movement for c in clips]), STILL),
        "rate": Distribution("frames a second of the video", _known([one.rate for one in facts]), SLOW),
        "yaw": Distribution("turn of the head, degrees", _known([c.yaw for c in clips]), None, TURNED),
        "roll": Distribution(
            "tilt of the head, degrees", _known([one.roll for one in facts]), -TILTED, TILTED
        ),
        "face_width": Distribution("face in the video, pixels", _known([f.face_width for f in facts]), small),
        "seconds": Distribution("length of a clip, seconds", _known([c.seconds for c in clips]), SHORT),
    }


def as_json(found: CacheFigures, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Everything that was found, and each clip that nothing can be learnt from with the reason."""
    return {
        "cache": str(found.cache),
        "settings": to_mapping(found.settings),
        "n_clips": len(found.clips),
        "n_usable": n_usable(found),
        "hours": sum(clip.seconds for clip in found.clips) / 3600,
        "verdicts": [
            {"topic": one.topic, "level": one.level, "found": one.found, "advice": one.advice}
            for one in verdicts
        ],
        "figures": {name: _summary(one.values) for name, one in distributions(found).items()},
        "speakers": dict(sorted(found.speakers.items())),
        "copies": _named(found, found.copies),
        "same_sound": _named(found, found.same_sound),
        "left_out": dict(found.left_out),
        "not_usable": {clip_name(clip): clip.damage or clip.trouble for clip in found.clips if clip.trouble},
    }


def _known(values: Sequence[float | None]) -> Floats:
    return np.array([value for value in values if value is not None], np.float64)


def _summary(values: Floats) -> dict[str, Any] | None:
    """None where nothing was measured."""
    if len(values) == 0:
        return None
    counts, edges = np.histogram(values, bins=_BINS)
    low, middle, high = np.percentile(values, [5, 50, 95])
    return {
        "n": len(values),
        "mean": float(values.mean()),
        "p5": float(low),
        "median": float(middle),
        "p95": float(high),
        "smallest": float(values.min()),
        "largest": float(values.max()),
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }


def _named(found: CacheFigures, groups: Sequence[Sequence[int]]) -> list[list[str]]:
    return [[clip_name(found.clips[place]) for place in group] for group in groups]
