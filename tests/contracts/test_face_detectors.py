"""What every `FaceDetector` and `LandmarkFinder` promises, whatever network is behind it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from lipsync_cli.errors import LipsyncError
from lipsync_cli.faces.detector import FullRangeDetector
from lipsync_cli.faces.fan import FanFaces
from lipsync_cli.faces.landmarks import (
    SCHEMES,
    MeshLandmarks,
    extent,
    face_height,
    opening,
    outline,
    roll,
    yaw,
)
from lipsync_cli.interfaces import Box, FaceDetector, Image, LandmarkFinder
from lipsync_cli.media.reader import VideoReader

Faces = tuple[FaceDetector, LandmarkFinder]


def mediapipe(weights: Path) -> Faces:
    return (
        FullRangeDetector(weights / "face_detection_full_range.tflite"),
        MeshLandmarks(weights / "face_landmark.tflite"),
    )


def fan(weights: Path) -> Faces:
    try:
        faces = FanFaces()
    except LipsyncError as error:
        pytest.skip(f"needs the package face-alignment and its files: {error}")
    return faces, faces


@pytest.fixture(scope="module", params=[mediapipe, fan])
def faces(request: pytest.FixtureRequest, weights_folder: Path) -> Faces:
    build: Callable[[Path], Faces] = request.param
    return build(weights_folder)


@pytest.fixture(scope="module")
def portrait(weights_folder: Path) -> Image:
    """512 x 512; the face is at about (224, 130), 95 pixels wide; it smiles with open lips."""
    return next(iter(VideoReader(weights_folder / "demo" / "portrait.jpg"))).image


def turned(image: Image, degrees: float) -> Image:
    middle = tuple((side - 1) / 2 for side in image.shape[1::-1])
    matrix = cv2.getRotationMatrix2D(middle, -degrees, 1)
    return cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


def test_the_face_is_found_where_it_is(faces: Faces, portrait: Image) -> None:
    detector, finder = faces
    first = detector.detect(portrait)[0]
    assert 0.5 < first.score <= 1
    assert np.allclose(first.box.centre, (224, 125), atol=25)
    assert 70 < first.box.width < 150
    landmarks = finder.find(portrait, first.box)
    assert landmarks is not None
    assert landmarks.scheme in SCHEMES
    assert landmarks.score > 0.5
    assert landmarks.points.dtype == np.float32
    assert np.allclose(extent(landmarks).centre, (224, 130), atol=15)


def test_a_picture_without_a_face_has_none(faces: Faces) -> None:
    rows, columns = np.mgrid[:240, :320]
    picture = np.stack([rows, columns * 0.7, rows * 0.5 + 60], axis=2).astype(np.uint8)
    assert faces[0].detect(picture) == []


def test_the_facts_read_from_the_points_are_those_of_the_picture(faces: Faces, portrait: Image) -> None:
    detector, finder = faces
    landmarks = finder.find(portrait, detector.detect(portrait)[0].box)
    assert landmarks is not None
    assert 90 < face_height(landmarks) < 140
    assert 0.04 < opening(landmarks) < 0.12
    assert abs(yaw(landmarks)) < 15
    assert abs(math.degrees(roll(landmarks))) < 8
    ring = outline(landmarks)
    middle = np.array(extent(landmarks).centre)
    assert cv2.pointPolygonTest(ring[:, None], tuple(map(float, middle)), measureDist=False) > 0


@pytest.mark.parametrize("degrees", [-20, 20])
def test_points_turn_with_the_picture(faces: Faces, portrait: Image, degrees: float) -> None:
    detector, finder = faces
    image = turned(portrait, degrees)
    straight = finder.find(portrait, detector.detect(portrait)[0].box)
    tilted = finder.find(image, detector.detect(image)[0].box)
    assert straight is not None
    assert tilted is not None
    assert math.degrees(roll(tilted) - roll(straight)) == pytest.approx(degrees, abs=4)
    assert opening(tilted) == pytest.approx(opening(straight), abs=0.02)


def test_a_second_look_from_the_points_found_changes_little(faces: Faces, portrait: Image) -> None:
    detector, finder = faces
    first = finder.find(portrait, detector.detect(portrait)[0].box)
    assert first is not None
    second = finder.find(portrait, extent(first))
    assert second is not None
    assert np.abs(first.points - second.points).mean() < 0.04 * face_height(first)


def test_a_box_without_a_size_has_no_points(faces: Faces, portrait: Image) -> None:
    assert faces[1].find(portrait, Box(200, 100, 200, 100)) is None
