from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer

import lipsync_cli
from lipsync_cli.cli import app
from lipsync_cli.errors import DataError, FaceError, LipsyncError, MediaError, SettingsError, WeightsError

ROOT = Path(__file__).resolve().parents[2]


def failing(error: BaseException) -> ModuleType:
    """A command module whose command `fail` ends with the error."""
    module = ModuleType("failing")

    def fail() -> None:
        raise error

    module.register = lambda program: program.command()(fail)  # type: ignore[attr-defined]
    return module


def run(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    monkeypatch.setattr(app, "_COMMANDS", (*app._COMMANDS, failing(error)))
    with pytest.raises(SystemExit) as ended:
        app.main(["fail"])
    return ended.value.code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LipsyncError, 1),
        (MediaError, 3),
        (FaceError, 4),
        (WeightsError, 5),
        (SettingsError, 6),
        (DataError, 7),
    ],
)
def test_an_error_of_the_user_is_one_line_and_its_exit_code(
    error: type[LipsyncError], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(error("clip [1].mp4: " + 20 * "a long story "), monkeypatch) == code
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == f"error: clip [1].mp4: {20 * 'a long story '}\n"


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(KeyboardInterrupt(), monkeypatch) == 130


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_COMMANDS", (*app._COMMANDS, failing(ZeroDivisionError("bug"))))
    with pytest.raises(ZeroDivisionError):
        app.main(["fail"])


@pytest.mark.parametrize("arguments", [["no-such-command"], ["weights", "list", "--no-such-flag"], []])
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app.main(arguments)
    assert ended.value.code == 2


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"lipsync {lipsync_cli.__version__}\n"


def test_the_log_level_decides_what_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = ModuleType("telling")

    def tell() -> None:
        logging.getLogger("lipsync_cli.x").info("a detail")
        logging.getLogger("lipsync_cli.x").warning("a warning")

    module.register = lambda program: program.command()(tell)  # type: ignore[attr-defined]
    monkeypatch.setattr(app, "_COMMANDS", (*app._COMMANDS, module))
    for level, told in (
        ("warning", "WARNING: a warning\n"),
        ("info", "INFO: a detail\nWARNING: a warning\n"),
    ):
        with pytest.raises(SystemExit):
            app.main(["--log-level", level, "tell"])
        assert capsys.readouterr().err == told


def test_the_package_runs_as_the_program() -> None:
    command = [sys.executable, "-m", "lipsync_cli", "weights", "where", "no-such-weights"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == WeightsError.exit_code
    assert done.stderr.startswith("error: no weights are called 'no-such-weights': known are ")
    assert len(done.stderr.splitlines()) == 1


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    program = typer.main.get_command(app.build_app())
    commands = program.commands  # type: ignore[attr-defined]
    assert "weights" in commands
    for name, command in commands.items():
        assert command.help, name
        with pytest.raises(SystemExit) as ended:
            app.main([name, "--help"])
        assert ended.value.code == 0
        assert "Usage: lipsync" in capsys.readouterr().out
