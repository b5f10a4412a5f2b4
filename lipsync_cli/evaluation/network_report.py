"""Asks sync networks about real clips and tells the answers: lines, plain values, a plot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lipsync_cli.errors import DataError
from lipsync_cli.evaluation import plots
from lipsync_cli.evaluation.networks import CHANGES, Examiner, PairScores
from lipsync_cli.evaluation.pairs import ExaminedNetwork, Floats, PairSound, RealPairs
from lipsync_cli.evaluation.report import aligned
from lipsync_cli.metrics.base import Summary, summarise

Examined = Mapping[str, ExaminedNetwork]
"""By name."""
SOUNDS = {"right": "right pairs", "other_time": "wrong: another time", "other_clip": "wrong: another clip"}
"""What a network is asked about, as told to people."""


@dataclass(frozen=True)
class Analysis:
    """One analysis of all networks."""

    lines: list[str]
    """For a terminal."""
    values: dict[str, Any]
    """Network -> numbers, for JSON."""
    picture: bytes
    """PNG."""


class Stability:
    """Figure 1 of the paper: how much a network's scores of real pairs move, clip by clip."""

    def __init__(self) -> None:
        self._scores: dict[str, dict[str, PairScores]] = {}

    def update(
        self, clip: RealPairs, other: PairSound | None, networks: Mapping[str, ExaminedNetwork]
    ) -> None:
        """The next clip, and the sound of another one. Raises DataError when a score is not finite."""
        for name, network in networks.items():
            self._scores.setdefault(name, {})[clip.name] = Examiner(clip, other, network).real()

    def analysis(self) -> Analysis:
        """Of all clips so far. Raises DataError when there was none."""
        head = ("network", "cosine", "95 % interval", "deviation", "within a clip")
        rows: list[tuple[str, ...]] = [(*head, "another time", "another clip", "told apart", "")]
        values = {name: _steadiness(clips) for name, clips in self._scores.items()}
        if not values:
            raise DataError("no real clip could be used")
        for name, found in values.items():
            cosine, other_clip = found["cosine"], found["other_clip"]
            numbers = [found["deviation"], found["deviation_within_clip"], found["other_time"]["mean"]]
            numbers += [other_clip["mean"] if other_clip else None, found["told_apart"]]
            interval = f"{cosine['low']:.3f} .. {cosine['high']:.3f}"
            rows.append((name, _told(cosine["mean"]), interval, *(_told(number) for number in numbers), ""))
        drawn = {
            name: [(scores.right, _wrong(scores)) for scores in clips.values()]
            for name, clips in self._scores.items()
        }
        return Analysis([*aligned(rows), *_LEGEND], values, plots.clip_scores(drawn))


_LEGEND = [
    "  cosine: mean of the clips' means, real pairs; deviation: over all real pairs; another time, another",
    "  clip: wrong pairs, the same lips with the sound of half a clip away, or of the next clip; told apart:",
    "  share of real pairs that score above the wrong pair of another time (chance: 0.5)",
]


def _steadiness(clips: Mapping[str, PairScores]) -> dict[str, Any]:
    right = np.concatenate([scores.right for scores in clips.values()])
    return {
        "cosine": _plain(_over_clips(scores.right for scores in clips.values())),
        "deviation": float(right.std()),
        "deviation_within_clip": float(np.mean([scores.right.std() for scores in clips.values()])),
        "other_time": _plain(_over_clips(scores.other_time for scores in clips.values())),
        "other_clip": _plain(_over_clips(scores.other_clip for scores in clips.values())),
        "told_apart": _told_apart(clips.values()),
        "n_pairs": len(right),
        "clips": [
            {
                "clip": name,
                "cosine": float(scores.right.mean()),
                "deviation": float(scores.right.std()),
                "scores": [round(float(score), 5) for score in scores.right],
            }
            for name, scores in clips.items()
        ],
    }


class Robustness:
    """Figure 6 of the paper: what changes of pictures and sound do to the scores, right and wrong."""

    def __init__(self) -> None:
        self._scores: dict[str, dict[tuple[str, float], list[PairScores]]] = {}

    def update(
        self, clip: RealPairs, other: PairSound | None, networks: Mapping[str, ExaminedNetwork]
    ) -> None:
        """The next clip, and the sound of another one. Raises DataError when a score is not finite."""
        for name, network in networks.items():
            examiner = Examiner(clip, other, network)
            points = self._scores.setdefault(name, {})
            for change, amounts in CHANGES.items():
                for amount in amounts:
                    scores = examiner.changed(change, amount)
                    if len(scores.right):
                        points.setdefault((change, amount), []).append(scores)

    def analysis(self) -> Analysis:
        """Of all clips so far. Raises DataError when there was none."""
        if not self._scores:
            raise DataError("no real clip could be used")
        values = {
            name: {change: list(_curve(points, change)) for change in CHANGES}
            for name, points in self._scores.items()
        }
        lines = [line for change in CHANGES for line in _change_table(values, change)]
        drawn = {
            change: {name: _drawn(curves[change]) for name, curves in values.items()} for change in CHANGES
        }
        return Analysis(lines, values, plots.robustness(drawn))


def _curve(points: Mapping[tuple[str, float], list[PairScores]], change: str) -> Iterator[dict[str, Any]]:
    for amount in CHANGES[change]:
        clips = points.get((change, amount), [])
        if clips:
            yield {
                "amount": amount,
                **{
                    sound: _plain(_over_clips(getattr(scores, sound) for scores in clips)) for sound in SOUNDS
                },
                "told_apart": _told_apart(clips),
            }


def _change_table(values: Mapping[str, Mapping[str, Any]], change: str) -> list[str]:
    rows: list[tuple[str, ...]] = [(change, *(f"{amount:g}" for amount in CHANGES[change]), "")]
    for name, curves in values.items():
        points = {point["amount"]: point for point in curves[change]}
        for sound, says in SOUNDS.items():
            means = [(points.get(amount, {}).get(sound) or {}).get("mean") for amount in CHANGES[change]]
            if any(mean is not None for mean in means):
                rows.append((f"{name}, {says}", *(_told(mean) for mean in means), ""))
        shares = [points.get(amount, {}).get("told_apart") for amount in CHANGES[change]]
        rows.append((f"{name}, told apart", *(_told(share) for share in shares), ""))
    return [*aligned(rows), ""]


def _drawn(curve: list[dict[str, Any]]) -> dict[str, tuple[Floats, Floats]]:
    """Sound -> amounts and means."""
    drawn = {}
    for sound, says in SOUNDS.items():
        points = [(point["amount"], point[sound]["mean"]) for point in curve if point[sound]]
        if points:
            amounts, means = zip(*points, strict=True)
            drawn[says] = (np.array(amounts), np.array(means))
    return drawn


def _over_clips(scores: Iterable[Floats]) -> Summary | None:
    """Of the clips' means; None where no clip has any."""
    means = [float(each.mean()) for each in scores if len(each)]
    return summarise(means) if means else None


def _told_apart(clips: Iterable[PairScores]) -> float:
    """Share of pairs that score above the wrong pair of the same lips."""
    return float(np.concatenate([scores.right > scores.other_time for scores in clips]).mean())


def _wrong(scores: PairScores) -> Floats:
    return scores.other_clip if len(scores.other_clip) else scores.other_time


def _told(number: float | None) -> str:
    return "-" if number is None else f"{number:.3f}"


def _plain(summary: Summary | None) -> dict[str, float] | None:
    if summary is None:
        return None
    return {"mean": summary.mean, "low": summary.low, "high": summary.high, "n": summary.n}
