from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lipsync_cli.errors import MediaError
from lipsync_cli.interfaces import Waveform
from lipsync_cli.speech import embedding_mel as module
from lipsync_cli.speech.embedding_mel import embedding_mel, silence_floor

GOLDEN = Path(__file__).parent / "golden" / "embedding_mel.npz"


def noise(n_samples: int, level: float = 0.1) -> NDArray[np.float32]:
    return (level * np.random.default_rng(0).standard_normal(n_samples)).astype(np.float32)


def test_the_log_mel_is_that_of_the_original_file():
    with np.load(GOLDEN) as golden:  # by weights/scripts/golden_speech_embedding.py
        samples, wanted = golden["samples"], golden["log_mel"]
    log_mel = embedding_mel(Waveform((samples / 32_768).astype(np.float32), 16_000))
    assert log_mel.dtype == np.float32
    assert np.any(wanted == wanted.min(), axis=1).sum() > 1  # the golden sound reaches the floor
    np.testing.assert_allclose(log_mel, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("n_samples", "n_columns"), [(0, 0), (511, 0), (512, 1), (671, 1), (672, 2), (16_000, 97)]
)
def test_only_whole_columns_are_computed(n_samples: int, n_columns: int):
    assert embedding_mel(Waveform(noise(n_samples), 16_000)).shape == (n_columns, 32)


@pytest.mark.parametrize("chunk", [1, 10, 97])
def test_the_pieces_in_which_it_is_computed_do_not_show(chunk: int, monkeypatch: pytest.MonkeyPatch):
    waveform = Waveform(noise(16_000), 16_000)
    whole = embedding_mel(waveform)
    monkeypatch.setattr(module, "_CHUNK", chunk)
    np.testing.assert_allclose(embedding_mel(waveform), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("column", [2, 10, 50])
def test_column_c_is_centred_on_sample_160_c_plus_256(column: int):
    samples = np.zeros(16_000, np.float32)
    samples[160 * column + 256] = 0.5
    loudness = embedding_mel(Waveform(samples, 16_000)).mean(1)
    assert loudness.argmax() == column
    assert loudness[column - 1] == pytest.approx(loudness[column + 1], abs=1e-4)
    assert (160 * column + 256) / 16_000 == pytest.approx(module.FIRST_CENTRE + 0.01 * column)


def test_nothing_lies_more_than_80_decibels_below_the_loudest():
    log_mel = embedding_mel(Waveform(np.concatenate([noise(8000, 0.3), np.zeros(8000, np.float32)]), 16_000))
    assert log_mel.min() == pytest.approx(log_mel.max() - 8)
    assert silence_floor(log_mel) == pytest.approx(log_mel.min())


def test_silent_and_empty_recordings_read_the_rounding_noise_of_16_bit_sound():
    silent = embedding_mel(Waveform(np.zeros(16_000, np.float32), 16_000))
    rounding = embedding_mel(Waveform((np.random.default_rng(0).random(160_000) - 0.5) / 32_768, 16_000))
    assert np.all(silent == np.float32(1.6))
    assert silence_floor(silent) == silence_floor(silent[:0]) == 1.6
    assert np.log10(np.mean(10**rounding)) == pytest.approx(1.6, abs=0.2)


def test_another_sample_rate_is_refused_with_both_rates():
    with pytest.raises(MediaError, match=r"16000 Hz.*48000 Hz"):
        embedding_mel(Waveform(noise(1000), 48_000))


def test_memory_does_not_grow_with_the_length_but_for_the_result():
    waveform = Waveform(np.zeros(16_000 * 1200, np.float32), 16_000)
    tracemalloc.start()
    log_mel = embedding_mel(waveform)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - log_mel.nbytes < 70e6
