"""The code books of VQFR: 1024 learned vectors of 256 numbers, of which faces are put together."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

N_CODES = 1024
CODE_DEPTH = 256


class NearestCode(nn.Module):
    """v1: each place takes the code nearest to it in L2; [B, C, h, w] -> [B, C, h, w]."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.quant_conv = nn.Conv2d(depth, CODE_DEPTH, 1)
        self.post_quant_conv = nn.Conv2d(CODE_DEPTH, depth, 1)
        self.embedding = nn.Embedding(N_CODES, CODE_DEPTH)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        places = self.quant_conv(x).float().permute(0, 2, 3, 1)
        flat = places.reshape(-1, CODE_DEPTH)
        codes = self.embedding.weight.float()
        # Spelled out, not cdist: of two codes almost equally near, rounding chooses as in the public code.
        distance = flat.square().sum(1, keepdim=True) + codes.square().sum(1) - 2 * flat @ codes.T
        chosen = self.embedding(distance.argmin(1)).reshape(places.shape)
        return cast(Tensor, self.post_quant_conv(chosen.permute(0, 3, 1, 2)))


class CodeBook(nn.Module):
    """v2: looks up codes that the network has chosen by their numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(N_CODES, CODE_DEPTH)

    def forward(self, index: Tensor) -> Tensor:
        """index [B, h, w] -> [B, 256, h, w]."""
        return torch.movedim(self.embedding(index), -1, 1)
