"""Faces are found, cut out and pasted in a picture as it is stored as they are in the whole picture."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lipsync_cli.faces.crop import crop_face
from lipsync_cli.faces.detector import FullRangeDetector
from lipsync_cli.faces.landmarks import MeshLandmarks
from lipsync_cli.faces.paste import paste_into
from lipsync_cli.faces.track import FaceTrack, FaceTracker, Observation, build_track
from lipsync_cli.interfaces import Box, Frame, Image
from lipsync_cli.media.camera import CameraMove
from lipsync_cli.media.picture import PictureDecoder
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.media.stored import FilmedPicture
from lipsync_cli.media.writer import VideoWriter
from lipsync_cli.pictures import surroundings, whole

N = 6
SIZE = 640, 360


@pytest.fixture(scope="module")
def film(weights_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> VideoReader:
    portrait = weights_folder / "demo" / "portrait.jpg"
    move = CameraMove(
        next(iter(VideoReader(portrait))).image,
        path=portrait,
        first=Box(0, 0, 512, 288),
        last=Box(30, 10, 478, 262),
        size=SIZE,
        n_frames=N,
        rate=Fraction(25),
    )
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with VideoWriter(path, width=SIZE[0], height=SIZE[1], rate=Fraction(25), speech=None) as sink:
        for frame in move:
            sink.write(frame)
    return VideoReader(path)


def as_arrays(film: VideoReader) -> Iterator[Frame]:
    return (Frame(frame.index, frame.time, frame.image) for frame in film)


def tracked(frames: Iterator[Frame], weights: Path) -> FaceTrack:
    tracker = FaceTracker(
        FullRangeDetector(weights / "face_detection_full_range.tflite"),
        MeshLandmarks(weights / "face_landmark.tflite"),
    )
    times, starts, faces = [], [], []
    for frame in frames:
        face, starts_shot = tracker.observe(frame.picture)
        times.append(frame.time)
        starts.append(starts_shot)
        faces.append(None if face is None else Observation.of(face, frame.picture))
    looks = np.stack([face.look for face in faces if face is not None and face.look is not None])
    assert looks.shape == (N, 60, 3)
    return build_track(times, starts, faces)


def test_the_track_is_the_same(film: VideoReader, weights_folder: Path) -> None:
    stored, arrays = tracked(iter(film), weights_folder), tracked(as_arrays(film), weights_folder)
    assert stored.present.all()
    np.testing.assert_array_equal(stored.shot_starts, arrays.shot_starts)
    np.testing.assert_allclose(stored.boxes, arrays.boxes, atol=0.15)
    np.testing.assert_allclose(stored.openings, arrays.openings, atol=2e-3)


def test_only_the_first_picture_is_converted_whole(
    film: VideoReader, weights_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted = []
    decode = PictureDecoder.decode
    monkeypatch.setattr(
        PictureDecoder, "decode", lambda self, frame: converted.append(frame) or decode(self, frame)
    )
    tracked(iter(film), weights_folder)
    assert len(converted) == 1


def test_around_its_face_each_picture_is_converted_once(
    film: VideoReader, weights_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Landmarks and the look of the mouth ask for much the same; thumbnails for cuts are one more each."""
    converted = []
    decode_part = PictureDecoder.decode_part

    def counted(self: PictureDecoder, *arguments: Any, **keywords: Any) -> Image:
        converted.append(keywords)
        return decode_part(self, *arguments, **keywords)

    monkeypatch.setattr(PictureDecoder, "decode_part", counted)
    tracked(iter(film), weights_folder)
    assert converted.count({"full_chroma": True}) == N
    assert converted.count({}) == N - 1


@pytest.mark.parametrize("angle", [0.0, 0.4, 0.8, -2.3])
def test_what_lies_around_a_box_holds_all_that_landmarks_are_found_in(
    film: VideoReader, weights_folder: Path, angle: float
) -> None:
    frame, box = next(iter(film)), Box(230, 70, 330, 190, angle)
    finder = MeshLandmarks(weights_folder / "face_landmark.tflite")
    near = surroundings(frame.picture, box, finder.reach, finder.pixels)
    assert max(near.image.shape) < 400
    found = finder.find(near.image, near.box(box))
    expected = finder.find(frame.image, box)
    assert found is not None
    assert expected is not None
    np.testing.assert_allclose(near.in_picture(found).points, expected.points, atol=0.15)


@pytest.mark.parametrize("enlarged", [2, 4])
def test_landmarks_of_a_large_face_are_found_in_the_reduced_picture(
    film: VideoReader, weights_folder: Path, enlarged: int, tmp_path: Path
) -> None:
    finder = MeshLandmarks(weights_folder / "face_landmark.tflite")
    detector = FullRangeDetector(weights_folder / "face_detection_full_range.tflite")
    small = next(iter(film)).image
    image = cv2.resize(small, None, fx=2 * enlarged, fy=2 * enlarged, interpolation=cv2.INTER_CUBIC)
    path = tmp_path / "large.mp4"
    height, width, _ = image.shape
    with VideoWriter(path, width=width, height=height, rate=Fraction(25), speech=None) as sink:
        sink.write(Frame(0, 0.0, image.astype(np.uint8)))
    picture = next(iter(VideoReader(path))).picture
    box = detector.detect(whole(picture))[0].box
    near = surroundings(picture, box, finder.reach, finder.pixels)
    assert near.step == enlarged
    found = finder.find(near.image, near.box(box))
    expected = finder.find(whole(picture), box)
    assert found is not None
    assert expected is not None
    away = np.hypot(*(near.in_picture(found).points - expected.points).T)
    assert away.mean() < 0.002 * box.width
    assert away.max() < 0.008 * box.width


@pytest.mark.parametrize(
    "box",
    [
        Box(300, 100, 400, 220, 0.1),
        Box(-30, 200, 120, 390, -0.2),
        Box(250, 90, 370, 210, 0.8),
        Box(250, 40, 310, 210, -2.3),
    ],
)
def test_crop_and_paste_are_the_same(film: VideoReader, box: Box) -> None:
    frame = next(iter(film))
    picture = frame.picture
    assert isinstance(picture, FilmedPicture)
    crop = crop_face(picture, box, 96)
    image = next(as_arrays(film)).image
    assert np.abs(crop.astype(int) - crop_face(image, box, 96)).max() <= 2  # places are rounded otherwise
    turns = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    x, y = box.centre
    ring = np.stack([x + box.width / 2 * np.cos(turns), y + box.height / 2 * np.sin(turns)], axis=1)
    face = np.full((96, 96, 3), 60, np.uint8)
    pasted = paste_into(picture, face, box, ring.astype(np.float32), share=0.5)
    expected = paste_into(image, face, box, ring.astype(np.float32), share=0.5)
    assert not np.array_equal(whole(expected), image)
    np.testing.assert_array_equal(whole(pasted), expected)
    np.testing.assert_array_equal(picture.image, image)
