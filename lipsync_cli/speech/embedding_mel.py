"""The log mel that the pretrained speech embedding hears.

The front end of Google's `speech_embedding` as the wheel of pyopen-wakeword 1.1.0 packs it
(`melspectrogram.tflite`, Apache-2.0), computed by formula: every constant of that file is one of those below.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.interfaces import Waveform
from lipsync_cli.speech.filter_bank import slaney_filter_bank
from lipsync_cli.speech.sample_rate import require_rate

SAMPLE_RATE = 16_000
HOP = 160  # samples: 10 ms a column
N_FFT = 512
N_BINS = 32
FIRST_CENTRE = 0.016
"""Seconds: column c is centred on sample 160 c + 256, so on FIRST_CENTRE + 0.01 c. It hears 25 ms."""

_HANN = 400  # samples, in the middle of the transform
_INT16 = 32_768.0
_RANGE = 8.0  # 80 dB
_QUIETEST = 1.6  # = log10(0.4) + 2: the rounding noise of 16-bit sound, 1/12 a sample, in these filters
_CHUNK = 1024  # columns at a time: 12 MB


def embedding_mel(waveform: Waveform) -> NDArray[np.float32]:
    """Log mel spectrogram, float32 [T, 32]; n samples give T = (n - 512) // 160 + 1 columns, none below 512.

    Power spectra of 512 samples (a periodic Hann window of 400 in their middle, int16 scale) every 10 ms, not
    padded at the ends; 32 Slaney mels from 60 to 3800 Hz; decibels divided by 10, plus 2; nothing below
    `silence_floor`.

    Raises:
        MediaError: The waveform is not at 16 kHz.
    """
    require_rate(waveform, SAMPLE_RATE, "the speech embedding hears")
    n_columns = max(0, (len(waveform.samples) - N_FFT) // HOP + 1)
    log_mel = np.empty((n_columns, N_BINS), np.float32)
    if n_columns == 0:
        return log_mel
    bank = slaney_filter_bank(SAMPLE_RATE, N_FFT, n_mels=N_BINS, lowest=60.0, highest=3800.0).T
    window = np.zeros(N_FFT)
    margin = (N_FFT - _HANN) // 2
    window[margin : margin + _HANN] = _INT16 * np.hanning(_HANN + 1)[:-1]
    pieces = np.lib.stride_tricks.sliding_window_view(waveform.samples, N_FFT)[::HOP]
    for first in range(0, n_columns, _CHUNK):
        spectrum = np.fft.rfft(pieces[first : first + _CHUNK] * window)
        power = spectrum.real**2 + spectrum.imag**2
        log_mel[first : first + _CHUNK] = np.log10(np.maximum(power @ bank, 1e-10)) + 2.0
    return np.maximum(log_mel, np.float32(silence_floor(log_mel)), out=log_mel)


def silence_floor(log_mel: NDArray[np.float32]) -> float:
    """What digital silence reads in the recording with this log mel [T, 32]: 80 dB below its loudest value.

    But never less than the rounding noise of 16-bit sound, 1.6. That is the one departure from the file, in
    which a wholly silent recording reads -8, far from anything that the network was trained to hear.
    """
    return max(_QUIETEST, float(log_mel.max(initial=_QUIETEST)) - _RANGE)
