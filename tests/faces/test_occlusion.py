from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from lipsync_cli.faces.detector import FullRangeDetector
from lipsync_cli.faces.landmarks import MeshLandmarks, extent, lips, opening
from lipsync_cli.faces.occlusion import STRANGE, USUAL_AGAIN, mouth_look, occluded, strangeness
from lipsync_cli.faces.track import Observation, build_track
from lipsync_cli.interfaces import Image, Landmarks
from lipsync_cli.media.reader import VideoReader

N = 60


@pytest.fixture(scope="module")
def finder(weights_folder: Path) -> MeshLandmarks:
    return MeshLandmarks(weights_folder / "face_landmark.tflite")


@pytest.fixture(scope="module")
def portrait(weights_folder: Path, finder: MeshLandmarks) -> tuple[Image, Landmarks]:
    image = next(iter(VideoReader(weights_folder / "demo" / "portrait.jpg"))).image
    detector = FullRangeDetector(weights_folder / "face_detection_full_range.tflite")
    face = finder.find(image, detector.detect(image)[0].box)
    assert face is not None
    return image, face


def with_microphone(image: Image, face: Landmarks) -> Image:
    hidden = image.copy()
    (x, y), size = extent(face).centre, extent(face).width
    place = round(x), round(y + 0.3 * size)
    cv2.circle(hidden, place, round(0.18 * size), (40, 40, 45), cv2.FILLED, cv2.LINE_AA)
    return hidden


def with_fingers(image: Image, face: Landmarks) -> Image:
    """Three fingers of the cheeks' colour reach up over the mouth."""
    hidden = image.copy()
    (x, y), size = extent(face).centre, extent(face).width
    cheek = image[round(y + 0.1 * size), round(x - 0.25 * size)].astype(float)
    for finger, light in ((-1.5, 0.97), (-0.5, 0.93), (0.5, 1.03), (1.5, 0.98)):
        at = round(x + 0.12 * size * finger)
        for share, shade in ((0.12, 0.78), (0.08, 0.92), (0.04, 1.0)):
            start, end, colour = (at, round(y + 0.2 * size)), (at, round(y + size)), cheek * light * shade
            cv2.line(hidden, start, end, colour.tolist(), round(share * size), cv2.LINE_AA)
    return hidden


def speaking(image: Image, face: Landmarks, opening: float) -> Image:
    """The lower lip and the chin drawn down by so many face widths."""
    (x, y), size = lips(face).mean(axis=0), extent(face).width
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    below = np.clip((rows - y) / (0.05 * size), 0, 1) * np.clip(3 - (rows - y) / (0.2 * size), 0, 1)
    near = np.exp(-np.square((columns - x) / (0.3 * size)))
    above = (rows - opening * size * below * near).astype(np.float32)
    return cv2.remap(image, columns, above, cv2.INTER_LINEAR).astype(np.uint8)


def watched(
    portrait: tuple[Image, Landmarks],
    finder: MeshLandmarks,
    *,
    hide: Callable[[Image, Landmarks], Image] = lambda image, face: image,
    covered: range = range(0),
    speech: range = range(N),
) -> np.ndarray:
    """How strange a mouth looks that speaks, covered in some frames, while light and noise change."""
    image, face = portrait
    rng = np.random.default_rng(0)
    looks, openings = [], []
    for index in range(N):
        wide = 0.04 * (1 + math.sin(0.9 * index)) if index in speech else 0.0
        picture = speaking(image, face, wide)
        picture = hide(picture, face) if index in covered else picture
        light = 1 - 0.3 * index / N
        picture = np.clip(picture * light + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)
        found = finder.find(picture, extent(face))
        assert found is not None
        looks.append(mouth_look(picture, found))
        openings.append(opening(found))
    return strangeness(np.stack(looks), np.zeros(N, np.float32), np.array(openings, np.float32))


@pytest.mark.parametrize("hide", [with_microphone, with_fingers])
def test_a_thing_before_the_mouth_is_found_while_it_is_there(portrait, finder, hide) -> None:
    found = occluded(watched(portrait, finder, hide=hide, covered=range(20, 35)))
    assert found[22:33].all()
    assert not found[:18].any()
    assert not found[37:].any()


def test_changing_light_is_no_thing(portrait, finder) -> None:
    assert watched(portrait, finder, speech=range(0)).max() < 1


@pytest.mark.parametrize("speech", [range(N), range(40, N)])
def test_speech_and_changing_light_are_no_thing(portrait, finder, speech) -> None:
    assert watched(portrait, finder, speech=speech).max() < USUAL_AGAIN


