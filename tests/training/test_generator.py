"""G_S and G_L of the paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lipsync_cli.data.layout import open_cache
from lipsync_cli.errors import SettingsError
from lipsync_cli.losses.sync import stabilized_sync_loss, sync_scores
from lipsync_cli.losses.total import Coefficients
from lipsync_cli.losses.triplet import adaptive_triplet_loss
from lipsync_cli.models.face_generator import UNetFaceGenerator
from lipsync_cli.regions import lower_half, mask_lower_half
from lipsync_cli.registry.checkpoint import load_network
from lipsync_cli.training.generator import Shown
from lipsync_cli.training.hearing import silent_window
from lipsync_cli.training.silent_lip import SilentLipTraining
from lipsync_cli.training.talking_face import TalkingFaceTraining

SILENT = ("coefficients.sync=0", "coefficients.triplet=0")
ROLES = pytest.mark.parametrize("role", ["gs", "gl"])


def train(stage, steps: int) -> list[dict[str, float]]:
    return [stage.train(stage.draw(step), step) for step in range(steps)]


def tensors(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def changed(network: torch.nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}


def test_the_coefficients_are_those_of_the_paper():
    assert TalkingFaceTraining().coefficients == Coefficients(
        gan=1, pixel=10, perceptual=1, sync=2, triplet=0.5
    )
    assert SilentLipTraining().coefficients == Coefficients(gan=1, pixel=10, perceptual=1, sync=0, triplet=0)


@ROLES
def test_the_optimizers_are_adam_as_in_the_paper(stages, role):
    for optimizer in stages.build(role).optimizers.values():
        assert type(optimizer) is torch.optim.Adam
        (group,) = optimizer.param_groups
        assert (group["lr"], group["betas"]) == (1e-4, (0.5, 0.999))


def test_all_terms_of_equation_5_count_for_g_l_and_three_for_g_s(stages):
    (silent,), (talking,) = train(stages.build("gs"), 1), train(stages.build("gl"), 1)
    assert silent.keys() == {"gan", "pixel", "perceptual", "discriminator"}
    assert talking.keys() == {"gan", "pixel", "perceptual", "sync", "triplet", "discriminator"}


def test_terms_with_coefficient_0_are_not_computed(stages):
    stage = stages.build("gl", "coefficients.perceptual=0", "coefficients.triplet=0", "coefficients.gan=0")
    before = tensors(stage.discriminator)
    (losses,) = train(stage, 1)
    assert losses.keys() == {"pixel", "sync"}
    assert stage.vgg.n_calls == 0
    assert changed(stage.discriminator, before) == set()


def test_the_vgg_looks_at_each_picture_once(stages):
    stage = stages.build("gl")
    train(stage, 1)
    assert stage.vgg.n_calls == 3  # generated, target, reference


@ROLES
def test_the_audio_encoder_is_that_of_the_avsyncnet_and_stays_so(stages, role):
    stage = stages.build(role)
    expected = tensors(stage.sync_network.audio_encoder)
    train(stage, 2)
    assert changed(stage.generator.audio_encoder, expected) == set()
    assert changed(stage.sync_network.audio_encoder, expected) == set()


def test_an_audio_encoder_that_is_not_frozen_learns_from_scratch(stages):
    """Setup A."""
    stage = stages.build("gl", "network.frozen_speech=false")
    before = tensors(stage.generator.audio_encoder)
    assert changed(stage.sync_network.audio_encoder, before)
    train(stage, 2)
    assert "conv1.weight" in changed(stage.generator.audio_encoder, before)


@ROLES
def test_everything_else_of_generator_and_discriminator_learns(stages, role):
    stage = stages.build(role)
    before = {name: tensors(network) for name, network in stage.networks.items()}
    train(stage, 2)
    for name, network in stage.networks.items():
        learning = {key for key, weights in network.named_parameters() if weights.requires_grad}
        assert learning - changed(network, before[name]) == set()


def test_frozen_judges_do_not_change_not_even_their_statistics(stages):
    stage = stages.build("gl")
    frozen = (stage.sync_network, stage.silent_lip, stage.vgg)
    before = [tensors(network) for network in frozen]
    train(stage, 2)
    assert [changed(network, kept) for network, kept in zip(frozen, before, strict=True)] == [set()] * 3


def test_g_s_sees_the_reference_as_it_is(stages):
    pictures = torch.rand(2, 3, 32, 32)
    assert stages.build("gs").identity(pictures) is pictures


def test_g_l_sees_what_g_s_makes_of_the_reference_when_it_hears_silence(stages):
    stage = stages.build("gl")
    pictures = torch.rand(2, 3, 32, 32)
    silence = torch.full((2, 1, 80, 16), -4.0)
    expected = stage.silent_lip(silence, pictures[:, None], mask_lower_half(pictures))
    torch.testing.assert_close(stage.identity(pictures), expected)
    assert not stage.identity(pictures).requires_grad


def test_silence_is_the_floor_of_the_mel():
    assert torch.equal(silent_window(), torch.full((1, 80, 16), -4.0))


def test_every_reference_is_silenced_once_and_shown_with_all_five_frames(stages):
    stage = stages.build("gl")
    seen: list[torch.Tensor] = []
    stage.generator.register_forward_hook(lambda _network, inputs, _output: seen.extend(inputs))
    batch = stage.draw(0)
    stage.train(batch, 0)
    speech, references, pose = seen
    assert references.shape == (10, 1, 3, 32, 32)
    assert torch.equal(references[:5], references[:1].expand(5, -1, -1, -1, -1))
    assert torch.equal(references[::5, 0], stage.identity(batch.references))
    assert torch.equal(pose, mask_lower_half(batch.targets.flatten(0, 1)))
    assert torch.equal(speech, batch.mel.flatten(0, 1))


def test_sync_and_triplet_terms_are_those_of_the_losses(stages):
    stage = stages.build("gl")
    pictures = torch.rand(3, 10, 3, 32, 32)
    mel = stage.draw(0).sync_mel
    terms = stage.terms(Shown(*pictures, mel, stage.vgg))
    lips = [lower_half(one).unflatten(0, (2, 5)) for one in pictures]
    scores = sync_scores(stage.sync_network, mel, generated=lips[0], target=lips[1], reference=lips[2])
    torch.testing.assert_close(terms["sync"], stabilized_sync_loss(scores))
    torch.testing.assert_close(terms["triplet"], adaptive_triplet_loss(stage.vgg, *pictures))
    assert terms["pixel"].item() == pytest.approx((pictures[0] - pictures[1]).abs().mean().item())


@ROLES
def test_the_faces_of_one_batch_can_be_learned(stages, role):
    stage = stages.build(role, "rate=0.005", "loop.steps=60", "loop.warm_up=5")
    batch = stage.draw(0)
    losses = [stage.train(batch, step)["pixel"] for step in range(50)]
    assert losses[-1] < 0.75 * losses[0]


def test_the_discriminator_learns_to_tell_faces_apart(stages):
    stage = stages.build("gs", "rate=0.005", "coefficients.gan=0.000001", *SILENT, "loop.steps=40")
    losses = [one["discriminator"] for one in train(stage, 40)]
    assert losses[0] == pytest.approx(2 * np.log(2), abs=0.2)
    assert np.mean(losses[-5:]) < 0.8 * losses[0]


def test_another_audio_encoder_than_the_generators_is_refused(stages):
    with pytest.raises(SettingsError, match=r"network\.speech\.outputs is 6, but 8 in the AVSyncNet"):
        stages.build("gs", "network.speech.outputs=6")


@pytest.mark.parametrize("term", ["sync", "triplet"])
def test_g_s_has_neither_sync_nor_triplet_loss(stages, term):
    with pytest.raises(SettingsError, match=rf"coefficients\.{term} must be 0 for the silent-lip generator"):
        stages.build("gs", *SILENT, f"coefficients.{term}=1")


@ROLES
def test_figures_are_measured_on_the_clips_kept_out(stages, role):
    figures = stages.build(role).validate()
    expected = {
        "opening_r",
        "amplitude",
        "gain_db",
        "sharpness",
        "still_r",
        "still_amplitude",
        "silent",
        "silent_open",
        "lmd",
    }
    assert figures.keys() == expected | ({"sync", "sync_real"} if role == "gl" else set())
    assert all(np.isfinite(value) for value in figures.values())


def test_without_validation_speakers_there_are_neither_figures_nor_pictures(stages):
    stage = stages.build("gl", "corpus.validation_speakers=[]")
    assert stage.validate() == {}
    assert stage.picture() is None


def test_the_sheet_shows_real_and_generated_frames_with_their_reference(stages):
    stage = stages.build("gl")
    sheet = stage.picture()
    assert sheet.shape == (2 * 32, 11 * 32, 3)
    clip = open_cache(stages.cache)[1][-1]
    crops = clip.crops(list(range(clip.n_frames)))
    assert any(np.array_equal(sheet[:32, 32:64], crop) for crop in crops)


@pytest.mark.parametrize(("role", "name"), [("gs", "silent_lip"), ("gl", "talking_face")])
def test_the_checkpoint_is_a_face_generator_that_draws_the_same(stages, tmp_path, role, name):
    stage = stages.build(role)
    train(stage, 1)
    path = stage.save(tmp_path, {"step": 1})
    assert path.name == f"{name}.safetensors"
    network = load_network(path)
    assert isinstance(network, UNetFaceGenerator)
    batch = stage.draw(1)
    arguments = batch.mel[:, 0], batch.references[:, None], mask_lower_half(batch.targets[:, 0])
    torch.testing.assert_close(network(*arguments), stage.generator.eval()(*arguments), atol=5e-3, rtol=0)


@ROLES
def test_it_trains_in_bfloat16(stages, role):
    from lipsync_cli.training.compute import Compute

    stage = stages.build(role, compute=Compute(torch.device("cpu"), torch.bfloat16))
    (losses,) = train(stage, 1)
    (exact,) = train(stages.build(role), 1)
    assert losses["pixel"] == pytest.approx(exact["pixel"], rel=0.05)
    assert losses["pixel"] != exact["pixel"]
    assert {weights.dtype for weights in stage.generator.parameters()} == {torch.float32}
