from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.dubbing.silencing import Silencer, is_closed
from lipsync_cli.faces.crop import crop_face
from lipsync_cli.faces.detector import FullRangeDetector
from lipsync_cli.faces.landmarks import MeshLandmarks, extent, opening
from lipsync_cli.faces.track import Observation, build_track, face_in_crop
from lipsync_cli.interfaces import Box, Image, Landmarks
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.regions import to_network

SIZE = 192


class Shut:
    """Sees lips together in every picture, or no face at all."""

    reach, pixels = 1.0, 192

    def __init__(self, finder: MeshLandmarks, *, sees: bool) -> None:
        self.finder, self.sees = finder, sees

    def find(self, image: Image, box: Box) -> Landmarks | None:
        found = self.finder.find(image, box)
        if found is None or not self.sees:
            return None
        points = found.points.copy()
        points[13] = points[14]
        return Landmarks(points, found.scheme, found.score)


@pytest.fixture(scope="module")
def finder(weights_folder: Path) -> MeshLandmarks:
    return MeshLandmarks(weights_folder / "face_landmark.tflite")


@pytest.fixture(scope="module")
def smile(weights_folder: Path, finder: MeshLandmarks) -> Image:
    """The crop of a portrait who smiles with open lips, as a track cuts it."""
    image = next(iter(VideoReader(weights_folder / "demo" / "portrait.jpg"))).image
    detector = FullRangeDetector(weights_folder / "face_detection_full_range.tflite")
    face = finder.find(image, detector.detect(image)[0].box)
    assert face is not None
    box = build_track([0.0], [True], [Observation.of(face)]).box(0)
    assert box is not None
    return crop_face(image, box, SIZE)


def look(finder: MeshLandmarks, crop: Image) -> float:
    rough = finder.find(crop, face_in_crop(SIZE))
    assert rough is not None
    seen = finder.find(crop, extent(rough))
    assert seen is not None
    return opening(seen)


@pytest.mark.parametrize(
    ("opening", "widest", "closed"),
    [(0.005, 0.005, True), (0.011, 0.03, True), (0.02, 0.12, True), (0.02, 0.08, False), (0.05, 0.05, False)],
)
def test_lips_are_closed_below_a_floor_or_a_fifth_of_the_widest(opening, widest, closed) -> None:
    assert is_closed(opening, widest) == closed


def test_lips_that_the_generator_left_open_are_closed(world, finder, smile) -> None:
    assert look(finder, smile) > 0.05
    generator = world.Generator(shows_reference=True, n_references=2, image_size=SIZE)
    closed = Silencer(generator, world.Speech(), finder)(np.stack([smile, smile]))
    assert generator.heard == [-1000.0]
    assert look(finder, closed) < 0.03
    assert np.array_equal(closed[: SIZE // 2 - 8], smile[: SIZE // 2 - 8])


def test_a_generator_that_opens_the_lips_further_is_not_followed(world, finder, smile) -> None:
    half_closed = Silencer(
        world.Generator(shows_reference=True, n_references=1, image_size=SIZE), world.Speech(), finder
    )(smile[None])

    class Opener(world.Generator):
        def __call__(self, speech, references, pose):
            return to_network(smile)[None]

    face = Silencer(Opener(n_references=1, image_size=SIZE), world.Speech(), finder)(half_closed[None])
    assert look(finder, face) < 0.03 < look(finder, smile)


@pytest.mark.parametrize("sees", [True, False])
def test_lips_that_are_closed_and_faces_that_landmarks_do_not_find_are_the_generators_alone(
    world, finder, smile, sees
) -> None:
    generator = world.Generator(shows_reference=True, n_references=1, image_size=SIZE)
    face = Silencer(generator, world.Speech(), Shut(finder, sees=sees))(smile[None])
    assert np.array_equal(face, smile)


def test_a_calm_face_lies_in_its_crop_where_its_track_says(world, finder, smile) -> None:
    expected, rough = face_in_crop(SIZE), finder.find(smile, face_in_crop(SIZE))
    assert rough is not None
    found = extent(rough)
    assert found.y1 == pytest.approx(expected.y1, abs=0.05 * SIZE)
    assert found.width == pytest.approx(expected.width, abs=0.1 * SIZE)
