from __future__ import annotations

import numpy as np
import pytest
import torch

from lipsync_cli.interfaces import Waveform
from lipsync_cli.speech.mel import mel_spectrogram, silent_mel
from lipsync_cli.speech.pauses import MARGIN, HushedSpeech, pauses, silent_share, within

RATE = 16000


def _speech(*parts: tuple[float, float]) -> Waveform:
    """(seconds, amplitude) after one another."""
    random = np.random.default_rng(0)
    pieces = [random.uniform(-1, 1, round(seconds * RATE)) * level for seconds, level in parts]
    return Waveform(np.concatenate(pieces).astype(np.float32), RATE)


def test_a_pause_is_found_without_its_margins() -> None:
    spans = pauses(_speech((1.0, 0.3), (0.5, 0.001), (1.0, 0.3)))
    assert np.array(spans) == pytest.approx(np.array([[1.0 + MARGIN, 1.5 - MARGIN]]), abs=0.03)


def test_closures_inside_words_are_no_pauses() -> None:
    assert pauses(_speech((1.0, 0.3), (0.12, 0.0005), (1.0, 0.3))) == []


def test_a_noisy_room_does_not_hide_pauses() -> None:
    spans = pauses(_speech((1.0, 0.3), (0.6, 0.03), (1.0, 0.25), (0.5, 0.03)))
    assert len(spans) == 2


def test_one_level_throughout_has_no_pause_and_silence_is_one() -> None:
    assert pauses(_speech((2.0, 0.3))) == []
    assert pauses(_speech((2.0, 0.0))) == [(0.0, 2.0)]
    assert pauses(_speech((2.0, 0.0003))) == [(0.0, 2.0)]
    assert pauses(Waveform(np.zeros(10, np.float32), RATE)) == []


def test_times_are_told_apart_by_span() -> None:
    times = np.array([0.0, 1.0, 1.5, 2.0, 3.0])
    assert within(times, [(1.0, 2.0), (2.9, 3.1)]).tolist() == [False, True, True, False, True]


def test_hushed_speech_is_silent_deep_in_pauses_only() -> None:
    """Lips open before the sound: near the end of a pause the next word must be heard."""

    class Times:
        def around(self, times):
            return torch.tensor(times, dtype=torch.float64)

    heard = HushedSpeech(Times(), [(1.0, 2.0), (4.0, 4.5)]).around([0.9, 1.1, 1.34, 1.5, 1.66, 1.9, 4.25])
    assert [time < 0 for time in heard.tolist()] == [False, False, False, True, False, False, False]
    assert heard[1] == 1.1


def test_the_silent_share_of_a_mel_is_that_of_the_pauses_in_its_sound() -> None:
    speech = _speech((1.0, 0.3), (0.6, 0.001), (1.0, 0.3), (0.1, 0.001), (0.5, 0.3), (0.8, 0.0))
    assert silent_share(mel_spectrogram(speech)) == pytest.approx(1.4 / 4, abs=0.02)  # 0.1 s is no pause
    assert silent_share(mel_spectrogram(_speech((2.0, 0.3)))) == 0
    assert silent_share(mel_spectrogram(_speech((2.0, 0.0)))) == 1
    assert silent_share(silent_mel(0)) == 1
