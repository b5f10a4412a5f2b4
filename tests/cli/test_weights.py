from __future__ import annotations

from pathlib import Path

import pytest

from lipsync_cli.cli.app import main
from lipsync_cli.errors import WeightsError
from lipsync_cli.registry import store


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No weights of the developer's own: an empty cache and an empty LIPSYNC_WEIGHTS."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


def run(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(["weights", *arguments])
    return ended.value.code


def test_list_shows_every_entry_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(store.load_registry().entries)
    assert "1.2 MB" in next(line for line in lines if line.startswith("face_landmark "))


def test_verify_says_ok_for_each_whole_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify") == 0
    output = capsys.readouterr()
    assert output.err == ""
    entries = store.load_registry().entries
    shown = {line.split()[1]: line.split()[0] for line in output.out.splitlines()}
    assert shown == {name: "ok" if entry.shipped else "absent" for name, entry in entries.items()}


def test_verify_tells_of_each_wrong_file_and_fails(
    own_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("face_landmark.tflite", "face_detection_full_range.tflite"):
        (own_folders / name).write_bytes(b"corrupt")
    assert run("verify") == WeightsError.exit_code
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert all(line.startswith(f"error: {own_folders}") and "expected sha256" in line for line in errors)


def test_where_prints_a_path_or_the_folders_in_order(
    own_folders: Path, weights_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("where", "face_landmark") == 0
    assert capsys.readouterr().out == f"{weights_folder / 'face_landmark.tflite'}\n"
    assert run("where") == 0
    expected = [own_folders, own_folders / "cache" / "lipsync", weights_folder]
    assert capsys.readouterr().out.splitlines() == [str(folder) for folder in expected]
