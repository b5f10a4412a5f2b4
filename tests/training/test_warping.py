from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lipsync_cli.data.layout import open_cache
from lipsync_cli.errors import SettingsError, WeightsError
from lipsync_cli.models.lip_predictor import FURTHER_STEPS, LipPredictor, LipPredictorSettings
from lipsync_cli.models.warping_generator import WarpingFaceGenerator
from lipsync_cli.registry.checkpoint import load_network
from lipsync_cli.training.compute import Compute

TERMS = {
    "pixel",
    "gradient",
    "structure",
    "lip_shape",
    "spread",
    "width",
    "heard_shape",
    "flow",
    "adversarial",
    "features",
    "discriminator",
}


def train(stage, steps: int) -> list[dict[str, float]]:
    return [stage.train(stage.draw(step), step) for step in range(steps)]


def tensors(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def changed(network: torch.nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}


def test_every_step_tells_the_same_losses(stages):
    losses = train(stages.build("warping"), 4)
    assert [one.keys() for one in losses] == [TERMS] * 4
    assert all(np.isfinite(value) for one in losses for value in one.values())


def test_the_discriminator_takes_part_from_its_step_on(stages):
    stage = stages.build("warping", "adversarial_from=2")
    before = tensors(stage.discriminator)
    losses = train(stage, 2)
    assert {(one["adversarial"], one["features"], one["discriminator"]) for one in losses} == {(0, 0, 0)}
    assert changed(stage.discriminator, before) == set()
    last = stage.train(stage.draw(2), 2)
    assert last["discriminator"] > 0
    assert last["features"] > 0
    # of fresh scores the hinge pushes the last bias neither way
    assert changed(stage.discriminator, before) >= set(before) - {"score.bias"}


def test_a_training_goes_on_from_another_ones_talking_face(stages, tmp_path):
    first = stages.build("warping")
    train(first, 2)
    path = first.save(tmp_path, {})
    second = stages.build("warping", f'start_from="{path}"')
    kept = load_file(path)
    assert second.generator.state_dict().keys() == kept.keys()
    for name, tensor in second.generator.state_dict().items():
        assert torch.equal(tensor, kept[name].to(tensor.dtype)), name


def test_going_on_from_a_file_that_is_not_there_names_it(stages):
    with pytest.raises(WeightsError, match=r"no_such\.safetensors"):
        stages.build("warping", 'start_from="no_such.safetensors"')


def test_the_reader_and_the_speech_embedding_do_not_change(stages):
    stage = stages.build("warping")
    before = tensors(stage.reader), tensors(stage.embedding)
    train(stage, 3)
    assert changed(stage.reader, before[0]) == changed(stage.embedding, before[1]) == set()


def test_the_average_follows_the_generator_and_is_what_is_saved(stages, tmp_path):
    stage = stages.build("warping", "average=0.5", "rate=0.01")
    before = tensors(stage.average)
    train(stage, 2)
    assert changed(stage.average, before)
    assert changed(stage.average, tensors(stage.generator))
    network = load_network(stage.save(tmp_path, {"step": 2}))
    assert isinstance(network, WarpingFaceGenerator)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(
            tensor.float(), stage.average.state_dict()[name].float(), atol=2e-3, rtol=2e-3
        )


def test_what_is_read_from_the_speech_alone_teaches_the_speech_encoder_only(stages):
    stage = stages.build("warping")
    batch = stage.draw(0)
    stage._heard_shape_loss(batch, stage._steps(batch.log_mel.flatten(0, 1))).backward()
    learning = {
        name.split(".")[0]
        for name, weights in stage.generator.named_parameters()
        if weights.grad is not None and weights.grad.abs().sum() > 0
    }
    assert learning == {"speech_encoder"}


SYNC = ("sampling.consecutive=true", "sampling.n_frames=5", "coefficients.sync=1")


def test_the_synchronization_loss_teaches_the_generator_and_not_its_judge(stages):
    stage = stages.build("warping", *SYNC, "sampling.silent_share=0")
    before = tensors(stage.sync_network)
    batch = stage.draw(0)
    generated = torch.rand(batch.targets.flatten(0, 1).shape, requires_grad=True)
    stage._sync_loss(batch, generated).backward()
    assert generated.grad is not None
    half = generated.shape[-1] // 2
    assert generated.grad[:, :, :half].abs().max() == 0  # it sees lower halves only
    assert generated.grad[:, :, half:].abs().max() > 0
    (losses,) = train(stage, 1)
    assert losses["sync"] > 0
    assert changed(stage.sync_network, before) == set()


def test_real_faces_lose_nothing_by_the_synchronization_loss(stages):
    stage = stages.build("warping", *SYNC, "sampling.silent_share=0")
    batch = stage.draw(0)
    targets = batch.targets.flatten(0, 1)
    assert float(stage._sync_loss(batch, targets)) == pytest.approx(0, abs=1e-4)
    assert float(stage._sync_loss(batch, targets.roll(5, dims=0))) > 1e-3


def test_silent_samples_have_no_synchronization_loss(stages):
    stage = stages.build("warping", *SYNC, "sampling.silent_share=1")
    batch = stage.draw(0)
    assert not batch.spoken.any()
    assert float(stage._sync_loss(batch, torch.rand_like(batch.targets.flatten(0, 1)))) == 0


def test_the_synchronization_loss_wants_consecutive_targets(stages):
    with pytest.raises(SettingsError, match=r"sampling.consecutive = true and sampling.n_frames = 5"):
        stages.build("warping", "coefficients.sync=1")


def test_the_faces_of_one_batch_can_be_learned(stages):
    stage = stages.build("warping", "loop.steps=100", "rate=0.01", "adversarial_from=1000")
    batch = stage.draw(0)
    losses = [stage.train(batch, step) for step in range(60)]
    for term in ("pixel", "gradient", "heard_shape"):
        assert losses[-1][term] < 0.6 * losses[0][term]


def test_figures_have_names_and_silence_is_digital_silence(stages):
    stage = stages.build("warping")
    figures = stage.validate()
    assert figures.keys() == {
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
    silence = stage.talker().silence
    torch.testing.assert_close(silence, stage.embedding.steps(torch.full((1, 76, 32), 1.6))[0])


def test_the_sheet_shows_four_clips_at_most(stages):
    sheet = stages.build("warping", 'corpus.validation_speakers=["a","b"]').picture()
    assert sheet.shape == (4 * 2 * 32, 11 * 32, 3)


def test_crops_of_another_size_than_the_readers_are_resized_for_it(draw_corpus, stages):
    stages.cache = draw_corpus(image_size=64, folder="larger").folder
    stage = stages.build("warping", "network.image_size=64")
    assert train(stage, 1)[0]["lip_shape"] > 0


def test_it_trains_in_bfloat16(stages):
    stage = stages.build("warping", compute=Compute(torch.device("cpu"), torch.bfloat16))
    losses, exact = train(stage, 3)[-1], train(stages.build("warping"), 3)[-1]
    assert losses["pixel"] == pytest.approx(exact["pixel"], rel=0.1)
    assert losses["pixel"] != exact["pixel"]
    assert {weights.dtype for weights in stage.generator.parameters()} == {torch.float32}


def test_a_clip_is_measured_with_its_sound_moved_by_its_offset(stages):
    stage = stages.build("warping")
    clip = open_cache(stages.cache)[1][0]
    torch.nn.init.normal_(stage.average.head.weight, std=0.1)
    assert stage.measure(clip).gain_db != stage.measure(clip, offset=5).gain_db


@pytest.fixture
def predictor() -> LipPredictor:
    torch.manual_seed(3)
    return LipPredictor(LipPredictorSettings(width=8, n_networks=2))


def test_a_predictor_is_taken_over_and_does_not_learn(stages, predictor, tmp_path):
    stage = stages.build("warping", predictor=predictor)
    encoder = stage.generator.speech_encoder
    train(stage, 2)
    assert changed(encoder.predictor, tensors(predictor)) == set()
    assert encoder.predicted.weight.abs().max() > 0, "what it says is listened to"
    network = load_network(stage.save(tmp_path, {}))
    assert network.hears == "speech_embedding_wide"
    assert network.settings.speech.predictor == predictor.settings


def test_a_generator_without_a_predictor_gets_one_and_says_the_same_at_first(stages, predictor, tmp_path):
    first = stages.build("warping")
    train(first, 2)
    path = first.save(tmp_path, {})
    second = stages.build("warping", f'start_from="{path}"', predictor=predictor)
    batch = second.draw(0)
    wide = second._steps(batch.log_mel.flatten(0, 1))
    assert wide.shape[1] == 40
    usual = wide[:, FURTHER_STEPS:-FURTHER_STEPS]
    arguments = batch.references.repeat_interleave(3, dim=0), batch.targets.flatten(0, 1)
    before = load_network(path).eval()
    with torch.no_grad():
        ours = second.generator.eval()(wide, *arguments)
        torch.testing.assert_close(ours, before(usual, *arguments), rtol=0, atol=1e-4)


def test_figures_of_a_generator_with_a_predictor_hear_the_further_steps(stages, predictor):
    stage = stages.build("warping", predictor=predictor)
    clip = stage.corpus.validation[0]
    talker = stage.talker()
    assert talker.hear(clip, 0).shape == (clip.n_frames, 40, 384)
    assert talker.silence.shape == (40, 384)
    torch.testing.assert_close(talker.hear(clip, 3)[2], talker.hear(clip, 0)[5])
    assert stage.validate().keys() >= {"opening_r", "silent"}


def test_going_on_from_one_with_a_predictor_keeps_it(stages, predictor, tmp_path):
    first = stages.build("warping", predictor=predictor)
    path = first.save(tmp_path, {})
    second = stages.build("warping", f'start_from="{path}"')
    kept = second.generator.speech_encoder.predictor
    for name, tensor in predictor.state_dict().items():
        torch.testing.assert_close(kept.state_dict()[name], tensor, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("with_predictor", [False, True])
def test_a_start_that_lacks_more_than_a_predictor_is_refused(stages, predictor, tmp_path, with_predictor):
    path = stages.build("warping").save(tmp_path, {})
    given = predictor if with_predictor else None
    with pytest.raises(WeightsError, match=r"talking_face\.safetensors: not the weights .* missing"):
        stages.build("warping", f'start_from="{path}"', "network.bottleneck_depth=2", predictor=given)
