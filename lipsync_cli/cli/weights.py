"""`lipsync weights`: which networks there are, where they lie, whether they are whole; gets public ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lipsync_cli.cli import console
from lipsync_cli.errors import WeightsError
from lipsync_cli.registry import store


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    group = typer.Typer(
        help="List, check, locate and fetch the weights of the networks.", no_args_is_help=True
    )
    group.command("list")(list_weights)
    group.command("verify")(verify)
    group.command("where")(where)
    group.command("pull")(pull)
    group.command("import")(import_file)
    app.add_typer(group, name="weights")


def list_weights() -> None:
    """Name, size, roles, licence and presence of all known weights."""
    entries = store.load_registry().entries
    width = max((len(name) for name in entries), default=0)
    for name, entry in entries.items():
        roles = ", ".join(entry.roles)
        presence = "" if store.locate(name) else "  (absent)"
        size = "     ?" if entry.bytes is None else f"{entry.bytes / 1e6:6.1f}"
        console.result(f"{name:{width}}  {size} MB  {roles}  [{entry.licence}]{presence}")


def verify() -> None:
    """Compare every file of weights with its registered sha256."""
    checked = store.verify_all()
    for found in checked:
        if found.problem is None:
            console.result(
                f"{'ok' if found.path else 'absent'}  {found.name}  {found.path or found.entry.file}"
            )
    problems = [found.problem for found in checked if found.problem is not None]
    for problem in problems[1:]:
        console.error(problem)
    if problems:
        raise WeightsError(problems[0])


def where(
    name: Annotated[
        str | None, typer.Argument(help="Weights to locate; without it, the folders looked in.")
    ] = None,
) -> None:
    """Print the path of some weights (checked), or the folders that are searched, in order."""
    if name is not None:
        console.result(str(store.find_weights(name)))
        return
    for folder in store.search_folders():
        console.result(str(folder))


def pull(
    name: Annotated[str, typer.Argument(help="Which of `lipsync weights list` to download.")],
    *,
    trust: Annotated[
        bool, typer.Option("--trust", help="Take a file whose right sha256 is not publicly known.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Do not touch the network.")] = False,
) -> None:
    """Download public weights into the cache folder; an interrupted download goes on where it was."""
    from lipsync_cli.registry import fetch

    shown = 0
    with console.progress(f"{name} (bytes)", store.load_registry().entry(name).bytes) as advance:

        def tell(done: int, total: int | None) -> None:
            nonlocal shown
            advance(done - shown)
            shown = done

        fetched = fetch.pull(name, trust=trust, offline=offline, progress=tell)
    console.message(f"licence: {fetched.entry.licence}")
    there = "is there already" if fetched.was_there else f"sha256 {fetched.sha256}"
    console.result(f"{fetched.path}: {there}")


def import_file(
    file: Annotated[
        Path, typer.Argument(help="A public checkpoint that you have (.pth, .model, ...).", readable=False)
    ],
    *,
    name: Annotated[
        str | None, typer.Option(help="Which of `lipsync weights list` it is, where that is not clear.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Take it although its sha256 is not the publicly known one.")
    ] = False,
) -> None:
    """Convert a public checkpoint to safetensors in the cache folder, without running code from it."""
    from lipsync_cli.registry import fetch

    fetched = fetch.import_file(file, name=name, trust=trust)
    console.message(f"licence: {fetched.entry.licence}")
    console.result(f"{fetched.path}: '{fetched.name}' of {fetched.entry.architecture}, from {file}")
