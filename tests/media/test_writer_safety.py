from __future__ import annotations

import os
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lipsync_cli.errors import MediaError, SettingsError
from lipsync_cli.interfaces import Frame
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.media.writer import VideoWriter, check_not_an_input, check_output

FPS = Fraction(25)


def picture(level: int = 128, width: int = 64, height: int = 48) -> Any:
    return np.full((height, width, 3), level, np.uint8)


def write(path: Path, times: list[float], speech: Path | None = None, **settings: Any) -> Path:
    """Grey frames; the first quarter dark, the rest light."""
    shape = {"width": 64, "height": 48, "rate": FPS, "preset": "veryfast"} | settings
    size = {"width": shape["width"], "height": shape["height"]}
    with VideoWriter(path, speech=speech, **shape) as writer:
        for index, time in enumerate(times):
            writer.write(Frame(index, time, picture(40 if index < len(times) / 4 else 210, **size)))
    return path


def steps(n_frames: int, rate: Fraction = FPS) -> list[float]:
    return [float(index / rate) for index in range(n_frames)]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, MediaError])
def test_on_an_error_nothing_is_left_and_an_older_file_stays(
    studio: Any, error: type[BaseException], make_noise: Callable[..., Any]
) -> None:
    folder = studio.folder / "results"
    folder.mkdir()
    (folder / "out.mp4").write_bytes(b"the older one")
    speech = studio.wav("speech.wav", make_noise(2.0))

    def stop_after_some() -> None:
        with VideoWriter(folder / "out.mp4", width=64, height=48, rate=FPS, speech=speech) as writer:
            for index in range(30):
                writer.write(Frame(index, index / 25, picture()))
            raise error("stop")

    with pytest.raises(error, match="stop"):
        stop_after_some()
    assert [path.name for path in folder.iterdir()] == ["out.mp4"]
    assert (folder / "out.mp4").read_bytes() == b"the older one"


def test_until_the_end_the_output_has_another_name(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", width=64, height=48, rate=FPS, speech=None) as writer:
        for index in range(3):
            writer.write(Frame(index, index / 25, picture()))
        assert [path.name for path in tmp_path.iterdir()] == [".out.part.mp4"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_without_a_frame_there_is_no_file(tmp_path: Path) -> None:
    with (
        pytest.raises(MediaError, match=r"out\.mp4.*no frame"),
        VideoWriter(tmp_path / "out.mp4", width=64, height=48, rate=FPS, speech=None),
    ):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    ["with space.mp4", "größe ✓.mp4", "-dash.mp4", "12:30.mp4", "x" * 240 + ".mp4", "é" * 124 + ".mp4"],
)
def test_any_name_of_a_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path(name), steps(3))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert sum(1 for _ in VideoReader(Path(name))) == 3


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link.mp4").symlink_to(tmp_path / "real.mp4")
    write(tmp_path / "link.mp4", steps(3))
    assert (tmp_path / "link.mp4").is_symlink()
    assert sum(1 for _ in VideoReader(tmp_path / "real.mp4")) == 3


def test_a_full_disk_is_a_media_error_that_names_the_file(studio: Any, full_disk: Any) -> None:
    folder = studio.folder / "results"
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (100, 48, 64, 3), dtype=np.uint8)

    def write_all() -> None:
        with VideoWriter(folder / "out.mp4", width=64, height=48, rate=FPS, speech=None, crf=5) as writer:
            for index, image in enumerate(images):
                writer.write(Frame(index, index / 25, image))

    with full_disk(50_000), pytest.raises(MediaError, match=r"out\.mp4: cannot be written.*space"):
        write_all()
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("missing/out.mp4", "does not exist"),
        ("folder.mp4", "folder"),
        ("out.avi", r"\.mp4"),
        ("out", r"\.mp4"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_any_work(tmp_path: Path, name: str, hint: str) -> None:
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(MediaError, match=hint):
        check_output(tmp_path / name)
    with pytest.raises(MediaError, match=hint):
        VideoWriter(tmp_path / name, width=64, height=48, rate=FPS, speech=None)


def test_a_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(MediaError, match="plain file"):
        check_output(tmp_path / "pipe.mp4")


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="the superuser may write in any folder"
)
def test_a_folder_without_permission_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(MediaError, match="permitted"):
        check_output(tmp_path / "out.mp4")


@pytest.mark.parametrize("settings", [{"crf": 52}, {"crf": -1}, {"preset": "lazy"}, {"codec": "divx"}])
def test_settings_out_of_range_are_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        VideoWriter(tmp_path / "out.mp4", width=64, height=48, rate=FPS, speech=None, **settings)


def test_speech_without_sound_is_refused_before_any_work(studio: Any) -> None:
    with pytest.raises(MediaError, match=r"clip\.mp4.*no sound"):
        VideoWriter(studio.folder / "out.mp4", width=64, height=48, rate=FPS, speech=studio.clip())


def test_an_output_that_is_an_input_is_refused_under_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    video, speech = tmp_path / "in.mp4", tmp_path / "speech.wav"
    video.touch()
    speech.touch()
    (tmp_path / "hard.mp4").hardlink_to(video)
    (tmp_path / "soft.mp4").symlink_to(video)
    for name in ("in.mp4", "./in.mp4", f"../{tmp_path.name}/in.mp4", "hard.mp4", "soft.mp4"):
        with pytest.raises(MediaError, match="also an input"):
            check_not_an_input(Path(name), speech, video)
    check_not_an_input(tmp_path / "out.mp4", speech, video)


def test_a_size_that_the_encoder_refuses_is_a_media_error(tmp_path: Path) -> None:
    with (
        pytest.raises(MediaError, match=r"out\.mp4: the hevc encoder refuses 2x2"),
        VideoWriter(tmp_path / "out.mp4", width=2, height=2, rate=FPS, speech=None, codec="hevc"),
    ):
        pass
    assert not list(tmp_path.iterdir())
