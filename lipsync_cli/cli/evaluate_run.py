"""What `lipsync eval` does once it knows what is wanted."""

from __future__ import annotations

import tomllib
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import lipsync_cli
from lipsync_cli import assembly_evaluation
from lipsync_cli.cli import console
from lipsync_cli.errors import DataError, SettingsError
from lipsync_cli.registry.store import cache_folder

if TYPE_CHECKING:
    from lipsync_cli.evaluation.clip_figures import Instruments
    from lipsync_cli.evaluation.folders import Pair
    from lipsync_cli.evaluation.results import Evaluation, LeftOut, Outcome

MEASURED = "measured"
"""Value of --own-offset that asks the sync network."""


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """The flags of the command."""

    generated: Path | None
    reference: Path | None
    video: Path | None
    dataset: assembly_evaluation.CorpusName | None
    root: Path | None
    split: str | None
    unpaired: Path | None
    model: str
    restore: str
    baseline: assembly_evaluation.Baseline | None
    limit: int | None
    work: Path | None
    against: Path | None
    stability: bool
    robustness: bool
    networks: list[str] | None
    plots: Path | None
    json: Path | None
    csv: Path | None
    html: Path | None
    series: Path | None
    own_offset: str
    sync_network: str
    syncnet_v2: str | None
    inception: str | None
    identity: str | None
    lse_protocol: Literal["lrs", "tracks"]
    device: str
    workers: int
    paper: bool


def measure(chosen: EvalOptions) -> None:
    """Measure, tell and write."""
    from lipsync_cli.evaluation import report, results
    from lipsync_cli.evaluation.folders import forget_journal

    _check_places(chosen)
    model = chosen.model if chosen.dataset is not None and chosen.baseline is None else None
    hashes = assembly_evaluation.network_hashes(
        chosen.sync_network,
        chosen.syncnet_v2,
        chosen.inception,
        identity=chosen.identity,
        model=model,
        restore=chosen.restore,
    )
    make = _instruments(chosen, model)
    version = _version(chosen, hashes)
    pairs: list[Pair] = []
    notes: dict[str, str] = {}
    if chosen.video is not None:
        evaluation = results.collect([_measure_video(chosen.video, make())])
    else:
        pairs, left_out = _pairs(chosen, hashes)
        notes = _notes(chosen, pairs, model)
        evaluation = _measure_pairs(chosen, pairs, left_out, make, version=version)
    _print(evaluation, chosen)
    differences = {}
    if chosen.against is not None:
        differences = results.compare(evaluation, _others(chosen, pairs, make, version=version))
        for line in ["", *report.difference_table(differences, str(chosen.against))]:
            console.result(line)
    given = _given(chosen, model, hashes | notes)
    _write(evaluation, given, differences, chosen)
    if chosen.html is not None:
        from lipsync_cli.evaluation.page import write_page

        write_page(chosen.html, evaluation, pairs, given, differences)
        console.result(f"page: {chosen.html / 'index.html'}")
    if (journal := _journal(chosen)) is not None:
        forget_journal(journal)


def _given(chosen: EvalOptions, model: str | None, found: Mapping[str, str]) -> dict[str, str]:
    """The settings that took part, for the report, and what was found of them."""
    facts = {**vars(chosen), **found}
    if model is None:  # nothing was dubbed
        facts |= {"model": None, "restore": None}
    return {name: str(value) for name, value in facts.items() if value not in (None, False)}


def _notes(chosen: EvalOptions, pairs: Sequence[Pair], model: str | None) -> dict[str, str]:
    """What a reader of the report has to know, told at once as well."""
    names = [pair.name for pair in pairs]
    note = assembly_evaluation.not_kept_out(chosen.dataset, names, [model, chosen.sync_network])
    if note:
        console.message(f"note: {note}")
    return {"note": note} if note else {}


def _check_places(chosen: EvalOptions) -> None:
    """What can be known to be wrong before any work."""
    from lipsync_cli.evaluation import report

    if chosen.against is not None and not chosen.against.exists():
        raise DataError(f"{chosen.against}: there is no such folder or report; give what --against names")
    if chosen.html is not None:
        report.check_writable(chosen.html / "index.html", make_folder=True)


def _instruments(chosen: EvalOptions, model: str | None) -> Callable[[], Instruments]:
    return partial(
        assembly_evaluation.make_instruments,
        sync_network=chosen.sync_network,
        syncnet_v2=chosen.syncnet_v2,
        lse_protocol=chosen.lse_protocol,
        device=chosen.device,
        inception=chosen.inception,
        identity=chosen.identity,
        model=model,
        restore=chosen.restore,
        baseline=chosen.baseline,
    )


