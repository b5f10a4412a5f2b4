"""GPEN, proved on an output of the public code: FullGenerator of yangxy/GPEN as modelscope 1.40.2 holds it
(gpen_model.py and its operators for CPUs), weights and input by the golden rule with GAIN = 0.5. Its filters
are also checked against their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lipsync_cli.models.restorers import gpen
from lipsync_cli.models.restorers.gpen import GPEN
from lipsync_cli.registry.public import load_public

TAPS = [1 / 8, 3 / 8, 3 / 8, 1 / 8]


@pytest.fixture(scope="module")
def network(rule) -> nn.Module:
    return rule.fill(GPEN(), gain=0.5)


def along(signal: list[float], *, before: int, after: int) -> list[float]:
    """The binomial filter along one row."""
    padded = [0.0] * before + signal + [0.0] * after
    return [sum(t * v for t, v in zip(TAPS, padded[i : i + 4], strict=True)) for i in range(len(padded) - 3)]


def test_names_shapes_and_types_are_the_public_ones(network, rule):
    assert rule.own_keys(network) == rule.public_keys("gpen")


@pytest.mark.slow
def test_gpen_gives_the_public_output(network, rule):
    face = rule.inputs("gpen.face", (1, 3, 512, 512), -1, 1)
    with torch.inference_mode():
        output = network(face)
    assert output.shape == face.shape
    assert rule.difference(output[:, :, ::4, ::4], rule.outputs("gpen")["output_every_4th"]) < 1e-3


def test_the_picture_is_enlarged_by_zeros_and_the_binomial_filter():
    row = [1.0, -2.0, 5.0]
    spread = [value for pair in zip(row, [0.0] * 3, strict=True) for value in pair]
    expected = 2 * torch.tensor(along(spread, before=2, after=1))
    picture = torch.tensor(row).expand(1, 2, 3, 3)
    enlarged = gpen._Enlarge()(picture)
    assert enlarged.shape == (1, 2, 6, 6)
    torch.testing.assert_close(enlarged[0, 0, 2], expected)  # a middle row: the filter's sum is 1 there


def test_the_encoder_blurs_before_it_halves():
    layer = gpen._EncoderLayer(1, 1, 3, down=True).requires_grad_(False)
    layer[1].weight[:] = 0
    layer[1].weight[0, 0, 1, 1] = 3.0  # kept times sqrt(inputs) * kernel
    x = torch.rand(1, 1, 8, 8)
    blurred = F.conv2d(F.pad(x, (2, 2, 2, 2)), (torch.tensor(TAPS)[:, None] * torch.tensor(TAPS))[None, None])
    torch.testing.assert_close(layer(x), blurred[..., 1:-1:2, 1:-1:2] * 2**0.5)


def test_a_modulated_kernel_has_unit_norm_whatever_the_style():
    conv = gpen._ModulatedConv(4, 3, 3).requires_grad_(False)
    impulse = torch.zeros(2, 4, 5, 5)
    impulse[:, :, 2, 2] = torch.eye(4)[1]
    style = torch.randn(2, gpen.STYLE)
    scale = conv.modulation(style)
    kernels = conv.weight * scale[:, None, :, None, None]
    kernels = kernels / kernels.square().sum((2, 3, 4), keepdim=True).sqrt()
    seen = conv(impulse, style)[:, :, 1:4, 1:4]
    torch.testing.assert_close(seen, kernels[:, :, 1].flip(-1, -2), rtol=1e-4, atol=1e-5)


def test_public_files_are_recognised(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "GPEN-BFR-512.pth")
    loaded = load_public(tmp_path / "GPEN-BFR-512.pth", "gpen")
    assert isinstance(loaded, GPEN)
    assert torch.equal(loaded.final_linear[0].weight, network.final_linear[0].weight)
