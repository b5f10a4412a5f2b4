"""The paper's GAN loss (section 3.3; Goodfellow et al.), on logits: above 0 is real.

The hinge and feature-matching losses of the default networks are in `movement.py`.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def gan_loss(fake: Tensor) -> Tensor:
    """L_GAN of the generator: -log D(I') (non-saturating), mean over logits [B, n]. -> []"""
    return F.softplus(-fake).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's: -log D(I_GT) - log(1 - D(I')), means over logits [B, n]. -> []

    `fake` must come from generated pictures that are detached.
    """
    return F.softplus(-real).mean() + F.softplus(fake).mean()
