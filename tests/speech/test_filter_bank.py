from __future__ import annotations

import librosa
import numpy as np
import pytest

from lipsync_cli.speech.filter_bank import slaney_filter_bank

BANKS = [(16_000, 800, 80, 55.0, 7600.0), (16_000, 512, 32, 60.0, 3800.0)]


def mels(hz: float) -> float:
    """Slaney 1998: 3 mels for each 200 Hz up to 1 kHz, then 27 mels for each factor of 6.4."""
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * np.log(hz / 1000) / np.log(6.4)


@pytest.mark.parametrize(("sample_rate", "n_fft", "n_mels", "lowest", "highest"), BANKS)
def test_each_triangle_rises_and_falls_between_its_neighbours_middles(
    sample_rate: int, n_fft: int, n_mels: int, lowest: float, highest: float
):
    bank = slaney_filter_bank(sample_rate, n_fft, n_mels=n_mels, lowest=lowest, highest=highest)
    corners = np.linspace(mels(lowest), mels(highest), n_mels + 2)
    frequencies = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    for row, left, right in zip(bank, corners[:-2], corners[2:], strict=True):
        inside = np.array([left < mels(hz) < right for hz in frequencies])
        assert (row[inside] > 0).all()
        assert (np.abs(row[~inside]) < 1e-12).all()


def test_triangles_have_an_area_of_one():
    bank = slaney_filter_bank(16_000, 16_000, n_mels=40, lowest=0.0, highest=8000.0)  # bins of 1 Hz
    np.testing.assert_allclose(bank.sum(axis=1), 1.0, rtol=1e-3)


@pytest.mark.parametrize(("sample_rate", "n_fft", "n_mels", "lowest", "highest"), BANKS)
def test_the_bank_is_that_of_librosa(
    sample_rate: int, n_fft: int, n_mels: int, lowest: float, highest: float
):
    bank = slaney_filter_bank(sample_rate, n_fft, n_mels=n_mels, lowest=lowest, highest=highest)
    expected = librosa.filters.mel(
        sr=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=lowest, fmax=highest, dtype=np.float64
    )
    np.testing.assert_allclose(bank, expected, rtol=1e-10, atol=1e-15)
