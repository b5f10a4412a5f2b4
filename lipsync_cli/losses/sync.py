"""Synchronisation losses (paper, section 3.4): stabilized (eq. 3 and 4), and Wav2Lip's lip-sync loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

EPSILON = 1e-6
"""epsilon of eq. 3, which the paper does not state."""
CLOSEST = 0.05
"""|y - d| is not let below this: eq. 3 is infinite at y = d, where G_S pushes d on silent speech."""
LOWEST = 0.01
"""Below this cosine the lip-sync loss follows its tangent: a negative cosine has no logarithm."""

Scorer = Callable[[Tensor, Tensor], Tensor]
"""AVSIM: lips [B, 5, 3, h, w] in [0, 1] and mel [B, 1, 80, 16] -> cosine [B], its weights frozen."""


@dataclass(frozen=True)
class SyncScores:
    """Eq. 4. Only x has a gradient."""

    x: Tensor
    """AVSIM(I', A), generated lips. [B]"""
    y: Tensor
    """AVSIM(I_GT, A), real lips. [B]"""
    d: Tensor
    """AVSIM(I_R, A), lips of the identity reference as the generator saw it: silenced, where G_S did. [B]"""


def sync_scores(
    scorer: Scorer, mel: Tensor, *, generated: Tensor, target: Tensor, reference: Tensor
) -> SyncScores:
    """x, y and d of lips [B, 5, 3, h, w] with their speech [B, 1, 80, 16].

    A reference is one picture: it is given five times over.
    """
    with torch.no_grad():
        y, d = scorer(target, mel), scorer(reference, mel)
    return SyncScores(x=scorer(generated, mel), y=y, d=d)


def stabilized_sync_loss(scores: SyncScores, *, closest: float = CLOSEST) -> Tensor:
    """L_ss (eq. 3): -log(1 - (|x - y| + eps) / (|x - y| + |y - d| + eps)), mean over samples. -> []

    Computed as log1p((|x - y| + eps) / |y - d|), the same number without the cancellation, with |y - d|
    clamped from below to `closest`. So the gradient is at most 1 / closest in size, and 0 at x = y.
    """
    missed = (scores.x - scores.y.detach()).abs()
    room = (scores.y - scores.d).detach().abs().clamp(min=closest)
    return torch.log1p((missed + EPSILON) / room).mean()


def lip_sync_loss(x: Tensor) -> Tensor:
    """Wav2Lip's loss (setups A to D): cross-entropy of the cosine x [B] with 1, the mean of -log x. -> []

    Below `LOWEST` the logarithm is continued by its tangent: finite, with a gradient that still leads out.
    """
    inside = x.clamp(min=LOWEST)
    return (-inside.log() + (inside - x) / LOWEST).mean()
