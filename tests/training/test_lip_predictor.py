from __future__ import annotations

import numpy as np
import pytest
import torch

from lipsync_cli.data.lip_movement import lip_movement, steps_from
from lipsync_cli.errors import SettingsError
from lipsync_cli.models.lip_predictor import FURTHER_STEPS
from lipsync_cli.registry.checkpoint import load_network


def test_a_stretch_has_the_steps_around_all_of_its_frames(stages):
    batch = stages.build("lip_predictor").draw(0)
    n = 3 * 2  # clips x networks
    assert batch.steps.shape == (n, 20 + 2 * FURTHER_STEPS + 1, 384)
    assert batch.movement.shape == (n, 20, 2)
    assert batch.is_there.all()


def test_every_stretch_moves_in_its_own_standard_deviations(stages):
    opening = stages.build("lip_predictor").draw(0).movement[..., 0]
    torch.testing.assert_close(opening.mean(dim=1), torch.zeros(6), rtol=0, atol=1e-4)
    assert (opening.std(dim=1, correction=0) > 0.8).all()
    assert (opening.std(dim=1, correction=0) < 1).all(), "the landmarks' noise is not blown up"


def test_past_the_end_of_a_short_clip_nothing_is_there_to_learn(stages):
    batch = stages.build("lip_predictor", "n_frames=50").draw(0)  # the clips have 30
    assert (batch.is_there[:, :30] == 1).all()
    assert (batch.is_there[:, 30:] == 0).all()
    assert (batch.movement[:, 30:] == 0).all()


def test_steps_past_the_ends_are_silence(stages):
    clip = stages.build("lip_predictor").corpus.training[0]
    silence = torch.full((384,), -7.0)
    steps = steps_from(clip, -2, 4, silence)
    assert (steps[:2] == -7).all()
    np.testing.assert_array_equal(steps[2:].numpy(), clip.read("speech")[:2].astype(np.float32))
    assert (steps_from(clip, 38, 3, silence)[1:] == -7).all(), "39 steps for 30 frames"


def test_the_first_of_the_two_steps_of_a_moment_is_the_fifth_of_its_frame(stages):
    """In the drawn speech that is as loud as the frame's mouth is open."""
    batch = stages.build("lip_predictor", "n_frames=30").draw(0)
    told = batch.steps[:, FURTHER_STEPS : FURTHER_STEPS + 30].mean(dim=2)
    for one, real in zip(told, batch.movement[..., 0], strict=True):
        assert np.corrcoef(one.numpy(), real.numpy())[0, 1] > 0.99


def test_it_learns_to_tell_openings_of_a_speaker_it_never_heard(stages):
    stage = stages.build("lip_predictor", "loop.steps=60", "rate=0.01", "average=0.9")
    losses = [stage.train(stage.draw(step), step) for step in range(60)]
    assert losses[0].keys() == {"opening", "width"}
    opening = [one["opening"] for one in losses]
    assert np.mean(opening[-10:]) < 0.6 * np.mean(opening[:10])
    assert stage.validate()["opening_r"] > 0.95


def test_without_validation_speakers_there_are_no_figures(stages):
    assert stages.build("lip_predictor", "corpus.validation_speakers=[]").validate() == {}


def test_a_mouth_that_does_not_move_has_nolip_movement(stages):
    clip = stages.build("lip_predictor").corpus.training[0]
    assert np.abs(lip_movement(clip, slice(4, 5))).max() == 0


def test_the_checkpoint_holds_the_average_exactly(stages, tmp_path):
    stage = stages.build("lip_predictor")
    stage.train(stage.draw(0), 0)
    network = load_network(stage.save(tmp_path, {"step": 1}))
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, stage.average.state_dict()[name])


def test_one_frame_is_nolip_movement(stages):
    with pytest.raises(SettingsError, match="n_frames 1"):
        stages.build("lip_predictor", "n_frames=1")
