from __future__ import annotations

import io

import pytest
from rich.console import Console

from lipsync_cli.cli import console


def test_results_go_to_stdout_and_all_else_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    console.result("dubbed [bold] out.mp4")
    console.message("clip [red] " + 30 * "long ")
    console.error("no [face] found")
    output = capsys.readouterr()
    assert output.out == "dubbed [bold] out.mp4\n"
    assert output.err == f"clip [red] {30 * 'long '}\nerror: no [face] found\n"


def test_progress_is_silent_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("dubbing", total=3) as advance:
        advance(1)
        advance(2)
    assert capsys.readouterr() == ("", "")


def test_progress_shows_what_is_done_of_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=80)
    monkeypatch.setattr(console, "messages", lambda: terminal)
    with console.progress("clip [1]", total=4) as advance:
        advance(3)
    assert "clip [1]" in screen.getvalue()
    assert "3/4" in screen.getvalue()


def test_progress_ends_with_the_error_that_ended_the_work() -> None:
    def interrupted() -> None:
        with console.progress("training", total=None) as advance:
            advance(1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
