from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.faces.closing import close_lips
from lipsync_cli.interfaces import Image, Landmarks

SIZE, NOSE, CHIN, LEFT, RIGHT = 100, 40.0, 90.0, 30.0, 70.0


def mouth(gap: float, *, middle: float = 62.0, lip: float = 6.0) -> Landmarks:
    """A mouth of 68 points: inner lips `gap` pixels apart in the middle, lips `lip` pixels thick."""
    points = np.full((68, 2), 50, np.float32)
    points[8], points[[31, 33, 35]] = (50, CHIN), (50, NOSE)
    points[27, 1] = 20
    height = np.array([0, 0.8, 1, 0.8, 0, -0.8, -1, -0.8])
    across = np.array([0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25])
    points[60:68] = np.stack([LEFT + across * (RIGHT - LEFT), middle - height * gap / 2], axis=1)
    turns = np.pi - np.arange(12) * np.pi / 6  # from the left corner over the top
    points[48:60, 0] = (LEFT + RIGHT) / 2 + (RIGHT - LEFT) / 2 * np.cos(turns)
    points[48:60, 1] = middle - np.sin(turns) * (gap / 2 + lip)
    return Landmarks(points, "ibug68", 1.0)


def painted(landmarks: Landmarks) -> Image:
    """Dark skin with a level for each row, and white teeth between the lips."""
    rows = np.arange(SIZE, dtype=np.uint8)[:, None]
    image = np.broadcast_to(rows[..., None], (SIZE, SIZE, 3)).copy()
    ring = landmarks.points[60:68]
    upper = np.interp(np.arange(SIZE), ring[:5, 0], ring[:5, 1])
    lower = np.interp(np.arange(SIZE), ring[[0, 7, 6, 5, 4], 0], ring[[0, 7, 6, 5, 4], 1])
    image[(rows > upper) & (rows < lower)] = 255
    return image


@pytest.mark.parametrize("gap", [3.0, 8.0, 14.0])
def test_nothing_is_left_of_what_lay_between_the_lips(gap) -> None:
    landmarks = mouth(gap)
    image = painted(landmarks)
    assert (image == 255).sum() > 100
    assert close_lips(image, landmarks)[:, int(LEFT) + 6 : int(RIGHT) - 6].max() < 130


def test_only_the_mouth_between_nose_and_chin_is_moved() -> None:
    landmarks = mouth(8.0)
    image = painted(landmarks)
    closed = close_lips(image, landmarks)
    changed = (image != closed).any(axis=-1)
    assert changed.any()
    rows, columns = np.nonzero(changed)
    assert rows.min() > NOSE
    assert rows.max() < CHIN
    assert columns.min() > LEFT
    assert columns.max() < RIGHT


def test_the_lower_lip_goes_further_than_the_upper() -> None:
    landmarks = mouth(8.0)
    closed = close_lips(painted(landmarks), landmarks)[:, 50, 0].astype(int)
    seam = int(np.argmax(np.diff(closed)))  # where the levels jump from the upper lip's to the lower one's
    assert 58 < seam < 62  # upper inner edge at 58, lower at 66: nearer to the upper


@pytest.mark.parametrize("gap", [3.0, 14.0, 40.0])
def test_skin_is_squeezed_and_never_folds(gap) -> None:
    landmarks = mouth(gap, middle=65.0)
    rows = np.arange(SIZE, dtype=np.uint8)[:, None, None]
    closed = close_lips(np.broadcast_to(rows, (SIZE, SIZE, 3)).copy(), landmarks)
    assert np.diff(closed[..., 0].astype(int), axis=0).min() >= 0


def test_closed_lips_stay_as_they_are() -> None:
    landmarks = mouth(0.0)
    image = painted(landmarks)
    assert np.array_equal(close_lips(image, landmarks), image)
