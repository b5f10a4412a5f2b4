from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lipsync_cli.models.mixing import with_contrast_of


def noise(seed: int, amplitude: float = 0.1) -> Tensor:
    """[1, 3, 240, 480], grey."""
    values = torch.rand(1, 1, 240, 480, generator=torch.Generator().manual_seed(seed))
    return (0.5 + amplitude * (values - 0.5)).expand(1, 3, -1, -1)


def roughness(picture: Tensor) -> float:
    return float(picture.std())


def mixed(pictures: list[Tensor], *weights: float) -> Tensor:
    shares = torch.tensor(weights)[None, :, None, None].expand(1, -1, 240, 480)
    added = torch.stack([w * picture for w, picture in zip(weights, pictures, strict=True)]).sum(dim=0)
    return with_contrast_of(pictures, shares, added)


def test_a_picture_by_itself_stays_as_it_is() -> None:
    picture = torch.rand(2, 3, 48, 96, generator=torch.Generator().manual_seed(0))
    kept = with_contrast_of([picture], torch.ones(2, 1, 48, 96), picture)
    assert torch.allclose(kept, picture, atol=1e-6)


def test_the_mean_of_two_noises_is_as_rough_as_each() -> None:
    one, other = noise(1), noise(2)
    assert roughness((one + other) / 2) == pytest.approx(roughness(one) / math.sqrt(2), rel=0.01)
    both = mixed([one, other], 0.5, 0.5)
    assert roughness(both) == pytest.approx(0.99 * roughness(one), rel=0.01)  # the limit is 1.4
    assert float(both.mean()) == pytest.approx(0.5, abs=1e-3)


def test_variance_is_weighted_by_the_shares() -> None:
    fine, rough = noise(1, 0.1), noise(2, 0.2)
    wanted = 0.9 * roughness(fine) ** 2 + 0.1 * roughness(rough) ** 2
    assert roughness(mixed([fine, rough], 0.9, 0.1)) == pytest.approx(math.sqrt(wanted), rel=0.02)


def test_paint_has_the_contrast_that_it_should() -> None:
    one, paint = noise(1, 0.15), noise(2, 0.1)
    nothing = torch.zeros(1, 1, 240, 480)
    assert torch.allclose(with_contrast_of([one], nothing, paint), paint, atol=1e-6)
    half = with_contrast_of([one], nothing + 0.5, (one + paint) / 2)
    own = (roughness(one) ** 2 + roughness(paint) ** 2) / 4
    assert roughness(half) == pytest.approx(math.sqrt(0.5 * roughness(one) ** 2 + 0.5 * own), rel=0.02)


def test_contrast_is_raised_to_a_limit_and_never_lowered() -> None:
    flat, rough = torch.full((1, 3, 240, 480), 0.5), noise(1)
    ones = torch.ones(1, 1, 240, 480)
    faint = 0.5 + 0.1 * (rough - 0.5)
    assert roughness(with_contrast_of([rough], ones, faint)) == pytest.approx(
        1.4 * roughness(faint), rel=0.01
    )
    assert torch.allclose(with_contrast_of([flat], ones, rough), rough, atol=1e-6)


def test_what_is_flat_stays_flat_and_colours_stay() -> None:
    colour = torch.tensor([0.8, 0.5, 0.4])[None, :, None, None].expand(1, 3, 240, 480)
    half = torch.full((1, 1, 240, 480), 0.5)
    assert torch.allclose(with_contrast_of([noise(1), noise(2)], half.expand(1, 2, -1, -1), colour), colour)


def test_each_place_is_scaled_by_what_is_missing_there() -> None:
    one, other = noise(1), noise(2)
    left = (torch.arange(480) < 240).float().expand(1, 1, 240, 480)
    shares = torch.cat([1 - left / 2, left / 2], dim=1)  # mixed on the left, one picture on the right
    kept = with_contrast_of([one, other], shares, shares[:, :1] * one + shares[:, 1:] * other)
    assert torch.allclose(kept[..., 320:], one[..., 320:], atol=0.003)
    assert roughness(kept[..., :160]) == pytest.approx(roughness(one), rel=0.03)


def test_values_stay_in_their_range() -> None:
    black_white = (noise(1) > 0.5).float()
    other = (noise(2) > 0.5).float()
    kept = mixed([black_white, other], 0.5, 0.5)
    assert (kept.min(), kept.max()) == (0, 1)
