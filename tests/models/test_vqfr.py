"""VQFR v1 and v2, proved on outputs of the public code (weights by a rule). A forward takes half a minute."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lipsync_cli.errors import SettingsError, WeightsError
from lipsync_cli.models.restorers.vqfr_blocks import Attention, DeformableConv, ResidualBlock
from lipsync_cli.models.restorers.vqfr_v1 import VQFRv1
from lipsync_cli.models.restorers.vqfr_v2 import VQFRv2
from lipsync_cli.registry.public import load_public

pytest.importorskip("torchvision", reason="torchvision (the extra `vqfr`) is not installed")

TOLERANCE = 1e-3
"""Of the output's standard deviation."""
PUBLIC = {"vqfr_v1": (VQFRv1, 76.6), "vqfr_v2": (VQFRv2, 83.5)}
"""Class and millions of parameters."""

each_version = pytest.mark.parametrize("name", PUBLIC)


@pytest.fixture(scope="module")
def networks(rule) -> dict[str, nn.Module]:
    return {name: rule.fill(build()) for name, (build, _) in PUBLIC.items()}


@each_version
def test_names_shapes_and_types_are_the_public_ones(networks, rule, name):
    assert rule.own_keys(networks[name]) == rule.public_keys(name)
    millions = sum(parameter.numel() for parameter in networks[name].parameters()) / 1e6
    assert millions == pytest.approx(PUBLIC[name][1], abs=0.05)


@pytest.mark.slow
@each_version
def test_vqfr_gives_the_public_output(networks, rule, name):
    face = rule.inputs("vqfr.face", (1, 3, 512, 512), -1, 1)
    with torch.inference_mode():
        output = networks[name](face, fidelity_ratio=0.5)
    assert output.shape == face.shape
    difference = rule.difference(output[:, :, ::4, ::4], rule.outputs(name)["output_every_4th"])
    assert difference < TOLERANCE


@pytest.mark.parametrize("wrapping", ["params_ema", "params"])
def test_public_files_are_recognised_inside_their_wrapping(networks, tmp_path: Path, wrapping):
    name = "vqfr_v1" if wrapping == "params_ema" else "vqfr_v2"
    original = networks[name]
    torch.save({wrapping: original.state_dict()}, tmp_path / "restorer.pth")
    network = load_public(tmp_path / "restorer.pth")
    assert type(network) is type(original)
    assert not network.training
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), original.parameters(), strict=True))
    other = "vqfr_v2" if name == "vqfr_v1" else "vqfr_v1"
    with pytest.raises(WeightsError, match=f"these are weights of '{name}', not of '{other}'"):
        load_public(tmp_path / "restorer.pth", other)


def test_without_torchvision_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.delitem(sys.modules, "torchvision.ops", raising=False)
    with pytest.raises(SettingsError, match=r"pip install 'lipsync_cli\[vqfr\]'"):
        VQFRv1()


def test_fidelity_is_linear_in_what_is_added_to_the_texture(rule):
    """On small maps: the last part of v2, whose ratio the public code multiplies in."""
    network = rule.fill(VQFRv2())
    face = rule.inputs("small face", (1, 3, 32, 32), -1, 1)
    seen: list[Tensor] = []
    network.decoder.conv_out.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    with torch.inference_mode():
        for ratio in (0.0, 0.5, 1.0):
            network(face, fidelity_ratio=ratio)
    texture, half, whole = seen
    assert not torch.allclose(texture, whole)
    torch.testing.assert_close(half, (texture + whole) / 2, rtol=1e-4, atol=1e-4)


def test_attention_is_the_softmax_over_all_places(rule):
    block = rule.fill(Attention(32))
    x = rule.inputs("attention", (2, 32, 3, 4), -1, 1)
    normed = block.norm(x)
    q, k, v = (layer(normed).flatten(2) for layer in (block.q, block.k, block.v))
    weights = torch.softmax(torch.einsum("bci,bcj->bij", q, k) / 32**0.5, dim=2)
    expected = x + block.proj_out(torch.einsum("bij,bcj->bci", weights, v).reshape(x.shape))
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


def test_without_displacement_and_full_weight_the_deformable_convolution_is_a_plain_one(rule):
    layer = rule.fill(DeformableConv(32))
    layer.conv_offset.weight.zero_()
    layer.conv_offset.bias.zero_()
    layer.conv_offset.bias[2 * 36 :] = 100.0  # the weights go through a sigmoid
    x = rule.inputs("deformable", (1, 32, 6, 5), -1, 1)
    expected = nn.functional.conv2d(x, layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(x, x), expected, rtol=1e-4, atol=1e-5)


def test_a_block_that_keeps_its_depth_has_no_shortcut():
    assert not [name for name in ResidualBlock(32, 32, "around").state_dict() if "around" in name]
    assert "around.weight" in ResidualBlock(32, 64, "around").state_dict()
