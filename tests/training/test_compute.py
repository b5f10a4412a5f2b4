from __future__ import annotations

import pytest
import torch
from torch import nn

from lipsync_cli.errors import SettingsError
from lipsync_cli.training.compute import Compute, training_precision

CPU = torch.device("cpu")


def test_networks_inside_the_block_compute_in_the_type_that_was_asked_for():
    network = nn.Linear(2, 2)
    for dtype in (torch.bfloat16, torch.float32):
        compute = Compute(CPU, dtype)
        with compute.autocast():
            assert network(torch.ones(1, 2)).dtype is dtype
        assert network(torch.ones(1, 2)).dtype is torch.float32


def test_a_placed_network_keeps_its_weights_and_has_its_channels_last():
    network = nn.Conv2d(3, 4, 3)
    before = network.weight.detach().clone()
    placed = Compute().place(network)
    assert placed is network
    assert torch.equal(placed.weight, before)
    assert placed.weight.is_contiguous(memory_format=torch.channels_last)
    assert placed.weight.requires_grad


def test_a_frozen_network_neither_learns_nor_counts():
    network = Compute().freeze(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    network(torch.rand(2, 3, 8, 8))
    assert not network.training
    assert network[1].num_batches_tracked.item() == 0
    assert not any(weights.requires_grad for weights in network.parameters())


def test_training_is_never_in_half_precision():
    assert training_precision("fp32", CPU) is torch.float32
    assert training_precision("bf16", CPU) is torch.bfloat16
    assert training_precision("auto", CPU) in (torch.float32, torch.bfloat16)
    with pytest.raises(SettingsError, match="fp16 is not offered for training"):
        training_precision("fp16", CPU)
