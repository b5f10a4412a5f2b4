"""Pictures and sound through the whole program: what belongs together stays so, the untouched as it was."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from lipsync_cli.cli import app
from lipsync_cli.interfaces import Box, Colours, Frame
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


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    tiny = WarpingGeneratorSettings(
        widths=(4, 4, 4, 4),
        bottleneck_depth=1,
        speech=SpeechEncoderSettings(step_width=4, width=8, outputs=8),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = WarpingFaceGenerator(tiny)
    with torch.no_grad():  # what it hears is to show in every frame
        network.head.weight *= 20
        network.speech_encoder.out.weight *= 5
    save_checkpoint(path, network, architecture="warping_generator", settings=to_mapping(tiny))
    return path


def film(
    path: Path, weights: Path, times: list[float], rate: Fraction, colours: Colours | None = None
) -> Path:
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
    settings = {"rate": rate, "speech": None, "crf": 4, "preset": "veryfast", "colours": colours}
    with VideoWriter(path, width=SIZE, height=SIZE, **settings) as sink:
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


def test_outside_of_the_face_pixels_stay_as_they_were(
    backend: str, model: Path, tmp_path: Path, weights_folder: Path
) -> None:
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


def test_a_lossless_dub_changes_nothing_outside_of_the_face(
    backend: str, model: Path, tmp_path: Path, weights_folder: Path
) -> None:
    video = film(tmp_path / "in.mp4", weights_folder, STEADY["25"][:20], Fraction(25))
    speech = clicking(tmp_path / "speech.wav", 0.3)
    output = tmp_path / "out.mp4"
    dub(video, speech, "-o", output, "--model", model, "--crf", 0, "--backend", backend)
    before, after = stored(video)[:17], stored(output)
    assert np.array_equal(before[:, :60], after[:, :60])
    assert (before[:, 80:160] != after[:, 80:160]).any(axis=(1, 2)).all()  # each mouth is another


def test_a_picture_that_begins_after_its_sound_stands_from_the_start_and_its_mouth_moves(
    backend: str, model: Path, tmp_path: Path, weights_folder: Path
) -> None:
    picture = film(tmp_path / "picture.mp4", weights_folder, STEADY["25"][:20], Fraction(25))
    speech = clicking(tmp_path / "speech.wav", 0.3)
    video = begun_late(tmp_path / "in.mkv", picture, speech, 0.84)
    assert [frame.time for frame in VideoReader(video)][:2] == pytest.approx([0.84, 0.88], abs=1e-3)
    output = tmp_path / "out.mp4"
    flags = "--crf", 0, "--backend", backend, "--pauses", "loudness"  # a click is no voice
    dub(video, speech, "-o", output, "--model", model, *flags)
    times = [frame.time for frame in VideoReader(output)]
    np.testing.assert_allclose(times, np.arange(17) / 25, atol=1e-3)
    first, after = stored(picture)[0], stored(output)
    assert (after[:, :60] == first[:60]).all()
    assert (after[1:, 80:160] != after[:-1, 80:160]).any(axis=(1, 2)).all()  # each mouth is another


def begun_late(path: Path, picture: Path, sound: Path, delay: float) -> Path:
    """A file with the sound from 0 on, and the picture from `delay` seconds on."""
    with av.open(str(picture)) as filmed, av.open(str(sound)) as heard, av.open(str(path), "w") as target:
        video = target.add_stream_from_template(filmed.streams.video[0])
        audio = target.add_stream("aac", rate=48_000, layout="mono")
        for frame in heard.decode(audio=0):
            target.mux(audio.encode(frame))
        target.mux(audio.encode(None))
        for packet in filmed.demux(video=0):
            if packet.size:
                shift = round(delay / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, video
                target.mux(packet)
    return path


@pytest.mark.parametrize(
    ("flags", "bits"),
    [((), 8), (("--codec", "hevc"), 10), (("--bits", "10"), 10), (("--codec", "hevc", "--bits", "8"), 8)],
)
def test_video_of_10_bits_stays_so_in_hevc_and_where_it_is_asked_for(
    flags: tuple[str, ...],
    bits: int,
    backend: str,
    model: Path,
    tmp_path: Path,
    weights_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    colours = Colours(9, 9, 18, 10)
    video = film(tmp_path / "in.mp4", weights_folder, STEADY["25"][:20], Fraction(25), colours)
    speech = clicking(tmp_path / "speech.wav", 0.3)
    output, report = tmp_path / "out.mp4", tmp_path / "report.json"
    files = (video, speech, "-o", output, "--model", model, "--report", report)
    dub(*files, "--crf", 4, "--preset", "ultrafast", "--backend", backend, *flags)
    told = json.loads(report.read_text())
    assert (told["source_bits"], told["bits"]) == (10, bits)
    assert ("8 bits a colour written of 10" in capsys.readouterr().out) == (bits == 8)
    info = VideoReader(output).info
    assert (info.bits, info.colours) == (bits, replace(colours, bits=bits))
    before, after = stored(video)[:17], stored(output)
    change = np.abs(before[:, 4:36] / 4 - after[:, 4:36] / (4 if bits == 10 else 1)).mean()
    assert change < 0.8  # grey levels of 8 bits; encoding takes some


def stored(path: Path) -> NDArray[np.int64]:
    """[N, H, W] luma as it lies in the file."""
    with av.open(str(path)) as container:
        found = []
        for frame in container.decode(video=0):
            plane, kind = frame.planes[0], np.uint16 if "10" in frame.format.name else np.uint8
            values = np.frombuffer(memoryview(plane), kind).reshape(plane.height, -1)
            found.append(values[:, : plane.width].astype(np.int64))
    return np.stack(found)


def psnr(source: Path, other: Path) -> float:
    """dB, of the hair and what is behind it, in the first 17 frames."""
    pairs = zip(range(17), VideoReader(source), VideoReader(other), strict=False)
    errors = [np.square(a.image[:60].astype(float) - b.image[:60]).mean() for _, a, b in pairs]
    return float(10 * np.log10(255**2 / np.mean(errors)))
