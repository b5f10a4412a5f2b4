from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest
import torch
from torch import Tensor

import lipsync_cli
from lipsync_cli.errors import SettingsError
from lipsync_cli.models.architectures import build
from lipsync_cli.models.audio_encoder import AudioEncoder, AudioEncoderSettings
from lipsync_cli.models.avsyncnet import AVSyncNet, AVSyncNetSettings, LipsEncoderSettings

CONFIGS = Path(lipsync_cli.__file__).parent / "configs"


def from_config(size: str) -> AVSyncNet:
    table = tomllib.loads((CONFIGS / size / "avsyncnet.toml").read_text())
    torch.manual_seed(0)
    network = build("avsyncnet", table["network"])
    assert isinstance(network, AVSyncNet)
    return network.eval()


@pytest.fixture(scope="module")
def paper() -> AVSyncNet:
    return from_config("paper")


@pytest.fixture
def small() -> AVSyncNet:
    return from_config("small")


def pictures(n: int, *, size: tuple[int, int] = (48, 96)) -> Tensor:
    return torch.rand(n, 5, 3, *size, generator=torch.Generator().manual_seed(1))


def mels(n: int) -> Tensor:
    return 8 * torch.rand(n, 1, 80, 16, generator=torch.Generator().manual_seed(2)) - 4


def millions(network: torch.nn.Module) -> float:
    return sum(p.numel() for p in network.parameters()) / 1e6


def test_the_paper_file_holds_the_default_numbers(paper):
    assert paper.settings == AVSyncNetSettings()


def test_paper_parameters_are_those_of_resnet50_and_resnetse34(paper):
    assert millions(paper.lips_encoder) == pytest.approx(24.6, abs=0.05)
    assert millions(paper.audio_encoder) == pytest.approx(7.37, abs=0.05)  # of the public network's keys


def test_small_has_the_parameters_that_its_settings_file_states(small):
    assert millions(small) == pytest.approx(3.26, abs=0.005)
    assert "3.26 M parameters" in (CONFIGS / "small" / "avsyncnet.toml").read_text()


def test_paper_embeds_112x224_lips_and_mels_in_512_numbers(paper):
    with torch.inference_mode():
        lips, speech = paper.embed_lips(pictures(1, size=(112, 224))), paper.embed_speech(mels(1))
    assert paper.lips_size == (112, 224)
    assert lips.shape == speech.shape == (1, 512)


def test_embeddings_have_length_one(small):
    lips, speech = small.embed_lips(pictures(3)), small.embed_speech(mels(3))
    assert lips.shape == speech.shape == (3, 256)
    torch.testing.assert_close(lips.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(speech.norm(dim=1), torch.ones(3))


def test_forward_is_the_cosine_of_both_embeddings(small):
    lips, mel = pictures(3), mels(3)
    expected = torch.nn.functional.cosine_similarity(small.embed_lips(lips), small.embed_speech(mel))
    torch.testing.assert_close(small(lips, mel), expected)


def test_rectified_embeddings_are_not_negative_and_others_may_be(paper, small):
    with torch.inference_mode():
        assert paper.embed_speech(mels(2)).min() >= 0
        assert small.embed_speech(mels(2)).min() >= 0
        free = AVSyncNet(dataclasses.replace(small.settings, rectified=False)).eval()
        assert free.embed_speech(mels(2)).min() < 0


def test_lips_of_another_size_are_resized_with_gradients(small):
    lips = pictures(1, size=(60, 120)).requires_grad_()
    small(lips, mels(1)).sum().backward()
    assert lips.grad is not None
    assert lips.grad.abs().sum() > 0
    resized = torch.nn.functional.interpolate(
        lips.detach()[0], size=(48, 96), mode="bilinear", antialias=True
    )[None]
    torch.testing.assert_close(small(lips.detach(), mels(1)), small(resized, mels(1)))


def test_a_window_is_scored_alike_alone_and_in_a_batch(small):
    lips, mel = pictures(4), mels(4)
    torch.testing.assert_close(small(lips, mel)[2:3], small(lips[2:3], mel[2:3]), rtol=0, atol=1e-6)


def test_gradients_reach_every_parameter(small):
    small.train()
    scores = small.embed_lips(pictures(4)) @ small.embed_speech(mels(4)).T
    torch.nn.functional.cross_entropy(scores, torch.arange(4)).backward()
    without = [name for name, p in small.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_a_cosine_stays_float32_under_autocast(small):
    with torch.autocast("cpu", torch.bfloat16):
        assert small(pictures(1), mels(1)).dtype == torch.float32


def test_frames_in_another_order_get_another_score(small):
    lips, mel = pictures(1), mels(1)
    assert (small(lips, mel) - small(lips.flip(1), mel)).abs() > 1e-5


def test_time_steps_stay_side_by_side_without_attention():
    settings = AudioEncoderSettings(widths=(8,), depths=(1,), strides=(2,), squeeze=2, attention=0, outputs=4)
    encoder = AudioEncoder(settings)
    assert encoder.fc.in_features == 8 * 40 * 8


def test_stages_need_one_number_each():
    with pytest.raises(SettingsError, match="one number for each stage"):
        LipsEncoderSettings(widths=(8, 8))
    with pytest.raises(SettingsError, match="one number for each stage"):
        AudioEncoderSettings(depths=(1,))
