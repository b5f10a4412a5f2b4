from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lipsync_cli.cli import app
from lipsync_cli.data.layout import open_cache

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        app.main(["prepare", *(str(one) for one in arguments)])
    return int(ended.value.code or 0)


@pytest.fixture
def films(filmer, tmp_path) -> Path:
    folder = tmp_path / "films"
    filmer.film(folder / "eileen" / "good.mp4")
    filmer.film(folder / "grey.mp4", face=False)
    filmer.film(folder / "short.mp4", 10)
    filmer.film(folder / "mute.mp4", sound=False)
    (folder / "text.mp4").write_text("no film\n" * 50)
    return folder


def test_one_line_says_what_was_prepared_and_where_the_reasons_are(films, tmp_path, capsys):
    cache = tmp_path / "cache"
    for _ in range(2):  # the second time nothing is left to do
        assert run(films, "-o", cache, "--workers", 1, "--image-size", 64) == 0
        assert capsys.readouterr().out == f"5 clips: 1 prepared, 4 left out (see {cache / 'log.jsonl'})\n"
    settings, clips = open_cache(cache)
    assert settings.image_size == 64
    assert [clip.speaker for clip in clips] == ["eileen"]
    reasons = {
        Path(line["path"]).name: line["left_out"]
        for line in map(json.loads, (cache / "log.jsonl").read_text().splitlines())
    }
    assert reasons["good.mp4"] == ""
    for name, reason in (
        ("grey", "have a face"),
        ("short", "frames have a face"),
        ("mute", "no sound"),
        ("text", "text.mp4"),
    ):
        assert reason in reasons[f"{name}.mp4"]


def test_when_no_clip_can_be_used_the_command_fails(films, tmp_path, capsys):
    (films / "eileen" / "good.mp4").unlink()
    assert run(films, "-o", tmp_path / "cache", "--workers", 1) == 7
    output = capsys.readouterr()
    assert output.out == ""
    assert "none of its 4 clips can be used" in output.err
    assert "log.jsonl" in output.err
    assert len(output.err.splitlines()) == 1


def test_a_cache_of_another_size_is_not_mixed(films, tmp_path, capsys):
    cache = tmp_path / "cache"
    assert run(films, "-o", cache, "--workers", 1, "--image-size", 64) == 0
    assert run(films, "-o", cache, "--workers", 1) == 7
    assert "was made with image_size 64, not 96: prepare into a new folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("folder", "more", "code", "message"),
    [
        ("gone", (), 7, "gone is not a folder"),
        (".", (), 7, "holds no video"),
        (".", ("--image-size", 7), 6, "image_size must be even, from 32 to 1024, not 7"),
        (".", ("--workers", 0), 2, ""),
    ],
)
def test_wrong_arguments_make_nothing(tmp_path, capsys, folder, more, code, message):
    assert run(tmp_path / folder, "-o", tmp_path / "cache", *more) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


def test_a_cache_where_none_can_be_is_refused(films, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(films, "-o", tmp_path / "file" / "cache", "--workers", 1) == 7
    assert "cannot make the cache" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of its own and groups of processes")
def test_after_ctrl_c_nothing_is_half_done_and_the_same_command_goes_on(filmer, tmp_path, capsys):
    import pty

    folder, cache = tmp_path / "films", tmp_path / "cache"
    filmer.film(folder / "a" / "film.mp4", 30)  # usually the first to be done, but another may overtake it
    for name in "bcdef":
        filmer.film(folder / name / "film.mp4", 75)
    command = [sys.executable, "-m", "lipsync_cli", "prepare", folder, "-o", cache, "--workers", "2"]
    terminal, stderr = pty.openpty()
    process = subprocess.Popen(
        command, cwd=ROOT, stderr=stderr, stdout=subprocess.PIPE, start_new_session=True, text=True
    )
    os.close(stderr)
    shown = b""
    while b"1/6" not in shown:  # the bar, after the first clip
        shown += os.read(terminal, 1000)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes
    shown += read_all(terminal)  # which ends when no process is left that could write there
    output, _ = process.communicate()
    assert process.returncode == 130
    assert output == ""
    assert b"of 6 clips: the same command goes on from here" in shown
    assert b"Traceback" not in shown
    assert not list(cache.rglob("*.part"))
    kept = {clip.path.read_bytes() for clip in open_cache(cache)[1]}
    assert 1 <= len(kept) < 6

    assert run(folder, "-o", cache, "--workers", 1) == 0
    assert "6 clips: 6 prepared, none left out" in capsys.readouterr().out
    (shard,) = (cache / "shards").iterdir()  # and its clips are packed, those of before as they were
    packed = shard.read_bytes()
    assert all(clip in packed for clip in kept)
    assert len(open_cache(cache)[1]) == 6


def read_all(terminal: int) -> bytes:
    """What is still written to a pseudo terminal until its last user closes it."""
    read = b""
    try:
        while piece := os.read(terminal, 1000):
            read += piece
    except OSError:  # how Linux says that nobody is left
        pass
    finally:
        os.close(terminal)
    return read


@pytest.mark.shared
def test_clips_of_grid_are_prepared(shared_folder, tmp_path, capsys):
    folder = tmp_path / "grid"
    names = ("s1/bbaf2n.mp4", "s1/bbaf3s.mp4")
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(shared_folder / "data" / "grid" / name)
    assert run(folder, "-o", tmp_path / "cache", "--workers", 1) == 0
    assert capsys.readouterr().out == "2 clips: 2 prepared, none left out\n"
    _, clips = open_cache(tmp_path / "cache")
    for clip in clips:
        assert 72 <= clip.n_frames <= 75
        assert clip.openings.max() > 0.03  # he speaks
        assert clip.openings.min() < 0.015
