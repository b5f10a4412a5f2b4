"""What the user sees: messages and progress on stderr, results on stdout (so that they can be piped)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console


def result(line: str) -> None:
    """One line of result on stdout."""
    typer.echo(line)


def error(line: str) -> None:
    """The one line that says why the command failed, on stderr."""
    typer.echo(f"error: {line}", err=True)


def message(text: str) -> None:
    """Something worth knowing while a command runs, on stderr."""
    messages().print(text, markup=False, highlight=False, soft_wrap=True)


@cache
def messages() -> Console:
    """The one console of the program; it writes to stderr."""
    from rich.console import Console

    return Console(stderr=True)


@contextmanager
def progress(description: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
    """A bar with the time left, on stderr while the block runs; nothing where stderr is not a terminal.

    Yields what advances it: call it with the number of steps just done, of `total` (None: unknown).
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = messages()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task(description, total=total)

        def advance(steps: float) -> None:
            bars.advance(task, steps)

        yield advance
