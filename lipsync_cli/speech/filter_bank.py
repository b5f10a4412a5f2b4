"""The mel filter bank that both front ends share."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_HZ_A_MEL = 200 / 3  # up to 1 kHz
_BREAK = 1000.0  # Hz, where the scale turns logarithmic
_BREAK_MEL = _BREAK / _HZ_A_MEL
_OCTAVES = math.log(6.4) / 27  # of the natural logarithm a mel, above: 27 mels from 1 to 6.4 kHz


def slaney_filter_bank(
    sample_rate: int, n_fft: int, *, n_mels: int, lowest: float, highest: float
) -> NDArray[np.float64]:
    """Triangles on Slaney's mel scale, each of area 1 in Hz; [n_mels, n_fft // 2 + 1].

    The scale is linear up to 1 kHz and logarithmic above (Slaney, Auditory Toolbox 1998). It is that of
    librosa, whose import would take a second and 110 MB.

    Args:
        sample_rate: Hz.
        n_fft: Length of the Fourier transform, samples.
        n_mels: Number of triangles.
        lowest: Where the first triangle starts, Hz.
        highest: Where the last triangle ends, Hz.
    """
    corners = _hertz(np.linspace(_mel(lowest), _mel(highest), n_mels + 2))
    left, middle, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    frequencies = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
    rising, falling = (frequencies - left) / (middle - left), (right - frequencies) / (right - middle)
    bank: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling)) * (2 / (right - left))
    return bank


def _mel(hertz: float) -> float:
    return hertz / _HZ_A_MEL if hertz < _BREAK else _BREAK_MEL + math.log(hertz / _BREAK) / _OCTAVES


def _hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _BREAK * np.exp(_OCTAVES * (mels - _BREAK_MEL))
    return np.where(mels < _BREAK_MEL, _HZ_A_MEL * mels, above)
