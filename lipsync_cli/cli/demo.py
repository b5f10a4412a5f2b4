"""`lipsync demo`: a portrait that speaks, with nothing but what comes with the program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lipsync_cli.cli import console
from lipsync_cli.cli.dub import progress_bars
from lipsync_cli.cli.options import settings_as_options
from lipsync_cli.dubbing.job import DubSettings


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(demo)


@settings_as_options(DubSettings)
def demo(
    *,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The video to write.", readable=False)
    ] = Path("demo.mp4"),
    settings: DubSettings,
) -> None:
    """Dub a portrait (Eileen Collins, NASA) with a synthesised sentence; takes a few seconds."""
    from lipsync_cli import assembly

    with progress_bars() as progress:
        done = assembly.demo(output, settings, progress)
    console.result(done.summary())
