"""`lipsync curves`: losses and figures of training runs over each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lipsync_cli.cli import console


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(curves)


def curves(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of `lipsync train`.", readable=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture (PNG).", readable=False)] = Path(
        "curves.png"
    ),
) -> None:
    """Draw losses and figures of training runs over the minutes of training, one line for each run."""
    from lipsync_cli.training.curves import draw_curves

    draw_curves(runs, output)
    console.result(str(output))
