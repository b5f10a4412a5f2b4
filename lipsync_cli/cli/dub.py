"""`lipsync dub`: makes the person in a video say another speech."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from lipsync_cli.cli import console
from lipsync_cli.cli.options import settings_as_options
from lipsync_cli.dubbing.job import DubJob, DubSettings, Progress
from lipsync_cli.memory import give_back_freed_memory

_STAGES = {"watch": "1/2 watching", "dub": "2/2 dubbing"}
_TIDIED = 500  # frames after which freed memory is given back, as its pieces fit less and less


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(dub)


@settings_as_options(DubSettings)
def dub(
    video: Annotated[Path, typer.Argument(help="A video, or a still picture, with a face.", readable=False)],
    audio: Annotated[Path, typer.Argument(help="The speech: anything with sound.", readable=False)],
    *,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="The video to write (.mp4, .m4v, .mov, .mkv).", readable=False),
    ],
    report: Annotated[
        Path | None, typer.Option(help="Write what was done to this JSON file.", readable=False)
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the same dub where it was stopped, if it was.")
    ] = False,
    cache: Annotated[
        bool, typer.Option(help="Remember in the user's cache folder where the faces of the video are.")
    ] = True,
    settings: DubSettings,
) -> None:
    """Make the person in VIDEO say AUDIO.

    The output lasts as long as the speech. Frames without a face stay as they are. What is done is kept in a
    hidden folder beside the output until the end, so that a dub that was killed can go on with --resume.
    """
    from lipsync_cli import assembly

    with progress_bars() as progress:
        done = assembly.dub(DubJob(video, audio, output, settings, report, resume, cache), progress)
    console.result(done.summary())


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """A bar for each stage of a dub, one after the other; what the program keeps of memory stays small."""
    with ExitStack() as open_bar:
        shown: dict[str, Callable[[float], None]] = {}
        reached: dict[str, int] = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in shown:
                open_bar.close()
                shown[stage] = open_bar.enter_context(console.progress(_STAGES[stage], total))
            shown[stage](done - reached.get(stage, 0))
            reached[stage] = done
            if done % _TIDIED == 0:
                give_back_freed_memory()

        yield tell
