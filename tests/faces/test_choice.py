from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.errors import WeightsError
from lipsync_cli.faces.choice import ByLikeness, ByPlace, Largest, ThenTheSame
from lipsync_cli.faces.descriptor import FaceDescriptor
from lipsync_cli.faces.detector import FullRangeDetector
from lipsync_cli.faces.landmarks import MeshLandmarks, extent
from lipsync_cli.faces.track import FaceTracker
from lipsync_cli.interfaces import Detection, Image, Landmarks
from lipsync_cli.media.reader import VideoReader

WIDTH = 300


def face(x: float, size: float) -> Landmarks:
    """Points of a square face about x."""
    turns = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    points = np.stack([x + size / 2 * np.cos(turns), 100 + size / 2 * np.sin(turns)], axis=1)
    points[36:42] = (x - size / 4, 90)
    points[42:48] = (x + size / 4, 90)
    return Landmarks(points.astype(np.float32), "ibug68", 0.9)


PICTURE: Image = np.zeros((200, WIDTH, 3), np.uint8)
FACES = [face(60, 80), face(260, 60), face(150, 40)]  # from large to small


def test_the_largest_face_is_the_first() -> None:
    assert Largest().pick(PICTURE, FACES) is FACES[0]
    assert Largest().pick(PICTURE, []) is None


@pytest.mark.parametrize(
    ("place", "picked"), [("left", 0), ("right", 1), ("centre", 2), (0, 0), (1, 2), (2, 1), (3, None)]
)
def test_a_face_by_its_place(place, picked) -> None:
    found = ByPlace(place).pick(PICTURE, FACES)
    assert found is (None if picked is None else FACES[picked])


def test_no_place_has_a_face_where_there_is_none() -> None:
    assert ByPlace("centre").pick(PICTURE, []) is None


@pytest.fixture(scope="module")
def portrait(weights_folder) -> Image:
    return next(iter(VideoReader(weights_folder / "demo" / "portrait.jpg"))).image


@pytest.fixture(scope="module")
def tools(weights_folder):
    return (
        FullRangeDetector(weights_folder / "face_detection_full_range.tflite"),
        MeshLandmarks(weights_folder / "face_landmark.tflite"),
    )


@pytest.fixture(scope="module")
def descriptor(weights_folder) -> FaceDescriptor:
    return FaceDescriptor(weights_folder / "face_mean.safetensors")


def two_people(portrait: Image) -> Image:
    """The portrait beside somebody else: the same face, mirrored, of other proportions and light."""
    other = np.ascontiguousarray(portrait[:, ::-1])
    other = (255 * (other / 255.0) ** 1.8).astype(np.uint8)
    return np.concatenate([portrait, other], axis=1)


def test_a_face_is_like_itself_moved_and_resized(portrait, tools, descriptor) -> None:
    landmarks, _ = FaceTracker(*tools).observe(portrait)
    smaller = np.ascontiguousarray(portrait[::2, ::2])
    again, _ = FaceTracker(*tools).observe(smaller)
    assert landmarks is not None
    assert again is not None
    alike = descriptor.describe(portrait, landmarks) @ descriptor.describe(smaller, again)
    assert alike > 0.8


def test_the_person_of_a_picture_is_found_and_nobody_else_is_taken(portrait, tools, descriptor) -> None:
    landmarks, _ = FaceTracker(*tools).observe(portrait)
    assert landmarks is not None
    wanted = descriptor.describe(portrait, landmarks)
    both = two_people(portrait)
    found, _ = FaceTracker(*tools, ByLikeness(wanted, descriptor)).observe(both)
    assert found is not None
    assert extent(found).centre[0] < portrait.shape[1]
    stranger = ByLikeness(-wanted, descriptor)
    assert FaceTracker(*tools, stranger).observe(both) == (None, True)


def test_a_face_taken_by_its_place_is_followed_when_places_change(portrait, tools, descriptor) -> None:
    both = two_people(portrait)
    width = portrait.shape[1]
    tracker = FaceTracker(*tools, ThenTheSame(ByPlace("right"), descriptor))
    first, _ = tracker.observe(both)
    swapped = np.concatenate([both[:, width:], both[:, :width]], axis=1)
    second, starts_shot = tracker.observe(swapped)
    assert first is not None
    assert second is not None
    assert starts_shot
    assert extent(first).centre[0] > width
    assert extent(second).centre[0] < width


def test_two_finds_of_one_face_are_one(portrait, tools) -> None:
    """A finder that is sent to a neighbour may slide back: number 1 of one face does not exist."""

    class Twice:
        def detect(self, image: Image) -> list[Detection]:
            found = tools[0].detect(image)
            return [*found, *found]

    assert FaceTracker(Twice(), tools[1], ByPlace(1)).observe(portrait)[0] is None


def test_a_damaged_mean_is_an_error(tmp_path) -> None:
    (tmp_path / "face_mean.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="face_mean"):
        FaceDescriptor(tmp_path / "face_mean.safetensors")
