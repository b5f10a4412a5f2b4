"""What comes out of measuring: the figures of a clip, why one was left out, all clips together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.errors import DataError
from lipsync_cli.evaluation.features import ClipFeatures
from lipsync_cli.evaluation.figures import FIGURES
from lipsync_cli.evaluation.sync import SyncCurve, SyncSecond
from lipsync_cli.metrics.base import Summary, paired_difference, summarise
from lipsync_cli.metrics.sync import Offset

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OpeningSeries:
    """Mouth openings over face height, both videos at the same moments of the speech."""

    times: Floats
    """[N] seconds in the generated video."""
    generated: Floats
    """[N]"""
    real: Floats
    """[N] the real video's at time - own_offset / 25; NaN where it has no face or does not reach."""


@dataclass(frozen=True)
class ClipResult:
    """All figures of one clip."""

    name: str
    figures: dict[str, float]
    """By the names of `figures.FIGURES`; finite values only."""
    left_out: dict[str, str]
    """What could not be measured (a figure, or `sync`, `real_sync`, `pauses`) and why."""
    n_frames: int
    """Frames compared (or, for a video alone, frames with a face)."""
    own_offset: float = 0.0
    """The real video's AV offset that was corrected, frames at 25 fps."""
    n_unpaired: int = 0
    """Generated frames at whose time the real video has none."""
    n_without_face: int = 0
    """Generated frames without a face."""
    series: OpeningSeries | None = None
    sync: SyncCurve | None = None
    """Of the generated video with its own sound."""
    features: ClipFeatures = field(default_factory=dict)
    """For the distances of a whole run; no report holds them."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A clip that could not be measured."""

    name: str
    reason: str


Outcome = ClipResult | LeftOut


@dataclass(frozen=True)
class Evaluation:
    """All clips of a run, in order of name."""

    clips: list[ClipResult]
    left_out: list[LeftOut]
    figures: dict[str, Summary]
    """In the order of `figures.FIGURES`; a figure comes from the clips that have it."""


def collect(outcomes: Iterable[Outcome], distances: Mapping[str, Summary] | None = None) -> Evaluation:
    """All outcomes of a run, and the figures that belong to no single clip.

    Raises DataError when every clip was left out; the message tells the first reasons.
    """
    ordered = sorted(outcomes, key=lambda outcome: outcome.name)
    clips = [outcome for outcome in ordered if isinstance(outcome, ClipResult)]
    left_out = [outcome for outcome in ordered if isinstance(outcome, LeftOut)]
    if not clips:
        reasons = "; ".join(f"{each.name}: {each.reason}" for each in left_out[:3])
        raise DataError(f"none of {len(left_out)} clips could be measured ({reasons or 'there is none'})")
    figures = {}
    for name in FIGURES:
        values = [clip.figures[name] for clip in clips if name in clip.figures]
        if values:
            figures[name] = summarise(values)
        elif distances and name in distances:
            figures[name] = distances[name]
    return Evaluation(clips, left_out, figures)


def compare(evaluation: Evaluation, other: Mapping[str, Mapping[str, float]]) -> dict[str, Summary]:
    """Each figure less that of another method on the same clips, with its 95 % interval.

    Raises DataError when the two have no clip in common.
    """
    both = [clip for clip in evaluation.clips if clip.name in other]
    if not both:
        raise DataError(
            "the two methods have no clip in common: names of clips must be the same on both sides"
        )
    differences = {}
    for name in FIGURES:
        pairs = [
            (clip.figures[name], other[clip.name][name])
            for clip in both
            if name in clip.figures and name in other[clip.name]
        ]
        if pairs:
            differences[name] = paired_difference([a for a, _ in pairs], [b for _, b in pairs])
    return differences


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    """As plain values; NaN becomes None."""
    if isinstance(outcome, LeftOut):
        return {"clip": outcome.name, "reason": outcome.reason}
    result: dict[str, Any] = {
        "clip": outcome.name,
        "figures": outcome.figures,
        "left_out": outcome.left_out,
        "n_frames": outcome.n_frames,
        "own_offset": outcome.own_offset,
        "n_unpaired": outcome.n_unpaired,
        "n_without_face": outcome.n_without_face,
    }
    if outcome.series is not None:
        series = outcome.series
        columns = {"times": series.times, "generated": series.generated, "real": series.real}
        result["series"] = {name: _plain(values) for name, values in columns.items()}
    if outcome.sync is not None:
        result["sync"] = _sync_to_json(outcome.sync)
    return result


def outcome_from_json(values: dict[str, Any]) -> Outcome:
    """The inverse of `outcome_to_json`; KeyError, TypeError or ValueError for other values."""
    if "figures" not in values:
        return LeftOut(values["clip"], values["reason"])
    series = values.get("series")
    sync = values.get("sync")
    return ClipResult(
        name=values["clip"],
        figures=values["figures"],
        left_out=values["left_out"],
        n_frames=values["n_frames"],
        own_offset=values["own_offset"],
        n_unpaired=values["n_unpaired"],
        n_without_face=values["n_without_face"],
        series=None if series is None else OpeningSeries(**{k: _array(v) for k, v in series.items()}),
        sync=None if sync is None else _sync_from_json(sync),
    )


def _sync_to_json(curve: SyncCurve) -> dict[str, Any]:
    return {
        "offset": curve.best.frames,
        "confidence": curve.best.confidence,
        "score": curve.best.score,
        "at_zero": curve.at_zero,
        "scores": _plain(curve.scores),
        "n_windows": curve.n_windows,
        "seconds": [
            {"start": each.start, "score": _plain_number(each.score), "offset": each.offset}
            for each in curve.seconds
        ],
    }


def _sync_from_json(values: dict[str, Any]) -> SyncCurve:
    return SyncCurve(
        best=Offset(values["offset"], values["confidence"], values["score"]),
        scores=_array(values["scores"]),
        at_zero=values["at_zero"],
        seconds=[
            SyncSecond(each["start"], math.nan if each["score"] is None else each["score"], each["offset"])
            for each in values["seconds"]
        ],
        n_windows=values["n_windows"],
    )


def _plain(values: Floats) -> list[float | None]:
    return [_plain_number(float(value)) for value in values]


def _plain_number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _array(values: list[float | None]) -> Floats:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def write_features(clip: ClipResult, path: Path) -> None:
    """Keep a clip's features beside a journal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sides = {f"{side}.{name}": pair[i] for name, pair in clip.features.items() for i, side in enumerate("gr")}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **sides)


def with_features(outcome: Outcome, path: Path) -> Outcome:
    """An outcome of a journal with the features kept for it, if there are any."""
    if isinstance(outcome, LeftOut) or not path.is_file():
        return outcome
    with np.load(path, allow_pickle=False) as kept:
        names = [key[2:] for key in kept.files if key.startswith("g.")]
        features = {name: (kept[f"g.{name}"], kept[f"r.{name}"]) for name in names}
    return replace(outcome, features=features)
