"""The real program on several people: whose mouth moves, to which sound, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile

from lipsync_cli.cli import app
from lipsync_cli.faces.detector import FullRangeDetector
from lipsync_cli.interfaces import Frame, Image
from lipsync_cli.media.audio import load_waveform
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.media.writer import VideoWriter
from lipsync_cli.models.warping_generator import (
    SpeechEncoderSettings,
    WarpingFaceGenerator,
    WarpingGeneratorSettings,
)
from lipsync_cli.registry.checkpoint import save_checkpoint
from lipsync_cli.settings import to_mapping

WIDTH = 200
N_FRAMES = 10


@pytest.fixture(scope="session")
def cast(tmp_path_factory: pytest.TempPathFactory, weights_folder: Path) -> Path:
    """A folder with a film of two people, a picture of the one on the right, and two speeches."""
    folder = tmp_path_factory.mktemp("cast")
    portrait = next(iter(VideoReader(weights_folder / "demo" / "portrait.jpg"))).image
    left = np.ascontiguousarray(portrait[20:220, 124:324])
    right = (255 * (left[:, ::-1] / 255.0) ** 1.8).astype(np.uint8)
    cv2.imwrite(str(folder / "right person.png"), right[..., ::-1])
    with VideoWriter(
        folder / "two.mp4", width=2 * WIDTH, height=WIDTH, rate=Fraction(25), speech=None, crf=8
    ) as sink:
        for index in range(N_FRAMES):
            sink.write(Frame(index, index / 25, np.concatenate([left, right], axis=1)))
    rng = np.random.default_rng(0)
    for name, seconds in (("one.wav", 0.4), ("two.wav", 0.3)):
        soundfile.write(folder / name, 0.2 * rng.standard_normal(round(16_000 * seconds)), 16_000)
    tiny = WarpingGeneratorSettings(
        widths=(4, 4, 4, 4),
        bottleneck_depth=1,
        speech=SpeechEncoderSettings(step_width=4, width=8, outputs=8),
    )
    network = WarpingFaceGenerator(tiny)
    network.head.bias.data[12:16] = -9  # paints black: nobody can miss that
    network.head.bias.data[20:24] = 9
    network.head.bias.data[:12] = -9
    save_checkpoint(
        folder / "tiny.safetensors", network, architecture="warping_generator", settings=to_mapping(tiny)
    )
    return folder


def lipsync(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        app.main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def dub(cast: Path, output: Path, *more: object, audio: str = "one.wav") -> int:
    model = cast / "tiny.safetensors"
    return lipsync("dub", cast / "two.mp4", cast / audio, "-o", output, "--model", model, "--crf", 8, *more)


def changes(cast: Path, output: Path) -> tuple[float, float]:
    """How much the left and the right half of the picture have changed in the middle of the film."""

    def middle(path: Path) -> Image:
        return list(VideoReader(path))[5].image

    difference = np.abs(middle(output).astype(int) - middle(cast / "two.mp4")).mean(axis=(0, 2))
    return float(difference[:WIDTH].mean()), float(difference[WIDTH : 2 * WIDTH].mean())


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "out.mp4"
    assert not list(tmp_path.glob(".*part*"))


@pytest.mark.parametrize(
    ("face", "moves"), [("left", 0), ("right", 1), ("0", 0), ("1", 1), ("right person.png", 1)]
)
def test_only_the_face_that_was_asked_for_speaks(cast: Path, output: Path, face: str, moves: int) -> None:
    face = str(cast / face) if face.endswith("png") else face
    assert dub(cast, output, "--face", face) == 0
    changed = changes(cast, output)
    assert changed[moves] > 4
    assert changed[1 - moves] < 1


def test_two_people_speak_and_both_are_heard(cast: Path, output: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    more = ("--face", "left", "--speech-for", f"right={cast / 'two.wav'}", "--report", report)
    assert dub(cast, output, *more) == 0
    assert min(changes(cast, output)) > 4
    heard = load_waveform(output).samples
    loud = [float(np.sqrt(np.mean(heard[a:b] ** 2))) for a, b in ((800, 4000), (5200, 6200))]
    assert loud[0] == pytest.approx(loud[1] * np.sqrt(2), rel=0.2)  # two voices, then one
    counts = json.loads(report.read_text())["counts"]
    assert counts["statuses"] == [{"first": 0, "frames": N_FRAMES, "status": "dubbed"}]


def test_a_face_that_is_not_there_is_refused(
    cast: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dub(cast, output, "--face", "5") == 4
    assert "no face '5' in any of the 10 frames" in capsys.readouterr().err
    assert not output.exists()


def test_a_picture_without_a_face_names_nobody(
    cast: Path, output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "wall.png"
    cv2.imwrite(str(empty), np.full((100, 100, 3), 128, np.uint8))
    assert dub(cast, output, "--face", empty) == 4
    assert "wall.png: no face is found in this picture" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (("--face", "nobody.png"), 3, "nobody.png: there is no such file"),
        (("--speech-for", "right"), 6, "write FACE=SOUND"),
        (("--speech-for", "right=none.wav"), 3, "none.wav: there is no such file"),
        (("--background", "none.wav"), 3, "none.wav: there is no such file"),
        (("--background", "original"), 3, "two.mp4: has no sound"),
        (("--max-yaw", "1"), 6, "--max-yaw 1"),
    ],
)
def test_people_and_sounds_that_are_not_there_are_refused(
    cast: Path, output: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], code: int, says: str
) -> None:
    assert dub(cast, output, *more) == code
    told = capsys.readouterr().err
    assert says in told
    assert told.count("\n") == 1
    assert not output.exists()


def test_side_by_side_is_twice_as_wide(cast: Path, output: Path) -> None:
    assert dub(cast, output, "--side-by-side") == 0
    assert VideoReader(output).info.width == 4 * WIDTH


def test_a_background_is_mixed_in(cast: Path, output: Path) -> None:
    assert dub(cast, output, "--background", cast / "two.wav", "--background-volume", 1, audio="one.wav") == 0
    mixed, alone = load_waveform(output).samples, load_waveform(cast / "one.wav").samples
    assert float(np.std(mixed)) == pytest.approx(float(np.std(alone)) * np.sqrt(2), rel=0.15)


@pytest.mark.parametrize(("longer", "frames"), [("loop", 25), ("pingpong", 25), ("hold", 25), ("trim", 10)])
def test_a_speech_longer_than_the_video(
    cast: Path, output: Path, tmp_path: Path, longer: str, frames: int
) -> None:
    soundfile.write(tmp_path / "long.wav", 0.2 * np.random.default_rng(1).standard_normal(16_000), 16_000)
    model = cast / "tiny.safetensors"
    arguments = (cast / "two.mp4", tmp_path / "long.wav", "-o", output, "--model", model)
    assert lipsync("dub", *arguments, "--longer", longer) == 0
    assert len(list(VideoReader(output))) == frames
    assert load_waveform(output).duration == pytest.approx(frames / 25, abs=0.03)


def test_a_video_that_is_its_own_speech_is_not_taken_for_another_one(
    cast: Path, tmp_path: Path, weights_folder: Path
) -> None:
    """What was seen of one such video had been used for the next of the same length."""
    portrait = next(iter(VideoReader(weights_folder / "demo" / "portrait.jpg"))).image
    for name, view in (("a", portrait[20:220, 124:324]), ("b", portrait[0:240, 100:340])):
        with VideoWriter(
            tmp_path / f"{name}.mp4",
            width=view.shape[1],
            height=view.shape[0],
            rate=Fraction(25),
            speech=cast / "one.wav",
        ) as sink:
            for index in range(N_FRAMES):
                sink.write(Frame(index, index / 25, np.ascontiguousarray(view)))
    written = []
    for name, more in (("a", ()), ("b", ()), ("b", ("--no-cache",))):
        output = tmp_path / f"out{len(written)}.mp4"
        video = tmp_path / f"{name}.mp4"
        assert lipsync("dub", video, video, "-o", output, "--model", cast / "tiny.safetensors", *more) == 0
        written.append(list(VideoReader(output)))
    assert all(np.array_equal(x.image, y.image) for x, y in zip(written[1], written[2], strict=True))


def test_a_microphone_before_the_mouth_stays_and_the_report_tells(
    cast: Path, output: Path, tmp_path: Path, weights_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    portrait = next(iter(VideoReader(weights_folder / "demo" / "portrait.jpg"))).image
    bare = np.ascontiguousarray(portrait[20:220, 124:324])
    detector = FullRangeDetector(weights_folder / "face_detection_full_range.tflite")
    box = detector.detect(bare)[0].box
    hidden = bare.copy()
    place = round(box.centre[0]), round(box.y0 + 0.78 * box.height)
    cv2.circle(hidden, place, round(0.18 * box.width), (40, 40, 45), cv2.FILLED, cv2.LINE_AA)
    film, speech, report = (tmp_path / name for name in ("film.mp4", "speech.wav", "report.json"))
    with VideoWriter(film, width=WIDTH, height=WIDTH, rate=Fraction(25), speech=None, crf=8) as sink:
        for index in range(40):
            sink.write(Frame(index, index / 25, hidden if 15 <= index < 27 else bare))
    soundfile.write(speech, 0.2 * np.random.default_rng(0).standard_normal(25_600), 16_000)
    more = ("-o", output, "--model", cast / "tiny.safetensors", "--report", report)
    assert lipsync("dub", film, speech, *more) == 0
    runs = json.loads(report.read_text())["counts"]["statuses"]
    assert [run["status"] for run in runs] == ["dubbed", "occluded", "dubbed"]
    assert abs(runs[1]["first"] - 15) <= 2
    assert abs(runs[1]["frames"] - 12) <= 4
    assert "something in front of the mouth kept as filmed" in " ".join(capsys.readouterr().out.split())
