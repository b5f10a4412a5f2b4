"""The main job with public networks (random weights, files as their publishers save them)."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lipsync_cli.cli import app
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.models.restorers.gfpgan import GFPGAN
from lipsync_cli.models.warping_generator import (
    SpeechEncoderSettings,
    WarpingFaceGenerator,
    WarpingGeneratorSettings,
)
from lipsync_cli.models.wav2lip import Wav2Lip
from lipsync_cli.registry.checkpoint import save_checkpoint
from lipsync_cli.registry.store import sha256_of
from lipsync_cli.settings import to_mapping


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, weights_folder: Path) -> Path:
    """A small portrait, two sounds and Wav2Lip's checkpoint."""
    folder = tmp_path_factory.mktemp("public")
    portrait = next(iter(VideoReader(weights_folder / "demo" / "portrait.jpg"))).image
    small = cv2.resize(portrait, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(folder / "portrait.png"), np.ascontiguousarray(small[: small.shape[0] // 2 * 2, :, ::-1]))
    noise = np.random.default_rng(0).normal(0, 4000, 16_000).astype("<i2")
    for name, n in (("speech.wav", 4800), ("blink.wav", 640)):
        with wave.open(str(folder / name), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(noise[:n].tobytes())
    torch.manual_seed(0)
    state = {f"module.{name}": tensor for name, tensor in Wav2Lip().state_dict().items()}
    torch.save({"state_dict": state, "optimizer": None, "global_step": 1}, folder / "wav2lip_gan.pth")
    return folder


@pytest.fixture
def dub(folder: Path, tmp_path: Path) -> Callable[..., dict[str, object]]:
    """Dub the portrait with Wav2Lip; the report."""

    def run(speech: str, *options: object) -> dict[str, object]:
        output, report = tmp_path / "out.mp4", tmp_path / "report.json"
        files = (folder / "portrait.png", folder / speech, "-o", output, "--report", report)
        model = () if "--model" in options else ("--model", folder / "wav2lip_gan.pth")
        with pytest.raises(SystemExit) as ended:
            app.main([str(each) for each in ("dub", *files, *model, *options)])
        assert ended.value.code == 0
        return dict(json.loads(report.read_text()))

    return run


def last_frame(path: Path) -> np.ndarray:
    return list(VideoReader(path))[-1].image.astype(int)


def test_wav2lips_own_file_dubs(dub, folder: Path, tmp_path: Path) -> None:
    report = dub("speech.wav")
    assert report["counts"]["frames"] == report["counts"]["dubbed"] > 5
    assert report["counts"]["silenced_references"] == 0
    talking = next(each for each in report["networks"] if each["role"] == "talking_face")
    assert talking["sha256"] == sha256_of(folder / "wav2lip_gan.pth")
    filmed = next(iter(VideoReader(folder / "portrait.png"))).image.astype(int)
    change = np.abs(last_frame(tmp_path / "out.mp4") - filmed).mean(2)
    assert change.max() > 20, "the mouth is drawn anew"
    assert np.median(change) < 4, "the rest is not"


def test_light_restoration_needs_no_network(dub, folder: Path, tmp_path: Path) -> None:
    """With a generator that moves the filmed skin, untrained: Wav2Lip's grey has nothing to borrow for."""
    settings = WarpingGeneratorSettings(
        widths=(4, 4, 4, 4),
        bottleneck_depth=1,
        speech=SpeechEncoderSettings(step_width=4, width=8, outputs=8),
    )
    model = folder / "tiny.safetensors"
    torch.manual_seed(0)
    save_checkpoint(
        model,
        WarpingFaceGenerator(settings),
        architecture="warping_generator",
        settings=to_mapping(settings),
    )
    dub("blink.wav", "--model", model)
    plain = last_frame(tmp_path / "out.mp4")
    report = dub("blink.wav", "--model", model, "--restore", "light")
    assert report["settings"]["restore"] == "light"
    assert "restorer" not in {each["role"] for each in report["networks"]}
    assert np.abs(last_frame(tmp_path / "out.mp4") - plain).max() > 5


@pytest.mark.slow
def test_gfpgans_own_file_restores(dub, folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    red = GFPGAN().requires_grad_(False)
    red.stylegan_decoder.to_rgb1.bias[:] = torch.tensor([3.0, -3.0, -3.0])[:, None, None]
    torch.save({"params_ema": red.state_dict()}, folder / "GFPGANv1.4.pth")
    report = dub("blink.wav", "--restore", "gfpgan", "--restore-weights", folder / "GFPGANv1.4.pth")
    restorer = next(each for each in report["networks"] if each["role"] == "restorer")
    assert restorer["sha256"] == sha256_of(folder / "GFPGANv1.4.pth")
    restored = last_frame(tmp_path / "out.mp4")
    dub("blink.wav")
    redder = (restored - last_frame(tmp_path / "out.mp4")) @ (1, -0.5, -0.5)
    assert redder.max() > 30
