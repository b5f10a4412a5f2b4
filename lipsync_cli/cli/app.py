"""The `lipsync` program: its commands, and the one place where errors become an exit code."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated, Literal

import typer

import lipsync_cli
from lipsync_cli.cli import console, curves, data, demo, dub, evaluate, prepare, train, weights
from lipsync_cli.errors import LipsyncError
from lipsync_cli.interpreter import suit_a_program
from lipsync_cli.memory import keep_freed_memory

_COMMANDS = (dub, demo, evaluate, prepare, data, train, curves, weights)
"""Modules with `register(app)`, in the order of the help; none imports torch before it runs."""

_INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells have it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program (arguments: default those of the process); always ends with SystemExit.

    Exit codes: 0 done, 2 wrong usage, 130 Ctrl-C, those of `errors.py`. Anything else is a bug and keeps its
    traceback.
    """
    keep_freed_memory()
    suit_a_program()
    try:
        build_app()(arguments, prog_name="lipsync")
    except LipsyncError as error:
        console.error(str(error))
        raise SystemExit(error.exit_code) from error
    except KeyboardInterrupt as interrupt:
        raise SystemExit(_INTERRUPTED) from interrupt


def build_app() -> typer.Typer:
    """The Typer application with all commands."""
    app = typer.Typer(
        help="Make the person in a video say the speech of another recording.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for module in _COMMANDS:
        module.register(app)
    return app


def _version(asked: bool) -> None:
    if asked:
        console.result(f"lipsync {lipsync_cli.__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_version)
    ] = False,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], typer.Option(help="What to tell on stderr.")
    ] = "warning",
) -> None:
    logging.basicConfig(level=log_level.upper(), format="%(levelname)s: %(message)s", force=True)
