from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.interfaces import Waveform
from lipsync_cli.speech.mfcc import mfcc

GOLDEN = Path(__file__).parent / "golden" / "mfcc.npz"
"""5000 samples of noise with a silent part, and what python_speech_features 0.6 makes of them."""


def test_cepstra_are_those_of_the_public_package() -> None:
    golden = np.load(GOLDEN)
    found = mfcc(Waveform((golden["samples"] / 32768).astype(np.float32), 16000))
    np.testing.assert_allclose(found, golden["cepstra"], atol=1e-4)


@pytest.mark.parametrize(("n_samples", "n_columns"), [(1, 1), (400, 1), (401, 2), (560, 2), (16000, 99)])
def test_there_is_a_column_every_10_ms(n_samples: int, n_columns: int) -> None:
    assert mfcc(Waveform(np.zeros(n_samples, np.float32), 16000)).shape == (n_columns, 13)


def test_a_long_sound_in_pieces_is_the_same_as_its_parts() -> None:
    samples = np.random.default_rng(0).uniform(-0.3, 0.3, 160 * 4200).astype(np.float32)
    whole, end = mfcc(Waveform(samples, 16000)), mfcc(Waveform(samples[160 * 4000 :], 16000))
    np.testing.assert_allclose(whole[4010:4150], end[10:150], atol=1e-9)


def test_another_sample_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="16 kHz"):
        mfcc(Waveform(np.zeros(100, np.float32), 44100))
