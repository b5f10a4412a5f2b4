"""The cepstra that SyncNet v2 hears (for LSE-C and LSE-D)."""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from lipsync_cli.interfaces import Waveform

RATE = 100
"""Columns a second: column c is of the 25 ms that begin at c / 100 s."""

_SAMPLE_RATE = 16000
_WINDOW, _HOP, _FFT = 400, 160, 512  # samples
_FILTERS, _KEPT, _LIFTER = 26, 13, 22
_EMPHASIS = 0.97
_INT16 = 32768.0
_TINY = float(np.finfo(np.float64).eps)  # in place of zero energy
_CHUNK = 4096  # frames at a time: an hour of speech stays within a few megabytes


def mfcc(waveform: Waveform) -> NDArray[np.float64]:
    """[T, 13] as python_speech_features.mfcc makes them of 16 bit samples, with its defaults.

    Pre-emphasis 0.97 over the whole sound; rectangular windows of 25 ms every 10 ms, the last one filled up
    with zeros; power spectrum of 512 points over 512; 26 triangles evenly spaced on 2595 log10(1 + f / 700)
    from 0 to 8000 Hz, their corners cut down to whole bins; log; orthonormal DCT-II, 13 kept; sine lifter 22;
    the first one replaced by the log of the frame's energy.

    Raises ValueError for another sample rate than 16 kHz.
    """
    if waveform.sample_rate != _SAMPLE_RATE:
        raise ValueError(f"cepstra are of 16 kHz sound, got {waveform.sample_rate} Hz")
    samples = np.round(waveform.samples.astype(np.float64) * _INT16).clip(-_INT16, _INT16 - 1)
    emphasised = samples.copy()
    emphasised[1:] -= _EMPHASIS * samples[:-1]
    n_frames = 1 + max(0, math.ceil((len(samples) - _WINDOW) / _HOP))
    padded = np.zeros((n_frames - 1) * _HOP + _WINDOW)
    padded[: len(samples)] = emphasised
    frames = sliding_window_view(padded, _WINDOW)[::_HOP]
    bank, basis = _filters(), _cosines()
    pieces = [_cepstra(frames[i : i + _CHUNK], bank, basis) for i in range(0, n_frames, _CHUNK)]
    return np.concatenate(pieces)


def _cepstra(
    frames: NDArray[np.float64], bank: NDArray[np.float64], basis: NDArray[np.float64]
) -> NDArray[np.float64]:
    power = np.abs(np.fft.rfft(frames, _FFT)) ** 2 / _FFT
    energy = power.sum(axis=1)
    bands = power @ bank.T
    cepstra = np.log(np.where(bands == 0, _TINY, bands)) @ basis.T
    cepstra *= 1 + _LIFTER / 2 * np.sin(np.pi * np.arange(_KEPT) / _LIFTER)
    cepstra[:, 0] = np.log(np.where(energy == 0, _TINY, energy))
    return np.asarray(cepstra, dtype=np.float64)


def _filters() -> NDArray[np.float64]:
    """[26, 257]"""
    highest = 2595 * math.log10(1 + _SAMPLE_RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, highest, _FILTERS + 2) / 2595) - 1)
    corners = np.floor((_FFT + 1) * hertz / _SAMPLE_RATE)
    bins = np.arange(_FFT // 2 + 1)
    bank = np.zeros((_FILTERS, len(bins)))
    for row, (low, middle, high) in zip(bank, sliding_window_view(corners, 3), strict=True):
        rising, falling = (bins >= low) & (bins < middle), (bins >= middle) & (bins < high)
        row[rising] = (bins[rising] - low) / (middle - low)
        row[falling] = (high - bins[falling]) / (high - middle)
    return bank


def _cosines() -> NDArray[np.float64]:
    """[13, 26], the first rows of the orthonormal DCT-II."""
    place = np.pi * (2 * np.arange(_FILTERS) + 1) / (2 * _FILTERS)
    basis = np.cos(np.arange(_KEPT)[:, None] * place) * math.sqrt(2 / _FILTERS)
    basis[0] /= math.sqrt(2)
    return basis
