"""From a mel spectrogram back to sound, for samples to listen to: caches keep no waveform."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.interfaces import Waveform
from lipsync_cli.speech.filter_bank import slaney_filter_bank
from lipsync_cli.speech.mel import MelSettings

_ROUNDS = 32  # of Griffin and Lim
_PEAK = 0.7


def waveform_of_mel(mel: NDArray[np.float32]) -> Waveform:
    """Sound whose `mel_spectrogram` is about the given one [80, T]: intelligible, hollow.

    Magnitudes by the pseudo-inverse of the filter bank (what it makes negative is 0), phases by Griffin and
    Lim, pre-emphasis undone, as loud as 0.7 at most. The same mel gives the same sound.
    """
    import librosa

    settings = MelSettings()
    if mel.shape[1] == 0:
        return Waveform(np.zeros(0, np.float32), settings.sample_rate)
    bank = slaney_filter_bank(
        settings.sample_rate,
        settings.n_fft,
        n_mels=settings.n_mels,
        lowest=settings.lowest,
        highest=settings.highest,
    )
    magnitudes = 10.0 ** (((mel.astype(np.float64) + 4) / 8 * 100 - 100 + 20) / 20)
    magnitudes[mel <= -4] = 0
    spectrum = np.maximum(np.linalg.pinv(bank) @ magnitudes, 0)
    sound = librosa.griffinlim(
        spectrum,
        n_iter=_ROUNDS,
        hop_length=settings.hop,
        n_fft=settings.n_fft,
        random_state=0,
    )
    samples = librosa.effects.deemphasis(sound, coef=settings.pre_emphasis)
    loudest = float(np.abs(samples).max())
    return Waveform((samples * min(1.0, _PEAK / max(loudest, 1e-9))).astype(np.float32), settings.sample_rate)
