from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from lipsync_cli.models.moving import moved


def smooth_pictures(n: int, size: int = 48) -> torch.Tensor:
    coarse = torch.rand(n, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False).clamp(0, 1)


def grid(n: int, rows: int = 24, columns: int = 48) -> torch.Tensor:
    """The lower half, each picture shifted and stretched otherwise; some places lie outside."""
    y, x = torch.meshgrid(torch.linspace(0, 1.1, rows), torch.linspace(-1.1, 1, columns), indexing="ij")
    base = torch.stack([x, y], dim=-1)
    return torch.stack([base * (1 + 0.05 * index) + 0.03 * index for index in range(n)])


@pytest.mark.parametrize("shared", [False, True])
def test_sharp_is_torchs_cubic_to_the_rounding_of_places(shared: bool) -> None:
    pictures = smooth_pictures(1).expand(3, -1, -1, -1) if shared else smooth_pictures(3)
    expected = F.grid_sample(pictures, grid(3), mode="bicubic", padding_mode="border", align_corners=True)
    expected = expected.clamp(0, 1)
    answer = moved(pictures, grid(3), sharp=True)
    assert answer.shape == (3, 3, 24, 48)
    torch.testing.assert_close(answer, expected, rtol=0, atol=0.01)
    assert (answer - expected).abs().mean() < 1e-3


def test_whole_pixels_come_back_as_they_are() -> None:
    pictures = torch.rand(2, 3, 33, 33, generator=torch.Generator().manual_seed(1))
    y, x = torch.meshgrid(torch.linspace(0, 1, 17), torch.linspace(-1, 1, 33), indexing="ij")
    same = torch.stack([x, y], dim=-1).expand(2, -1, -1, -1)
    torch.testing.assert_close(moved(pictures, same, sharp=True), pictures[:, :, 16:], rtol=0, atol=1e-6)


def test_sharp_keeps_detail_that_linear_interpolation_loses() -> None:
    pictures = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    half_a_pixel = torch.tensor([1 / 63, 0.0])
    y, x = torch.meshgrid(torch.linspace(0, 1, 32), torch.linspace(-1, 1, 64), indexing="ij")
    between = (torch.stack([x, y], dim=-1) + half_a_pixel)[None]
    linear, cubic = (moved(pictures, between, sharp=sharp).var() for sharp in (False, True))
    assert cubic > 1.15 * linear


def test_overshoot_is_cut_off() -> None:
    pictures = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(3)).round()
    answer = moved(pictures, grid(1), sharp=True)
    assert answer.min() == 0
    assert answer.max() == 1


@pytest.mark.parametrize("sharp", [False, True])
def test_gradients_flow_to_the_places(sharp: bool) -> None:
    places = grid(1).requires_grad_()
    moved(smooth_pictures(1), places, sharp=sharp).sum().backward()
    assert places.grad is not None
    assert places.grad.abs().sum() > 0
