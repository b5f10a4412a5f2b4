from __future__ import annotations

import math

import pytest
import torch

from lipsync_cli.data.layout import open_cache
from lipsync_cli.errors import SettingsError
from lipsync_cli.models.avsyncnet import AVSyncNetSettings
from lipsync_cli.registry.checkpoint import load_network
from lipsync_cli.training.avsyncnet import (
    AVSyncNetTraining,
    bce_loss,
    best_offset,
    clip_offset,
    contrastive_loss,
    within_clip_accuracy,
)

COSINES = torch.tensor([[0.8, 0.2], [0.4, 0.6]])
"""Two windows of one clip: own speech on the diagonal."""


def test_contrastive_loss_by_hand():
    """Cross-entropy of each row and of each column with its own place, at temperature 0.5."""
    rows = [math.log1p(math.exp((0.2 - 0.8) / 0.5)), math.log1p(math.exp((0.4 - 0.6) / 0.5))]
    columns = [math.log1p(math.exp((0.4 - 0.8) / 0.5)), math.log1p(math.exp((0.2 - 0.6) / 0.5))]
    expected = (sum(rows) / 2 + sum(columns) / 2) / 2
    assert contrastive_loss(COSINES, 0.5).item() == pytest.approx(expected)


def test_contrastive_loss_of_cosines_that_say_nothing_is_the_logarithm_of_the_batch():
    assert contrastive_loss(torch.zeros(8, 8), 0.07).item() == pytest.approx(math.log(8))


def test_bce_loss_by_hand():
    """Own speech towards 1 (0.8, 0.6), that of the clip's next window towards 0 (0.2, 0.4)."""
    expected = -(math.log(0.8) + math.log(0.6) + math.log(1 - 0.2) + math.log(1 - 0.4)) / 4
    assert bce_loss(COSINES, 2).item() == pytest.approx(expected)


def test_bce_negatives_are_the_next_window_of_the_same_clip():
    """Two clips of three windows: row 2 of a clip is compared with its window 0."""
    cosines = torch.full((6, 6), 0.9)
    for row, column in ((0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3)):
        cosines[row, column] = 0.1
    assert bce_loss(cosines, 3).item() == pytest.approx(-math.log(0.9))
    assert within_clip_accuracy(cosines, 3) == 1
    cosines[5, 3] = 0.95
    assert within_clip_accuracy(cosines, 3) == pytest.approx(5 / 6)


def test_cosines_of_0_and_1_give_a_finite_bce():
    cosines = torch.tensor([[0.0, 1.0], [1.0, 0.0]], requires_grad=True)
    loss = bce_loss(cosines, 2)
    loss.backward()
    assert loss.isfinite()
    assert cosines.grad.isfinite().all()


@pytest.mark.parametrize("late", [-6, 0, 4])
def test_the_offset_is_by_how_many_frames_the_sound_is_late(late):
    speech = torch.nn.functional.normalize(torch.randn(60, 8, generator=torch.manual_seed(0)), dim=1)
    lips = torch.roll(speech, -late, dims=0)  # picture t fits sound t + late
    offset, confidence = best_offset(lips, speech)
    assert offset == late
    assert confidence > 0.8


def test_offsets_of_very_short_clips_are_searched_as_far_as_they_go():
    speech = torch.nn.functional.normalize(torch.randn(4, 8, generator=torch.manual_seed(0)), dim=1)
    assert best_offset(speech, speech)[0] == 0


@pytest.mark.parametrize("loss", ["contrastive", "bce"])
def test_a_small_network_learns_which_sound_belongs_to_the_lips(stages, loss):
    rectified = "true" if loss == "bce" else "false"
    stage = stages.build(
        "avsyncnet",
        f"loss={loss}",
        f"network.rectified={rectified}",
        "n_clips=6",
        "rate=0.01",
        "loop.steps=80",
        "voice.probability=0",
        "picture.mirror=false",
    )
    losses = [stage.train(stage.draw(step), step) for step in range(80)]
    early, late = (sum(one["sync"] for one in some) / 10 for some in (losses[:10], losses[-10:]))
    assert late < 0.9 * early
    assert sum(one["right"] for one in losses[-20:]) / 20 > 0.7


def test_validation_tells_offset_and_confidence_of_the_clips_kept_out(stages):
    stage = stages.build("avsyncnet")
    figures = stage.validate()
    assert figures.keys() == {"within_1", "confidence"}
    assert figures["within_1"] in (0, 1)  # one clip


def test_a_clip_is_scored_alike_whatever_the_batch(stages):
    stage = stages.build("avsyncnet")
    clip = open_cache(stages.cache)[1][0]
    offset, confidence = clip_offset(stage.network.eval(), clip)
    assert -15 <= offset <= 15
    assert confidence >= 0


def test_the_checkpoint_says_how_to_build_itself(stages, tmp_path):
    stage = stages.build("avsyncnet")
    path = stage.save(tmp_path, {"step": 3})
    network = load_network(path)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(
            tensor.float(), stage.network.state_dict()[name].float(), atol=1e-3, rtol=1e-3
        )


def test_bce_needs_cosines_that_are_not_negative():
    with pytest.raises(SettingsError, match=r"needs network\.rectified = true"):
        AVSyncNetTraining(loss="bce", network=AVSyncNetSettings(rectified=False))


def test_negatives_need_two_windows_of_a_clip():
    with pytest.raises(SettingsError, match="n_windows must be at least 2"):
        AVSyncNetTraining(n_windows=1)


def test_syncnet_learns_with_the_papers_loss_and_its_checkpoint_is_a_sync_scorer(stages, tmp_path):
    stage = stages.build("syncnet", "rate=0.003", "n_clips=4", "voice.probability=0", "picture.mirror=false")
    losses = [stage.train(stage.draw(0), 5)["sync"] for _ in range(12)]
    assert losses[-1] < losses[0]
    network = load_network(stage.save(tmp_path, {}))
    assert network.lips_size == (48, 96)
    batch = stage.draw(1)
    cosines = network(batch.lips.flatten(0, 1), batch.mel.flatten(0, 1))
    assert ((cosines >= 0) & (cosines <= 1)).all()
