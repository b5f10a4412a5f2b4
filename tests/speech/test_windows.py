from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipsync_cli.interfaces import Waveform
from lipsync_cli.models.speech_embedding import SpeechEmbedding
from lipsync_cli.speech.embedding_mel import embedding_mel
from lipsync_cli.speech.mel import mel_spectrogram
from lipsync_cli.speech.windows import FRAME_CENTRE, MelWindows, MelWindowsFromFrame, SpeechEmbeddingWindows

RATES = [Fraction(24), Fraction(25), Fraction(30_000, 1001), Fraction(30), Fraction(50), Fraction(60)]


def numbered(n_columns: int, n_rows: int) -> NDArray[np.float32]:
    """A spectrogram whose columns tell their own number."""
    return np.broadcast_to(np.arange(n_columns, dtype=np.float32), (n_rows, n_columns)).copy()


def click(sample: int, n_samples: int = 32_000) -> Waveform:
    samples = np.zeros(n_samples, np.float32)
    samples[sample] = 0.5
    return Waveform(samples, 16_000)


# --- the paper's mel ---------------------------------------------------------------------------------------


def first_columns(windows: Tensor) -> list[int]:
    assert torch.equal(windows, (windows[:, :, :1, :1] + torch.arange(16)).expand_as(windows))
    return windows[:, 0, 0, 0].int().tolist()


@pytest.mark.parametrize(("time", "column"), [(1.0, 74), (1.04, 77), (1.08, 81), (1.12, 84), (1.2, 90)])
def test_a_mel_window_is_centred_on_the_middle_of_its_frame(time: float, column: int):
    assert first_columns(MelWindows(numbered(400, 80)).around([time])) == [column]
    assert abs((column + 7.5) / 80 - (time + FRAME_CENTRE)) <= 0.5 / 80 + 1e-9


@pytest.mark.parametrize("rate", RATES)
def test_the_nearest_mel_window_is_exact_after_hours_at_any_rate(rate: Fraction):
    windows = MelWindows(numbered(700_000, 80))
    indices = [*range(10, 500), *range(200_000, 200_500)]
    times = [index / rate for index in indices]
    middles = [(time + Fraction(1, 50)) * 80 - Fraction(15, 2) for time in times]
    wanted = [floor(middle + Fraction(1, 2)) for middle in middles]  # of two equally near, the later
    assert first_columns(windows.around([float(time) for time in times])) == wanted


@pytest.mark.parametrize("rate", RATES)
def test_a_sync_window_starts_at_column_floor_of_80_t(rate: Fraction):
    windows = MelWindows(numbered(700_000, 80))
    times = [index / rate for index in [*range(500), *range(200_000, 200_500)]]
    wanted = [floor(80 * time) for time in times]
    assert first_columns(windows.starting([float(time) for time in times])) == wanted


def test_a_click_in_the_middle_of_a_frame_lies_in_the_middle_of_its_mel_window():
    sample = 200 * 80 + 100  # between columns 80 and 81
    windows = MelWindows(mel_spectrogram(click(sample)))
    loudness = windows.around([sample / 16_000 - FRAME_CENTRE])[0, 0].mean(0)
    assert set(loudness.topk(2).indices.tolist()) == {7, 8}
    torch.testing.assert_close(loudness, loudness.flip(0), rtol=0, atol=0.02)


def test_a_click_at_the_start_lies_in_the_first_column_of_a_sync_window():
    windows = MelWindows(mel_spectrogram(click(200 * 80)))
    assert windows.starting([1.0])[0, 0].mean(0).argmax() == 0


def test_past_either_end_a_mel_window_is_filled_with_silence():
    windows = MelWindows(numbered(20, 80))
    before, within, after = windows.starting([-0.1, 0.0, 0.1])[:, 0, 0]
    assert before.tolist() == [-4] * 8 + list(range(8))
    assert within.tolist() == list(range(16))
    assert after.tolist() == list(range(8, 20)) + [-4] * 4


# --- the speech embedding ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network() -> Callable[[Tensor], Tensor]:
    torch.manual_seed(0)
    return SpeechEmbedding().eval().steps


@pytest.fixture(scope="module")
def log_mel() -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(4.6, 12.6, (400, 32)).astype(np.float32)


def separately(log_mel: NDArray[np.float32], network: Callable[[Tensor], Tensor], time: Fraction) -> Tensor:
    """The rule as written: the 76 columns whose middle, 0.391 + 0.01 c, is nearest to the frame's."""
    first = floor((time + Fraction(20 - 391, 1000)) * 100 + Fraction(1, 2))
    padded = np.pad(log_mel, ((200, 200), (0, 0)), constant_values=log_mel.max() - 8)
    with torch.no_grad():
        return network(torch.from_numpy(padded[200 + first : 276 + first])[None])[0]


@pytest.mark.parametrize("rate", RATES)
def test_neighbours_hear_what_each_would_hear_alone(
    rate: Fraction, log_mel: NDArray[np.float32], network: Callable[[Tensor], Tensor]
):
    times = [index / rate for index in range(-5, 40)]
    windows = SpeechEmbeddingWindows(log_mel, network).around([float(time) for time in times])
    wanted = torch.stack([separately(log_mel, network, time) for time in times])
    torch.testing.assert_close(windows, wanted, rtol=0, atol=1e-4)


def test_the_columns_around_a_time_are_those_of_its_window(
    log_mel: NDArray[np.float32], network: Callable[[Tensor], Tensor]
):
    times = [-0.2, 1.0, 1.013, 3.9]
    columns = SpeechEmbeddingWindows.columns_around(log_mel, times)
    assert columns.shape == (4, 76, 32)
    with torch.no_grad():
        steps = network(torch.from_numpy(columns))
    windows = SpeechEmbeddingWindows(log_mel, network).around(times)
    torch.testing.assert_close(steps, windows, rtol=0, atol=1e-4)


