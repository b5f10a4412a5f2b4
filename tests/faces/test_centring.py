from __future__ import annotations

import math

import numpy as np
import pytest

from lipsync_cli.faces.centring import centred_on_features
from lipsync_cli.faces.track import FaceTrack


def track(features: list[tuple[float, float]], *, angle: float = 0.0) -> FaceTrack:
    """Boxes from (100, 200) to (180, 300): middle (140, 250). features: the middle of eyes and nose."""
    n = len(features)
    anchors = np.zeros((n, 5, 2), np.float32)
    anchors[:, :3] = np.asarray(features)[:, None] + [[-20, -10], [20, -10], [0, 20]]
    anchors[:, 3:] = 1000  # corners of the mouth, which count for nothing
    return FaceTrack(
        times=np.arange(n) / 25,
        boxes=np.tile(np.array([100, 200, 180, 300, angle], np.float32), (n, 1)),
        present=np.ones(n, bool),
        openings=np.zeros(n, np.float32),
        yaws=np.zeros(n, np.float32),
        outlines=np.zeros((n, 4, 2), np.float32),
        shot_starts=np.arange(n) == 0,
        anchors=anchors,
    )


def test_boxes_follow_the_features_sideways_only() -> None:
    centred = centred_on_features(track([(140, 250), (152, 250), (130, 220)]))
    assert centred.boxes.tolist() == [
        [100, 200, 180, 300, 0],
        [112, 200, 192, 300, 0],
        [90, 200, 170, 300, 0],
    ]
    assert centred.boxes.dtype == np.float32


def test_a_tilted_box_moves_along_its_own_width() -> None:
    angle = math.radians(30)
    along = np.array([math.cos(angle), math.sin(angle)])
    down = np.array([-along[1], along[0]])
    features = np.array([140, 250]) + 9 * along + 25 * down
    moved = centred_on_features(track([tuple(features)], angle=angle)).boxes[0]
    shift = 9 * along
    assert moved[:4] == pytest.approx(
        [100 + shift[0], 200 + shift[1], 180 + shift[0], 300 + shift[1]], abs=1e-4
    )
    assert moved[4] == pytest.approx(angle)


def test_frames_without_a_face_stay_empty_and_the_track_that_was_asked_stays() -> None:
    given = track([(152, 250), (152, 250)])
    given.present[1], given.boxes[1], given.anchors[1] = False, 0, 0
    centred = centred_on_features(given)
    assert centred.boxes[1].tolist() == [0, 0, 0, 0, 0]
    assert given.boxes[0].tolist() == [100, 200, 180, 300, 0]


def test_a_shot_without_any_face_has_nothing_to_move() -> None:
    nobody = track([(140, 250)])
    nobody.present[:], nobody.boxes[:], nobody.anchors[:] = False, 0, 0
    assert not centred_on_features(nobody).boxes.any()
