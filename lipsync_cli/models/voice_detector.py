"""A small recurrent network that tells voices from noise and music.

Silero VAD 6 (Silero Team, github.com/snakers4/silero-vad, MIT), its 16 kHz network rebuilt from
`silero_vad.jit` of silero-vad 6.2.3. Its weights: `weights/scripts/convert_voice_detector.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SAMPLE_RATE = 16_000
STEP = 512
"""Samples from one probability to the next: 32 ms."""

_BEFORE = 64  # samples of the step before that are heard with each step
_N_FFT, _HOP = 256, 128
_N_BINS = _N_FFT // 2 + 1
_WIDTH = 128
_LAYERS = ((_N_BINS, 128, 1), (128, 64, 2), (64, 64, 2), (64, _WIDTH, 1))  # channels in, out, stride
_AT_ONCE = 512  # steps: 16 s of sound, 5 MB inside the network


class VoiceDetector(nn.Module):
    """Sound -> how sure it is that somebody speaks, step by step; 0.31 M parameters.

    Magnitudes of short Fourier transforms, four convolutions that end in one vector a step, an LSTM over the
    steps. What is heard later changes nothing before.
    """

    def __init__(self) -> None:
        super().__init__()
        self.transform = nn.Conv1d(1, 2 * _N_BINS, _N_FFT, stride=_HOP, bias=False)
        self.encoder = nn.ModuleList(
            nn.Conv1d(n_in, n_out, 3, stride=stride, padding=1) for n_in, n_out, stride in _LAYERS
        )
        self.memory = nn.LSTM(_WIDTH, _WIDTH)
        self.decision = nn.Linear(_WIDTH, 1)

    def forward(self, samples: Tensor) -> Tensor:
        """Probabilities of a voice, 0 to 1: [N] float32 at 16 kHz, in [-1, 1] -> [ceil(N / 512)].

        Before the sound, and after it to the end of the last step, there is silence.
        """
        probabilities, state = [samples.new_zeros(0)], None
        for begin in range(0, len(samples), _AT_ONCE * STEP):
            piece = samples[max(begin - _BEFORE, 0) : begin + _AT_ONCE * STEP]
            n_before = 0 if begin else _BEFORE
            heard = F.pad(piece, (n_before, -(len(piece) + n_before - _BEFORE) % STEP))
            remembered, state = self.memory(self._vectors(heard.unfold(0, _BEFORE + STEP, STEP)), state)
            probabilities.append(torch.sigmoid(self.decision(remembered.relu()))[:, 0])
        return torch.cat(probabilities)

    def _vectors(self, steps: Tensor) -> Tensor:
        """[S, 576] -> [S, 128]."""
        mirrored = F.pad(steps.unsqueeze(1), (0, _BEFORE), mode="reflect")
        real, imaginary = self.transform(mirrored).split(_N_BINS, dim=1)
        features = torch.sqrt(real.square() + imaginary.square())
        for layer in self.encoder:
            features = layer(features).relu()
        return features.squeeze(2)
