"""Pictures as they are stored: their parts are those of the whole, and what nobody changes stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lipsync_cli.interfaces import Area, Frame, Image, Picture
from lipsync_cli.media.picture import PictureDecoder, PictureEncoder
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.media.stored import FilmedPicture
from lipsync_cli.media.writer import VideoWriter
from lipsync_cli.pictures import averaged

WIDTH, HEIGHT = 150, 98
PARTS = [
    Area(40, 30, 50, 40),
    Area(41, 31, 49, 33),
    Area(0, 0, 17, 9),
    Area(WIDTH - 13, HEIGHT - 7, 13, 7),
    Area(0, 60, WIDTH, 1),
    Area(75, 97, 1, 1),
]


def painted() -> Image:
    """Coarse colours with fine grain."""
    random = np.random.default_rng(0)
    coarse = random.integers(30, 220, (6, 9, 3)).astype(np.uint8)
    image = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(int)
    return np.clip(image + random.integers(-12, 12, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Path]:
    def make(*, full_range: bool = False, matrix: str = "ITU601", pixels: str = "yuv420p") -> Path:
        path = tmp_path / "clip.mp4"
        with av.open(str(path), "w") as container:
            video: Any = container.add_stream("libx264", rate=25, options={"crf": "2", "bf": "2"})
            video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, pixels
            video.codec_context.color_range = 2 if full_range else 1
            video.codec_context.colorspace = {"ITU601": 6, "ITU709": 1}[matrix]
            for index in range(6):
                image = np.roll(painted(), 3 * index, axis=1)
                frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(
                    format=pixels,
                    src_colorspace=matrix,
                    dst_colorspace=matrix,
                    dst_color_range="JPEG" if full_range else "MPEG",
                )
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        return path

    return make


def first(path: Path) -> FilmedPicture:
    picture = next(iter(VideoReader(path))).picture
    assert isinstance(picture, FilmedPicture)
    return picture


def encoded(picture: Picture, encoder: PictureEncoder) -> av.VideoFrame:
    return encoder.encode(Frame(0, 0.0, picture))


def planes(frame: av.VideoFrame) -> list[NDArray[np.uint8]]:
    whole = frame.to_ndarray()
    height, width = frame.height, frame.width
    chroma = whole[height:].reshape(2, height // 2, width // 2)
    return [whole[:height], *chroma]


def stored(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return planes(next(container.decode(video=0)))


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10le", "yuv444p"])
@pytest.mark.parametrize("matrix", ["ITU601", "ITU709"])
@pytest.mark.parametrize("area", PARTS)
def test_a_part_is_that_of_the_whole_to_the_bit(
    make_clip: Callable[..., Path], area: Area, matrix: str, pixels: str
) -> None:
    path = make_clip(matrix=matrix, pixels=pixels)
    whole = first(path).image
    assert whole.shape == (HEIGHT, WIDTH, 3)
    expected = whole[area.y : area.y + area.height, area.x : area.x + area.width]
    np.testing.assert_array_equal(first(path).part(area), expected)


def test_a_part_in_a_part_asked_for_before_is_the_same_memory(make_clip: Callable[..., Path]) -> None:
    picture = first(make_clip())
    outer = picture.part(Area(20, 20, 60, 60))
    assert np.shares_memory(outer, picture.part(Area(30, 24, 20, 30)))
    assert not np.shares_memory(outer, picture.part(Area(10, 4, 20, 30)))


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_sparse_pixels_are_about_those_of_the_whole(make_clip: Callable[..., Path], step: int) -> None:
    picture = first(make_clip())
    sparse, whole = picture.every(step), picture.image[::step, ::step]
    assert sparse.shape == whole.shape
    assert np.abs(sparse.astype(int) - whole).mean() < 4  # of colours that are interpolated in the one only
    assert abs(sparse.mean() - whole.mean()) < 1


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10le", "yuv444p"])
@pytest.mark.parametrize("matrix", ["ITU601", "ITU709"])
@pytest.mark.parametrize("step", [2, 4])
@pytest.mark.parametrize("area", PARTS)
def test_a_reduced_part_is_about_the_means_of_the_whole(
    make_clip: Callable[..., Path], area: Area, step: int, matrix: str, pixels: str
) -> None:
    picture = first(make_clip(matrix=matrix, pixels=pixels))
    image, shown = picture.reduced(area, step)
    assert shown.x <= area.x
    assert shown.y <= area.y
    assert shown.x + shown.width > area.x + area.width - step
    assert shown.y + shown.height > area.y + area.height - step
    whole = picture.image[shown.y : shown.y + shown.height, shown.x : shown.x + shown.width]
    expected = averaged(whole, step)
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 3
    assert abs(image.mean() - expected.mean()) < 1


def test_a_reduced_part_in_one_asked_for_before_is_the_same_memory(make_clip: Callable[..., Path]) -> None:
    picture = first(make_clip())
    outer, area = picture.reduced(Area(10, 10, 60, 60), 2)
    inner, same = picture.reduced(Area(30, 24, 20, 30), 2)
    assert inner is outer
    assert same == area
    assert picture.reduced(Area(30, 24, 20, 30), 4)[0] is not outer


def test_changes_show_in_a_reduced_part(make_clip: Callable[..., Path]) -> None:
    changed = first(make_clip()).with_part(Area(40, 30, 50, 40), np.full((40, 50, 3), 200, np.uint8))
    image, shown = changed.reduced(Area(44, 34, 40, 32), 4)
    assert shown == Area(44, 34, 40, 32)
    assert (image == 200).all()


def test_a_changed_part_shows_and_the_picture_before_stays(make_clip: Callable[..., Path]) -> None:
    picture = first(make_clip())
    before = picture.image.copy()
    area, inner = Area(41, 31, 50, 40), Area(60, 40, 9, 9)
    changed = picture.with_part(area, np.full((40, 50, 3), 200, np.uint8))
    twice = changed.with_part(inner, np.full((9, 9, 3), 20, np.uint8))
    expected = before.copy()
    expected[31:71, 41:91] = 200
    np.testing.assert_array_equal(changed.image, expected)
    np.testing.assert_array_equal(changed.part(Area(30, 20, 40, 40)), expected[20:60, 30:70])
    expected[40:49, 60:69] = 20
    np.testing.assert_array_equal(twice.image, expected)
    np.testing.assert_array_equal(first(make_clip()).image, before)
    np.testing.assert_array_equal(picture.image, before)


def test_only_what_was_changed_is_stored_anew(make_clip: Callable[..., Path]) -> None:
    path = make_clip()
    picture, encoder = first(path), PictureEncoder(HEIGHT)
    assert all(map(np.array_equal, planes(encoded(picture, encoder)), stored(path)))
    area = Area(41, 31, 50, 40)
    part = picture.part(area).copy()
    part[10:21, 10:21] = 250
    changed = planes(encoded(picture.with_part(area, part), encoder))
    differing = [before != after for before, after in zip(stored(path), changed, strict=True)]
    rows, columns = np.nonzero(differing[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (41, 51, 51, 61)
    assert np.abs(changed[0][41:52, 51:62].astype(int) - 231).max() <= 3  # 16 + 219 / 255 * 250
    for plane in differing[1:]:  # across, a pixel has a part in chroma up to 4 columns away
        rows, columns = np.nonzero(plane)
        assert 20 <= rows.min() <= rows.max() <= 25
        assert 23 <= columns.min() <= columns.max() <= 32


def test_a_frame_for_the_encoder_has_no_kind_of_its_own(make_clip: Callable[..., Path]) -> None:
    encoder = PictureEncoder(HEIGHT)
    kinds = {int(encoded(frame.picture, encoder).pict_type) for frame in VideoReader(make_clip())}
    assert kinds == {0}


def test_full_range_of_8_bits_is_converted_at_once(make_clip: Callable[..., Path]) -> None:
    picture = next(iter(VideoReader(make_clip(full_range=True)))).picture
    assert isinstance(picture, np.ndarray)
    assert picture.shape == (HEIGHT, WIDTH, 3)


def test_frames_that_are_not_looked_at_reach_the_encoder_as_they_are(
    make_clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> Image:
        raise AssertionError("a picture was converted")

    path, copy = make_clip(), tmp_path / "copy.mp4"
    reader = VideoReader(path)
    with monkeypatch.context() as patch:
        patch.setattr(PictureDecoder, "decode", refuse)
        patch.setattr(PictureEncoder, "_converted", refuse)
        with VideoWriter(
            copy,
            width=WIDTH,
            height=HEIGHT,
            rate=reader.info.rate,
            speech=None,
            crf=0,
            colours=reader.info.colours,
        ) as sink:
            for frame in reader:
                sink.write(Frame(frame.index, frame.time, frame.picture))
    with av.open(str(path)) as one, av.open(str(copy)) as other:
        pairs = list(zip(one.decode(video=0), other.decode(video=0), strict=True))
    assert len(pairs) == 6
    assert all(np.array_equal(filmed.to_ndarray(), written.to_ndarray()) for filmed, written in pairs)