def test_lips_look_alike_by_fewer_points(portrait) -> None:
    image, face = portrait
    points = face.points[np.arange(68)]  # that ask for nothing but the extent
    for places, mesh in ((range(36, 42), 33), (range(42, 48), 263), ([30], 1)):
        points[list(places)] = face.points[mesh]
    ring = lips(face)
    points[48:60], points[60:68] = ring[np.arange(12) * 20 // 12], ring[20 + np.arange(8) * 20 // 8]
    few = mouth_look(image, Landmarks(points, "ibug68", 1.0))[40:]
    assert few.shape == (12, 3)
    many = mouth_look(image, face)[40:].astype(np.float32)
    np.testing.assert_allclose(few.astype(np.float32), many[np.arange(12) * 20 // 12], atol=0.1)
    assert np.ptp(many) > 0.4


def looks_of_lips(unlike: np.ndarray) -> np.ndarray:
    """Looks of a face in which only the lips' contrasts change; unlike: [N] 1 - cosine to the usual."""
    rng = np.random.default_rng(0)
    usual = rng.normal(0, 0.2, (20, 1)) + np.zeros(3)  # grey: of three equal colours
    other = np.roll(usual, 1, axis=0)
    other -= usual * (usual * other).sum() / (usual**2).sum()
    other *= np.linalg.norm(usual) / np.linalg.norm(other)
    angles = np.arccos(1 - unlike)[:, None, None]
    lips = np.cos(angles) * usual + np.sin(angles) * other
    return np.concatenate([np.zeros((N, 40, 3)), lips], axis=1).astype(np.float16)


def test_lips_are_strange_where_they_are_as_unlike_for_long() -> None:
    still = np.zeros(N, np.float32)
    for frames, is_found in ((4, False), (15, True)):
        unlike = np.full(N, 0.02)
        unlike[20 : 20 + frames] = 0.3
        found = occluded(strangeness(looks_of_lips(unlike), still, still))
        assert found.tolist() == [is_found and 20 <= index < 20 + frames for index in range(N)]


def test_lips_that_are_always_unlike_are_not_judged() -> None:
    unlike = np.where(np.arange(N) % 2, 0.6, 0.0)
    still = np.zeros(N, np.float32)
    assert strangeness(looks_of_lips(unlike), still, still).max() < USUAL_AGAIN


def test_a_mouth_that_opens_after_a_long_silence_is_no_thing() -> None:
    talks = np.arange(N) >= 40
    looks, still = looks_of_lips(np.where(talks, 0.2, 0.002)), np.zeros(N, np.float32)
    assert strangeness(looks, still, np.where(talks, 0.07, 0.01).astype(np.float32)).max() < USUAL_AGAIN
    assert strangeness(looks, still, still)[40:].min() > STRANGE


def test_cells_that_often_change_are_no_thing() -> None:
    looks = np.zeros((N, 60, 3), np.float16)
    looks[:, 10:16] = 0.8 * np.sin(np.arange(N))[:, None, None]
    still = np.zeros(N, np.float32)
    assert strangeness(looks, still, still).max() < USUAL_AGAIN


def test_judging_a_long_shot_takes_little_memory() -> None:
    looks = np.random.default_rng(0).normal(0, 0.3, (5000, 60, 3)).astype(np.float16)
    nothing = np.zeros(len(looks), np.float32)
    tracemalloc.start()
    try:
        strangeness(looks, nothing, nothing)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * looks.nbytes  # all cells at once: 4.1


def test_a_head_that_is_turned_is_not_judged() -> None:
    unlike = np.where(np.arange(N) // 15 == 1, 0.3, 0.02)
    still, yaws = np.zeros(N, np.float32), np.where(unlike > 0.1, 15, 0).astype(np.float32)
    assert strangeness(looks_of_lips(unlike), still, still).max() > STRANGE
    assert strangeness(looks_of_lips(unlike), yaws, still)[15:30].max() == 0


def test_a_short_glimpse_of_a_face_tells_nothing_unusual() -> None:
    looks = np.random.default_rng(0).normal(0, 5, (10, 60, 3)).astype(np.float16)
    still = np.zeros(10, np.float32)
    assert strangeness(looks, still, still).tolist() == [0] * 10


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
    assert strange[:25].max() < 1e-5  # rounding
    unseen = build_track(range(N), [index == 0 for index in range(N)], [Observation.of(face)] * N)
    assert not unseen.strange.any()
