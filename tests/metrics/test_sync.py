from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lipsync_cli.metrics.sync import REACH, Lse, centred, offset_of_scores


def test_the_best_offset_is_where_the_score_is_highest() -> None:
    scores = np.linspace(0.1, 0.2, 31)
    scores[REACH + 3] = 0.9
    found = offset_of_scores(scores)
    assert found.frames == 3
    assert found.score == pytest.approx(0.9)
    assert found.confidence == pytest.approx(0.9 - np.median(scores))


def test_offsets_that_were_not_measured_do_not_count() -> None:
    scores = np.full(31, np.nan)
    scores[5:25] = 0.0
    scores[5] = 1.0
    assert offset_of_scores(scores).frames == 5 - REACH


def test_too_few_measured_offsets_are_refused() -> None:
    scores = np.full(31, np.nan)
    scores[:15] = 1.0
    with pytest.raises(ValueError, match="half"):
        offset_of_scores(scores)


def test_evidence_may_choose_another_offset_than_the_score() -> None:
    scores = np.array([0.1, 0.5, 0.2, 0.4, 0.3])
    found = offset_of_scores(scores, np.array([0.0, 0.1, 0.0, 0.2, np.nan]))
    assert found.frames == 1
    assert found.score == 0.4
    assert found.confidence == pytest.approx(0.1)


def test_centred_by_hand() -> None:
    scores = np.array([[1.0, 2.0, 6.0], [4.0, np.nan, 8.0]])
    # sounds 0 .. 3: means 1, (2 + 4) / 2, 6, 8; pictures: means 3, 6
    expected = [[1 - 3 - 1, 2 - 3 - 3, 6 - 3 - 6], [4 - 6 - 3, np.nan, 8 - 6 - 8]]
    np.testing.assert_allclose(centred(scores, np.array([7, 8])), expected)
    apart = [[1 - 3 - 1, 2 - 3 - 2, 6 - 3 - 5], [4 - 6 - 5, np.nan, 8 - 6 - 8]]
    np.testing.assert_allclose(centred(scores, np.array([0, 2])), apart)


def test_a_sound_that_goes_with_any_lips_does_not_decide() -> None:
    """Loud sounds in the middle of a clip draw the raw mean to where most pictures meet them."""
    rng = np.random.default_rng(0)
    frames = np.arange(40)
    sound = frames[:, None] + np.arange(2 * REACH + 1)
    scores = 0.05 * rng.normal(size=sound.shape)
    scores += np.where((sound >= 10) & (sound < 45), 0.5, 0.0)
    scores[:, REACH + 9] += 0.1
    raw, evidence = scores.mean(axis=0), centred(scores, frames).mean(axis=0)
    assert offset_of_scores(raw).frames != 9
    assert offset_of_scores(raw, evidence).frames == 9


def test_lse_by_hand_on_one_number_a_frame() -> None:
    # one frame: distance |2 - 5| to the sound of its own time, |2 - 0| to the zeros at all other offsets
    metric = Lse()
    metric.update(np.array([[2.0]]), np.array([[5.0]]))
    assert metric.distance() == pytest.approx(2.0, abs=1e-5)
    assert metric.confidence() == pytest.approx(0.0, abs=1e-5)


def test_lse_finds_the_shift_and_its_distance() -> None:
    random = np.random.default_rng(7)
    speech = random.normal(size=(60, 8))
    lips = np.zeros_like(speech)
    lips[:56] = speech[4:]  # the picture at t matches the sound at t + 4
    metric = Lse()
    metric.update(lips[:30], speech[:30])
    metric.update(lips[30:], speech[30:])
    assert metric.offset() == 4
    assert metric.distance() < 0.01
    assert metric.compute() == metric.distance()
    assert metric.confidence() > 2


def _public_rule(lips: torch.Tensor, speech: torch.Tensor) -> tuple[float, float]:
    """Distances as the public description has them, with torch's own pairwise distance."""
    padded = torch.nn.functional.pad(speech, (0, 0, REACH, REACH))
    width = 2 * REACH + 1
    rows = [
        torch.nn.functional.pairwise_distance(lips[i].expand(width, -1), padded[i : i + width])
        for i in range(len(lips))
    ]
    means = torch.stack(rows, dim=1).mean(dim=1)
    return float(means.min()), float(means.median() - means.min())


def test_lse_agrees_with_torch_pairwise_distances() -> None:
    generator = torch.Generator().manual_seed(1)
    lips, speech = (torch.randn(40, 16, generator=generator, dtype=torch.float64) for _ in range(2))
    metric = Lse()
    metric.update(lips.numpy(), speech.numpy())
    distance, confidence = _public_rule(lips, speech)
    assert metric.distance() == pytest.approx(distance, abs=1e-4)
    assert metric.confidence() == pytest.approx(confidence, abs=1e-4)


@pytest.mark.parametrize("batch", [1, 7, 15, 16, 100])
def test_lse_is_the_same_however_features_come_and_holds_few_of_them(batch: int) -> None:
    random = np.random.default_rng(0)
    lips, speech = random.normal(size=(2, 90, 4))
    whole, parts = Lse(), Lse()
    whole.update(lips, speech)
    for first in range(0, 90, batch):
        parts.update(lips[first : first + batch], speech[first : first + batch])
        parts.compute()  # asking on the way changes nothing
    assert parts.distance() == pytest.approx(whole.distance(), abs=1e-12)
    assert parts.confidence() == pytest.approx(whole.confidence(), abs=1e-12)
    held = [value for value in vars(parts).values() if isinstance(value, np.ndarray)]
    assert max(len(value) for value in held) <= 31


def test_lse_without_features_is_nan_and_refuses_unequal_ones() -> None:
    metric = Lse()
    assert math.isnan(metric.compute())
    assert math.isnan(metric.confidence())
    with pytest.raises(ValueError, match="no features"):
        metric.offset()
    with pytest.raises(ValueError, match="differ"):
        metric.update(np.zeros((2, 3)), np.zeros((3, 3)))
