"""`lipsync data`: what is to be known of a cache before days of training are spent on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lipsync_cli.cli import console


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    group = typer.Typer(help="Look after the caches of `lipsync prepare`.", no_args_is_help=True)
    group.command()(check)
    group.command()(pack)
    app.add_typer(group, name="data")


def check(
    cache: Annotated[Path, typer.Argument(help="A cache of `lipsync prepare`.", readable=False)],
    plots: Annotated[Path | None, typer.Option(help="Folder for histograms (PNG).", readable=False)] = None,
    json: Annotated[
        Path | None, typer.Option(help="File for everything that was found.", readable=False)
    ] = None,
    kept_out: Annotated[
        list[Path] | None,
        typer.Option(
            help="A list of clips (SPEAKER/CLIP in each line) or a cache for validation or test: tells which "
            "speakers are in both. May be repeated.",
            readable=False,
        ),
    ] = None,
) -> None:
    """Say what is wrong with a cache: one line for each topic, 'ok', 'warning' or 'problem', and what to do.

    Offsets and their confidence, copies, silence, frame rates, speakers, pose, size of the faces, lengths.
    Exit code 7 when the cache is useless for training, else 0, whatever the warnings.
    """
    from lipsync_cli.assembly_preparation import conclude_check, draw_check, start_check
    from lipsync_cli.errors import DataError
    from lipsync_cli.evaluation import report

    if json is not None:
        report.check_writable(json)
    if plots is not None:
        report.check_writable(plots / "overview.png", make_folder=True)
    n_clips, clips = start_check(cache)
    figures = []
    with console.progress("checking", n_clips) as advance:
        for clip in clips:
            figures.append(clip)
            advance(1)
    outcome = conclude_check(cache, figures, kept_out or [])
    for verdict in outcome.verdicts:
        console.result(str(verdict))
    if json is not None:
        report.write_json(json, outcome.values)
    if plots is not None:
        for name, picture in draw_check(outcome).items():
            report.write_bytes(plots / name, picture)
        console.result(f"plots: {plots / 'overview.png'} and one for each figure")
    if outcome.is_useless:
        raise DataError(
            f"{cache} is useless for training: {outcome.verdicts[0].found}; see what is said above"
        )


def pack(
    cache: Annotated[Path, typer.Argument(help="A cache of `lipsync prepare`.", readable=False)],
    shard_size: Annotated[int, typer.Option(min=1, help="MB of a file.")] = 512,
) -> None:
    """Pack the clips of a cache that have files of their own into few large ones.

    `lipsync prepare` does so by itself; this is for caches of older versions, and of --shard-size 0.
    Stopped at any moment, the same command goes on.
    """
    from lipsync_cli.assembly_preparation import pack_cache

    n_clips, packed = pack_cache(cache, shard_size)
    n_shards = 0
    with console.progress("packing", n_clips) as advance:
        for n in packed:
            n_shards += 1
            advance(n)
    console.result(f"{n_clips} clips packed into {n_shards} files")