def _version(chosen: EvalOptions, hashes: Mapping[str, str]) -> str:
    parts = [lipsync_cli.__version__, chosen.lse_protocol, chosen.restore, str(chosen.baseline)]
    return " ".join([*parts, *hashes.values()])


def _journal(chosen: EvalOptions) -> Path | None:
    if chosen.json is None or chosen.video is not None:
        return None
    return chosen.json.with_name(f".{chosen.json.name}.clips")


def _pairs(chosen: EvalOptions, hashes: Mapping[str, str]) -> tuple[list[Pair], list[LeftOut]]:
    from lipsync_cli.evaluation.folders import match_pairs

    offsets = _own_offsets(chosen.own_offset)
    if chosen.dataset is None:
        return match_pairs(chosen.generated or Path(), chosen.reference or Path(), offsets)
    if len(offsets) > 1:
        raise SettingsError("--own-offset of a corpus: give a number or 'measured'")
    return assembly_evaluation.corpus_pairs(
        chosen.dataset,
        chosen.root or Path(),
        (chosen.work or _own_work(chosen.dataset, chosen.root or Path())) / _made_by(chosen, hashes),
        split=chosen.split,
        unpaired=chosen.unpaired,
        limit=chosen.limit,
        baseline=chosen.baseline,
        own_offset=offsets[""],
    )


def _made_by(chosen: EvalOptions, hashes: Mapping[str, str]) -> str:
    """The folder of videos that all come from the same baseline, or the same networks of one version."""
    if chosen.baseline is not None:
        return chosen.baseline
    makers = [hashes[name][:8] for name in ("model_sha256", "restorer_sha256") if name in hashes]
    return "_".join([Path(chosen.model).stem, chosen.restore, *makers, lipsync_cli.__version__])


def _own_work(dataset: str, root: Path) -> Path:
    """Where videos of a corpus go when nobody says where: one folder for each place of a corpus."""
    place = zlib.crc32(str(root.resolve()).encode())
    return cache_folder() / "eval" / f"{dataset}-{place:08x}"


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


def _measure_pairs(
    chosen: EvalOptions,
    pairs: Sequence[Pair],
    left_out: Sequence[LeftOut],
    make: Callable[[], Instruments],
    *,
    version: str,
) -> Evaluation:
    from lipsync_cli.evaluation.features import Distances
    from lipsync_cli.evaluation.folders import measure_pairs
    from lipsync_cli.evaluation.results import ClipResult, collect

    instruments = make()  # what is wrong with the networks is told before any work
    make_here: Callable[[], Instruments] = make if chosen.workers > 1 else lambda: instruments
    outcomes: list[Outcome] = list(left_out)
    distances = Distances()
    ready = measure_pairs(pairs, make_here, workers=chosen.workers, journal=_journal(chosen), version=version)
    with console.progress("measuring", total=len(pairs)) as advance:
        for outcome in ready:
            if isinstance(outcome, ClipResult):
                distances.update(outcome.features)
                outcome = replace(outcome, features={})
            outcomes.append(outcome)
            advance(1)
    return collect(outcomes, distances.compute())


def _others(
    chosen: EvalOptions, pairs: Sequence[Pair], make: Callable[[], Instruments], *, version: str
) -> Mapping[str, Mapping[str, float]]:
    """Clip -> figures of the other method: read from a report, or measured on its videos."""
    from lipsync_cli.evaluation import report
    from lipsync_cli.evaluation.folders import with_other_videos

    if chosen.against is None or chosen.against.is_file():
        return report.read_figures(chosen.against or Path())
    others, left_out = with_other_videos(pairs, chosen.against)
    other = _measure_pairs(chosen, others, left_out, make, version=f"{version} {chosen.against}")
    return {clip.name: clip.figures for clip in other.clips}


def _print(evaluation: Evaluation, chosen: EvalOptions) -> None:
    from lipsync_cli.evaluation import paper, report

    if chosen.video is not None:
        lines = report.video_table(evaluation.clips[0])
    else:
        lines = [*report.table(evaluation), "", *paper.column_table(evaluation)]
    if chosen.paper:
        lines += ["", *paper.paper_tables()]
    for line in lines:
        console.result(line)


def _write(
    evaluation: Evaluation,
    given: Mapping[str, str],
    differences: Mapping[str, Any],
    chosen: EvalOptions,
) -> None:
    from lipsync_cli.evaluation import report

    if chosen.json is not None:
        report.write_json(chosen.json, report.as_json(evaluation, given, differences))
    if chosen.csv is not None:
        report.write_text(chosen.csv, report.as_csv(evaluation))
    if chosen.series is not None:
        report.write_series(evaluation.clips, chosen.series)
