"""The lip-shape loss: a reader of lip points looks at generated and real lips (no part of the paper).

It is to shape what a sync network is to time, and is harder to please by a pattern that nobody sees.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

UNIT = 12 / 96
"""Points are compared in units of 12 pixels of a 96 pixel face."""


def lip_shape_loss(reader: Callable[[Tensor], Tensor], generated: Tensor, target: Tensor) -> Tensor:
    """L1 between the points that the reader sees in generated and in real lower halves [B, 3, S/2, S].

    reader: lower halves -> points [B, N, 2] over the face's side; its weights must be frozen. -> []
    """
    with torch.no_grad():
        wanted = reader(target)
    return (reader(generated) - wanted).abs().mean() / UNIT
