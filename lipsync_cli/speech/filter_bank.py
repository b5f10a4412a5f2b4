"""The mel filter bank that both front ends share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def slaney_filter_bank(
    sample_rate: int, n_fft: int, *, n_mels: int, lowest: float, highest: float
) -> NDArray[np.float64]:
    """Triangles on Slaney's mel scale, each of area 1 in Hz; [n_mels, n_fft // 2 + 1].

    The scale is linear up to 1 kHz and logarithmic above (Slaney, Auditory Toolbox 1998).

    Args:
        sample_rate: Hz.
        n_fft: Length of the Fourier transform, samples.
        n_mels: Number of triangles.
        lowest: Where the first triangle starts, Hz.
        highest: Where the last triangle ends, Hz.
    """
    from librosa.filters import mel  # here: it takes more than a second to import

    bank: NDArray[np.float64] = mel(
        sr=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=lowest, fmax=highest, dtype=np.float64
    )
    return bank
