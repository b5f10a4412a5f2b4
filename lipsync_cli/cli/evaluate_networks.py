"""`lipsync eval --stability` and `--robustness`: the paper's figures 1 and 6 for any sync network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipsync_cli import assembly_evaluation
from lipsync_cli.cli import console

if TYPE_CHECKING:
    from lipsync_cli.cli.evaluate_run import EvalOptions
    from lipsync_cli.evaluation.network_report import Robustness, Stability
    from lipsync_cli.evaluation.pairs import ExaminedNetwork, RealPairs
    from lipsync_cli.evaluation.results import LeftOut


def analyse(chosen: EvalOptions) -> None:
    """Ask the networks about real clips; tell, plot and write."""
    from lipsync_cli.evaluation import network_report, report
    from lipsync_cli.evaluation.pairs import with_next

    analyses: dict[str, Stability | Robustness] = {}
    if chosen.stability:
        analyses["stability"] = network_report.Stability()
    if chosen.robustness:
        analyses["robustness"] = network_report.Robustness()
    folder = chosen.plots or Path()
    for name in analyses:
        report.check_writable(folder / f"{name}.png", make_folder=True)
    names = chosen.networks or [chosen.sync_network]
    networks = assembly_evaluation.load_examined_networks(names, chosen.device)
    left_out: list[LeftOut] = []
    n_clips = 0
    for clip, other in with_next(_clips(chosen, networks, left_out)):
        n_clips += 1
        for analysis in analyses.values():
            analysis.update(clip, other, networks)
    _refuse_nothing(n_clips, left_out)
    values = {name: _tell(analysis, folder / f"{name}.png") for name, analysis in analyses.items()}
    console.result(f"{n_clips} real clips used, {len(left_out)} left out")
    for each in left_out:
        console.result(f"  {each.name}: {each.reason}")
    if chosen.json is not None:
        told = [{"clip": each.name, "what": "all", "reason": each.reason} for each in left_out]
        facts = {"networks": assembly_evaluation.scorer_hashes(names), "versions": report.versions()}
        report.write_json(chosen.json, {**values, "n_clips": n_clips, "left_out": told, **facts})


def _clips(
    chosen: EvalOptions, networks: dict[str, ExaminedNetwork], left_out: list[LeftOut]
) -> Iterator[RealPairs]:
    """The pairs of all real clips, one clip after the other; `left_out` is told of those that have none."""
    from lipsync_cli.evaluation.pairs import real_pairs
    from lipsync_cli.evaluation.results import LeftOut

    videos = assembly_evaluation.real_videos(
        chosen.dataset, chosen.root or chosen.reference or Path(), split=chosen.split, limit=chosen.limit
    )
    instruments = assembly_evaluation.make_instruments(
        sync_network="none", syncnet_v2=None, lse_protocol="lrs", device=chosen.device
    )
    sights = {network.sees for network in networks.values()}
    with console.progress("watching and asking", total=len(videos)) as advance:
        for each in real_pairs(videos, instruments, sights):
            if isinstance(each, LeftOut):
                left_out.append(each)
            else:
                yield each
            advance(1)


def _refuse_nothing(n_clips: int, left_out: list[LeftOut]) -> None:
    from lipsync_cli.errors import DataError

    if not n_clips:
        first = f"{left_out[0].name}: {left_out[0].reason}" if left_out else "there is none"
        raise DataError(f"none of {len(left_out)} clips could be used ({first})")


def _tell(analysis: Stability | Robustness, path: Path) -> dict[str, Any]:
    from lipsync_cli.evaluation.report import write_bytes

    found = analysis.analysis()
    for line in found.lines:
        console.result(line)
    write_bytes(path, found.picture)
    console.result(f"plot: {path}")
    return found.values
