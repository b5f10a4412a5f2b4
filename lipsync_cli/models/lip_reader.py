"""A small network that reads the shape of the lips from the lower half of a face.

Used in training only (lip-shape loss): it is to shape what a sync network is to time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from lipsync_cli.models.warping_generator import PlainBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class LipReaderSettings:
    """Numbers of `LipReader`."""

    n_points: int = 40
    """Lip points: outer ring, then inner ring."""
    widths: tuple[int, ...] = (24, 48, 96, 128)
    """Channels of each halving of the resolution."""


class LipReader(nn.Module):
    """Lower half of a face -> lip points."""

    def __init__(self, settings: LipReaderSettings) -> None:
        super().__init__()
        self.settings = settings
        blocks: list[nn.Module] = []
        inputs = 3
        for width in settings.widths:
            blocks.append(PlainBlock(inputs, width, stride=2))
            inputs = width
        self.blocks = nn.Sequential(*blocks)
        self.out = nn.Linear(inputs * 3 * 6, 2 * settings.n_points)

    def forward(self, lips: Tensor) -> Tensor:
        """[B, 3, S/2, S] in [0, 1], S = 96 -> [B, n_points, 2] as (x, y) over the face's side S, (0, 0) in
        the middle of the lower half."""
        x = self.blocks(lips).flatten(1)
        points = cast(Tensor, self.out(x))
        return points.float().reshape(-1, self.settings.n_points, 2)
