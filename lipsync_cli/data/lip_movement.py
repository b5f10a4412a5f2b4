"""How the lips of a prepared clip move, and the speech embedding around any of its frames."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipsync_cli.data.layout import Clip
from lipsync_cli.faces.landmarks import SCHEMES

_SCHEME = SCHEMES["mesh468"]
_LEAST = (0.0017, 0.0014)  # of opening and width, added to their spread: the landmarks' noise


def lip_movement(clip: Clip, frames: slice) -> NDArray[np.float32]:
    """[F, 2] opening and width of the mouth over these frames: from their means, in their standard
    deviations."""
    points = clip.read("landmarks")[frames]
    lips, face = (
        np.linalg.norm(points[:, left] - points[:, right], axis=1)
        for left, right in (_SCHEME.lip_corners, _SCHEME.sides)
    )
    both = np.stack([clip.openings[frames], lips / np.maximum(face, 1e-6)], axis=1)
    spread = both.std(axis=0) + np.array(_LEAST)
    return np.asarray((both - both.mean(axis=0)) / spread, np.float32)


def steps_from(clip: Clip, first: int, n_steps: int, silence: Tensor) -> Tensor:
    """[n_steps, 384] of the speech embedding from the clip's step `first` on; `silence` [384] wherever it has
    none (frame i hears the steps i to i + 9)."""
    heard = torch.from_numpy(clip.read("speech").astype(np.float32))
    places = torch.arange(first, first + n_steps)
    inside = (places >= 0) & (places < len(heard))
    return torch.where(inside[:, None], heard[places.clamp(0, len(heard) - 1)], silence)
