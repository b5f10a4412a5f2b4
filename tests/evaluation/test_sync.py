from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lipsync_cli.errors import DataError
from lipsync_cli.evaluation.sync import at_25_fps, is_silent, sync_curve


def _picture(value: int) -> np.ndarray:
    return np.full((4, 8, 3), value, np.uint8)


def _indices(times: list[float]) -> list[int]:
    pictures = at_25_fps((time, _picture(index)) for index, time in enumerate(times))
    return [int(picture[0, 0, 0]) for _, _, picture in pictures if picture is not None]


def test_a_video_of_25_fps_stays_as_it_is() -> None:
    assert _indices([index / 25 for index in range(60)]) == list(range(60))


def test_fast_videos_are_thinned_and_slow_ones_repeated_by_time() -> None:
    assert _indices([index / 50 for index in range(9)]) == [0, 2, 4, 6, 8]
    assert _indices([index / 12.5 for index in range(3)]) in ([0, 0, 1, 1, 2], [0, 1, 1, 2, 2])


@pytest.mark.parametrize("rate", [23.976, 29.97, 60.0, 10.0])
def test_no_picture_is_further_from_its_time_than_half_a_frame(rate: float) -> None:
    times = [0.3 + index / rate for index in range(200)]
    for index, time, picture in at_25_fps((t, _picture(i)) for i, t in enumerate(times)):
        assert picture is not None
        assert time == pytest.approx(0.3 + index / 25)
        assert abs(times[int(picture[0, 0, 0])] - time) <= 0.5 / rate + 1e-9 or rate < 25


def test_frames_without_lips_stay_gaps() -> None:
    seen = list(at_25_fps([(0.0, _picture(0)), (0.04, None), (0.08, _picture(2))]))
    assert [picture is None for _, _, picture in seen] == [False, True, False]


def test_an_empty_video_has_no_pictures() -> None:
    assert list(at_25_fps([])) == []


class Counting:
    """Lips and sounds carry their time; the score is highest where the sound is `late` frames later."""

    lips_size = (4, 8)

    def __init__(self, late: int) -> None:
        self.late = late

    def __call__(self, lips: Tensor, mel: Tensor) -> Tensor:
        frame = (lips[:, 0].mean(dim=(1, 2, 3)) * 255).round()
        return -(mel[:, 0, 0, 0] - frame - self.late).abs()


def _mel(times: list[float]) -> Tensor:
    return torch.tensor([round(time * 25) for time in times], dtype=torch.float32).reshape(-1, 1, 1, 1)


def _lips(n: int, gap: range = range(0)) -> list[tuple[float, Any]]:
    return [(index / 25, None if index in gap else _picture(index)) for index in range(n)]


@pytest.mark.parametrize("late", [-15, -2, 0, 7, 15])
def test_the_offset_is_found_whatever_the_batches(late: int) -> None:
    curve = sync_curve(_lips(100), _mel, 4.0, Counting(late))
    assert curve.best.frames == late
    assert curve.best.score == 0.0
    assert curve.n_windows == 96
    assert curve.at_zero == -abs(late)


def test_each_window_of_sound_is_made_once() -> None:
    asked: list[float] = []

    def mel(times: list[float]) -> Tensor:
        asked.extend(times)
        return _mel(times)

    assert sync_curve(_lips(100), mel, 4.0, Counting(4)).best.frames == 4
    assert len(asked) == len(set(asked)) == 96 + 30


def test_windows_over_a_gap_are_not_scored_and_the_rest_keeps_its_times() -> None:
    curve = sync_curve(_lips(100, gap=range(40, 50)), _mel, 4.0, Counting(3))
    assert curve.best.frames == 3
    assert curve.best.score == 0.0
    assert curve.n_windows == 36 + 46


def test_sound_past_either_end_is_not_scored() -> None:
    asked: list[float] = []

    def mel(times: list[float]) -> Tensor:
        asked.extend(times)
        return _mel(times)

    class AtTheEdge(Counting):
        def __call__(self, lips: Tensor, sound: Tensor) -> Tensor:
            outside = (sound[:, 0, 0, 0] < 0) | (sound[:, 0, 0, 0] > 95)
            return torch.where(outside, 100.0, super().__call__(lips, sound))

    curve = sync_curve(_lips(100), mel, 4.0, AtTheEdge(0))
    assert min(asked) < 0
    assert curve.best.frames == 0
    assert curve.best.score == 0.0


def test_too_few_windows_and_too_little_sound_are_data_errors() -> None:
    with pytest.raises(DataError, match="only 10 windows"):
        sync_curve(_lips(14), _mel, 1.0, Counting(0))
    with pytest.raises(DataError, match="too short"):
        sync_curve(_lips(100), _mel, 0.5, Counting(0))


def test_seconds_follow_the_drift_of_the_sound() -> None:
    class Drifting(Counting):
        def __call__(self, lips: Tensor, mel: Tensor) -> Tensor:
            frame = (lips[:, 0].mean(dim=(1, 2, 3)) * 255).round()
            return -(mel[:, 0, 0, 0] - frame - torch.where(frame < 50, 0, 6)).abs()

    curve = sync_curve(_lips(200), _mel, 8.0, Drifting(0))
    assert [second.offset for second in curve.seconds] == [0, 0, 6, 6, 6, 6, 6, 6]


def test_silence_is_below_60_db_everywhere() -> None:
    quiet = np.full(16000, 0.0005, np.float32)
    click = quiet.copy()
    click[8000:8800] = 0.05
    assert is_silent(quiet, 16000)
    assert is_silent(np.zeros(0, np.float32), 16000)
    assert not is_silent(click, 16000)
