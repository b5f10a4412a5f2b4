"""GFPGAN, proved on an output of the public code: gfpgan 1.3.8, GFPGANv1Clean with `randomize_noise=False`,
weights and input by the golden rule with GAIN = 0.5."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lipsync_cli.models.restorers.gfpgan import GFPGAN
from lipsync_cli.registry.public import load_public


@pytest.fixture(scope="module")
def network(rule) -> nn.Module:
    return rule.fill(GFPGAN(), gain=0.5)


def test_names_shapes_and_types_are_the_public_ones(network, rule):
    assert rule.own_keys(network) == rule.public_keys("gfpgan")


@pytest.mark.slow
def test_gfpgan_gives_the_public_output(network, rule):
    face = rule.inputs("gfpgan.face", (1, 3, 512, 512), -1, 1)
    with torch.inference_mode():
        output = network(face)
    assert rule.difference(output[:, :, ::4, ::4], rule.outputs("gfpgan")["output_every_4th"]) < 1e-3


def test_public_files_are_recognised(network, tmp_path):
    torch.save({"params_ema": network.state_dict()}, tmp_path / "GFPGANv1.4.pth")
    loaded = load_public(tmp_path / "GFPGANv1.4.pth")
    assert isinstance(loaded, GFPGAN)
    assert torch.equal(loaded.final_linear.weight, network.final_linear.weight)
