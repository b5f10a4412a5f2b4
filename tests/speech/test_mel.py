from __future__ import annotations

import tracemalloc

import librosa
import numpy as np
import pytest
import scipy.signal
from numpy.typing import NDArray

from lipsync_cli.errors import MediaError
from lipsync_cli.interfaces import Waveform
from lipsync_cli.speech import mel
from lipsync_cli.speech.mel import MelSettings, mel_spectrogram, silent_mel


def noise(n_samples: int, level: float = 0.1) -> NDArray[np.float32]:
    return (level * np.random.default_rng(0).standard_normal(n_samples)).astype(np.float32)


def chirp(n_samples: int) -> NDArray[np.float32]:
    time = np.arange(n_samples) / 16_000
    return (0.5 * np.sin(2 * np.pi * (100 + 900 * time) * time)).astype(np.float32)


def normalised(magnitudes: NDArray) -> NDArray:
    bank = librosa.filters.mel(sr=16_000, n_fft=800, n_mels=80, fmin=55, fmax=7600)
    decibels = 20 * np.log10(np.maximum(1e-5, bank @ magnitudes)) - 20
    return np.clip(8 * (decibels + 100) / 100 - 4, -4, 4)


def emphasised(samples: NDArray) -> NDArray:
    return scipy.signal.lfilter([1, -0.97], [1], samples.astype(np.float64))


# the longest is of several pieces: 2048 columns are 25.6 s
SOUNDS = [noise(16_000), noise(801), noise(16_000 * 60), chirp(40_123), noise(8000, 1e-5), noise(8000, 0.5)]


@pytest.mark.parametrize("samples", SOUNDS)
def test_the_mel_is_the_one_of_librosa_on_the_whole_signal(samples: NDArray):
    spectrum = librosa.stft(
        emphasised(samples), n_fft=800, hop_length=200, win_length=800, center=True, pad_mode="reflect"
    )
    np.testing.assert_allclose(
        mel_spectrogram(Waveform(samples, 16_000)), normalised(np.abs(spectrum)), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("samples", SOUNDS)
def test_the_mel_is_the_one_computed_with_scipy(samples: NDArray):
    _, _, spectrum = scipy.signal.stft(
        emphasised(samples), nperseg=800, noverlap=600, window="hann", boundary="even", padded=False
    )
    magnitudes = np.abs(spectrum) * scipy.signal.get_window("hann", 800).sum()
    np.testing.assert_allclose(
        mel_spectrogram(Waveform(samples, 16_000)), normalised(magnitudes), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("chunk", [1, 7, 80, 81])
def test_the_pieces_in_which_it_is_computed_do_not_show(chunk: int, monkeypatch: pytest.MonkeyPatch):
    waveform = Waveform(noise(16_000), 16_000)
    whole = mel_spectrogram(waveform)
    monkeypatch.setattr(mel, "_CHUNK", chunk)
    np.testing.assert_allclose(mel_spectrogram(waveform), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("n_samples", [0, 1, 2, 3, 199, 200, 399, 400, 401, 799, 800])
def test_short_waveforms_have_a_mel_too(n_samples: int):
    spectrogram = mel_spectrogram(Waveform(noise(n_samples), 16_000))
    assert spectrogram.shape == (80, 1 + n_samples // 200)
    assert spectrogram.dtype == np.float32
    assert np.all((spectrogram >= -4) & (spectrogram <= 4))


def test_digital_silence_reads_the_floor():
    spectrogram = mel_spectrogram(Waveform(np.zeros(16_000, np.float32), 16_000))
    np.testing.assert_array_equal(spectrogram, silent_mel(81))
    np.testing.assert_array_equal(silent_mel(3), np.full((80, 3), -4, np.float32))


@pytest.mark.parametrize("column", [3, 10, 50])
def test_column_c_is_centred_on_sample_200_c(column: int):
    samples = np.zeros(16_000, np.float32)
    samples[200 * column] = 1
    loudness = mel_spectrogram(Waveform(samples, 16_000)).mean(0)
    assert loudness.argmax() == column
    assert loudness[column - 1] == pytest.approx(loudness[column + 1], abs=0.02)
    assert np.all(loudness[: column - 1] == -4)
    assert np.all(loudness[column + 2 :] == -4)


def test_full_scale_noise_stays_within_the_range():
    samples = np.where(noise(16_000) > 0, 1, -1).astype(np.float32)
    assert mel_spectrogram(Waveform(samples * 30, 16_000)).max() == 4


def test_another_sample_rate_is_refused_with_both_rates():
    with pytest.raises(MediaError, match=r"16000 Hz.*44100 Hz"):
        mel_spectrogram(Waveform(noise(1000), 44_100))


def test_settings_of_another_rate_take_that_rate():
    settings = MelSettings(sample_rate=8_000, n_fft=400, hop=100, highest=3800.0)
    assert mel_spectrogram(Waveform(noise(8_000), 8_000), settings).shape == (80, 81)


def test_memory_does_not_grow_with_the_length_but_for_the_result():
    waveform = Waveform(np.zeros(16_000 * 1200, np.float32), 16_000)
    tracemalloc.start()
    spectrogram = mel_spectrogram(waveform)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - spectrogram.nbytes < 70e6  # a whole transform of these 20 minutes would take 600 MB
