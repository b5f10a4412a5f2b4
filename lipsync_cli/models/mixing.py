"""Adding up pictures of a face without losing their contrast."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lipsync_cli.models.resizing import averaging, spreading

_CELLS = 12
"""Across a picture: contrast is compared in cells as wide as a lip is thick."""
_MOST = 1.4
"""Contrast is raised by this factor at most: more would show the artefacts of compression."""
_NOISE = (0.7 / 255) ** 2
"""Variance of a cell without anything in it."""
_GREEN = 1
"""The channel that stands for the brightness, and has most of it."""


def with_contrast_of(pictures: Sequence[Tensor], shares: Tensor, mixed: Tensor) -> Tensor:
    """The mixed picture with as much local contrast as the pictures that it was mixed of.

    Pictures that do not match line by line lose contrast where they are added up: two of unrelated detail,
    half of each, have 0.71 of it. In each cell the deviation from the mean is scaled so that its variance is
    the mean variance of the pictures, weighted by their shares; never down. Scale and mean are smooth.

    Args:
        pictures: R times [B, 3, h, w] in [0, 1]; a sample of their pixels tells their variance.
        shares: [B, R, h, w] of the pictures; what is missing to 1 (paint) has the contrast that it should.
        mixed: [B, 3, h, w] in [0, 1].

    Returns:
        [B, 3, h, w] in [0, 1], float32.
    """
    height, width = mixed.shape[-2:]
    cells = max(1, round(_CELLS * height / width)), _CELLS
    with torch.autocast(mixed.device.type, enabled=False):
        weights = _averaged(_sample(shares), cells)
        theirs = torch.stack([_variance(picture, cells) for picture in pictures], dim=1)
        own = _variance(mixed, cells)
        wanted = (weights * theirs).sum(dim=1) + (1 - weights.sum(dim=1)) * own
        scale = ((wanted + _NOISE) / (own + _NOISE)).sqrt().clamp(1, _MOST)[:, None]
        # mean + scale * (mixed - mean)
        shift = (1 - scale) * _averaged(mixed.float(), cells)
        return torch.addcmul(_spread(shift, height, width), _spread(scale, height, width), mixed).clamp_(0, 1)


def _sample(pictures: Tensor) -> Tensor:
    """Every other pixel of every other row."""
    return pictures[..., ::2, ::2].float()


def _variance(picture: Tensor, cells: tuple[int, int]) -> Tensor:
    """[B, *cells]: of the brightness in each cell."""
    grey = _sample(picture[:, _GREEN])
    mean = _averaged(grey, cells)
    return (_averaged(grey * grey, cells) - mean * mean).clamp_min(0)


def _averaged(pictures: Tensor, cells: tuple[int, int]) -> Tensor:
    """[..., h, w] -> [..., *cells]."""
    height, width = pictures.shape[-2:]
    down = averaging(height, cells[0], pictures.device)
    return down @ (pictures @ averaging(width, cells[1], pictures.device).T)


def _spread(cells: Tensor, height: int, width: int) -> Tensor:
    """Values of cells [..., rows, columns] as a smooth picture [..., height, width]."""
    rows, columns = cells.shape[-2:]
    down = spreading(rows, height, cells.device)
    return down @ (cells @ spreading(columns, width, cells.device).T)
