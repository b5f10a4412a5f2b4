from __future__ import annotations

import numpy as np

from lipsync_cli.evaluation.pairing import pair_frames
from lipsync_cli.interfaces import Frame

PICTURE = np.zeros((2, 2, 3), np.uint8)


def _frames(*times: float) -> list[Frame]:
    return [Frame(index, time, PICTURE) for index, time in enumerate(times)]


def _pairs(
    real: list[Frame], generated: list[Frame], tolerance: float = 0.02
) -> list[tuple[int | None, int]]:
    pairs = pair_frames(iter(real), iter(generated), tolerance=tolerance)
    return [(None if a is None else a.index, b.index) for a, b in pairs]


def test_equal_times_pair_up() -> None:
    frames = _frames(0, 0.04, 0.08)
    assert _pairs(frames, frames) == [(0, 0), (1, 1), (2, 2)]


def test_each_generated_frame_gets_the_nearest_real_one() -> None:
    assert _pairs(_frames(0, 0.04, 0.08), _frames(0.01, 0.03, 0.05, 0.09)) == [(0, 0), (1, 1), (1, 2), (2, 3)]


def test_of_two_equally_near_the_earlier_one() -> None:
    assert _pairs(_frames(0, 0.5), _frames(0.25), tolerance=0.25) == [(0, 0)]


def test_frames_before_the_real_start_after_its_end_and_in_holes_have_no_partner() -> None:
    real = _frames(0.2, 0.24, 0.4)
    assert _pairs(real, _frames(0.1, 0.2, 0.32, 0.41, 0.6)) == [
        (None, 0),
        (0, 1),
        (None, 2),
        (2, 3),
        (None, 4),
    ]


def test_a_real_frame_may_serve_twice_and_others_be_passed_over() -> None:
    assert _pairs(_frames(0, 0.02, 0.04, 0.06), _frames(0, 0.04)) == [(0, 0), (2, 1)]
    assert _pairs(_frames(0, 0.04), _frames(0, 0.02, 0.04)) == [(0, 0), (0, 1), (1, 2)]


def test_an_empty_real_video_pairs_with_nothing() -> None:
    assert _pairs([], _frames(0, 0.04)) == [(None, 0), (None, 1)]


def test_only_as_many_real_frames_are_read_as_are_needed() -> None:
    read: list[int] = []

    def real() -> object:
        for frame in _frames(*(index / 25 for index in range(100))):
            read.append(frame.index)
            yield frame

    assert len(list(pair_frames(real(), _frames(0, 0.04), tolerance=0.02))) == 2
    assert len(read) <= 4
