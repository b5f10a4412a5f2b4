from __future__ import annotations

from pathlib import Path

import pytest

from lipsync_cli.whole_file import remove_unfinished, whole_file


def test_a_file_takes_its_name_when_it_is_whole(tmp_path: Path):
    path = tmp_path / "report.json"
    path.write_text("old")
    with whole_file(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
        assert part.parent == tmp_path  # so that renaming does not copy
        assert part.name.startswith(".")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def write_half(path: Path, error: type[BaseException]) -> None:
    path.write_text("half")
    raise error


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_after_an_error_nothing_is_left_and_the_old_file_stays(tmp_path: Path, error: type[BaseException]):
    path = tmp_path / "report.json"
    path.write_text("old")
    with pytest.raises(error), whole_file(path) as part:
        write_half(part, error)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_kill_left_is_written_over(tmp_path: Path):
    path = tmp_path / "report.json"
    with whole_file(path) as part:
        pass_on = part
        part.write_text("first")
    pass_on.write_text("left behind")
    with whole_file(path) as part:
        part.write_text("second")
    assert path.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_the_callers_to_tell_of(tmp_path: Path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "none" / "file") as part:
        part.write_text("x")


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path: Path):
    below = tmp_path / "speaker"
    below.mkdir()
    left = []
    for path in (tmp_path / "one", below / "two.clip"):
        with whole_file(path) as part:
            part.write_text("x")
        part.write_text("left behind")
        left.append(part)
    (below / "mine.part").write_text("no hidden file")
    remove_unfinished(tmp_path)
    assert not any(part.exists() for part in left)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mine.part", "one", "speaker", "two.clip"]
    remove_unfinished(tmp_path / "not there")
