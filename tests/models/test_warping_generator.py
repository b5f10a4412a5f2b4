from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from lipsync_cli.errors import SettingsError
from lipsync_cli.models import warping_generator
from lipsync_cli.models.architectures import build
from lipsync_cli.models.lip_predictor import FURTHER_STEPS, LipPredictorSettings
from lipsync_cli.models.warping_generator import (
    SpeechEncoder,
    SpeechEncoderSettings,
    WarpingFaceGenerator,
    WarpingGeneratorSettings,
    _lower_enlarged,
)

SMALL = WarpingGeneratorSettings(
    image_size=32,
    widths=(4, 6, 8),
    bottleneck_depth=1,
    speech=SpeechEncoderSettings(step_width=8, width=16, outputs=8),
)


@pytest.fixture
def generator() -> WarpingFaceGenerator:
    torch.manual_seed(0)
    return WarpingFaceGenerator(SMALL).eval()


def inputs(n: int, size: int = 32, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Speech, smooth references and the pose with its lower half zero."""
    random = torch.Generator().manual_seed(seed)
    speech = torch.randn(n, 10, 384, generator=random)
    coarse = torch.rand(3 * n, 3, 8, 8, generator=random)
    faces = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear").unflatten(0, (3, n))
    pose = faces[2].clone()
    pose[:, :, size // 2 :] = 0
    return speech, torch.stack([faces[0], faces[1]], dim=1), pose


def test_it_has_4_08_million_parameters():
    generator = build("warping_generator", {})
    n = sum(weights.numel() for weights in generator.parameters())
    assert round(n / 1e6, 2) == 4.08


def test_it_says_what_it_takes(generator):
    facts = (generator.image_size, generator.n_references, generator.hears, generator.scalable)
    assert facts == (32, 2, "speech_embedding", True)


def test_a_face_is_a_picture_between_0_and_1(generator):
    faces = generator(*inputs(3))
    assert faces.shape == (3, 3, 32, 32)
    assert faces.dtype == torch.float32
    assert 0 <= faces.min() <= faces.max() <= 1


def test_the_upper_half_is_exactly_that_of_the_pose(generator):
    for size in (32, 64):
        speech, references, pose = inputs(2, size)
        faces = generator(speech, references, pose)
        assert torch.equal(faces[:, :, : size // 2], pose[:, :, : size // 2])


def test_the_lower_half_does_not_see_the_lower_half_of_the_target(generator):
    """The pose has none, and the network must not depend on its being there."""
    speech, references, pose = inputs(2)
    assert (pose[:, :, 16:] == 0).all()
    assert not torch.equal(generator(speech, references, pose)[:, :, 16:], pose[:, :, 16:])


def test_fresh_from_the_start_it_shows_the_closed_reference():
    """Softmax of (1, 0, 0) gives the closed reference e / (e + 2) of the picture; hardly anything moves."""
    torch.manual_seed(0)
    generator = WarpingFaceGenerator(WarpingGeneratorSettings()).eval()
    speech, references, pose = inputs(2, 96)
    faces = generator(speech, references, pose)
    share = torch.e / (torch.e + 2)
    expected = share * references[:, 0] + (1 - share) / 2 * (references[:, 1] + 0.5)
    assert (faces - expected)[:, :, 48:].abs().mean() < 0.03
    closer = [(faces - references[:, i])[:, :, 48:].abs().mean() for i in range(2)]
    assert closer[0] < closer[1]


def test_flow_moves_a_reference_in_parts_of_its_side(generator):
    """A flow of 2 pixels to the right fetches what lies 2 pixels to the right."""
    _, references, pose = inputs(1)
    motion = generator.motion(*inputs(1))
    flows = torch.zeros_like(motion.flows)
    flows[:, 0, 0] = 2 * 2 / 31
    only_closed = torch.zeros_like(motion.mask_logits)
    only_closed[:, 0] = 100
    moved = generator.compose(
        type(motion)(flows=flows, mask_logits=only_closed, paint=motion.paint), references, pose
    )
    torch.testing.assert_close(moved[:, :, 16:, :-2], references[:, 0, :, 16:, 2:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_masks_choose_between_closed_reference_open_reference_and_paint(generator, part):
    _, references, pose = inputs(1)
    motion = generator.motion(*inputs(1))
    logits = torch.zeros_like(motion.mask_logits)
    logits[:, part] = 100
    still = type(motion)(flows=torch.zeros_like(motion.flows), mask_logits=logits, paint=motion.paint)
    expected = [references[:, 0], references[:, 1], motion.paint][part]
    lower = generator.compose(still, references, pose)[:, :, 16:]
    torch.testing.assert_close(lower, expected[:, :, 16:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("multiple", [2, 3])
def test_larger_pictures_are_answered_at_their_size_and_agree_when_reduced(generator, multiple):
    torch.nn.init.normal_(generator.head.weight, std=0.05)  # so that something moves
    speech, references, pose = inputs(2, 32 * multiple)
    large = generator(speech, references, pose)
    assert large.shape == (2, 3, 32 * multiple, 32 * multiple)

    def reduced(pictures: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(pictures, size=(32, 32), mode="area")

    small = generator(
        speech, torch.stack([reduced(references[:, 0]), reduced(references[:, 1])], dim=1), reduced(pose)
    )
    assert (reduced(large) - small).abs().mean() < 0.02


def test_speech_changes_the_mouth_and_nothing_above_it(generator):
    speech, references, pose = inputs(1)
    spoken, other = generator(speech, references, pose), generator(speech + 1, references, pose)
    assert torch.equal(spoken[:, :, :16], other[:, :, :16])
    assert not torch.allclose(spoken[:, :, 16:], other[:, :, 16:])


def test_a_face_is_drawn_alike_alone_and_in_a_batch(generator):
    speech, references, pose = inputs(4)
    together = generator(speech, references, pose)
    alone = torch.cat(
        [generator(speech[i : i + 1], references[i : i + 1], pose[i : i + 1]) for i in range(4)]
    )
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pixels", [1, 2 * 64 * 64, 10**9])
def test_faces_that_are_composed_in_parts_are_the_same(generator, monkeypatch, pixels):
    speech, references, pose = inputs(5, size=64)
    whole = generator.compose(generator.motion(speech, references, pose), references, pose)
    monkeypatch.setattr(warping_generator, "_PIXELS", pixels)
    torch.testing.assert_close(generator(speech, references, pose), whole, atol=1e-6, rtol=0)


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    generator = WarpingFaceGenerator(SMALL).train()
    (generator(*inputs(4)) - 0.3).square().sum().backward()
    without = [
        name
        for name, weights in generator.named_parameters()
        if weights.grad is None or not weights.grad.abs().sum() > 0
    ]
    assert without == []


def test_both_references_and_the_pose_matter(generator):
    torch.nn.init.normal_(generator.head.weight, std=0.05)
    speech, references, pose = inputs(1)
    face = generator(speech, references, pose)
    for reference, half in product((0, 1), (slice(0, 16), slice(16, 32))):
        changed = references.clone()
        changed[:, reference, :, half] += 0.2
        assert not torch.equal(generator(speech, changed, pose)[:, :, 16:], face[:, :, 16:])
    assert not torch.equal(generator(speech, references, pose * 0.5)[:, :, 16:], face[:, :, 16:])


@pytest.mark.parametrize("size", [30, 100, 97])
def test_a_size_that_cannot_be_halved_often_enough_is_refused(size):
    with pytest.raises(SettingsError, match=f"image_size {size} is not a multiple of 16"):
        WarpingGeneratorSettings(image_size=size)


@pytest.mark.parametrize("size", [32, 64, 96, 80])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_the_enlarged_lower_half_is_that_of_the_enlarged_whole(size, mode):
    """Also for a size that is no multiple."""
    maps = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    whole = torch.nn.functional.interpolate(maps, size=(size, size), mode=mode, align_corners=False)
    torch.testing.assert_close(_lower_enlarged(maps, size, mode), whole[:, :, size // 2 :])


def test_references_shared_by_a_batch_are_as_good_as_copies(generator):
    speech, references, pose = inputs(3, 64)
    shared = references[:1].expand(3, -1, -1, -1, -1)
    torch.testing.assert_close(generator(speech, shared, pose), generator(speech, shared.clone(), pose))


def told(alone: float = 0.0) -> SpeechEncoder:
    """An encoder with a predictor that it listens to."""
    torch.manual_seed(0)
    predictor = LipPredictorSettings(width=8, n_networks=2)
    encoder = SpeechEncoder(
        SpeechEncoderSettings(
            step_width=8, width=16, outputs=8, dropout=0.0, predictor=predictor, predicted_alone=alone
        )
    )
    torch.nn.init.normal_(encoder.predicted.weight)
    for name, weights in encoder.predictor.named_parameters():
        if "mix" in name:  # blocks begin as if they were not there
            torch.nn.init.normal_(weights, std=0.3)
    return encoder


def test_with_a_predictor_further_steps_are_heard_by_it_alone():
    encoder = told().eval()
    speech = torch.randn(2, 40, 384)
    other = speech.clone()
    other[:, :FURTHER_STEPS] += 1
    assert not torch.equal(encoder(speech), encoder(other))
    torch.nn.init.zeros_(encoder.predicted.weight)
    torch.testing.assert_close(encoder(speech), encoder(other))


def test_the_predictor_stays_as_it_is_in_training():
    encoder = told().train()
    assert not encoder.predictor.training
    encoder(torch.randn(3, 40, 384)).sum().backward()
    assert encoder.predicted.weight.grad is not None
    assert all(weights.grad is None for weights in encoder.predictor.parameters())


def test_samples_that_hear_the_prediction_alone_do_not_hear_the_steps():
    speech, other = torch.randn(4, 40, 384), torch.randn(4, 40, 384)
    encoder = told(alone=1.0).train()
    torch.nn.init.zeros_(encoder.predicted.weight)
    torch.testing.assert_close(encoder(speech), encoder(other))
    encoder.eval()
    assert not torch.allclose(encoder(speech), encoder(other)), "only in training"


def test_about_as_many_samples_as_asked_hear_the_prediction_alone():
    encoder = told(alone=0.25).train()
    torch.nn.init.zeros_(encoder.predicted.weight)
    speech = torch.randn(400, 40, 384)
    silent = encoder(torch.zeros(400, 40, 384))  # batch norm makes nothing of it
    alone = (encoder(speech) - silent).abs().amax(dim=1) < 1e-6
    assert alone.float().mean() == pytest.approx(0.25, abs=0.07)
