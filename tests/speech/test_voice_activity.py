from __future__ import annotations

import numpy as np
import pytest
import torch

from lipsync_cli.errors import MediaError
from lipsync_cli.interfaces import Waveform
from lipsync_cli.speech.pauses import HUSHED_FROM, MARGIN, depth, pauses
from lipsync_cli.speech.voice_activity import voiceless

STEP = 512 / 16_000


def found(*probabilities: tuple[int, float], seconds: float | None = None) -> list[tuple[float, float]]:
    """(steps, probability) after one another."""
    steps = torch.cat([torch.full((n,), value) for n, value in probabilities])
    n_samples = round((len(steps) * STEP if seconds is None else seconds) * 16_000)
    return voiceless(Waveform(np.zeros(n_samples, np.float32), 16_000), lambda samples: steps)


def test_half_a_second_without_a_voice_is_told_to_its_ends() -> None:
    spans = found((10, 0.9), (20, 0.01), (10, 0.9), (15, 0.01), (10, 0.9))
    assert np.array(spans) == pytest.approx(np.array([[10 * STEP, 30 * STEP]])), "0.48 s are too short"


def test_a_voice_lasts_while_it_may_still_be_there_and_begins_where_it_may() -> None:
    spans = found((20, 0.05), (3, 0.2), (5, 0.6), (6, 0.2), (20, 0.05))
    assert np.array(spans) == pytest.approx(np.array([[0, 20 * STEP], [34 * STEP, 54 * STEP]]))


def test_what_only_may_be_a_voice_is_none() -> None:
    assert found((20, 0.05), (5, 0.4), (20, 0.05)) == [(0.0, 45 * STEP)]


def test_sound_without_any_voice_is_told_as_a_whole_however_short() -> None:
    assert found((4, 0.0), seconds=0.1) == [(0.0, 0.1)]
    assert found((31, 0.0), seconds=0.98) == [(0.0, 0.98)], "not to the end of the last step"


def test_another_sample_rate_is_refused() -> None:
    with pytest.raises(MediaError, match="44100 Hz"):
        voiceless(Waveform(np.zeros(100, np.float32), 44_100), lambda samples: samples)


def test_pauses_of_either_kind_become_one_where_they_meet() -> None:
    """A pause that is found by its quiet goes on in the noise after it."""
    random = np.random.default_rng(0)
    parts = [(1.0, 0.3), (0.5, 0.001), (2.0, 0.3)]
    samples = np.concatenate([random.uniform(-1, 1, round(s * 16_000)) * level for s, level in parts])
    waveform = Waveform(samples.astype(np.float32), 16_000)
    spans = pauses(waveform, [(1.2, 2.4), (2.6, 3.2)])
    expected = [[1.0 + MARGIN, 2.4 - MARGIN], [2.6 + MARGIN, 3.2 - MARGIN]]
    assert np.array(spans) == pytest.approx(np.array(expected), abs=0.03)


def test_without_any_word_a_pause_has_no_ends() -> None:
    """Noise alone moved the lips in its first and last half second."""
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 3 * 16_000).astype(np.float32)
    waveform = Waveform(noise, 16_000)
    times = np.array([0.0, 0.3, 2.7, 3.0])
    assert (depth(times, pauses(waveform, [(0.0, 3.0)])) > HUSHED_FROM).all()
    spans = pauses(waveform, [(0.0, 1.0), (2.0, 3.0)])
    assert np.array(spans) == pytest.approx(np.array([[MARGIN, 1 - MARGIN], [2 + MARGIN, 3 - MARGIN]]))
