"""Names and arithmetic of the public networks, proved on outputs of the public code (weights by a rule)."""

from __future__ import annotations

import pytest
from torch import nn

from lipsync_cli.models.audio_encoder import AudioEncoder, AudioEncoderSettings
from lipsync_cli.models.syncnet import SyncNetColor, SyncNetV2
from lipsync_cli.models.wav2lip import Wav2Lip

TOLERANCE = 1e-3
"""Of the output's standard deviation."""

NETWORKS = {
    "wav2lip": Wav2Lip,
    "syncnet_color": SyncNetColor,
    "syncnet_v2": SyncNetV2,
    "resnetse34v2": lambda: AudioEncoder(AudioEncoderSettings()),
}


@pytest.fixture(scope="module")
def networks(rule) -> dict[str, nn.Module]:
    return {
        name: rule.fill(build(), gain=0.5 if name == "wav2lip" else 1.0) for name, build in NETWORKS.items()
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_names_shapes_and_types_are_the_public_ones(networks, rule, name):
    assert rule.own_keys(networks[name]) == rule.public_keys(name)


def test_wav2lip_gives_the_public_output(networks, rule):
    mel = rule.inputs("wav2lip.mel", (2, 1, 80, 16), -4, 4)
    face = rule.inputs("wav2lip.face", (2, 6, 96, 96), 0, 1)
    output = networks["wav2lip"](mel, face)
    assert rule.difference(output, rule.outputs("wav2lip")["output"]) < TOLERANCE


def test_wav2lip_takes_frames_of_a_sample_as_the_public_one(networks, rule):
    """The public training code gives five frames at once, time beside depth."""
    mel = rule.inputs("wav2lip.mel", (2, 1, 80, 16), -4, 4)
    face = rule.inputs("wav2lip.face", (2, 6, 96, 96), 0, 1)
    output = networks["wav2lip"](mel[None], face.transpose(0, 1)[None])
    assert output.shape == (1, 3, 2, 96, 96)
    golden = rule.outputs("wav2lip")["output"]
    assert rule.difference(output[0].transpose(0, 1), golden) < TOLERANCE


def test_syncnet_color_gives_the_public_embeddings(networks, rule):
    mel = rule.inputs("syncnet_color.mel", (2, 1, 80, 16), -4, 4)
    face = rule.inputs("syncnet_color.face", (2, 15, 48, 96), 0, 1)
    speech, lips = networks["syncnet_color"](mel, face)
    assert rule.difference(speech, rule.outputs("syncnet_color")["audio"]) < TOLERANCE
    assert rule.difference(lips, rule.outputs("syncnet_color")["face"]) < TOLERANCE


def test_syncnet_v2_gives_the_public_embeddings(networks, rule):
    mfcc = rule.inputs("syncnet_v2.mfcc", (2, 1, 13, 20), -20, 20)
    frames = rule.inputs("syncnet_v2.frames", (2, 3, 5, 224, 224), 0, 255)
    speech, lips = networks["syncnet_v2"](mfcc, frames)
    assert rule.difference(speech, rule.outputs("syncnet_v2")["audio"]) < TOLERANCE
    assert rule.difference(lips, rule.outputs("syncnet_v2")["lips"]) < TOLERANCE


def test_the_audio_encoder_gives_the_public_resnetse34_embedding(networks, rule):
    mel = rule.inputs("resnetse34.mel", (2, 1, 80, 16), -4, 4)
    assert rule.difference(networks["resnetse34v2"](mel), rule.outputs("resnetse34v2")["output"]) < TOLERANCE


def test_a_changed_weight_is_noticed(networks, rule):
    """The tolerance is narrow enough to tell one wrong layer."""
    mel = rule.inputs("resnetse34.mel", (2, 1, 80, 16), -4, 4)
    other = rule.fill(AudioEncoder(AudioEncoderSettings()))
    other.get_submodule("layer3.2.bn1").running_var *= 1.05
    assert rule.difference(other(mel), rule.outputs("resnetse34v2")["output"]) > TOLERANCE


@pytest.mark.parametrize(
    ("name", "millions"), [("wav2lip", 36.3), ("syncnet_color", 16.4), ("syncnet_v2", 13.6)]
)
def test_parameter_counts_are_the_published_ones(networks, name, millions):
    assert sum(p.numel() for p in networks[name].parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
