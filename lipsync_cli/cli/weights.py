"""`lipsync weights`: which networks there are, where they lie and whether they are whole."""

from __future__ import annotations

from typing import Annotated

import typer

from lipsync_cli.cli import console
from lipsync_cli.errors import WeightsError
from lipsync_cli.registry import store


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    group = typer.Typer(help="List, check and locate the weights of the networks.", no_args_is_help=True)
    group.command("list")(list_weights)
    group.command("verify")(verify)
    group.command("where")(where)
    app.add_typer(group, name="weights")


def list_weights() -> None:
    """Name, size, roles, licence and presence of all known weights."""
    entries = store.load_registry().entries
    width = max((len(name) for name in entries), default=0)
    for name, entry in entries.items():
        roles = ", ".join(entry.roles)
        presence = "" if store.locate(name) else "  (absent)"
        console.result(f"{name:{width}}  {entry.bytes / 1e6:6.1f} MB  {roles}  [{entry.licence}]{presence}")


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
