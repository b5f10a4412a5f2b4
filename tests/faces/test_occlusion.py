from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from lipsync_cli.faces.detector import FullRangeDetector
from lipsync_cli.faces.landmarks import MeshLandmarks, extent
from lipsync_cli.faces.occlusion import STRANGE, USUAL_AGAIN, mouth_look, occluded, strangeness
from lipsync_cli.faces.track import Observation, build_track
from lipsync_cli.interfaces import Image, Landmarks
from lipsync_cli.media.reader import VideoReader

N = 60


@pytest.fixture(scope="module")
def portrait(weights_folder: Path) -> tuple[Image, Landmarks]:
    image = next(iter(VideoReader(weights_folder / "demo" / "portrait.jpg"))).image
    detector = FullRangeDetector(weights_folder / "face_detection_full_range.tflite")
    finder = MeshLandmarks(weights_folder / "face_landmark.tflite")
    face = finder.find(image, detector.detect(image)[0].box)
    assert face is not None
    return image, face


def with_microphone(image: Image, face: Landmarks) -> Image:
    hidden = image.copy()
    (x, y), size = extent(face).centre, extent(face).width
    place = round(x), round(y + 0.3 * size)
    cv2.circle(hidden, place, round(0.18 * size), (40, 40, 45), cv2.FILLED, cv2.LINE_AA)
    return hidden


def noisy_looks(portrait: tuple[Image, Landmarks], covered: range = range(0)) -> np.ndarray:
    """Looks at a mouth, covered in some frames, while the light changes and the picture has noise."""
    image, face = portrait
    hidden = with_microphone(image, face)
    rng = np.random.default_rng(0)
    looks = []
    for index in range(N):
        light = 1 - 0.3 * index / N
        picture = (hidden if index in covered else image) * light + rng.normal(0, 3, image.shape)
        looks.append(mouth_look(np.clip(picture, 0, 255).astype(np.uint8), face))
    return np.stack(looks)


def test_a_microphone_before_the_mouth_is_found_while_it_is_there(portrait) -> None:
    found = occluded(strangeness(noisy_looks(portrait, range(20, 35)), np.zeros(N, np.float32)))
    assert found[22:33].all()
    assert not found[:18].any()
    assert not found[37:].any()


def test_changing_light_is_no_thing(portrait) -> None:
    assert strangeness(noisy_looks(portrait), np.zeros(N, np.float32)).max() < 1


def test_lips_that_move_are_no_thing() -> None:
    looks = np.zeros((N, 40, 3), np.float32)
    looks[:, 10:16] = 0.8 * np.sin(np.arange(N))[:, None, None]
    assert strangeness(looks, np.zeros(N, np.float32)).max() < USUAL_AGAIN


def test_a_head_that_is_turned_is_not_judged(portrait) -> None:
    yaws = np.zeros(N, np.float32)
    yaws[20:35] = 15
    assert strangeness(noisy_looks(portrait, range(20, 35)), yaws)[20:35].max() == 0


def test_a_short_glimpse_of_a_face_tells_nothing_unusual() -> None:
    looks = np.random.default_rng(0).normal(0, 5, (10, 40, 3)).astype(np.float32)
    assert strangeness(looks, np.zeros(10, np.float32)).tolist() == [0] * 10


def test_a_thing_stays_until_it_is_clearly_gone_and_came_before_it_was_sure() -> None:
    middle = (STRANGE + USUAL_AGAIN) / 2
    strange = np.array([0, middle, STRANGE, middle, middle, 0, middle, 0], np.float32)
    assert occluded(strange).tolist() == [False, True, True, True, True, False, False, False]


def test_a_track_knows_how_strange_its_mouth_looks(portrait) -> None:
    image, face = portrait
    hidden = with_microphone(image, face)
    faces = [Observation.of(face, hidden if 30 <= index < 40 else image) for index in range(N)]
    strange = build_track(range(N), [index == 0 for index in range(N)], faces).strange
    assert strange[32:38].min() > STRANGE
    assert strange[:25].max() == 0
    unseen = build_track(range(N), [index == 0 for index in range(N)], [Observation.of(face)] * N)
    assert not unseen.strange.any()
