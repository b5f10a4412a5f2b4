"""Dubs that are stopped: by SIGKILL, by Ctrl-C, by a full disk; and two at once. With the real program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest
import soundfile
from filelock import FileLock

from lipsync_cli.cli import app
from lipsync_cli.dubbing import pipeline
from lipsync_cli.interfaces import Box, Frame
from lipsync_cli.media.audio import load_waveform
from lipsync_cli.media.camera import CameraMove
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.media.writer import VideoWriter
from lipsync_cli.models.warping_generator import (
    SpeechEncoderSettings,
    WarpingFaceGenerator,
    WarpingGeneratorSettings,
)
from lipsync_cli.registry.checkpoint import save_checkpoint
from lipsync_cli.settings import to_mapping

SIZE = (160, 160)
RATE = Fraction(25)
SECONDS = 5.0
PIECE = 25
"""Frames; the program's own are ten times as long."""
PROGRAM = (
    "from lipsync_cli.dubbing import pipeline; from lipsync_cli.cli.app import main; "
    f"pipeline._CHUNK = {PIECE}; main()"
)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_CHUNK", PIECE)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, weights_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    picture = next(iter(VideoReader(weights_folder / "demo" / "portrait.jpg"))).image
    views = {"first": Box(124, 30, 324, 230), "last": Box(134, 40, 314, 220)}
    film = CameraMove(picture, path=Path("portrait.jpg"), size=SIZE, n_frames=30, rate=RATE, **views)
    with VideoWriter(
        folder / "face.mp4", width=SIZE[0], height=SIZE[1], rate=RATE, speech=None, preset="ultrafast"
    ) as sink:
        for frame in film:
            sink.write(frame)
    sound = load_waveform(weights_folder / "demo" / "speech.m4a").samples[: round(16_000 * SECONDS)]
    soundfile.write(folder / "speech.wav", sound, 16_000)
    tiny = WarpingGeneratorSettings(
        widths=(4, 4, 4, 4),
        bottleneck_depth=1,
        speech=SpeechEncoderSettings(step_width=4, width=8, outputs=8),
    )
    network = WarpingFaceGenerator(tiny)
    save_checkpoint(
        folder / "tiny.safetensors", network, architecture="warping_generator", settings=to_mapping(tiny)
    )
    return folder


@pytest.fixture
def command(inputs: Path, tmp_path: Path) -> Callable[..., list[str]]:
    def make(*more: str, name: str = "out.mp4") -> list[str]:
        files = [str(inputs / "face.mp4"), str(inputs / "speech.wav"), "-o", str(tmp_path / name)]
        return ["dub", *files, "--model", str(inputs / "tiny.safetensors"), *more]

    return make


def lipsync(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        app.main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def start(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def pieces(folder: Path) -> list[Path]:
    return sorted(folder.glob(".out.mp4.dub/frames-*.mp4"))


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.002)


def test_a_dub_that_was_killed_twice_goes_on_to_the_very_same_file(
    backend: str, command: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = partial(command, "--backend", backend)
    assert lipsync(command(name="whole.mp4")) == 0
    for n in (1, 3):
        process = start(command("--resume"))
        wait_for(lambda n=n: len(pieces(tmp_path)) >= n, process)
        process.kill()
        process.communicate()
        assert not (tmp_path / "out.mp4").exists()
    assert len(pieces(tmp_path)) >= 3
    capsys.readouterr()
    assert lipsync(command()) == 6  # without --resume nothing is thrown away
    assert "go on with --resume" in capsys.readouterr().err
    assert len(pieces(tmp_path)) >= 3
    assert lipsync(command("--resume")) == 0
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"out.mp4", "whole.mp4"}
    assert "125 frames, 5.0 s, 125 dubbed" in capsys.readouterr().out


def test_ctrl_c_keeps_what_is_done_and_ends_with_130(
    command: Callable[..., list[str]], tmp_path: Path
) -> None:
    process = start(command())
    wait_for(lambda: bool(pieces(tmp_path)), process)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "frames are done and kept; the same command with --resume goes on from there" in told
    assert told.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {".out.mp4.dub"}


class FullDisk:
    """Lets a sink write so many frames, then the disk is full."""

    def __init__(self, n_frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._left = n_frames
        write = VideoWriter.write

        def until_full(sink: VideoWriter, frame: Frame) -> None:
            self._left -= 1
            if self._left < 0:
                with sink._named_errors():
                    raise OSError(28, os.strerror(28))
            write(sink, frame)

        monkeypatch.setattr(VideoWriter, "write", until_full)


def test_a_full_disk_keeps_what_is_done_and_names_the_output(
    command: Callable[..., list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "out.mp4"
    output.write_bytes(b"an older dub")
    with monkeypatch.context() as patch:
        FullDisk(PIECE + 10, patch)
        assert lipsync(command()) == 3
    told = capsys.readouterr().err
    assert f"error: {output}: cannot be written (No space left on device)" in told
    assert f"{PIECE} frames are done and kept" in told
    assert output.read_bytes() == b"an older dub"
    assert lipsync(command("--resume")) == 0
    assert len(list(VideoReader(output))) == 125
    assert list(tmp_path.iterdir()) == [output]


def test_a_second_dub_of_the_same_output_is_refused(
    command: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".out.mp4.dub").mkdir()
    with FileLock(tmp_path / ".out.mp4.dub" / "lock"):
        assert lipsync(command("--resume")) == 3
    assert "another lipsync is writing it" in capsys.readouterr().err


def test_other_settings_are_not_gone_on_with(
    command: Callable[..., list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        FullDisk(PIECE + 1, patch)
        assert lipsync(command()) == 3
    capsys.readouterr()
    assert lipsync(command("--resume", "--crf", "30")) == 6
    assert "differs in --crf" in capsys.readouterr().err
    assert lipsync(command("--crf", "30")) == 0
    assert "25 frames of an unfinished dub with other --crf are discarded" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
