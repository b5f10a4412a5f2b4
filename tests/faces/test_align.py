from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.faces.align import align_face, anchors, joined, seen_through, to_template
from lipsync_cli.faces.landmarks import SCHEMES
from lipsync_cli.interfaces import Image, Landmarks

TEMPLATE = np.array([[193, 240], [319, 240], [256, 314], [201, 371], [313, 371]], np.float32)


def similarity(scale: float, angle: float, shift: tuple[float, float]) -> np.ndarray:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def applied(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def smooth_picture(side: int) -> Image:
    y, x = np.mgrid[:side, :side] / side
    return np.stack(
        [127 + 100 * np.sin(6 * x), 127 + 100 * np.cos(5 * y), 127 + 90 * np.sin(4 * (x + y))], -1
    ).astype(np.uint8)


@pytest.mark.parametrize("angle", [0.0, 0.4, -1.2])
def test_a_similarity_is_found_again_exactly(angle: float) -> None:
    moved = similarity(0.4, angle, (120, -30))
    found = applied(np.linalg.inv(np.vstack([moved, [0, 0, 1]]))[:2], TEMPLATE).astype(np.float32)
    np.testing.assert_allclose(to_template(found, TEMPLATE), moved, atol=1e-3)


def test_noise_on_the_points_is_averaged_by_least_squares() -> None:
    noisy = TEMPLATE + np.random.default_rng(0).normal(0, 3, TEMPLATE.shape).astype(np.float32)
    best = to_template(noisy, TEMPLATE)
    error = np.square(applied(best, noisy) - TEMPLATE).sum()
    for change in (similarity(1.01, 0, (0, 0)), similarity(1, 0.01, (0, 0)), similarity(1, 0, (1, 0))):
        assert np.square(applied(joined(change, best), noisy) - TEMPLATE).sum() > error


def test_points_that_all_fall_together_do_not_divide_by_zero() -> None:
    assert np.isfinite(to_template(np.ones((5, 2), np.float32), TEMPLATE)).all()


def test_there_and_back_gives_the_picture_again() -> None:
    picture = smooth_picture(400)
    matrix = similarity(0.9, 0.3, (60, -40))
    aligned = align_face(picture, matrix, 512)
    again = seen_through(aligned, joined(matrix, similarity(0.5, -0.1, (150, 160))), 200)
    expected = seen_through(picture, similarity(0.5, -0.1, (150, 160)), 200)
    assert np.abs(again.astype(int) - expected).max() <= 4


def test_a_large_face_is_averaged_not_sampled() -> None:
    stripes = np.zeros((1600, 1600, 3), np.uint8)
    stripes[:, ::2] = 200
    aligned = align_face(stripes, similarity(0.25, 0, (0, 0)), 400)
    assert np.abs(aligned[20:-20, 20:-20].astype(int) - 100).max() <= 3


def test_past_the_picture_lies_the_grey_that_the_networks_know() -> None:
    aligned = align_face(smooth_picture(100), similarity(1, 0, (200, 200)), 512)
    assert aligned[10, 10].tolist() == [132, 133, 135]


@pytest.mark.parametrize("scheme", ["mesh468", "ibug68"])
def test_anchors_are_ordered_as_they_lie_in_the_picture(scheme: str) -> None:
    facts = SCHEMES[scheme]
    points = np.zeros((468 if scheme == "mesh468" else 68, 2), np.float32)
    points[list(facts.eye_left)] = (30, 40)
    points[list(facts.eye_right)] = (70, 40)
    points[facts.nose_tip] = (50, 60)
    points[list(facts.lip_corners)] = ((35, 80), (65, 80))
    found = anchors(Landmarks(points, scheme, 1.0))
    assert found.tolist() == [[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]]