def test_times_far_apart_hear_what_each_would_hear_alone(
    log_mel: NDArray[np.float32], network: Callable[[Tensor], Tensor]
):
    times = [Fraction(3), Fraction(1, 25), Fraction(301, 100), Fraction(5, 4)]
    windows = SpeechEmbeddingWindows(log_mel, network).around([float(time) for time in times])
    wanted = torch.stack([separately(log_mel, network, time) for time in times])
    torch.testing.assert_close(windows, wanted, rtol=0, atol=1e-4)


def test_the_grid_holds_the_windows_of_a_clip_at_25_fps(
    log_mel: NDArray[np.float32], network: Callable[[Tensor], Tensor]
):
    speech = SpeechEmbeddingWindows(log_mel, network)
    grid = speech.grid(100)
    assert grid.shape == (109, 384)
    windows = speech.around([index / 25 for index in range(100)])
    torch.testing.assert_close(grid.unfold(0, 10, 1).transpose(1, 2), windows, rtol=0, atol=1e-4)


def test_the_blocks_in_which_steps_are_computed_do_not_show(
    log_mel: NDArray[np.float32], network: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
):
    whole = SpeechEmbeddingWindows(log_mel, network).grid(75)
    for block in (1, 7, 84):
        monkeypatch.setattr(SpeechEmbeddingWindows, "_BLOCK", block)
        torch.testing.assert_close(
            SpeechEmbeddingWindows(log_mel, network).grid(75), whole, rtol=0, atol=1e-4
        )


class Counting:
    """A network whose steps are zero; what it was given."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def __call__(self, piece: Tensor) -> Tensor:
        self.lengths.append(piece.shape[1])
        return torch.zeros(piece.shape[0], (piece.shape[1] - 40) // 4 + 1, 384)


@pytest.mark.parametrize(("rate", "n_rows"), [(25, 1), (Fraction(30_000, 1001), 4), (60, 4)])
def test_each_step_is_computed_once_however_frames_are_asked_for(
    log_mel: NDArray[np.float32], rate: Fraction, n_rows: int
):
    """Also in batches of five, of large pictures, and with pauses, which hear what lies long before."""
    network = Counting()
    speech = SpeechEmbeddingWindows(log_mel, network, 15)
    seconds = 20
    times = [float(index / rate) for index in range(int(seconds * rate))]
    for place in range(0, len(times), 5):
        asked = [-1000.0 if place // 5 % 4 == 2 else time for time in times[place : place + 5]]
        assert speech.around(asked).shape == (len(asked), 40, 384)
    n_blocks = ceil((seconds + 40 * 0.04) / (64 * 0.04)) + 1  # the ends of the first and last need not meet
    assert len(network.lengths) <= n_rows * n_blocks + 2  # silence
    assert set(network.lengths) == {40 + 4 * 63}  # torch keeps what it has prepared for each length


def test_no_more_blocks_stay_at_hand_than_are_needed(log_mel: NDArray[np.float32]):
    network = Counting()
    speech = SpeechEmbeddingWindows(log_mel, network)
    for number in range(100):
        speech.around([number * 2.56])
    assert len(speech._at_hand) == 16
    network.lengths.clear()
    speech.around([99 * 2.56])
    assert not network.lengths
    speech.around([0.0])
    assert network.lengths


def test_a_grid_of_more_blocks_than_stay_at_hand_is_whole(network: Callable[[Tensor], Tensor]):
    log_mel = np.random.default_rng(1).uniform(4.6, 12.6, (6000, 32)).astype(np.float32)
    grid = SpeechEmbeddingWindows(log_mel, network).grid(1500)
    for frame in (0, 700, 1499):
        alone = SpeechEmbeddingWindows(log_mel, network).around([frame / 25])[0]
        torch.testing.assert_close(grid[frame : frame + 10], alone, rtol=0, atol=1e-4)


def test_a_click_in_the_middle_of_a_frame_lies_in_the_middle_of_what_the_network_is_given():
    sample = 160 * 100 + 256 + 80  # between columns 100 and 101
    given = SpeechEmbeddingWindows.columns_around(
        embedding_mel(click(sample)), [sample / 16_000 - FRAME_CENTRE]
    )
    loudness = torch.from_numpy(given[0].mean(1))
    assert loudness.shape == (76,)
    assert set(loudness.topk(2).indices.tolist()) == {37, 38}
    torch.testing.assert_close(loudness, loudness.flip(0), rtol=0, atol=1e-3)


def test_steps_ask_for_no_gradient(log_mel: NDArray[np.float32], network: Callable[[Tensor], Tensor]):
    windows = SpeechEmbeddingWindows(log_mel, network).around([1.0])
    assert not windows.requires_grad
    assert not windows.is_inference()  # so that training may use them


def test_windows_from_the_frame_start_at_its_column_as_wav2lip_cuts_them():
    """Wav2Lip's inference.py: frame i of a video at 25 fps hears columns int(i * 80 / 25) to + 16."""
    spectrogram = np.arange(80 * 40, dtype=np.float32).reshape(80, 40) / 1000
    windows = MelWindowsFromFrame(spectrogram).around([i / 25 for i in range(5)])
    for i, window in enumerate(windows):
        first = int(i * 80 / 25)
        assert np.array_equal(window[0].numpy(), spectrogram[:, first : first + 16])
