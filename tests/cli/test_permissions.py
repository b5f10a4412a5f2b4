"""What may not be read is told in one line with the command's own exit code, not as wrong usage."""

from __future__ import annotations

import json
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from lipsync_cli.cli import app

LOCKED_FILE, LOCKED_FOLDER, VIDEOS = "locked.txt", "locked", "videos"
CASES = {
    "prepare": (["prepare", LOCKED_FOLDER, "-o", "cache"], LOCKED_FOLDER, 7),
    "prepare into": (["prepare", VIDEOS, "-o", LOCKED_FOLDER], LOCKED_FOLDER, 7),
    "eval video": (["eval", "--video", LOCKED_FILE], LOCKED_FILE, 3),
    "eval folders": (["eval", "--generated", LOCKED_FOLDER, "--reference", VIDEOS], LOCKED_FOLDER, 7),
    "eval reference": (["eval", "--generated", VIDEOS, "--reference", LOCKED_FOLDER], LOCKED_FOLDER, 7),
    "eval corpus": (["eval", "--dataset", "lrs2", "--root", LOCKED_FOLDER], LOCKED_FOLDER, 7),
    "eval list": (
        ["eval", "--dataset", "grid", "--root", VIDEOS, "--unpaired", LOCKED_FILE],
        LOCKED_FILE,
        7,
    ),
    "eval stability": (["eval", "--stability", "--reference", LOCKED_FOLDER], LOCKED_FOLDER, 7),
    "eval sync network": (["eval", "--video", LOCKED_FILE, "--sync-network", LOCKED_FILE], LOCKED_FILE, 5),
    "train": (["train", "--stage", "gl", "--data", LOCKED_FOLDER, "--out", "run"], LOCKED_FOLDER, 7),
    "train settings": (
        ["train", "--stage", "gl", "--data", VIDEOS, "--out", "run", "--config", LOCKED_FILE],
        LOCKED_FILE,
        6,
    ),
    "train into": (["train", "--stage", "gl", "--data", VIDEOS, "--out", LOCKED_FOLDER], LOCKED_FOLDER, 7),
    "data check": (["data", "check", LOCKED_FOLDER], LOCKED_FOLDER, 7),
    "data pack": (["data", "pack", LOCKED_FOLDER], LOCKED_FOLDER, 7),
    "curves": (["curves", LOCKED_FOLDER], LOCKED_FOLDER, 7),
    "weights import": (["weights", "import", LOCKED_FILE], LOCKED_FILE, 5),
}
"""Arguments, which of them is told, exit code."""

RUN_ALL = """
import contextlib, io, json, sys
from lipsync_cli.cli import app
outcomes = {}
for name, arguments in json.loads(sys.argv[1]).items():
    told, code = io.StringIO(), "no exit"
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        try:
            app.main(arguments)
        except SystemExit as ended:
            code = ended.code
        except BaseException as error:
            code = repr(error)
    outcomes[name] = [code, told.getvalue()]
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def outcomes(as_anyone: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, str]]:
    """Exit code and words of each command; all in one process without root's power, which starts once."""
    folder = tmp_path_factory.mktemp("locks")
    (folder / VIDEOS / "speaker").mkdir(parents=True)
    (folder / VIDEOS / "speaker" / "clip.mp4").write_bytes(b"not looked into")
    (folder / LOCKED_FILE).write_text("words")
    (folder / LOCKED_FILE).chmod(0)
    (folder / LOCKED_FOLDER).mkdir(0)
    asked = json.dumps({name: arguments for name, (arguments, _, _) in CASES.items()})
    done = subprocess.run(
        [*as_anyone, sys.executable, "-c", RUN_ALL, asked], cwd=folder, capture_output=True, text=True
    )
    (folder / LOCKED_FOLDER).chmod(0o700)
    assert done.returncode == 0, done.stderr
    found: dict[str, tuple[Any, str]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", CASES)
def test_what_may_not_be_read_is_told_in_one_line(name: str, outcomes: dict[str, tuple[Any, str]]) -> None:
    _, culprit, expected = CASES[name]
    code, told = outcomes[name]
    assert code == expected, told
    assert told.startswith("error: ")
    assert culprit in told
    assert told.count("\n") == 1


def test_no_command_leaves_it_to_the_command_line_whether_a_file_can_be_read() -> None:
    """typer would tell it in a box of five lines, as wrong usage."""
    paths = list(path_parameters(app.build_app()))
    assert len(paths) > 20
    assert [name for name, info in paths if info.readable or info.exists or info.writable] == []


def path_parameters(program: typer.Typer) -> Iterator[tuple[str, Any]]:
    """Each argument and option of all commands that takes paths: its name and what typer knows of it."""
    for group in program.registered_groups:
        assert group.typer_instance is not None
        yield from path_parameters(group.typer_instance)
    for command in program.registered_commands:
        assert command.callback is not None
        hints = typing.get_type_hints(command.callback, include_extras=True)
        for name, hint in hints.items():
            kind, *extras = typing.get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
            if Path in (kind, *typing.get_args(kind)):
                yield f"{command.callback.__name__} {name}", extras[0]
