from __future__ import annotations

import cv2
import pytest

from lipsync_cli.cli import app
from lipsync_cli.training import run_folder


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app.main(list(args))
    return int(ended.value.code or 0)


def test_runs_are_drawn_into_one_picture(tmp_path, capsys):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        run_folder.log(tmp_path / name, 1, 1.0, {"sync": 0.5})
    picture = tmp_path / "both.png"
    assert run("curves", str(tmp_path / "one"), str(tmp_path / "two"), "-o", str(picture)) == 0
    assert capsys.readouterr().out == f"{picture}\n"
    assert cv2.imread(str(picture)) is not None


def test_a_folder_that_holds_no_run_is_one_line(tmp_path, capsys):
    assert run("curves", str(tmp_path)) == 7
    assert "no run with a log (log.csv)" in capsys.readouterr().err
