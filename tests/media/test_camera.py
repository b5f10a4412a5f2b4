from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.interfaces import Box
from lipsync_cli.media.camera import CameraMove

ROWS, COLUMNS = np.mgrid[:120, :160]
PICTURE = np.stack([COLUMNS, ROWS, np.full_like(ROWS, 99)], axis=2).astype(np.uint8)


def film(first: Box, last: Box, n_frames: int = 30, size: tuple[int, int] = (40, 30)) -> CameraMove:
    return CameraMove(
        PICTURE, path=Path("p.jpg"), first=first, last=last, size=size, n_frames=n_frames, rate=Fraction(25)
    )


def test_a_window_of_the_frames_own_size_shows_the_pictures_own_pixels() -> None:
    (frame,) = film(Box(20, 10, 60, 40), Box(0, 0, 1, 1), n_frames=1)
    assert np.array_equal(frame.image, PICTURE[10:40, 20:60])


def test_the_view_goes_from_the_first_window_to_the_last_slowly_at_both_ends() -> None:
    frames = list(film(Box(0, 0, 40, 30), Box(100, 60, 140, 90)))
    x = np.array([frame.image[15, 20, 0] for frame in frames], float)
    assert (x[0], x[-1]) == (20, 120)
    steps = np.diff(x)
    assert (steps >= 0).all()
    assert steps[[0, -1]].max() <= 1 < steps[len(steps) // 2]


def test_a_smaller_window_is_enlarged() -> None:
    (frame,) = film(Box(50, 50, 70, 65), Box(0, 0, 1, 1), n_frames=1)
    assert frame.image[0, 0, 0] == pytest.approx(50, abs=1)
    assert frame.image[-1, -1, 0] == pytest.approx(69, abs=1)


def test_it_is_a_stream_that_can_be_read_again() -> None:
    move = film(Box(0, 0, 40, 30), Box(10, 0, 50, 30), n_frames=5)
    first, second = list(move), list(move)
    assert [frame.time for frame in first] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, second, strict=True))
    assert (move.info.n_frames, move.info.duration) == (5, 0.2)
