"""Measures all pairs of two folders: in parallel, resumable, with a reason for every clip left out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import torch

from lipsync_cli.errors import DataError, LipsyncError
from lipsync_cli.evaluation.clip_figures import Instruments
from lipsync_cli.evaluation.results import LeftOut, Outcome, outcome_from_json, outcome_to_json
from lipsync_cli.evaluation.run import compare_pair, measured_own_offset

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
"""What a video may be called."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A generated video and the real one that it re-dubs."""

    name: str
    reference: Path
    generated: Path
    own_offset: float | None = 0.0
    """Of the real video, as in `compare_videos`; None: measured by the sync network."""


def match_pairs(
    generated: Path, reference: Path, own_offsets: Mapping[str, float | None] | None = None
) -> tuple[list[Pair], list[LeftOut]]:
    """Videos of two folders (and the folders in them) with the same stem, and those without a counterpart.

    Where a stem occurs more than once, the path within the folder must be the same too.

    Args:
        generated: folder of finished videos.
        reference: folder of real videos.
        own_offsets: by stem, `""` for all others; default 0.

    Raises:
        DataError: a folder is missing or holds no video.
    """
    made, real = _videos(generated), _videos(reference)
    offsets = own_offsets or {}
    by_stem: dict[str, list[str]] = {}
    for key in real:
        by_stem.setdefault(Path(key).name, []).append(key)
    pairs, left_out, used = [], [], set()
    for key, path in made.items():
        candidates = [key] if key in real else by_stem.get(Path(key).name, [])
        if len(candidates) != 1:
            found = "no video" if not candidates else f"{len(candidates)} videos"
            left_out.append(LeftOut(key, f"{reference} has {found} of the name {Path(key).name}"))
            continue
        used.add(candidates[0])
        own_offset = offsets.get(Path(key).name, offsets.get("", 0.0))
        pairs.append(Pair(key, real[candidates[0]], path, own_offset))
    left_out += [
        LeftOut(key, f"{generated} has no video of the name {Path(key).name}")
        for key in real
        if key not in used
    ]
    return pairs, left_out


def _videos(folder: Path) -> dict[str, Path]:
    """Path within the folder without its ending -> file, in order of name."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give a folder of videos")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    videos = {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}
    if not videos:
        raise DataError(f"{folder} holds no video ({', '.join(SUFFIXES)})")
    return videos


def measure_pair(pair: Pair, instruments: Instruments) -> Outcome:
    """One pair; what is wrong with it becomes its reason."""
    try:
        own_offset = pair.own_offset
        if own_offset is None:
            own_offset = measured_own_offset(pair.reference, instruments)
        return compare_pair(
            pair.reference, pair.generated, instruments, own_offset=own_offset, name=pair.name
        )
    except LipsyncError as error:
        return LeftOut(pair.name, str(error))


def measure_pairs(
    pairs: Sequence[Pair],
    make_instruments: Callable[[], Instruments],
    *,
    workers: int = 1,
    journal: Path | None = None,
    version: str = "",
) -> Iterator[Outcome]:
    """Outcomes in the order in which they are ready, each clip once.

    Args:
        pairs: what to measure.
        make_instruments: called once in each process (so it must be importable by name).
        workers: processes; 1: this one.
        journal: file of outcomes, one a line: those of an earlier run that was stopped are not measured
            again, as long as the files and `version` are the same.
        version: names all that outcomes depend on besides the files (networks, settings).
    """
    keys = {pair.name: _key(pair, version) for pair in pairs}
    known = _read_journal(journal) if journal else {}
    waiting = [pair for pair in pairs if keys[pair.name] not in known]
    yield from (known[keys[pair.name]] for pair in pairs if keys[pair.name] in known)
    for outcome in _measure(waiting, make_instruments, workers):
        if journal is not None:
            with journal.open("a", encoding="utf-8") as lines:
                # the line break comes first: the last line may have been cut short by a kill
                lines.write("\n" + json.dumps([keys[outcome.name], outcome_to_json(outcome)]))
        yield outcome


def _key(pair: Pair, version: str) -> str:
    """Changes when one of the files does."""
    parts = [version, pair.name, str(pair.own_offset)]
    for path in (pair.reference, pair.generated):
        status = path.stat()
        parts += [str(path), str(status.st_size), str(status.st_mtime_ns)]
    return "|".join(parts)


def _read_journal(journal: Path) -> dict[str, Outcome]:
    known: dict[str, Outcome] = {}
    if journal.is_file():
        for line in journal.read_text(encoding="utf-8").splitlines():
            try:
                key, outcome = json.loads(line)
                known[key] = outcome_from_json(outcome)
            except (ValueError, KeyError, TypeError):
                continue  # the last line of a run that was killed while writing; it is measured again
    return known


def _measure(
    pairs: Sequence[Pair], make_instruments: Callable[[], Instruments], workers: int
) -> Iterator[Outcome]:
    if not pairs:
        return
    if workers <= 1 or len(pairs) == 1:
        instruments = make_instruments()
        for pair in pairs:
            yield measure_pair(pair, instruments)
        return
    executor = ProcessPoolExecutor(
        min(workers, len(pairs)),
        mp_context=get_context("spawn"),
        initializer=_start_worker,
        initargs=(make_instruments, max(1, (os.cpu_count() or 1) // workers)),
    )
    try:
        futures = [executor.submit(_work, pair) for pair in pairs]
        for future in as_completed(futures):
            yield future.result()
    finally:
        executor.shutdown(cancel_futures=True)


_worker_instruments: Instruments | None = None


def _start_worker(make_instruments: Callable[[], Instruments], threads: int) -> None:
    global _worker_instruments
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    _worker_instruments = make_instruments()


def _work(pair: Pair) -> Outcome:
    if _worker_instruments is None:
        raise RuntimeError("the worker was not started")
    return measure_pair(pair, _worker_instruments)
