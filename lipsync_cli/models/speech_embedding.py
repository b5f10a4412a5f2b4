"""A small convolutional network that has heard thousands of voices.

Google's `speech_embedding` (Lin et al. 2020, "Training keyword spotters with limited and synthesized speech
data", arXiv 2002.01322; TF Hub google/speech_embedding/1, Apache-2.0), rebuilt from the network in
`embedding_model.tflite` of pyopen-wakeword 1.1.0. Its weights: `weights/scripts/convert_speech_embedding.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

N_BINS = 32
STEP_WIDTH = 384  # = 96 channels x 4 bins
EMBEDDING_WIDTH = 96

# channels and number of pairs of convolutions, then the pool (time, bins) that follows
_TRUNK = (((24, 1), (2, 2)), ((48, 2), (1, 2)), ((72, 2), (2, 2)), ((96, 2), None))
_HEAD = ((1, 2), (96, 2), (2, 2))


class SpeechEmbedding(nn.Module):
    """Log mel (`speech.embedding_mel`) -> what is being said; 0.33 M parameters.

    Fully convolutional in time, nothing is padded there: step j of `steps` hears the columns 4 j to 4 j + 39,
    so with columns of 10 ms there is one step every 40 ms, centred 0.195 s after the centre of column 4 j.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, 24, 3, padding=(0, 1)), _Activation()]
        width = 24
        for (channels, n_pairs), pool in _TRUNK:
            layers += _pairs(width, channels, n_pairs)
            layers += [nn.MaxPool2d(pool)] if pool else []
            width = channels
        first_pool, (channels, n_pairs), last_pool = _HEAD
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.MaxPool2d(first_pool),
            *_pairs(width, channels, n_pairs),
            nn.MaxPool2d(last_pool),
            nn.Conv2d(channels, EMBEDDING_WIDTH, (3, 1)),
        )

    def steps(self, log_mel: Tensor) -> Tensor:
        """The block before the fourth pool: it tells more of the lips than the output does, outside a studio.

        Args:
            log_mel: [B, T, 32], T at least 40.

        Returns:
            [B, (T - 40) // 4 + 1, 384], channel by channel (number 4 c + b is channel c, bin b); 76 columns
            give 10 steps.
        """
        block: Tensor = self.trunk(log_mel.unsqueeze(1))
        return block.permute(0, 2, 1, 3).flatten(2)

    def forward(self, log_mel: Tensor) -> Tensor:
        """The embedding itself: [B, T, 32], T at least 76 -> [B, (T - 76) // 8 + 1, 96], one every 80 ms."""
        embedding: Tensor = self.head(self.trunk(log_mel.unsqueeze(1)))
        return embedding.squeeze(3).transpose(1, 2)


class _Activation(nn.Module):
    """max(leaky ReLU of slope 0.2, -0.4)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.clamp(F.leaky_relu(x, 0.2), min=-0.4)


def _pairs(width: int, channels: int, n_pairs: int) -> list[nn.Module]:
    """Pairs of a convolution over the bins (padded) and one over time (not padded), each then activated."""
    layers: list[nn.Module] = []
    for index in range(n_pairs):
        layers += [
            nn.Conv2d(channels if index else width, channels, (1, 3), padding=(0, 1)),
            _Activation(),
            nn.Conv2d(channels, channels, (3, 1)),
            _Activation(),
        ]
    return layers
