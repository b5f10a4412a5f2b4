from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from lipsync_cli.cli import app
from lipsync_cli.data.layout import ClipFacts

FACTS = ClipFacts(rate=25.0, face_width=120.0, roll=2.0, offset=0, confidence=0.2)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        app.main(["data", *(str(one) for one in arguments)])
    return int(ended.value.code or 0)


def test_a_cache_is_checked_line_by_line_with_plots_and_json(draw_corpus, tmp_path, capsys):
    drawn = draw_corpus()
    drawn.add("f", "clip", 60, FACTS)
    plots, file = tmp_path / "new" / "plots", tmp_path / "check.json"
    assert run("check", drawn.folder, "--plots", plots, "--json", file) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("warning       clips       9 of 9 clips are usable")
    assert any(line.startswith("ok            offsets     0 of 1 clips") for line in lines)
    assert lines[-1].endswith(f"{plots / 'overview.png'} and one for each figure")
    values = json.loads(file.read_text())
    for line, one in zip(lines[:-1], values["verdicts"], strict=True):
        assert line.startswith(f"{one['level']:12}  {one['topic']:10}  {one['found']}")
    assert values["speakers"] == {"a": 3, "b": 2, "c": 1, "d": 1, "e": 1, "f": 1}
    assert cv2.imread(str(plots / "overview.png")) is not None


def test_a_useless_cache_ends_with_the_code_of_data_after_all_was_written(draw_corpus, tmp_path, capsys):
    drawn = draw_corpus()
    for path in sorted((drawn.folder / "clips").rglob("*.safetensors")):
        drawn.add(path.parent.name, path.stem, 30, openings=np.full(30, 0.01, np.float32))
    file = tmp_path / "check.json"
    assert run("check", drawn.folder, "--json", file) == 7
    output = capsys.readouterr()
    assert "problem       movement    in 8 of 8 clips" in output.out
    assert "is useless for training: 0 of 8 clips are usable" in output.err
    assert json.loads(file.read_text())["n_usable"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gone",), "gone is not a cache: make one with 'lipsync prepare"),
        (("cache", "--json", "gone/check.json"), "does not exist; make it first"),
        (("cache", "--kept-out", "gone.txt"), "gone.txt: cannot be read as a list of clips"),
    ],
)
def test_wrong_arguments_are_one_line(draw_corpus, tmp_path, monkeypatch, capsys, arguments, message):
    draw_corpus()
    monkeypatch.chdir(tmp_path)
    assert run("check", *arguments) == 7
    output = capsys.readouterr()
    assert message in output.err
    assert len(output.err.splitlines()) == 1
    assert output.out == ""


def test_a_cache_is_packed_in_one_command(draw_corpus, capsys):
    drawn = draw_corpus()
    assert run("pack", drawn.folder, "--shard-size", 2) == 0
    assert capsys.readouterr().out == "8 clips packed into 1 files\n"
    assert [path.name for path in (drawn.folder / "shards").iterdir()] == ["00000.clips"]
    assert run("pack", drawn.folder) == 0
    assert capsys.readouterr().out == "0 clips packed into 0 files\n"
    assert run("check", drawn.folder) == 0
    assert "8 of 8 clips are usable" in capsys.readouterr().out
    assert run("pack", drawn.folder / "clips") == 7
    assert "is not a cache" in capsys.readouterr().err
