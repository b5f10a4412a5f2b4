from __future__ import annotations

import numpy as np

from lipsync_cli.media.audio import load_waveform
from lipsync_cli.speech.inverse_mel import waveform_of_mel
from lipsync_cli.speech.mel import mel_spectrogram, silent_mel


def test_the_sound_of_a_mel_has_about_that_mel(weights_folder):
    mel = mel_spectrogram(load_waveform(weights_folder / "demo" / "speech.m4a"))[:, :120]
    waveform = waveform_of_mel(mel)
    assert waveform.sample_rate == 16000
    assert len(waveform.samples) == 119 * 200
    assert np.abs(waveform.samples).max() <= 0.7001
    again = mel_spectrogram(waveform)
    loud = mel > -1
    difference = (again - mel)[loud]
    assert np.abs(difference - np.median(difference)).mean() < 0.5  # 6 dB of a range of 100
    assert np.array_equal(waveform.samples, waveform_of_mel(mel).samples)


def test_silence_sounds_silent():
    assert not waveform_of_mel(silent_mel(20)).samples.any()
    assert len(waveform_of_mel(silent_mel(0)).samples) == 0
