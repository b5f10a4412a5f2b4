"""Where nobody speaks, whatever else is heard: voice activity detection."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lipsync_cli.interfaces import Waveform
from lipsync_cli.speech.pauses import Spans, stretches
from lipsync_cli.speech.sample_rate import require_rate

_RATE = 16_000
_STEP = 512 / _RATE  # seconds
_SURE, _MAYBE = 0.5, 0.1
_SHORTEST = 0.5  # seconds; inside sentences the network may miss as much as 0.3


def voiceless(waveform: Waveform, network: Callable[[Tensor], Tensor]) -> Spans:
    """Spans (start, end) in seconds, each at least 0.5 s long, in which no voice is heard, up to their ends.

    A voice is heard where its probability is 0.5, and before and after that as long as it stays above 0.1.

    Args:
        waveform: at 16 kHz.
        network: samples [N] -> probabilities of a voice [ceil(N / 512)], as `VoiceDetector`.

    Raises:
        MediaError: the waveform is not at 16 kHz.
    """
    require_rate(waveform, _RATE, "voices are told at")
    with torch.inference_mode():
        probabilities = network(torch.from_numpy(waveform.samples)).numpy()
    speaks = np.zeros(len(probabilities), np.bool_)
    for first, end in stretches(probabilities >= _MAYBE):
        speaks[first:end] = probabilities[first:end].max() >= _SURE
    spans = [(first * _STEP, min(end * _STEP, waveform.duration)) for first, end in stretches(~speaks)]
    return [(start, end) for start, end in spans if end - start >= min(_SHORTEST, waveform.duration)]
