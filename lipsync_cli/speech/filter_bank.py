"""The mel filter bank that both front ends share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LINEAR_HZ = 200.0 / 3.0  # Hz a mel below the knee
_KNEE_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27.0  # natural log of the frequency ratio of one mel above the knee


def slaney_filter_bank(
    sample_rate: int, n_fft: int, *, n_mels: int, lowest: float, highest: float
) -> NDArray[np.float64]:
    """Triangles on Slaney's mel scale, each of area 1 in Hz; [n_mels, n_fft // 2 + 1].

    The scale is linear up to 1 kHz and logarithmic above (Slaney, Auditory Toolbox 1998), which is what
    `librosa.filters.mel` does by default; computed here because importing librosa takes seconds.

    Args:
        sample_rate: Hz.
        n_fft: Length of the Fourier transform, samples.
        n_mels: Number of triangles.
        lowest: Where the first triangle starts, Hz.
        highest: Where the last triangle ends, Hz.
    """
    first, last = _hz_to_mel(np.array([lowest, highest]))
    corners = _mel_to_hz(np.linspace(first, last, n_mels + 2))
    frequencies = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
    left, middle, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    triangles = np.minimum((frequencies - left) / (middle - left), (right - frequencies) / (right - middle))
    weights: NDArray[np.float64] = np.maximum(triangles, 0.0) * 2.0 / (right - left)
    return weights


def _hz_to_mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(
        hz < _KNEE_HZ,
        hz / _LINEAR_HZ,
        _KNEE_HZ / _LINEAR_HZ + np.log(np.maximum(hz, _KNEE_HZ) / _KNEE_HZ) / _LOG_STEP,
    )


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = mel - _KNEE_HZ / _LINEAR_HZ
    return np.where(above < 0, mel * _LINEAR_HZ, _KNEE_HZ * np.exp(_LOG_STEP * above))
