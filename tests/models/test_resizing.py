from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from lipsync_cli.models.resizing import averaging, enlarging, spreading

CPU = torch.device("cpu")


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_enlarging_is_that_of_torch(mode: str) -> None:
    picture = torch.rand(1, 1, 7, 5, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(picture, size=(21, 12), mode=mode, align_corners=False)
    made = enlarging(7, 21, mode, CPU) @ picture @ enlarging(5, 12, mode, CPU).T
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [12, 13])
def test_averaging_is_the_mean_of_each_cell(size: int) -> None:
    column = torch.arange(float(size))
    expected = F.adaptive_avg_pool1d(column[None, None], 4)[0, 0]
    torch.testing.assert_close(averaging(size, 4, CPU) @ column, expected)


def test_spreading_averages_neighbours_and_repeats_the_ends() -> None:
    made = spreading(4, 4, CPU) @ torch.tensor([3.0, 0.0, 6.0, 9.0])
    torch.testing.assert_close(made, torch.tensor([2.0, 3.0, 5.0, 8.0]))


def test_spreading_enlarges_linearly() -> None:
    made = spreading(2, 4, CPU) @ torch.tensor([0.0, 9.0])  # averaged: 3 and 6
    torch.testing.assert_close(made, torch.tensor([3.0, 3.75, 5.25, 6.0]))
