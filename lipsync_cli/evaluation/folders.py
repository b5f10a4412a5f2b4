"""Measures all pairs of two folders: in parallel, resumable, with a reason for every clip left out."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import cv2
import torch

from lipsync_cli.data.corpora.source import SourceClip, check_permitted
from lipsync_cli.errors import DataError, LipsyncError
from lipsync_cli.evaluation.clip_figures import Instruments
from lipsync_cli.evaluation.making import cut_part
from lipsync_cli.evaluation.results import (
    ClipResult,
    LeftOut,
    Outcome,
    outcome_from_json,
    outcome_to_json,
    with_features,
    write_features,
)
from lipsync_cli.evaluation.run import compare_pair, measured_own_offset, score_unpaired

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
    words: Path | None = None
    """A real video of another clip whose words the generated one says; None: `reference`."""
    is_paired: bool = True
    """Whether pictures can be compared: the generated video has the length of the real one."""
    cut_from: tuple[SourceClip, ...] = ()
    """Parts of longer videos that are cut out before."""
    is_made: bool = False
    """Whether the generated video is made here, by `Instruments.make`."""


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


def with_other_videos(pairs: Sequence[Pair], folder: Path) -> tuple[list[Pair], list[LeftOut]]:
    """The same clips as another method made them: files of the same name (or path) in a folder.

    Raises DataError when there is no such folder, or no video in it.
    """
    made = _videos(folder)
    by_stem = {Path(key).name: path for key, path in made.items()}
    others, left_out = [], []
    for pair in pairs:
        path = made.get(pair.name) or by_stem.get(Path(pair.name).name)
        if path is None:
            left_out.append(LeftOut(pair.name, f"{folder} has no video of the name {pair.name}"))
        else:
            others.append(replace(pair, generated=path, is_made=False))
    return others, left_out


def _videos(folder: Path) -> dict[str, Path]:
    """Path within the folder without its ending -> file, in order of name."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give a folder of videos")
    check_permitted(folder)
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    videos = {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}
    if not videos:
        raise DataError(f"{folder} holds no video ({', '.join(SUFFIXES)})")
    return videos


def measure_pair(pair: Pair, instruments: Instruments) -> Outcome:
    """One pair; what is wrong with it becomes its reason."""
    try:
        _make_ready(pair, instruments)
        own_offset = pair.own_offset
        if own_offset is None:
            own_offset = measured_own_offset(pair.words or pair.reference, instruments)
        if not pair.is_paired and pair.words is not None:
            return score_unpaired(
                pair.words, pair.generated, instruments, own_offset=own_offset, name=pair.name
            )
        return compare_pair(
            pair.reference,
            pair.generated,
            instruments,
            own_offset=own_offset,
            name=pair.name,
            words=pair.words,
        )
    except LipsyncError as error:
        return LeftOut(pair.name, str(error))


def _make_ready(pair: Pair, instruments: Instruments) -> None:
    """Cut and make the files that are not there yet; each appears under its name when it is whole."""
    for clip in pair.cut_from:
        output = next(
            path
            for path in (pair.reference, pair.words)
            if path is not None and path.parts[-2:] == (clip.speaker, f"{clip.name}.mp4")
        )
        if not output.is_file():
            cut_part(clip, output)
    if pair.is_made and not pair.generated.is_file():
        if instruments.make is None:
            raise DataError(f"{pair.generated} is missing")
        pair.generated.parent.mkdir(parents=True, exist_ok=True)
        instruments.make(pair.reference, pair.words or pair.reference, pair.generated)


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
    for pair in pairs:
        if journal is not None and (outcome := known.get(keys[pair.name])) is not None:
            yield with_features(outcome, _features_file(journal, keys[pair.name]))
    for outcome in _measure(waiting, make_instruments, workers):
        if journal is not None:
            if isinstance(outcome, ClipResult) and outcome.features:
                write_features(outcome, _features_file(journal, keys[outcome.name]))
            with journal.open("a", encoding="utf-8") as lines:
                # the line break comes first: the last line may have been cut short by a kill
                lines.write("\n" + json.dumps([keys[outcome.name], outcome_to_json(outcome)]))
        yield outcome


def forget_journal(journal: Path) -> None:
    """Remove what a run that is over had kept to go on from."""
    journal.unlink(missing_ok=True)
    shutil.rmtree(_features_folder(journal), ignore_errors=True)


def _features_folder(journal: Path) -> Path:
    return journal.with_name(f"{journal.name}.features")


def _features_file(journal: Path, key: str) -> Path:
    return _features_folder(journal) / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"


def _key(pair: Pair, version: str) -> str:
    """Changes when one of the files does."""
    parts = [version, pair.name, str(pair.own_offset)]
    sources = [clip.path for clip in pair.cut_from] or [pair.reference, pair.words or pair.reference]
    for path in sources if pair.is_made else [*sources, pair.generated]:
        if not path.is_file():  # a real video that is cut later: its source is named above
            continue
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
    waiting = iter(pairs)
    try:
        # a few at a time, and none held once it is told: results of all clips would fill the memory
        running = {executor.submit(_work, pair) for pair in islice(waiting, 2 * workers)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {executor.submit(_work, pair) for pair in islice(waiting, len(done))}
            while done:
                yield done.pop().result()
    except BrokenProcessPool as error:
        raise LipsyncError(
            "a process that measured was ended from outside (too little memory?); use fewer --workers"
        ) from error
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
