from __future__ import annotations

import numpy as np
import pytest
import torch

from lipsync_cli.losses.lip_shape import INNER_LIPS
from lipsync_cli.registry.checkpoint import load_network
from lipsync_cli.training.lip_reader import LIPS_SIZE, disturb


def test_samples_are_lower_halves_at_the_readers_size_with_their_points(stages):
    batch = stages.build("lip_reader").draw(0)
    n = 3 * (2 + 2)  # clips x (references and targets)
    assert batch.lips.shape == (n, 3, *LIPS_SIZE)
    assert batch.points.shape == (n, 40, 2)


def test_it_learns_to_read_openings_of_a_speaker_it_never_saw(stages):
    stage = stages.build(
        "lip_reader",
        "loop.steps=150",
        "rate=0.01",
        "sampling.n_clips=6",
        "picture.rotation=2",
        "picture.warp=0",
    )
    losses = [stage.train(stage.draw(step), step)["points"] for step in range(150)]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    assert stage.validate()["opening_r"] > 0.5


def test_without_validation_speakers_there_are_no_figures(stages):
    assert stages.build("lip_reader", "corpus.validation_speakers=[]").validate() == {}


def test_the_inner_lips_are_those_of_the_lip_shape_loss(stages):
    """Upper above lower, by the opening."""
    points = stages.build("lip_reader").draw(0).points
    assert (points[:, INNER_LIPS[0], 1] < points[:, INNER_LIPS[1], 1]).float().mean() == 1


def test_pictures_are_disturbed_in_about_three_quarters_of_the_batches_and_stay_pictures():
    pictures = torch.rand(2, 3, 32, 32)
    changed = 0
    for seed in range(40):
        disturbed = disturb(pictures, np.random.default_rng(seed))
        assert disturbed.shape == pictures.shape
        assert 0 <= disturbed.min() <= disturbed.max() <= 1
        changed += not torch.equal(disturbed, pictures)
    assert changed / 40 == pytest.approx(0.75, abs=0.2)


def test_the_checkpoint_holds_the_weights_exactly(stages, tmp_path):
    stage = stages.build("lip_reader")
    network = load_network(stage.save(tmp_path, {"step": 1}))
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, stage.reader.state_dict()[name])
