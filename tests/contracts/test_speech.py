"""What every `Speech` promises, whatever a generator hears."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from lipsync_cli.interfaces import Speech, Waveform
from lipsync_cli.models.lip_predictor import FURTHER_STEPS
from lipsync_cli.models.speech_embedding import SpeechEmbedding
from lipsync_cli.nameless_file import NamelessFile
from lipsync_cli.speech.embedding_mel import embedding_mel
from lipsync_cli.speech.mel import mel_spectrogram
from lipsync_cli.speech.windows import MelWindows, SpeechEmbeddingWindows

RATE = 16_000


@dataclass(frozen=True)
class Kind:
    listen: Callable[[NDArray[np.float32]], Speech]
    shape: tuple[int, ...]
    column: float
    """Seconds from one column to the next: shifts by whole columns are exact."""


@pytest.fixture
def file(tmp_path: Path) -> Iterator[NamelessFile]:
    with NamelessFile(tmp_path) as file:
        yield file


@pytest.fixture(params=["memory", "file"])
def kept(request: pytest.FixtureRequest, file: NamelessFile) -> NamelessFile | None:
    """Where the spectrograms are."""
    return file if request.param == "file" else None


@pytest.fixture(params=["mel", "speech_embedding", "speech_embedding_wide"])
def kind(request: pytest.FixtureRequest, weights_folder: Path, kept: NamelessFile | None) -> Kind:
    if request.param == "mel":
        return Kind(
            lambda samples: MelWindows(mel_spectrogram(Waveform(samples, RATE)), kept), (1, 80, 16), 1 / 80
        )
    network = SpeechEmbedding().eval()
    network.load_state_dict(load_file(weights_folder / "speech_embedding.safetensors"))
    further = FURTHER_STEPS if request.param == "speech_embedding_wide" else 0
    return Kind(
        lambda samples: SpeechEmbeddingWindows(
            embedding_mel(Waveform(samples, RATE)), network.steps, further, kept
        ),
        (10 + 2 * further, 384),
        1 / 100,
    )


def silence(seconds: float) -> NDArray[np.float32]:
    return np.zeros(round(seconds * RATE), np.float32)


@pytest.fixture(scope="module")
def babble() -> NDArray[np.float32]:
    """Two seconds of noise that swells and fades like syllables, between two short pauses."""
    time = np.arange(2 * RATE) / RATE
    noise = np.random.default_rng(0).standard_normal(2 * RATE)
    swelling = (0.1 * noise * np.sin(2 * np.pi * 2.5 * time) ** 2).astype(np.float32)
    return np.concatenate([silence(0.1), swelling, silence(0.1)])


@pytest.mark.parametrize("rate", [24, 25, 30_000 / 1001, 50, 60, 7.3])
def test_a_batch_of_times_at_any_rate_is_a_batch_of_windows(
    kind: Kind, babble: NDArray[np.float32], rate: float
):
    windows = kind.listen(babble).around([index / rate for index in range(13)])
    assert windows.shape == (13, *kind.shape)
    assert windows.dtype == torch.float32
    assert torch.isfinite(windows).all()


def test_no_times_are_no_windows(kind: Kind, babble: NDArray[np.float32]):
    assert kind.listen(babble).around([]).shape == (0, *kind.shape)


def test_windows_do_not_depend_on_the_order_or_company_of_times(kind: Kind, babble: NDArray[np.float32]):
    speech = kind.listen(babble)
    times = [0.5, 1.31, 0.54, 0.58, -3.0, 0.5, 1.9, 0.55]
    windows = speech.around(times)
    torch.testing.assert_close(speech.around(times[::-1]).flip(0), windows, rtol=0, atol=1e-4)
    alone = torch.cat([speech.around([time]) for time in times])
    torch.testing.assert_close(alone, windows, rtol=0, atol=1e-4)


def test_different_moments_sound_different(kind: Kind, babble: NDArray[np.float32]):
    first, second = kind.listen(babble).around([0.6, 0.8])
    assert (first - second).abs().max() > 0.1


def test_past_the_ends_is_what_appended_silence_would_be(kind: Kind, babble: NDArray[np.float32]):
    times = [index / 25 for index in range(-25, 80)]
    padded = np.concatenate([silence(2.0), babble, silence(2.0)])
    torch.testing.assert_close(
        kind.listen(babble).around(times),
        kind.listen(padded).around([time + 2.0 for time in times]),
        rtol=0,
        atol=1e-3,
    )


def test_far_outside_every_time_is_the_same_silence(kind: Kind, babble: NDArray[np.float32]):
    windows = kind.listen(babble).around([-1000.0, -5.0, -1.0, 4.0, 4.01, 1e5])
    torch.testing.assert_close(windows, windows[:1].expand_as(windows), rtol=0, atol=1e-4)


def test_silent_speech_is_silence_within_and_beyond(kind: Kind):
    windows = kind.listen(silence(3.0)).around([-10.0, -0.02, 0.0, 1.0, 1.013, 2.98, 3.2, 20.0])
    torch.testing.assert_close(windows, windows[:1].expand_as(windows), rtol=0, atol=1e-4)


def test_empty_speech_is_silent_speech(kind: Kind):
    times = [-1.0, 0.0, 0.5]
    windows = kind.listen(silence(0)).around(times)
    torch.testing.assert_close(windows, kind.listen(silence(3.0)).around(times), rtol=0, atol=1e-4)


@pytest.mark.parametrize("rate", [25, 30_000 / 1001])
@pytest.mark.parametrize("columns", [1, 4, 20])
def test_later_speech_is_heard_as_much_later(
    kind: Kind, babble: NDArray[np.float32], columns: int, rate: float
):
    shift = columns * kind.column
    times = [index / rate for index in range(50)]
    later = np.concatenate([silence(shift), babble])
    torch.testing.assert_close(
        kind.listen(later).around([time + shift for time in times]),
        kind.listen(babble).around(times),
        rtol=0,
        atol=1e-3,
    )


def test_speech_one_frame_later_is_heard_one_frame_later_within_half_a_column(
    kind: Kind, babble: NDArray[np.float32]
):
    """A frame at 25 fps is 4 columns of the embedding's, but 3.2 of the mel's."""
    later = kind.listen(np.concatenate([silence(0.04), babble])).around([0.64, 1.04, 1.44])
    speech = kind.listen(babble)
    for window, time in zip(later, [0.6, 1.0, 1.4], strict=True):
        right, wrong = (
            min(
                float((window - near).abs().mean())
                for near in speech.around([time + lag + kind.column * part for part in (-0.5, 0, 0.5)])
            )
            for lag in (0.0, 0.04)
        )
        assert right < 0.5 * wrong
