"""The real program on real files: the main job with a tiny untrained generator, and all bad input."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import soundfile

from lipsync_cli import assembly
from lipsync_cli.cli import app, dub, options
from lipsync_cli.dubbing import pipeline
from lipsync_cli.dubbing.job import DubSettings
from lipsync_cli.interfaces import Box, Frame, Image
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

RATE = Fraction(25)
SIZE = (160, 160)
SECONDS = 0.6


@pytest.fixture(scope="session")
def portrait(weights_folder: Path) -> Image:
    return next(iter(VideoReader(weights_folder / "demo" / "portrait.jpg"))).image


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory, portrait: Image, weights_folder: Path) -> Path:
    """A folder of everything that the tests read; nothing may change in it."""
    folder = tmp_path_factory.mktemp("inputs")
    move = {"path": Path("portrait.jpg"), "size": SIZE, "n_frames": 20, "rate": RATE}
    write(
        folder / "face.mp4",
        CameraMove(portrait, first=Box(124, 30, 324, 230), last=Box(134, 40, 314, 220), **move),
    )
    write(
        folder / "no_face.mp4",
        CameraMove(portrait, first=Box(0, 300, 200, 500), last=Box(20, 310, 200, 490), **move),
    )
    sound = load_waveform(weights_folder / "demo" / "speech.m4a").samples[: round(16_000 * SECONDS)]
    soundfile.write(folder / "speech.wav", sound, 16_000)
    noise = np.random.default_rng(0).normal(0, 0.1, len(sound))
    soundfile.write(folder / "noise.wav", noise, 16_000)
    soundfile.write(folder / "empty.wav", sound[:0], 16_000)
    (folder / "text.mp4").write_text("This is not a video.\n" * 20)
    (folder / "text.wav").write_text("This is not a sound.\n" * 20)
    (folder / "nothing.mp4").write_bytes(b"")
    whole = (folder / "face.mp4").read_bytes()
    (folder / "broken.mp4").write_bytes(whole[:300])
    cv2.imwrite(str(folder / "still.png"), portrait[..., ::-1])
    tiny = WarpingGeneratorSettings(
        widths=(4, 4, 4, 4),
        bottleneck_depth=1,
        speech=SpeechEncoderSettings(step_width=4, width=8, outputs=8),
    )
    save_checkpoint(
        folder / "tiny.safetensors",
        WarpingFaceGenerator(tiny),
        architecture="warping_generator",
        settings=to_mapping(tiny),
    )
    (folder / "damaged.safetensors").write_bytes((folder / "tiny.safetensors").read_bytes()[:-100])
    return folder


def write(path: Path, frames: CameraMove) -> None:
    with VideoWriter(path, width=SIZE[0], height=SIZE[1], rate=RATE, speech=None, preset="ultrafast") as sink:
        for frame in frames:
            sink.write(frame)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "results" / "out.mp4"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def inputs_stay_untouched(inputs: Path, output: Path) -> Iterator[None]:
    output.parent.mkdir()
    before = contents(inputs)
    yield
    assert contents(inputs) == before


def lipsync(*arguments: object) -> int:
    """Run the program; its exit code."""
    with pytest.raises(SystemExit) as ended:
        app.main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def seconds(path: Path) -> tuple[float, float]:
    """Length of picture and sound."""
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        return float(video.duration * video.time_base), float(audio.duration * audio.time_base)


@pytest.mark.parametrize("video", ["face.mp4", "still.png"])
def test_a_dub_lasts_as_long_as_its_speech_and_says_so_in_one_line(
    video: str, inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = lipsync(
        "dub", inputs / video, inputs / "speech.wav", "-o", output, "--model", inputs / "tiny.safetensors"
    )
    told = capsys.readouterr()
    assert code == 0, told.err
    assert list(output.parent.iterdir()) == [output]
    for length in seconds(output):
        assert abs(length - SECONDS) <= 1 / 25
    assert told.out.startswith(f"{output}: 15 frames, 0.6 s, 15 dubbed, took ")
    assert told.out.count("\n") == 1
    assert told.err == ""
    assert len(list(VideoReader(output))) == 15


def test_frames_without_a_face_are_counted_and_stay_as_they_are(
    inputs: Path, output: Path, portrait: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = tmp_path / "half.mp4"
    with VideoWriter(video, width=160, height=160, rate=RATE, speech=None, crf=10) as sink:
        for index in range(15):
            view = portrait[320:480, :160] if index >= 10 else portrait[40:200, 144:304]
            sink.write(Frame(index, index / 25, np.ascontiguousarray(view)))
    model = inputs / "tiny.safetensors"
    assert lipsync("dub", video, inputs / "speech.wav", "-o", output, "--model", model, "--crf", 10) == 0
    assert "10 dubbed, 5/15 frames without a face passed through" in capsys.readouterr().out
    before, after = list(VideoReader(video)), list(VideoReader(output))
    change = [float(np.abs(a.image.astype(int) - b.image).mean()) for a, b in zip(before, after, strict=True)]
    assert max(change[10:]) < 2  # the second encoding
    assert [frame.time for frame in before] == [frame.time for frame in after]


def test_the_report_is_json_with_counts_settings_and_checksums(inputs: Path, output: Path) -> None:
    report = output.parent / "report.json"
    model = inputs / "tiny.safetensors"
    code = lipsync(
        "dub", inputs / "face.mp4", inputs / "speech.wav", "-o", output, "--model", model, "--report", report,
        "--batch", 4, "--precision", "fp32",
    )  # fmt: skip
    assert code == 0
    content = json.loads(report.read_text())
    assert content["counts"]["frames"] == content["counts"]["dubbed"] == 15
    assert content["settings"]["batch"] == 4
    assert content["precision"] == "float32"
    roles = {network["role"]: network for network in content["networks"]}
    assert roles.keys() == {
        "silent_lip",
        "talking_face",
        "face_detector",
        "face_landmarks",
        "speech_embedding",
        "voice_detector",
    }
    assert all(len(network["sha256"]) == 64 for network in roles.values())
    assert roles["talking_face"]["name"] == str(model)
    assert sorted(path.name for path in output.parent.iterdir()) == ["out.mp4", "report.json"]


def test_the_demo_needs_nothing_but_the_program(
    inputs: Path, output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(assembly, "_DEMO_SIZE", (96, 96))
    assert lipsync("demo", "-o", output, "--model", inputs / "tiny.safetensors", "--preset", "ultrafast") == 0
    assert "without a face" not in capsys.readouterr().out
    picture, sound = seconds(output)
    assert 5 < picture < 7
    assert abs(picture - sound) <= 1 / 25


def test_the_flags_are_the_fields_of_the_settings_and_each_has_its_help(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert lipsync("dub", "--help") == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    explained = options.explained_fields(DubSettings)
    assert explained.keys() == set(DubSettings.__dataclass_fields__)
    for name, explanation in explained.items():
        assert f"--{name.replace('_', '-')} " in text
        assert explanation.split()[0] in text


def test_both_passes_have_a_bar_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import contextmanager

    bars: list[tuple[str, float | None]] = []
    steps: list[str] = []

    @contextmanager
    def progress(description: str, total: float | None = None) -> Iterator[object]:
        bars.append((description, total))
        yield lambda n: steps.append(description)

    monkeypatch.setattr(dub.console, "progress", progress)
    with dub.progress_bars() as tell:
        for stage in ("watch", "dub"):
            for done in range(3):
                tell(stage, done + 1, 3)
    assert bars == [("1/2 watching", 3), ("2/2 dubbing", 3)]
    assert steps == ["1/2 watching"] * 3 + ["2/2 dubbing"] * 3


def refused(
    capsys: pytest.CaptureFixture[str], output: Path, *arguments: object, code: int, says: tuple[str, ...]
) -> None:
    """The program ends with this code and one line that says all this, and leaves nothing behind."""
    before = contents(output.parent)
    found = lipsync(*arguments)
    told = capsys.readouterr()
    assert found == code, told.err
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1
    for text in says:
        assert text in told.err
    assert contents(output.parent) == before


@pytest.mark.parametrize(
    ("video", "audio", "code", "says"),
    [
        ("absent.mp4", "speech.wav", 3, ("absent.mp4", "no such file")),
        ("face.mp4", "absent.wav", 3, ("absent.wav", "no such file")),
        ("text.mp4", "speech.wav", 3, ("text.mp4",)),
        ("face.mp4", "text.wav", 3, ("text.wav",)),
        ("nothing.mp4", "speech.wav", 3, ("nothing.mp4",)),
        ("broken.mp4", "speech.wav", 3, ("broken.mp4",)),
        ("speech.wav", "speech.wav", 3, ("speech.wav", "no video")),
        ("face.mp4", "no_face.mp4", 3, ("no_face.mp4", "no sound")),
        ("face.mp4", "empty.wav", 3, ("empty.wav",)),
        ("no_face.mp4", "speech.wav", 4, ("no_face.mp4", "no face in any of the 15 frames")),
        ("no_face.mp4", "noise.wav", 4, ("no_face.mp4", "no face in any of the 15 frames")),  # nor a voice
        (".", "speech.wav", 3, ("folder",)),
    ],
)
def test_inputs_that_cannot_be_dubbed_are_refused(
    video: str,
    audio: str,
    code: int,
    says: tuple[str, ...],
    inputs: Path,
    output: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = inputs / "tiny.safetensors"
    command = ("dub", inputs / video, inputs / audio, "-o", output, "--model", model)
    refused(capsys, output, *command, code=code, says=says)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("absent/out.mp4", "does not exist"),
        ("out.txt", "must end in .mp4"),
        ("folder.mp4", "folder"),
        ("report.json/out.mp4", "does not exist"),
    ],
)
def test_outputs_that_cannot_be_written_are_refused(
    place: str, says: str, inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (output.parent / "folder.mp4").mkdir()
    (output.parent / "report.json").write_text("a file, not a folder")
    command = ("dub", inputs / "face.mp4", inputs / "speech.wav", "-o", output.parent / place)
    refused(capsys, output, *command, "--model", inputs / "tiny.safetensors", code=3, says=(says,))


def test_a_folder_that_is_not_writable_is_refused(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if os.geteuid() == 0 and not sys.platform.startswith("linux"):
        pytest.skip("root may write everywhere here")
    folder = Path("/proc") if os.geteuid() == 0 else output.parent
    output.parent.chmod(0o555)
    try:
        command = ("dub", inputs / "face.mp4", inputs / "speech.wav", "-o", folder / "out.mp4")
        refused(
            capsys,
            output,
            *command,
            "--model",
            inputs / "tiny.safetensors",
            code=3,
            says=("out.mp4", "permi"),
        )
    finally:
        output.parent.chmod(0o755)


@pytest.mark.parametrize("which", ["video", "audio", "model"])
@pytest.mark.parametrize("how", ["same", "other spelling", "symlink", "hard link"])
def test_an_output_that_is_an_input_is_refused(
    which: str, how: str, inputs: Path, output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"video": tmp_path / "v.mp4", "audio": tmp_path / "a.mp4", "model": tmp_path / "m.mp4"}
    for name, source in (("video", "face.mp4"), ("audio", "speech.wav"), ("model", "tiny.safetensors")):
        files[name].write_bytes((inputs / source).read_bytes())
    before = {name: path.read_bytes() for name, path in files.items()}
    target = files[which]
    if how == "other spelling":
        target = tmp_path / "results" / ".." / target.name
    elif how == "symlink":
        output.symlink_to(target)
        target = output
    elif how == "hard link":
        os.link(target, output)
        target = output
    command = ("dub", files["video"], files["audio"], "-o", target, "--model", files["model"])
    refused(capsys, output, *command, code=3, says=("is also an input",))
    assert {name: path.read_bytes() for name, path in files.items()} == before


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (("--model", "{}/damaged.safetensors"), 5, "damaged.safetensors"),
        (("--model", "{}/absent.safetensors"), 5, "absent.safetensors"),
        (("--model", "{}/speech.wav"), 5, "speech.wav"),
        (("--model", "face_landmark"), 5, "face_landmark"),
        (("--model", "speech_embedding"), 5, "speech_embedding"),
        (("--model", "paper"), 5, "--silent-lip"),
        (("--silent-lip", "{}/tiny.safetensors"), 6, "--model FILE"),
        (("--batch", "0"), 6, "--batch 0"),
        (("--crf", "99", "--model", "{}/tiny.safetensors"), 6, "crf 99"),
        (("--preset", "wrong", "--model", "{}/tiny.safetensors"), 6, "preset 'wrong'"),
        (("--report", "{}/absent/report.json", "--model", "{}/tiny.safetensors"), 3, "report.json"),
        (("--report", "{}/face.mp4", "--model", "{}/tiny.safetensors"), 3, "is also an input"),
    ],
)
def test_settings_and_weights_that_cannot_be_used_are_refused(
    flags: tuple[str, ...],
    code: int,
    says: str,
    inputs: Path,
    output: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [flag.format(inputs) for flag in flags]
    command = ("dub", inputs / "face.mp4", inputs / "speech.wav", "-o", output, *given)
    refused(capsys, output, *command, code=code, says=(says,))


def test_shipped_weights_with_a_wrong_checksum_are_refused_before_any_frame_is_read(
    inputs: Path,
    output: Path,
    weights_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = bytearray((weights_folder / "face_landmark.tflite").read_bytes())
    content[1000] ^= 1
    (tmp_path / "face_landmark.tflite").write_bytes(content)
    monkeypatch.setenv("LIPSYNC_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(VideoReader, "__iter__", None)
    command = ("dub", inputs / "face.mp4", inputs / "speech.wav", "-o", output)
    says = (str(tmp_path / "face_landmark.tflite"), "sha256")
    refused(capsys, output, *command, "--model", inputs / "tiny.safetensors", code=5, says=says)


def test_an_output_that_was_there_before_survives_a_failure(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output.write_bytes(b"precious")
    command = ("dub", inputs / "no_face.mp4", inputs / "speech.wav", "-o", output)
    refused(capsys, output, *command, "--model", inputs / "tiny.safetensors", code=4, says=("no face",))
    assert output.read_bytes() == b"precious"


@pytest.mark.usefixtures("ffmpeg_program")
def test_an_encoder_that_this_machine_lacks_is_told_before_anything_is_watched(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = "h264_vaapi" if sys.platform == "darwin" else "h264_videotoolbox"
    watched: list[object] = []
    monkeypatch.setattr(pipeline, "watch", lambda *arguments: watched.append(arguments))
    refused(
        capsys, output, "dub", inputs / "face.mp4", inputs / "speech.wav", "-o", output,
        "--model", inputs / "tiny.safetensors", "--backend", "ffmpeg", "--encoder", encoder,
        code=6, says=(f"--encoder {encoder}", "does not work on this machine"),
    )  # fmt: skip
    assert not watched


@pytest.mark.parametrize("which", ["video", "audio", "face", "report"])
def test_what_is_not_permitted_is_told_in_one_line_before_the_work(
    which: str, inputs: Path, output: Path, tmp_path: Path, as_anyone: list[str]
) -> None:
    locked, closed = tmp_path / "locked", tmp_path / "closed"
    shutil.copy(inputs / ("speech.wav" if which == "audio" else "face.mp4"), locked)
    locked.chmod(0)
    closed.mkdir(0o555)
    files = [inputs / "face.mp4", inputs / "speech.wav"]
    flags = ["--model", inputs / "tiny.safetensors"]
    if which in ("video", "audio"):
        files[which == "audio"] = locked
    else:
        flags += {"face": ["--face", locked], "report": ["--report", closed / "report.json"]}[which]
    command = [*as_anyone, sys.executable, "-m", "lipsync_cli", "dub", *files, "-o", output, *flags]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {closed / 'report.json' if which == 'report' else locked}: ")
    assert done.stderr.count("\n") == 1
    assert not list(output.parent.iterdir())
