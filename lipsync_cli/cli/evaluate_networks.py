"""`lipsync eval --stability` and `--robustness`: the paper's figures 1 and 6 for any sync network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipsync_cli import assembly_evaluation
from lipsync_cli.cli import console

if TYPE_CHECKING:
    from lipsync_cli.cli.evaluate_run import EvalOptions
    from lipsync_cli.evaluation.networks import RealPairs
    from lipsync_cli.evaluation.results import LeftOut
    from lipsync_cli.interfaces import SyncScorer
    from lipsync_cli.metrics.base import Summary


def analyse(chosen: EvalOptions) -> None:
    """Measure the networks on real clips; tell, plot and write."""
    from lipsync_cli.evaluation import report

    folder = chosen.plots or Path()
    report.check_writable(folder / "stability.png", make_folder=True)
    names = chosen.networks or [chosen.sync_network]
    scorers = assembly_evaluation.load_scorers(names, chosen.device)
    clips, left_out = _clips(chosen)
    values: dict[str, Any] = {}
    if chosen.stability:
        values["stability"] = _stability(clips, scorers, folder)
    if chosen.robustness:
        values["robustness"] = _robustness(clips, scorers, folder)
    console.result(f"{len(clips)} real clips used, {len(left_out)} left out")
    for each in left_out:
        console.result(f"  {each.name}: {each.reason}")
    if chosen.json is not None:
        told = [{"clip": each.name, "what": "all", "reason": each.reason} for each in left_out]
        hashes = assembly_evaluation.scorer_hashes(names)
        report.write_json(
            chosen.json,
            {
                **values,
                "n_clips": len(clips),
                "left_out": told,
                "networks": hashes,
                "versions": report.versions(),
            },
        )


def _clips(chosen: EvalOptions) -> tuple[list[RealPairs], list[LeftOut]]:
    """The pairs of all real clips. Raises DataError when none can be used."""
    from lipsync_cli.errors import DataError
    from lipsync_cli.evaluation.networks import real_pairs
    from lipsync_cli.evaluation.results import LeftOut

    videos = assembly_evaluation.real_videos(
        chosen.dataset, chosen.root or chosen.reference or Path(), split=chosen.split, limit=chosen.limit
    )
    instruments = assembly_evaluation.make_instruments(
        sync_network="none", syncnet_v2=None, lse_protocol="lrs", device=chosen.device
    )
    clips: list[RealPairs] = []
    left_out: list[LeftOut] = []
    with console.progress("watching", total=len(videos)) as advance:
        for each in real_pairs(videos, instruments):
            if isinstance(each, LeftOut):
                left_out.append(each)
            else:
                clips.append(each)
            advance(1)
    if not clips:
        first = f"{left_out[0].name}: {left_out[0].reason}" if left_out else "there is none"
        raise DataError(f"none of {len(left_out)} clips could be used ({first})")
    return clips, left_out


def _stability(
    clips: Sequence[RealPairs], scorers: Mapping[str, SyncScorer], folder: Path
) -> dict[str, dict[str, Any]]:
    from lipsync_cli.evaluation import plots
    from lipsync_cli.evaluation.networks import steadiness
    from lipsync_cli.evaluation.report import aligned

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
    for line in aligned(rows):
        console.result(line)
    _save(folder / "stability.png", plots.clip_scores(scores, "cosine of real pairs (figure 1 of the paper)"))
    return values


def _robustness(
    clips: Sequence[RealPairs], scorers: Mapping[str, SyncScorer], folder: Path
) -> dict[str, dict[str, Any]]:
    import numpy as np

    from lipsync_cli.evaluation import plots
    from lipsync_cli.evaluation.networks import CHANGES, disturbed
    from lipsync_cli.evaluation.report import aligned

    found = {name: disturbed(clips, scorer) for name, scorer in scorers.items()}
    drawn: dict[str, dict[str, Any]] = {change: {} for change in CHANGES}
    for change, amounts in CHANGES.items():
        rows: list[tuple[str, ...]] = [(change, *(f"{amount:g}" for amount in amounts), "")]
        for name, curves in found.items():
            means = [summary.mean for _, summary in curves[change]]
            rows.append((name, *(f"{mean:.3f}" for mean in means), ""))
            drawn[change][name] = (np.array(amounts), np.array(means))
        for line in [*aligned(rows), ""]:
            console.result(line)
    _save(folder / "robustness.png", plots.robustness(drawn))
    return {
        name: {
            change: [{"amount": amount, **_plain(summary)} for amount, summary in curve]
            for change, curve in curves.items()
        }
        for name, curves in found.items()
    }


def _plain(summary: Summary) -> dict[str, float]:
    return {"mean": summary.mean, "low": summary.low, "high": summary.high, "n": summary.n}


def _save(path: Path, picture: bytes) -> None:
    from lipsync_cli.evaluation.report import write_bytes

    write_bytes(path, picture)
    console.result(f"plot: {path}")
