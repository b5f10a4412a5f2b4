from __future__ import annotations

import librosa.filters
import numpy as np
import pytest

from lipsync_cli.speech.filter_bank import slaney_filter_bank


@pytest.mark.parametrize(
    ("sample_rate", "n_fft", "n_mels", "lowest", "highest"),
    [(16_000, 800, 80, 55.0, 7600.0), (16_000, 512, 32, 60.0, 3800.0), (8_000, 256, 20, 0.0, 900.0)],
)
def test_the_bank_is_the_one_of_librosa(
    sample_rate: int, n_fft: int, n_mels: int, lowest: float, highest: float
):
    ours = slaney_filter_bank(sample_rate, n_fft, n_mels=n_mels, lowest=lowest, highest=highest)
    theirs = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=lowest, fmax=highest)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-8)
