from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.errors import WeightsError
from lipsync_cli.faces.recognition import SFace

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    np.float32,
)


def test_the_face_is_turned_to_the_square_of_the_network_by_hand(mean_colour: Path) -> None:
    """The network answers with mean colours: here where in the picture its square lies."""
    rows, columns = np.mgrid[0:250, 0:250]
    picture = np.stack([columns, rows, np.full((250, 250), 60)], axis=-1).astype(np.uint8)
    anchors = 2 * TEMPLATE + np.array([8, 20], np.float32)  # the square is twice as large, at (8, 20)
    features = SFace(mean_colour).features(picture, anchors)
    means = np.array([2 * 55.5 + 8, 2 * 55.5 + 20, 60])  # 55.5: the middle of 112 pixels; RGB in this order
    assert features == pytest.approx(means / np.linalg.norm(means), abs=2e-3)


def test_features_of_a_turned_face_are_those_of_the_upright_one(mean_colour: Path) -> None:
    random = np.random.default_rng(0)
    picture = np.kron(random.uniform(0, 255, (10, 10, 3)), np.ones((25, 25, 1))).astype(np.uint8)
    anchors = TEMPLATE + 60
    turned = np.rot90(picture).copy()  # (x, y) goes to (y, 249 - x)
    anchors_there = np.stack([anchors[:, 1], 249 - anchors[:, 0]], axis=1)
    network = SFace(mean_colour)
    assert network.features(turned, anchors_there) == pytest.approx(
        network.features(picture, anchors), abs=1e-3
    )


def test_a_file_that_is_no_network_of_faces_is_told(tmp_path: Path) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("no network")
    for file in (text, tmp_path / "absent.onnx"):
        with pytest.raises(WeightsError, match=f"{file.name}.*face_recognition_sface_2021dec"):
            SFace(file)
