"""What is looked at of a picture: places in it and in its reduced surroundings are the same places."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lipsync_cli.interfaces import Box, Landmarks
from lipsync_cli.pictures import averaged, surroundings


def test_averaged_are_means_of_whole_blocks() -> None:
    image = np.arange(7 * 9 * 3, dtype=np.uint8).reshape(7, 9, 3)
    small = averaged(image, 2)
    assert small.shape == (3, 4, 3)
    assert small.dtype == np.uint8
    np.testing.assert_array_equal(small[1, 2], np.rint(image[2:4, 4:6].reshape(-1, 3).mean(axis=0)))
    fine = np.array([[1000, 1002], [1004, 1006]], np.uint16)
    np.testing.assert_array_equal(averaged(fine, 2), [[1003]])
    assert averaged(image, 8).shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("side", "step"), [(100, 1), (239, 1), (241, 2), (479, 2), (481, 4), (959, 4), (961, 8), (3000, 8)]
)
def test_a_picture_is_reduced_as_far_as_leaves_what_is_wanted(side: int, step: int) -> None:
    box = Box(10, 10, 10 + side, 30)
    near = surroundings(np.zeros((40, 60, 3), np.uint8), box, 1.25, 240)
    assert near.step == step  # 2.5 * 96 * 2.5 = 2 * 1.25 * 240 pixels


@pytest.mark.parametrize("angle", [0.0, 0.7])
@pytest.mark.parametrize("pixels", [10_000, 90, 40])
def test_places_in_the_surroundings_are_those_of_the_picture(angle: float, pixels: int) -> None:
    height, width, place = 600, 800, np.array([430.5, 290.5])
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    spot = np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * 20**2)) * 250
    picture = np.repeat(spot[..., None].astype(np.uint8), 3, axis=2)
    box = Box(330, 200, 530, 380, angle)
    near = surroundings(picture, box, 0.6, pixels)
    assert near.step == {10_000: 1, 90: 2, 40: 4}[pixels]
    assert (near.step == 1) == (near.image is picture)
    moments = cv2.moments(near.image[..., 0])
    found = np.array([[moments["m10"], moments["m01"]]], np.float32) / moments["m00"]
    np.testing.assert_allclose(near.points(place[None].astype(np.float32)), found, atol=0.05)
    in_picture = near.in_picture(Landmarks(found, "mesh468", 0.9))
    np.testing.assert_allclose(in_picture.points, place[None], atol=0.1)
    assert in_picture.score == 0.9
    inside = near.box(box)
    np.testing.assert_allclose(inside.centre, near.points(np.array([box.centre], np.float32))[0], rtol=1e-6)
    assert inside.width == pytest.approx(box.width / near.step)
    assert inside.angle == angle


def test_surroundings_past_the_edge_are_what_is_there() -> None:
    picture = np.full((200, 300, 3), 9, np.uint8)
    near = surroundings(picture, Box(250, 150, 450, 390), 0.75, 60)
    assert near.step == 4
    assert near.image.shape[0] >= 1
    assert near.x + near.image.shape[1] * near.step <= 300
    assert near.y + near.image.shape[0] * near.step <= 200
    assert (near.image == 9).all()
