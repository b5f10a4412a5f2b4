"""Pauses of the speech in finished videos of the default networks: the mouth is looked at by landmarks."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from lipsync_cli.cli import app
from lipsync_cli.faces.detector import FullRangeDetector
from lipsync_cli.faces.landmarks import MeshLandmarks, opening
from lipsync_cli.interfaces import Box, Image
from lipsync_cli.media.audio import load_waveform
from lipsync_cli.media.camera import CameraMove
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.media.writer import VideoWriter
from lipsync_cli.registry.store import find_weights, load_registry

RATE = Fraction(25)
PAUSE = (1.2, 2.3)
"""Seconds in which the speech says nothing."""
SECONDS = 3.0
NOISE = 1.8
"""Seconds of noise that take its place."""
DEEP = slice(40, 49)
"""Frames well inside of the pause: a mouth needs some to close and opens before a word."""
DEEP_IN_NOISE = slice(56, 66)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, weights_folder: Path) -> Path:
    """The portrait, which smiles with open lips, filmed for 3 s; a speech with a pause in its middle."""
    folder = tmp_path_factory.mktemp("inputs")
    picture = next(iter(VideoReader(weights_folder / "demo" / "portrait.jpg"))).image
    views = {"first": Box(104, 20, 344, 260), "last": Box(110, 26, 338, 254)}
    n_frames = round(SECONDS * RATE)
    film = CameraMove(
        picture, path=Path("portrait.jpg"), size=(240, 240), n_frames=n_frames, rate=RATE, **views
    )
    with VideoWriter(
        folder / "face.mp4", width=240, height=240, rate=RATE, speech=None, crf=8, preset="veryfast"
    ) as sink:
        for frame in film:
            sink.write(frame)
    speech = load_waveform(weights_folder / "demo" / "speech.m4a").samples[: round(16_000 * SECONDS)].copy()
    first, last = (round(16_000 * time) for time in PAUSE)
    speech[first:last] = 0
    soundfile.write(folder / "speech.wav", speech, 16_000)
    noise = speech.std() * np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    soundfile.write(folder / "noise.wav", noise, 16_000)
    noisy = [speech[:first], noise[: round(16_000 * NOISE)], speech[last:]]
    soundfile.write(folder / "noisy.wav", np.concatenate(noisy), 16_000)
    return folder


def dub(inputs: Path, output: Path, *flags: str, speech: str = "speech.wav") -> list[Image]:
    with pytest.raises(SystemExit) as ended:
        app.main(
            [
                "dub",
                str(inputs / "face.mp4"),
                str(inputs / speech),
                "-o",
                str(output),
                "--preset",
                "veryfast",
                *flags,
            ]
        )
    assert ended.value.code == 0
    return [frame.image for frame in VideoReader(output)]


def openings(images: list[Image]) -> NDArray[np.float64]:
    """Distance of the lips in each picture, over the face's height."""
    names = load_registry()
    detector = FullRangeDetector(find_weights(names.name_for("face_detector")))
    finder = MeshLandmarks(find_weights(names.name_for("face_landmarks")))
    found = []
    for image in images:
        landmarks = finder.find(image, detector.detect(image)[0].box)
        assert landmarks is not None
        found.append(opening(landmarks))
    return np.array(found)


def test_in_a_pause_the_lips_are_closed(inputs: Path, tmp_path: Path) -> None:
    filmed = openings([frame.image for frame in VideoReader(inputs / "face.mp4")])
    dubbed = openings(dub(inputs, tmp_path / "out.mp4"))
    speaking = np.percentile(np.r_[dubbed[3:28], dubbed[61:73]], 90)
    assert filmed.mean() > 0.06  # she shows her teeth, and no frame has closed lips to take them from
    assert dubbed[DEEP].mean() < 0.4 * filmed[DEEP].mean()
    assert dubbed[DEEP].mean() < 0.65 * speaking  # the mesh reads 0.02 from her lips when they touch
    assert np.ptp(dubbed[DEEP]) < 0.1 * speaking  # at rest


def test_noise_and_no_voice_is_a_pause_too(inputs: Path, tmp_path: Path) -> None:
    """It is as loud as the speech."""
    dubbed = openings(dub(inputs, tmp_path / "out.mp4", speech="noisy.wav"))
    by_loudness = openings(dub(inputs, tmp_path / "loud.mp4", "--pauses", "loudness", speech="noisy.wav"))
    speaking = np.percentile(np.r_[dubbed[3:28], dubbed[76:]], 90)
    assert dubbed[DEEP_IN_NOISE].mean() < 0.65 * speaking
    assert np.ptp(dubbed[DEEP_IN_NOISE]) < 0.1 * speaking  # at rest
    assert np.ptp(by_loudness[DEEP_IN_NOISE]) > 2 * np.ptp(dubbed[DEEP_IN_NOISE]), "else nothing was quieted"


def test_without_any_voice_the_lips_stay_closed_and_that_is_told(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dubbed = openings(dub(inputs, tmp_path / "out.mp4", speech="noise.wav"))
    assert "noise.wav: no voice is heard in it, so the lips stay closed" in " ".join(
        capsys.readouterr().err.split()
    )
    assert np.ptp(dubbed) < 0.015  # face heights; a slow drift
    assert np.abs(np.diff(dubbed)).max() < 0.003


def test_with_silence_original_the_filmed_mouth_is_untouched_in_a_pause(inputs: Path, tmp_path: Path) -> None:
    dubbed = dub(inputs, tmp_path / "out.mp4", "--silence", "original", "--crf", "0")
    filmed = [frame.image for frame in VideoReader(inputs / "face.mp4")]
    same = np.array([np.array_equal(a, b) for a, b in zip(filmed, dubbed, strict=True)])
    assert same[DEEP].all()
    assert not same[3:25].any()
