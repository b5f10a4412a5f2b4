"""`lipsync eval`: measures finished videos."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import lipsync_cli
from lipsync_cli.cli import console
from lipsync_cli.errors import SettingsError

if TYPE_CHECKING:
    from lipsync_cli.evaluation.clip_figures import Instruments
    from lipsync_cli.evaluation.results import Evaluation, Outcome

MEASURED = "measured"
"""Value of --own-offset that asks the sync network."""

LseShown = Literal["lrs", "tracks"]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("eval")(evaluate)


def evaluate(
    *,
    generated: Annotated[
        Path | None, typer.Option(help="Folder of finished videos, by any method; needs --reference.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Folder of the real videos; pairs have the same file stem.")
    ] = None,
    video: Annotated[
        Path | None, typer.Option(help="One video by itself: AV offset, confidence, second by second.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write all figures of all clips to this file.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write one row a clip to this file.")] = None,
    series: Annotated[
        Path | None, typer.Option(help="Write each clip's mouth openings to CSV files in this folder.")
    ] = None,
    own_offset: Annotated[
        str,
        typer.Option(
            help="AV offset of the real videos in frames at 25 fps (the picture at t matches the sound at"
            " t + offset): a number, 'measured', or a TOML file of stem = number."
        ),
    ] = "0",
    sync_network: Annotated[
        str, typer.Option(help="The network that finds AV offsets: a name, a file, 'default' or 'none'.")
    ] = "default",
    syncnet_v2: Annotated[
        Path | None, typer.Option(help="Your file of the public SyncNet v2: adds LSE-C and LSE-D.")
    ] = None,
    lse_protocol: Annotated[
        LseShown, typer.Option(help="What SyncNet v2 is shown: whole frames, or crops of the face.")
    ] = "lrs",
    device: Annotated[str, typer.Option(help="auto, cuda, mps or cpu.")] = "auto",
    workers: Annotated[int, typer.Option(min=1, help="Processes that measure side by side.")] = 1,
    paper: Annotated[bool, typer.Option("--paper", help="Print table 1 of the paper as well.")] = False,
) -> None:
    """Measure finished videos: pictures, mouth openings, and how well lips and sound fit.

    Either --generated and --reference, or --video. Clips that cannot be measured are listed with their reason
    and counted; the command fails (7) when that is all of them. With --json, a run that was stopped goes on
    where it was.
    """
    _check_choice(generated, reference, video)
    from lipsync_cli.evaluation import report, results

    for path in (json, csv):
        if path is not None:
            report.check_writable(path)
    settings: dict[str, object] = {
        "generated": generated,
        "reference": reference,
        "video": video,
        "own_offset": own_offset,
        "sync_network": sync_network,
        "syncnet_v2": syncnet_v2,
        "lse_protocol": lse_protocol,
        "device": device,
    }
    hashes = _hashes(sync_network, syncnet_v2)
    make = partial(make_instruments, sync_network, syncnet_v2, lse_protocol, device)
    journal = None if json is None or video is not None else json.with_name(f".{json.name}.clips")
    if video is not None:
        outcomes: Sequence[Outcome] = [_measure_video(video, make())]
    else:
        folders = generated or Path(), reference or Path()
        version = " ".join([lipsync_cli.__version__, lse_protocol, *hashes.values()])
        outcomes = _measure_folders(
            folders, _own_offsets(own_offset), make, workers=workers, journal=journal, version=version
        )
    evaluation = results.collect(outcomes)
    _print(evaluation, alone=video is not None, paper=paper)
    _write(evaluation, settings | hashes, json, csv, series)
    if journal is not None:
        journal.unlink(missing_ok=True)


def make_instruments(
    sync_network: str, syncnet_v2: Path | None, lse_protocol: LseShown, device: str
) -> Instruments:
    """What videos are measured with, in full precision.

    Raises WeightsError when a network is missing, damaged or another than it should be.
    """
    from lipsync_cli import assembly
    from lipsync_cli.assembly_networks import load_sync_scorer
    from lipsync_cli.evaluation.clip_figures import Instruments
    from lipsync_cli.registry.public import load_public
    from lipsync_cli.registry.store import find_for_role, find_weights

    execution = assembly.make_execution(device, "fp32")
    detector, finder = assembly.make_face_finder("mediapipe", execution, [])
    scorer: Any = None
    lse: Any = None
    if sync_network != "none":
        path = find_for_role("avsyncnet") if sync_network == "default" else find_weights(sync_network)
        scorer = load_sync_scorer(path, execution)
    if syncnet_v2 is not None:
        lse = execution.place(load_public(syncnet_v2, "syncnet_v2"))
    return Instruments(detector, finder, scorer, lse, lse_protocol)


def _check_choice(generated: Path | None, reference: Path | None, video: Path | None) -> None:
    pair = generated is not None and reference is not None
    half = (generated is None) != (reference is None)
    if half or pair == (video is not None):
        raise typer.BadParameter("give either --generated and --reference, or --video")


def _own_offsets(text: str) -> dict[str, float | None]:
    """By stem, `""` for all others; None: to be measured."""
    if text == MEASURED:
        return {"": None}
    try:
        return {"": float(text)}
    except ValueError:
        pass
    try:
        values: dict[str, Any] = tomllib.loads(Path(text).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(
            f"--own-offset {text}: neither a number, nor '{MEASURED}', nor a TOML file that can be read"
            f" ({error})"
        ) from error
    for stem, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SettingsError(f"{text}: {stem} is not a number of frames")
    return {"": 0.0, **{stem: float(value) for stem, value in values.items()}}


def _measure_video(video: Path, instruments: Instruments) -> Outcome:
    from lipsync_cli.evaluation.run import score_video

    return score_video(video, instruments)


def _measure_folders(
    folders: tuple[Path, Path],
    own_offsets: Mapping[str, float | None],
    make: partial[Instruments],
    *,
    workers: int,
    journal: Path | None,
    version: str,
) -> list[Outcome]:
    from lipsync_cli.evaluation.folders import match_pairs, measure_pairs

    pairs, left_out = match_pairs(*folders, own_offsets)
    instruments = make()  # what is wrong with the networks is told before any work
    make_here: Callable[[], Instruments] = make if workers > 1 else lambda: instruments
    outcomes: list[Outcome] = list(left_out)
    with console.progress("measuring", total=len(pairs)) as advance:
        for outcome in measure_pairs(pairs, make_here, workers=workers, journal=journal, version=version):
            outcomes.append(outcome)
            advance(1)
    return outcomes


def _hashes(sync_network: str, syncnet_v2: Path | None) -> dict[str, str]:
    """Network -> sha256 of its file."""
    from lipsync_cli.registry.store import find_for_role, find_weights, sha256_of

    hashes = {}
    if sync_network != "none":
        path = find_for_role("avsyncnet") if sync_network == "default" else find_weights(sync_network)
        hashes["sync_network_sha256"] = sha256_of(path)
    if syncnet_v2 is not None:
        hashes["syncnet_v2_sha256"] = sha256_of(find_weights(syncnet_v2))
    return hashes


def _print(evaluation: Evaluation, *, alone: bool, paper: bool) -> None:
    from lipsync_cli.evaluation import report

    lines = report.video_table(evaluation.clips[0]) if alone else report.table(evaluation)
    if paper:
        lines += ["", *report.paper_table()]
    for line in lines:
        console.result(line)


def _write(
    evaluation: Evaluation,
    settings: Mapping[str, object],
    json: Path | None,
    csv: Path | None,
    series: Path | None,
) -> None:
    from lipsync_cli.evaluation import report

    given = {name: str(value) for name, value in settings.items() if value is not None}
    if json is not None:
        report.write_json(json, report.as_json(evaluation, given))
    if csv is not None:
        report.write_text(csv, report.as_csv(evaluation))
    if series is not None:
        report.write_series(evaluation.clips, series)
