"""`lipsync eval --stability` and `--robustness`: the paper's figures 1 and 6 for any sync network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipsync_cli import assembly_evaluation
from lipsync_cli.cli import console

if TYPE_CHECKING:
    from lipsync_cli.cli.evaluate_run import EvalOptions
    from lipsync_cli.evaluation.network_report import Analysis
    from lipsync_cli.evaluation.networks import RealPairs
    from lipsync_cli.evaluation.results import LeftOut


def analyse(chosen: EvalOptions) -> None:
    """Measure the networks on real clips; tell, plot and write."""
    from lipsync_cli.evaluation import network_report, report

    folder = chosen.plots or Path()
    report.check_writable(folder / "stability.png", make_folder=True)
    names = chosen.networks or [chosen.sync_network]
    scorers = assembly_evaluation.load_scorers(names, chosen.device)
    clips, left_out = _clips(chosen)
    values: dict[str, Any] = {}
    if chosen.stability:
        values["stability"] = _tell(network_report.stability(clips, scorers), folder / "stability.png")
    if chosen.robustness:
        values["robustness"] = _tell(network_report.robustness(clips, scorers), folder / "robustness.png")
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


def _tell(analysis: Analysis, path: Path) -> dict[str, Any]:
    from lipsync_cli.evaluation.report import write_bytes

    for line in analysis.lines:
        console.result(line)
    write_bytes(path, analysis.picture)
    console.result(f"plot: {path}")
    return analysis.values
