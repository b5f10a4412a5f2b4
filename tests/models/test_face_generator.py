from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import torch
from torch import Tensor

import lipsync_cli
from lipsync_cli.errors import SettingsError
from lipsync_cli.models.architectures import build
from lipsync_cli.models.audio_encoder import AudioEncoder, AudioEncoderSettings, FrozenAudioEncoder
from lipsync_cli.models.face_generator import UNetFaceGenerator, UNetSettings
from lipsync_cli.regions import mask_lower_half

CONFIGS = Path(lipsync_cli.__file__).parent / "configs"
TINY = UNetSettings(
    stem=4,
    widths=(8, 8, 8, 8, 12, 16),
    speech=AudioEncoderSettings(widths=(8, 8), depths=(1, 1), strides=(2, 2), attention=4, outputs=10),
)


@pytest.fixture
def tiny() -> UNetFaceGenerator:
    torch.manual_seed(0)
    return UNetFaceGenerator(TINY)


def speech(n: int) -> Tensor:
    return 8 * torch.rand(n, 1, 80, 16, generator=torch.Generator().manual_seed(1)) - 4


def faces(n: int, seed: int) -> Tensor:
    return torch.rand(n, 3, 96, 96, generator=torch.Generator().manual_seed(seed))


def inputs(n: int) -> tuple[Tensor, Tensor, Tensor]:
    return speech(n), faces(n, 2)[:, None], mask_lower_half(faces(n, 3))


@pytest.mark.parametrize(("size", "learned"), [("paper", 31.4), ("small", 7.9)])
def test_parameter_counts_are_those_that_the_settings_files_state(size, learned):
    network = build("unet", tomllib.loads((CONFIGS / size / "talking_face.toml").read_text())["network"])
    count = sum(p.numel() for p in network.parameters() if p.requires_grad) / 1e6
    assert count == pytest.approx(learned, abs=0.05)
    assert f"{learned} M parameters that learn" in (CONFIGS / size / "talking_face.toml").read_text()


def test_it_draws_whole_faces_between_0_and_1(tiny):
    out = tiny(*inputs(2))
    assert out.shape == (2, 3, 96, 96)
    assert 0 <= out.min() < out.max() <= 1


def test_its_answer_to_the_pipelines_questions(tiny):
    assert (tiny.image_size, tiny.n_references, tiny.hears, tiny.scalable) == (96, 1, "mel", False)


def test_speech_identity_and_pose_each_matter(tiny):
    tiny.train()  # batch norm by the batch: fresh running statistics would squeeze all differences
    heard, reference, pose = inputs(3)
    out = tiny(heard, reference, pose)
    for other in (
        tiny(heard.flip(0), reference, pose),
        tiny(heard, reference.flip(0), pose),
        tiny(heard, reference, pose.flip(0)),
    ):
        assert (out - other).abs().max() > 1e-4


def test_identity_and_pose_encoders_share_no_weights(tiny):
    own = {id(p) for p in tiny.identity_encoder.parameters()}
    assert own.isdisjoint(id(p) for p in tiny.pose_encoder.parameters())


def test_gradients_reach_every_parameter_that_learns_and_none_of_the_audio_encoder(tiny):
    (tiny(*inputs(3)) - faces(3, 4)).square().mean().backward()
    reached = {name for name, p in tiny.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    frozen = {name for name, _ in tiny.named_parameters() if name.startswith("audio_encoder.")}
    assert reached == {name for name, _ in tiny.named_parameters()} - frozen
    assert all(p.grad is None for p in tiny.audio_encoder.parameters())


def test_the_frozen_audio_encoder_refuses_to_leave_eval_mode(tiny):
    before = {name: value.clone() for name, value in tiny.audio_encoder.state_dict().items()}
    tiny.train()
    tiny(*inputs(2))
    assert tiny.training
    assert not any(module.training for module in tiny.audio_encoder.modules())
    after = tiny.audio_encoder.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_the_frozen_audio_encoder_takes_the_weights_of_an_avsyncnets():
    source = AudioEncoder(TINY.speech).eval()
    frozen = FrozenAudioEncoder(TINY.speech)
    frozen.load_state_dict(source.state_dict())
    torch.testing.assert_close(frozen(speech(2)), source(speech(2)))


def test_without_freezing_the_audio_encoder_learns():
    network = UNetFaceGenerator(
        UNetSettings(stem=4, widths=TINY.widths, speech=TINY.speech, frozen_speech=False)
    )
    network(*inputs(2)).sum().backward()
    assert all(p.grad is not None for p in network.audio_encoder.parameters())
    assert network.audio_encoder.training


def test_a_face_is_drawn_alike_alone_and_in_a_batch(tiny):
    tiny.eval()
    heard, references, pose = inputs(3)
    together = tiny(heard, references, pose)
    torch.testing.assert_close(together[1:2], tiny(heard[1:2], references[1:2], pose[1:2]), rtol=0, atol=1e-6)


def test_output_is_float32_under_autocast(tiny):
    with torch.autocast("cpu", torch.bfloat16):
        assert tiny.eval()(*inputs(1)).dtype == torch.float32


def test_strides_must_bring_the_face_down_to_one_pixel():
    with pytest.raises(SettingsError, match="product of the strides is 48 and must be image_size, 96"):
        UNetSettings(widths=(8, 8, 8, 8, 8), strides=(2, 2, 2, 2, 3))


def test_a_stride_is_2_or_3():
    with pytest.raises(SettingsError, match="a stride is 2 or 3, not 4"):
        UNetFaceGenerator(UNetSettings(image_size=96, widths=(8, 8, 8, 8), strides=(4, 2, 4, 3)))


def test_another_face_size_needs_other_numbers_only():
    network = UNetFaceGenerator(
        UNetSettings(image_size=24, stem=4, widths=(4, 4, 8, 8), strides=(2, 2, 2, 3), speech=TINY.speech)
    )
    out = network(speech(2), torch.rand(2, 1, 3, 24, 24), torch.rand(2, 3, 24, 24))
    assert out.shape == (2, 3, 24, 24)
