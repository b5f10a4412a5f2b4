"""The total loss of the generator (eq. 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from lipsync_cli.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """Multipliers of eq. 5; the defaults are the paper's for G_L. A term with 0 need not be computed."""

    gan: float = 1.0
    """Of L_GAN; eq. 5 has it bare."""
    pixel: float = 10.0
    """lambda_1, of L_pixel."""
    perceptual: float = 1.0
    """lambda_2, of L_per."""
    sync: float = 2.0
    """lambda_3, of L_ss (or, in setups A to D, the lip-sync loss)."""
    triplet: float = 0.5
    """lambda_4, of L_at (or, in setup F, the vanilla triplet loss)."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 <= getattr(self, field.name) < float("inf"):
                raise SettingsError(f"coefficient '{field.name}' must be 0 or more")

    @property
    def needed(self) -> frozenset[str]:
        """Names of the terms that count."""
        return frozenset(field.name for field in fields(self) if getattr(self, field.name) > 0)


TALKING_FACE = Coefficients()
"""G_L."""
SILENT_LIP = Coefficients(sync=0.0, triplet=0.0)
"""G_S: no sync loss at all, so that silence closes the lips and speech need not fit (section 3.2)."""


@dataclass(frozen=True)
class TotalLoss:
    """What a training step goes by, and what it reports."""

    total: Tensor
    """Eq. 5, with its graph. []"""
    terms: dict[str, float]
    """The terms that count, before their coefficients."""


def total_loss(terms: Mapping[str, Tensor], coefficients: Coefficients = TALKING_FACE) -> TotalLoss:
    """L = L_GAN + lambda_1 L_pixel + lambda_2 L_per + lambda_3 L_ss + lambda_4 L_at (eq. 5).

    `terms`: [] each, by the names of `Coefficients`. Terms with coefficient 0 are left out, not multiplied:
    one that is not finite cannot spoil the sum. KeyError for a term that is missing or unknown.
    """
    known = {field.name for field in fields(coefficients)}
    if wrong := (coefficients.needed - terms.keys()) | (terms.keys() - known):
        raise KeyError(f"terms missing or unknown: {', '.join(sorted(wrong))}")
    counted = [name for name in terms if name in coefficients.needed]
    parts = [getattr(coefficients, name) * terms[name] for name in counted]
    total = torch.stack(parts).sum() if parts else torch.zeros(())
    return TotalLoss(total=total, terms={name: float(terms[name].detach()) for name in counted})
