"""The public conventions (BGR, order of channels, scale), pinned by the golden arrays."""

from __future__ import annotations

import pytest
import torch

from lipsync_cli.interfaces import FaceGenerator, SyncScorer
from lipsync_cli.models.public_adapters import SyncNetColorScorer, SyncNetV2Scorer, Wav2LipGenerator
from lipsync_cli.models.syncnet import SyncNetColor, SyncNetV2
from lipsync_cli.models.wav2lip import Wav2Lip

TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def generator(rule) -> FaceGenerator:
    return Wav2LipGenerator(rule.fill(Wav2Lip(), gain=0.5))


@pytest.fixture(scope="module")
def expert(rule) -> SyncNetColorScorer:
    return SyncNetColorScorer(rule.fill(SyncNetColor()))


@pytest.fixture(scope="module")
def second(rule) -> SyncNetV2Scorer:
    return SyncNetV2Scorer(rule.fill(SyncNetV2()))


def test_wav2lip_sees_the_masked_frame_and_then_the_frame_in_bgr(generator, rule):
    mel = rule.inputs("wav2lip.mel", (2, 1, 80, 16), -4, 4)
    bgr = rule.inputs("wav2lip.face", (2, 6, 96, 96), 0, 1)
    rgb = generator(mel, bgr[:, None, 3:].flip(2), bgr[:, :3].flip(1))
    assert rule.difference(rgb.flip(1), rule.outputs("wav2lip")["output"]) < TOLERANCE


def test_wav2lip_tells_its_conventions(generator):
    facts = (generator.image_size, generator.n_references, generator.hears, generator.scalable)
    assert facts == (96, 0, "mel_from_frame", False)


def lips_of(stacked: torch.Tensor) -> torch.Tensor:
    """Fifteen BGR channels -> five RGB pictures."""
    return stacked.unflatten(1, (5, 3)).flip(2)


def test_the_expert_sees_five_lower_halves_in_order_of_time(expert, rule):
    mel = rule.inputs("syncnet_color.mel", (2, 1, 80, 16), -4, 4)
    lips = lips_of(rule.inputs("syncnet_color.face", (2, 15, 48, 96), 0, 1))
    golden = rule.outputs("syncnet_color")
    with torch.inference_mode():
        assert rule.difference(expert.embed_lips(lips), golden["face"]) < TOLERANCE
        assert rule.difference(expert.embed_speech(mel), golden["audio"]) < TOLERANCE
        cosine = expert(lips, mel)
    expected = (golden["face"] * golden["audio"]).sum(axis=1)
    torch.testing.assert_close(cosine, torch.from_numpy(expected), rtol=0, atol=1e-4)


def test_syncnet_v2_scores_by_its_distance(second, rule):
    mfcc = rule.inputs("syncnet_v2.mfcc", (2, 1, 13, 20), -20, 20)
    frames = rule.inputs("syncnet_v2.frames", (2, 3, 5, 224, 224), 0, 255)
    golden = rule.outputs("syncnet_v2")
    with torch.inference_mode():
        score = second(frames.transpose(1, 2).flip(2) / 255, mfcc)
    expected = -torch.from_numpy(golden["lips"] - golden["audio"] + 1e-6).norm(dim=1)
    torch.testing.assert_close(score, expected, rtol=1e-3, atol=1e-3)


def test_lips_of_another_size_are_resized(expert):
    score: SyncScorer = expert
    with torch.inference_mode():
        assert score(torch.rand(1, 5, 3, 112, 224), torch.zeros(1, 1, 80, 16)).shape == (1,)
