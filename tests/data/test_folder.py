from __future__ import annotations

from pathlib import Path

import pytest

from lipsync_cli.data.corpora.folder import list_clips
from lipsync_cli.errors import DataError


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def listed(root: Path) -> list[tuple[str, str, str]]:
    return [(clip.path.relative_to(root).as_posix(), clip.speaker, clip.name) for clip in list_clips(root)]


def test_the_first_folder_names_the_speaker_and_deeper_ones_the_clip(tmp_path):
    touch(tmp_path, "ann/one.mp4", "ann/day/two.MOV", "bob/three.mkv", "ann/notes.txt", "ann/one.align")
    assert listed(tmp_path) == [
        ("ann/day/two.MOV", "ann", "day_two"),
        ("ann/one.mp4", "ann", "one"),
        ("bob/three.mkv", "bob", "three"),
    ]


def test_a_video_in_the_folder_itself_is_a_speaker_of_its_own(tmp_path):
    touch(tmp_path, "ann.mp4", "bob.mp4")
    assert listed(tmp_path) == [("ann.mp4", "ann", "ann"), ("bob.mp4", "bob", "bob")]


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    touch(tmp_path, "ann/one.mp4", "ann/._one.mp4", ".trash/two.mp4")
    assert [path for path, _, _ in listed(tmp_path)] == ["ann/one.mp4"]


def test_videos_that_would_be_called_alike_are_told_apart(tmp_path):
    touch(tmp_path, "ann/b_c.mp4", "ann/b/c.mp4", "ann/b_c.mov", "bob/bob.mp4", "bob.mp4", "ann/d.mp4")
    names = [(speaker, name) for _, speaker, name in listed(tmp_path)]
    assert len(set(names)) == 6
    assert ("ann", "d") in names
    assert listed(tmp_path) == listed(tmp_path)


def test_a_folder_without_a_video_is_refused(tmp_path):
    touch(tmp_path, "ann/notes.txt")
    with pytest.raises(DataError, match=r"holds no video \(\.avi, "):
        list_clips(tmp_path)


@pytest.mark.parametrize("name", ["missing", "file.mp4"])
def test_what_is_no_folder_is_refused(tmp_path, name):
    touch(tmp_path, "file.mp4")
    with pytest.raises(DataError, match="is not a folder"):
        list_clips(tmp_path / name)
