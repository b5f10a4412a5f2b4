"""`lipsync prepare`: from a corpus to the cache that training reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from lipsync_cli.cli import console
from lipsync_cli.errors import DataError


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(prepare)


def prepare(
    source: Annotated[
        Path, typer.Argument(help="Folder of the corpus, e.g. SOURCE/SPEAKER/CLIP.mp4.", readable=False)
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the cache.", readable=False)],
    corpus: Annotated[
        Literal["folder", "grid", "hdtf", "lrs2", "lrw"],
        typer.Option(help="Whose layout the folder has; 'folder': any videos."),
    ] = "folder",
    split: Annotated[
        str | None,
        typer.Option(
            help="Only these clips: a split of the corpus, or the path of a list (grid: as for eval)."
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one for each core.")] = None,
    image_size: Annotated[int, typer.Option(help="Pixels of a face's side.")] = 96,
    offsets: Annotated[
        Literal["off", "measure", "correct"],
        typer.Option(help="AV offset of each clip: measure it, and correct it where it is certain."),
    ] = "correct",
    sync_network: Annotated[
        str | None, typer.Option(help="AVSyncNet that measures offsets: a name or a file.")
    ] = None,
    shard_size: Annotated[
        int,
        typer.Option(min=0, help="MB of the files that finished clips are packed into; 0: a file for each."),
    ] = 512,
) -> None:
    """Cut faces out of the videos of SOURCE and store them with what is heard, for `lipsync train`.

    Stopped and started again, it goes on where it was. Clips without a face or sound, and those whose sound
    belongs to something else, are left out; CACHE/log.jsonl says why (remove it to try them again).
    """
    from lipsync_cli.assembly_preparation import PrepareJob, prepare_corpus

    n_clips, outcomes = prepare_corpus(
        PrepareJob(
            source=source,
            cache=output,
            corpus=corpus,
            split=split,
            image_size=image_size,
            offsets=offsets,
            sync_network=sync_network,
            workers=workers or os.cpu_count() or 1,
            shard_size=shard_size,
        )
    )
    reasons = []
    n_done = 0
    try:
        with console.progress("preparing", n_clips) as advance:
            for outcome in outcomes:
                n_done += 1
                if outcome.reason:
                    reasons.append(outcome.reason)
                advance(1)
    except KeyboardInterrupt:
        console.message(f"stopped after {n_done} of {n_clips} clips: the same command goes on from here")
        raise
    log = output / "log.jsonl"
    if len(reasons) == n_clips:
        raise DataError(f"{source}: none of its {n_clips} clips can be used, see {log} ({reasons[0]})")
    left_out = f"{len(reasons)} left out (see {log})" if reasons else "none left out"
    console.result(f"{n_clips} clips: {n_clips - len(reasons)} prepared, {left_out}")
