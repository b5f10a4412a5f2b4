"""The lip-shape loss: a reader of lip points looks at generated and real lips (no part of the paper).

It is to shape what a sync network is to time, and is harder to please by a pattern that nobody sees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

UNIT = 12 / 96
"""Points are compared in units of 12 pixels of a 96 pixel face."""


INNER_LIPS = (35, 25)
"""Places of the middle points of the inner lips (mesh468 13 and 14) among the lip points."""
CORNERS = (0, 10)
"""Places of the corners of the mouth (mesh468 61 and 291) among the lip points."""


@dataclass(frozen=True)
class LipShapeLosses:
    """All compare what the reader sees in generated and in real lips. []"""

    points: Tensor
    """L1 of the points. Alone it asks for the median of what the speech allows: too little opening."""
    spread: Tensor
    """L1 of the openings' standard deviations over each clip's frames: mouths open as far as real ones."""
    width: Tensor
    """L1 of the distance between the corners: lips that round and spread move little, so that L1 of all
    points hardly asks for it."""


def lip_shape_losses(
    reader: Callable[[Tensor], Tensor], generated: Tensor, target: Tensor, n_frames: int
) -> LipShapeLosses:
    """Compare shapes of lips, in `UNIT`.

    reader: lower halves [B, 3, S/2, S] -> points [B, N, 2] over the face's side; its weights must be frozen.
    The B pictures are clips of n_frames each.
    """
    with torch.no_grad():
        wanted = reader(target) / UNIT
    read = reader(generated) / UNIT
    spread = _spread(read, n_frames) - _spread(wanted, n_frames)
    width = _distance(read, CORNERS) - _distance(wanted, CORNERS)
    return LipShapeLosses(
        points=(read - wanted).abs().mean(), spread=spread.abs().mean(), width=width.abs().mean()
    )


def _distance(points: Tensor, places: tuple[int, int]) -> Tensor:
    """Distance between two of the points, [B]."""
    one, other = (points[:, place] for place in places)
    # the root's slope is infinite at 0
    distance: Tensor = ((one - other).square().sum(dim=1) + 1e-6).sqrt()
    return distance


def _spread(points: Tensor, n_frames: int) -> Tensor:
    """Standard deviation of the opening over each clip's frames, [B / n_frames]."""
    opening = _distance(points, INNER_LIPS).reshape(-1, n_frames)
    spread: Tensor = (opening.var(dim=1, correction=0) + 1e-6).sqrt()
    return spread
