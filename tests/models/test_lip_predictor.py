from __future__ import annotations

import pytest
import torch

from lipsync_cli.errors import SettingsError
from lipsync_cli.models.lip_predictor import LipPredictor, LipPredictorSettings


@pytest.fixture
def predictor() -> LipPredictor:
    torch.manual_seed(0)
    predictor = LipPredictor(LipPredictorSettings(inputs=6, width=8, n_networks=3))
    for name, weights in predictor.named_parameters():
        if "mix" in name:  # blocks begin as if they were not there
            torch.nn.init.normal_(weights, std=0.3)
    return predictor.eval().requires_grad_(False)


@pytest.mark.parametrize(("n_steps", "n_moments"), [(32, 1), (33, 2), (40, 9)])
def test_a_moment_needs_its_two_steps_and_fifteen_on_either_side(predictor, n_steps, n_moments):
    assert predictor(torch.rand(2, n_steps, 6)).shape == (2, n_moments, 2)


def test_each_moment_hears_its_32_steps_and_no_others(predictor):
    steps = torch.rand(1, 40, 6, requires_grad=True)
    for moment in (0, 4, 8):
        (gradient,) = torch.autograd.grad(predictor(steps)[0, moment].square().sum(), steps)
        heard = gradient[0].abs().sum(1).nonzero().squeeze(1).tolist()
        assert heard == list(range(moment, moment + 32))


def test_the_answer_is_the_mean_of_the_networks(predictor):
    steps = torch.rand(2, 36, 6)
    each = predictor.each(steps.repeat(3, 1, 1)).reshape(3, 2, 5, 2)
    torch.testing.assert_close(predictor(steps), each.mean(dim=0))
    assert (each[0] - each[1]).abs().max() > 1e-3, "they are three"


def test_a_longer_stretch_answers_as_its_parts_do(predictor):
    steps = torch.rand(1, 60, 6)
    torch.testing.assert_close(predictor(steps)[:, 10:19], predictor(steps[:, 10:50]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("starts", [[5], [0, 1, 2, 3, 4, 5], [0, 1, 2, 4, 5], [3, 3, 3], [2, 1, 0]])
def test_windows_are_answered_as_each_alone(predictor, starts):
    steps = torch.rand(60, 6)
    windows = torch.stack([steps[start : start + 40] for start in starts])
    alone = torch.cat([predictor(window[None]) for window in windows])
    torch.testing.assert_close(predictor.of_windows(windows), alone, rtol=1e-4, atol=1e-5)


def test_windows_that_overlap_share_their_work(predictor):
    given = []
    predictor.normalise.register_forward_pre_hook(lambda module, inputs: given.append(len(inputs[0])))
    windows = torch.rand(64, 6).unfold(0, 40, 1).transpose(1, 2)
    predictor.of_windows(windows)
    predictor.of_windows(windows.flip(0))
    assert given == [64, 25 * 40]


def test_in_training_inputs_are_disturbed(predictor):
    steps = torch.rand(1, 40, 6)
    predictor.train()
    assert not torch.equal(predictor(steps), predictor(steps))


def test_dilations_that_reach_elsewhere_are_refused():
    with pytest.raises(SettingsError, match="add up to 7: use some that add up to 15"):
        LipPredictorSettings(dilations=(1, 2, 4))
