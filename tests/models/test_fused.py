from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lipsync_cli.models.architectures import build
from lipsync_cli.models.fused import fold_norms, store_weights_as
from lipsync_cli.models.wav2lip import Wav2Lip


def lived_in(network: nn.Module) -> nn.Module:
    """With statistics in its batch norms, as after a training."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.2)
    return network.eval().requires_grad_(False)


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def warping() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    network = build("warping_generator", {"widths": [8, 8, 16, 16], "image_size": 32})
    nn.init.normal_(network.head.weight, std=0.1)
    return network, (torch.randn(2, 10, 384), torch.rand(2, 2, 3, 64, 64), torch.rand(2, 3, 64, 64))


def wav2lip() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    return Wav2Lip(), (torch.randn(1, 1, 80, 16), torch.rand(1, 6, 96, 96))


@pytest.mark.parametrize("make", [warping, wav2lip])
def test_a_folded_network_answers_the_same_without_any_batch_norm(make):
    torch.manual_seed(1)
    network, inputs = make()
    network = lived_in(network)
    with torch.inference_mode():
        expected = network(*inputs)
        folded = fold_norms(copy.deepcopy(network))
        torch.testing.assert_close(folded(*inputs), expected, atol=2e-5, rtol=1e-4)
    assert norms(network) > 20
    assert norms(folded) == 0


def test_a_norm_that_does_not_follow_a_convolution_stays():
    network = lived_in(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)))
    assert norms(fold_norms(network)) == 1


def test_norms_that_still_learn_are_not_folded():
    with pytest.raises(ValueError, match="eval"):
        fold_norms(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))


def test_weights_stored_in_bfloat16_answer_exactly_as_converted_ones():
    network, inputs = warping()
    network = lived_in(network)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = network(*inputs)
        assert torch.equal(store_weights_as(copy.deepcopy(network), torch.bfloat16)(*inputs), expected)
