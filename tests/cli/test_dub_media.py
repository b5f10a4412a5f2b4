"""Pictures and sound through the whole program: what belongs together stays so, the untouched as it was."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from lipsync_cli.cli import app
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

SIZE = 192
CORNER = 40
SECONDS = 0.7
FLASH = 8
"""Index of the frame whose corner is white; the speech clicks at its time."""


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    root = logging.getLogger()  # the command line configures it; put it back
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    tiny = WarpingGeneratorSettings(
        widths=(4, 4, 4, 4),
        bottleneck_depth=1,
        speech=SpeechEncoderSettings(step_width=4, width=8, outputs=8),
    )
    network = WarpingFaceGenerator(tiny)
    save_checkpoint(path, network, architecture="warping_generator", settings=to_mapping(tiny))
    return path


def film(path: Path, weights: Path, times: list[float], rate: Fraction) -> Path:
    picture = next(iter(VideoReader(weights / "demo" / "portrait.jpg"))).image
    move = CameraMove(
        picture,
        path=path,
        first=Box(124, 30, 324, 230),
        last=Box(130, 36, 320, 226),
        size=(SIZE, SIZE),
        n_frames=len(times),
        rate=rate,
    )
    with VideoWriter(path, width=SIZE, height=SIZE, rate=rate, speech=None, crf=4, preset="veryfast") as sink:
        for index, frame in enumerate(move):
            frame.image[:CORNER, :CORNER] = 235 if index == FLASH else 20
            sink.write(Frame(index, times[index], frame.image))
    return path


def clicking(path: Path, at: float) -> Path:
    sound = np.zeros(round(SECONDS * 48_000), np.float32)
    first = round(at * 48_000)
    sound[first : first + 480] = 0.9 * np.sign(np.random.default_rng(0).standard_normal(480))
    soundfile.write(path, sound, 48_000)
    return path


def dub(*arguments: object) -> None:
    with pytest.raises(SystemExit) as ended:
        app.main(["dub", *map(str, arguments)])
    assert ended.value.code == 0


STEADY = {name: [float(i / Fraction(name)) for i in range(45)] for name in ("24000/1001", "60000/1001", "25")}
CASES = [
    pytest.param("24000/1001", STEADY["24000/1001"], (), id="23.976"),
    pytest.param("25", [t + 0.01 * (i % 3) for i, t in enumerate(STEADY["25"])], (), id="variable"),
    pytest.param("60000/1001", STEADY["60000/1001"], ("--backend", "ffmpeg"), id="59.94-ffmpeg"),
]


@pytest.mark.parametrize(("rate", "times", "flags"), CASES)
def test_a_click_and_a_flash_stay_together(
    rate: str, times: list[float], flags: tuple[str, ...], model: Path, tmp_path: Path, weights_folder: Path
) -> None:
    if "ffmpeg" in flags and shutil.which("ffmpeg") is None:
        pytest.skip("there is no ffmpeg program on this machine")
    video = film(tmp_path / "in.mp4", weights_folder, times, Fraction(rate))
    speech = clicking(tmp_path / "speech.wav", times[FLASH])
    output = tmp_path / "out.mp4"
    dub(video, speech, "-o", output, "--model", model, "--preset", "ultrafast", *flags)
    frames = list(VideoReader(output))
    brightness = [frame.image[:CORNER, :CORNER].mean() for frame in frames]
    flash = frames[int(np.argmax(brightness))].time
    sound = np.abs(load_waveform(output, 48_000).samples)
    click = float(np.argmax(sound > 0.5 * sound.max())) / 48_000
    assert abs(flash - click) < 0.005
    assert flash == pytest.approx(times[FLASH], abs=2e-5)
    with av.open(str(output)) as container:
        stream = container.streams.video[0]
        assert abs(float(stream.duration * stream.time_base) - SECONDS) <= 1 / Fraction(rate)


@pytest.mark.parametrize("backend", ["pyav", "ffmpeg"])
def test_outside_of_the_face_pixels_stay_as_they_were(
    backend: str, model: Path, tmp_path: Path, weights_folder: Path
) -> None:
    if backend == "ffmpeg" and shutil.which("ffmpeg") is None:
        pytest.skip("there is no ffmpeg program on this machine")
    video = film(tmp_path / "in.mp4", weights_folder, STEADY["25"][:20], Fraction(25))
    speech = clicking(tmp_path / "speech.wav", 0.3)
    output = tmp_path / "out.mp4"
    dub(video, speech, "-o", output, "--model", model, "--crf", 12, "--backend", backend)
    encoded = tmp_path / "encoded.mp4"
    source = VideoReader(video)
    with VideoWriter(
        encoded, width=SIZE, height=SIZE, rate=Fraction(25), speech=None, crf=12, preset="veryfast"
    ) as sink:
        for frame in source:
            sink.write(frame)
    assert len(list(VideoReader(output))) == 17
    assert psnr(video, output) > psnr(video, encoded) - 1  # no more is lost than by encoding alone
    assert psnr(video, output) > 40


def psnr(source: Path, other: Path) -> float:
    """dB, of the hair and what is behind it, in the first 17 frames."""
    pairs = zip(range(17), VideoReader(source), VideoReader(other), strict=False)
    errors = [np.square(a.image[:60].astype(float) - b.image[:60]).mean() for _, a, b in pairs]
    return float(10 * np.log10(255**2 / np.mean(errors)))
