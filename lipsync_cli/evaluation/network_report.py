"""Tells what the analyses of sync networks found: lines, plain values, a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lipsync_cli.evaluation import plots
from lipsync_cli.evaluation.networks import CHANGES, RealPairs, disturbed, steadiness
from lipsync_cli.evaluation.report import aligned
from lipsync_cli.interfaces import SyncScorer
from lipsync_cli.metrics.base import Summary


@dataclass(frozen=True)
class Analysis:
    """One analysis of all networks."""

    lines: list[str]
    """For a terminal."""
    values: dict[str, Any]
    """Network -> numbers, for JSON."""
    picture: bytes
    """PNG."""


def stability(clips: Sequence[RealPairs], scorers: Mapping[str, SyncScorer]) -> Analysis:
    """Figure 1 of the paper: how much the scores of real pairs move."""
    head = (
        "network",
        "cosine",
        "95 % interval",
        "deviation",
        "within a clip",
        "wrong pairs",
        "told apart",
        "",
    )
    rows: list[tuple[str, ...]] = [head]
    values: dict[str, dict[str, Any]] = {}
    scores = {}
    for name, scorer in scorers.items():
        found = steadiness(clips, scorer)
        scores[name] = found.scores
        mean, wrong = found.per_clip, found.mismatched
        rows.append(
            (
                name,
                f"{mean.mean:.3f}",
                f"{mean.low:.3f} .. {mean.high:.3f}",
                f"{found.deviation:.3f}",
                f"{found.within_clip:.3f}",
                f"{wrong.mean:.3f}",
                f"{found.told_apart:.3f}",
                "",
            )
        )
        values[name] = {
            "cosine": _plain(mean),
            "deviation": found.deviation,
            "deviation_within_clip": found.within_clip,
            "cosine_of_wrong_pairs": _plain(wrong),
            "told_apart": found.told_apart,
            "scores": [round(float(score), 5) for score in found.scores],
        }
    picture = plots.clip_scores(scores, "cosine of real pairs (figure 1 of the paper)")
    return Analysis(aligned(rows), values, picture)


def robustness(clips: Sequence[RealPairs], scorers: Mapping[str, SyncScorer]) -> Analysis:
    """Figure 6 of the paper: what changes of lips and sound do to the scores of real pairs."""
    found = {name: disturbed(clips, scorer) for name, scorer in scorers.items()}
    lines: list[str] = []
    drawn: dict[str, dict[str, Any]] = {change: {} for change in CHANGES}
    for change, amounts in CHANGES.items():
        rows: list[tuple[str, ...]] = [(change, *(f"{amount:g}" for amount in amounts), "")]
        for name, curves in found.items():
            means = [summary.mean for _, summary in curves[change]]
            rows.append((name, *(f"{mean:.3f}" for mean in means), ""))
            drawn[change][name] = (np.array(amounts), np.array(means))
        lines += [*aligned(rows), ""]
    values = {
        name: {
            change: [{"amount": amount, **_plain(summary)} for amount, summary in curve]
            for change, curve in curves.items()
        }
        for name, curves in found.items()
    }
    return Analysis(lines, values, plots.robustness(drawn))


def _plain(summary: Summary) -> dict[str, float]:
    return {"mean": summary.mean, "low": summary.low, "high": summary.high, "n": summary.n}
