"""Triplet losses (paper, section 3.3): near the target, away from what the identity reference shows."""

from __future__ import annotations

import torch
from torch import Tensor

from lipsync_cli.losses.reconstruction import Features

MARGIN = 1.0
"""alpha of eq. 2."""
EPSILON = 1e-6
"""The value that [.]+ does not fall below (eq. 2 has max(., eps), not max(., 0))."""
CLOSEST = 0.05
"""A reference nearer to the target than this is taken for the target itself."""


def feature_distance(first: Tensor, second: Tensor) -> Tensor:
    """D of eq. 2 for each sample: L2 distance over the root of the number of features. [B, ...] twice -> [B]

    So it is of the order of one feature, as the margin of 1 asks, whatever the size of the map. Its gradient
    at distance 0 is 0.
    """
    square = (first.float() - second.float()).flatten(1).square().mean(dim=1)
    apart = square > 0
    # the root's slope is infinite at 0, and 0 * infinity would be no number
    return torch.where(apart, square, torch.ones_like(square)).sqrt() * apart


def adaptive_triplet_loss(
    features: Features,
    generated: Tensor,
    target: Tensor,
    reference: Tensor,
    *,
    margin: float = MARGIN,
    closest: float = CLOSEST,
) -> Tensor:
    """L_at (eq. 2): max(D(I', I_GT) - D(I', I_R) / D(I_GT, I_R) + alpha, eps), mean over samples. -> []

    Pictures [B, 3, H, W]; VGG(.) is the deepest map of `features` (the paper does not name the layer). Where
    the reference is the target, as far as D can tell (below `closest`), the ratio is not defined: eq. 2 tends
    to eps for any other I' there, so such samples give eps and no gradient. That bounds the gradient of the
    ratio by 1 / closest.
    """
    own, wanted, given = _deepest(features, generated, target, reference)
    scale = feature_distance(wanted, given)
    ratio = feature_distance(own, given) / scale.clamp(min=closest)
    loss = (feature_distance(own, wanted) - ratio + margin).clamp(min=EPSILON)
    return torch.where(scale >= closest, loss, torch.full_like(loss, EPSILON)).mean()


def vanilla_triplet_loss(
    features: Features, generated: Tensor, target: Tensor, reference: Tensor, *, margin: float = MARGIN
) -> Tensor:
    """Plain triplet loss (setup F): max(D(I', I_GT) - D(I', I_R) + alpha, 0), mean over samples. -> []"""
    own, wanted, given = _deepest(features, generated, target, reference)
    return (feature_distance(own, wanted) - feature_distance(own, given) + margin).clamp(min=0).mean()


def _deepest(
    features: Features, generated: Tensor, target: Tensor, reference: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    with torch.no_grad():
        wanted, given = features(target)[-1], features(reference)[-1]
    return features(generated)[-1], wanted.detach(), given.detach()
