"""The mel spectrogram of the paper, and of the public lip-sync networks since Wav2Lip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.interfaces import Waveform
from lipsync_cli.speech.filter_bank import slaney_filter_bank
from lipsync_cli.speech.sample_rate import require_rate

SILENCE = -4.0
"""What digital silence reads: the floor after normalisation."""
DECIBELS = 12.5
"""dB in a unit: 100 of them are 8 units."""

_CHUNK = 2048  # columns at a time: 13 MB


@dataclass(frozen=True, slots=True)
class MelSettings:
    """The constants that the public checkpoints were trained with (Wav2Lip, hparams.py)."""

    sample_rate: int = 16_000
    """Hz."""
    n_fft: int = 800
    """Length of the Fourier transform and of its Hann window, samples: 50 ms."""
    hop: int = 200
    """Samples from one column to the next: 80 columns a second."""
    n_mels: int = 80
    lowest: float = 55.0
    """Where the first mel filter starts, Hz."""
    highest: float = 7600.0
    """Where the last mel filter ends, Hz."""
    pre_emphasis: float = 0.97
    """How much of the sample before is taken off each sample."""


def mel_spectrogram(waveform: Waveform, settings: MelSettings = MelSettings()) -> NDArray[np.float32]:
    """Normalised mel spectrogram, float32 [80, T] in [-4, 4]; n samples give T = 1 + n // 200 columns.

    Pre-emphasis; magnitudes of a Fourier transform whose column c is centred on sample 200 c (the ends are
    mirrored, as librosa's `pad_mode="reflect"`); Slaney mels; S = 20 log10(max(1e-5, .)) - 20; then
    8 (S + 100) / 100 - 4, clipped. Computed in pieces, so that only the result grows with the length.

    Raises:
        MediaError: The waveform has another sample rate than the settings.
    """
    require_rate(waveform, settings.sample_rate, "the mel spectrogram is of")
    samples, hop, reach = waveform.samples, settings.hop, settings.n_fft // 2
    n_columns = 1 + len(samples) // hop
    if len(samples) == 0:
        return silent_mel(n_columns, settings.n_mels)
    bank = slaney_filter_bank(
        settings.sample_rate,
        settings.n_fft,
        n_mels=settings.n_mels,
        lowest=settings.lowest,
        highest=settings.highest,
    )
    window = np.hanning(settings.n_fft + 1)[:-1]  # the periodic one
    mel = np.empty((settings.n_mels, n_columns), np.float32)
    for first in range(0, n_columns, _CHUNK):
        last = min(first + _CHUNK, n_columns) - 1
        piece = _emphasised(samples, first * hop - reach, last * hop + reach, settings.pre_emphasis)
        columns = np.lib.stride_tricks.sliding_window_view(piece, settings.n_fft)[::hop]
        magnitudes = np.abs(np.fft.rfft(columns * window))
        mel[:, first : last + 1] = _normalised(bank @ magnitudes.T)
    return mel


def silent_mel(n_columns: int, n_mels: int = 80) -> NDArray[np.float32]:
    """The mel spectrogram of digital silence: float32 [80, n_columns], all -4."""
    return np.full((n_mels, n_columns), SILENCE, np.float32)


def _emphasised(samples: NDArray[np.float32], begin: int, end: int, amount: float) -> NDArray[np.float64]:
    """The samples from begin to end after pre-emphasis, mirrored at the first and the last one."""
    period = max(1, 2 * (len(samples) - 1))
    places = np.arange(begin, end) % period
    places = np.minimum(places, period - places) if len(samples) > 1 else places
    before = np.where(places > 0, samples[places - 1].astype(np.float64), 0.0)
    return samples[places] - amount * before


def _normalised(magnitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    decibels = 20.0 * np.log10(np.maximum(1e-5, magnitudes)) - 20.0
    return np.clip(8.0 * (decibels + 100.0) / 100.0 - 4.0, -4.0, 4.0)
