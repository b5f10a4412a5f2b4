"""`lipsync prepare`: from videos to the cache that training reads.

Each clip on its own, in worker processes, written at once: a run that was stopped goes on where it stopped.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import active_children, get_context
from pathlib import Path

import cv2
import torch

from lipsync_cli.data.corpora.source import SourceClip
from lipsync_cli.data.cut import Tools, prepare_source
from lipsync_cli.data.layout import (
    CacheSettings,
    ClipFacts,
    clip_path,
    remove_parts,
    start_cache,
    write_clip,
)
from lipsync_cli.data.log import LOG, FileState, end_last_line, note, read_log, state_of
from lipsync_cli.data.packing import Packer, locked, tidy
from lipsync_cli.errors import DataError, LipsyncError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a clip."""

    source: SourceClip
    n_frames: int
    """0 where it was left out, or prepared by an earlier run."""
    reason: str
    """Empty when it was prepared, else why it was left out."""
    facts: ClipFacts | None = None
    """Of a clip that was prepared now."""


def prepare(
    sources: Sequence[SourceClip],
    cache: Path,
    make_tools: Callable[[], Tools],
    *,
    settings: CacheSettings,
    workers: int,
    shard_bytes: int | None = None,
) -> Iterator[Outcome]:
    """Prepare what is not in the cache yet; yields the outcome of each clip as it is done.

    A clip that cannot be used is reported with its reason and left out, and is not tried again while its file
    stays as it is. make_tools must be importable by name: it is called in every worker process (one worker is
    this process). When the iteration is given up, or ended by Ctrl-C, the workers are stopped at once.

    shard_bytes: finished clips are packed into files of about this size (`data.packing`); None: not at all.

    Raises DataError when the cache cannot be written, was made with other settings, or is being prepared by
    another process.
    """
    start_cache(cache, settings)
    with locked(cache):
        packed = tidy(cache)
        packer = None
        if shard_bytes is not None:
            packer = Packer(cache, [(each.speaker, each.name) for each in sources], shard_bytes)
        for outcome in _outcomes_of(
            sources,
            cache,
            packed,
            partial(_run, cache=cache, make_tools=make_tools, settings=settings, workers=workers),
        ):
            if packer is not None:
                packer.settle((outcome.source.speaker, outcome.source.name))
            yield outcome
        if packer is not None:
            packer.finish()


def _outcomes_of(
    sources: Sequence[SourceClip],
    cache: Path,
    packed: Collection[tuple[str, str]],
    run: Callable[[list[SourceClip]], Iterator[Outcome]],
) -> Iterator[Outcome]:
    """Of what was done by earlier runs first, then of the rest, as it is done and noted."""
    end_last_line(cache / LOG)
    remembered = _left_out_before(cache / LOG)
    todo = []
    for source in sources:
        reason = remembered.get((state_of(source.path), source.name))
        clip = (source.speaker, source.name)
        if clip in packed or clip_path(cache, *clip).is_file():
            yield Outcome(source, 0, "")
        elif reason:
            yield Outcome(source, 0, reason)
        else:
            todo.append(source)
    for outcome in run(todo):
        note(
            cache / LOG,
            outcome.source,
            n_frames=outcome.n_frames,
            left_out=outcome.reason,
            facts=outcome.facts,
        )
        yield outcome


def _left_out_before(log: Path) -> Mapping[tuple[FileState, str], str]:
    """File and name of the clip -> reason, of those that earlier runs left out."""
    return {(entry.file, entry.name): entry.left_out for entry in read_log(log) if entry.file.size >= 0}


_worker_tools: Tools | None = None


def _start_worker(make_tools: Callable[[], Tools]) -> None:
    """Build the networks once in each worker process; the workers themselves are the parallelism."""
    global _worker_tools
    # Ctrl-C reaches the whole group of processes; the parent alone decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    _worker_tools = make_tools()


def _work(source: SourceClip, cache: Path, settings: CacheSettings) -> Outcome:
    if _worker_tools is None:
        raise RuntimeError("the worker was not started by _start_worker")
    return _prepared(source, _worker_tools, cache, settings)


def _prepared(source: SourceClip, tools: Tools, cache: Path, settings: CacheSettings) -> Outcome:
    """What cannot be read is this clip's own trouble; what cannot be written is everybody's and is raised."""
    try:
        arrays, facts = prepare_source(source, tools, settings)
    except LipsyncError as error:
        return Outcome(source, 0, str(error))
    write_clip(clip_path(cache, source.speaker, source.name), arrays, facts)
    return Outcome(source, len(arrays.openings), "", facts)


def _run(
    todo: Sequence[SourceClip],
    *,
    cache: Path,
    make_tools: Callable[[], Tools],
    settings: CacheSettings,
    workers: int,
) -> Iterator[Outcome]:
    """Outcomes in the order in which they are done."""
    if not todo:
        return
    if workers == 1:
        tools = make_tools()
        try:
            yield from (_prepared(source, tools, cache, settings) for source in todo)
        finally:
            remove_parts(cache)
    else:
        yield from _run_workers(todo, cache, make_tools, settings, min(workers, len(todo)))


def _run_workers(
    todo: Sequence[SourceClip],
    cache: Path,
    make_tools: Callable[[], Tools],
    settings: CacheSettings,
    workers: int,
) -> Iterator[Outcome]:
    """Outcomes of worker processes, which are gone when the iteration ends, however it ends."""
    others = set(active_children())
    executor = ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=_start_worker,
        initargs=(make_tools,),
    )
    try:
        yield from _outcomes(executor, todo, cache, settings, workers)
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process died, perhaps for lack of memory: start again to go on, with fewer --workers"
        ) from error
    except BaseException:
        # Not waiting for the clips under way, which may take minutes.
        for worker in set(active_children()) - others:
            worker.terminate()
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        remove_parts(cache)


def _outcomes(
    executor: ProcessPoolExecutor,
    todo: Sequence[SourceClip],
    cache: Path,
    settings: CacheSettings,
    workers: int,
) -> Iterator[Outcome]:
    """A few clips for each worker are under way at a time."""
    pending: set[Future[Outcome]] = set()
    for source in todo:
        pending.add(executor.submit(_work, source, cache, settings))
        if len(pending) >= 3 * workers:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    while pending:
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)
