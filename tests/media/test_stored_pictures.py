"""What is not changed is written as it was stored: no colour of it is converted, in 8 or in 10 bits."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from lipsync_cli.interfaces import Area, Colours, Frame
from lipsync_cli.media.picture import PIXEL_FORMATS, PictureEncoder
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.media.writer import VideoWriter
from lipsync_cli.pictures import with_part

SIZE = (64, 48)
DEPTHS = pytest.mark.parametrize("bits", [8, 10])


def noise(bits: int, seed: int = 0) -> list[NDArray[Any]]:
    """Planes Y, U, V of a picture in 4:2:0; they hold values that 8-bit RGB has no place for."""
    rng = np.random.default_rng(seed)
    kind, step = (np.uint8, 1) if bits == 8 else (np.uint16, 4)
    sizes = [(SIZE[1] // scale, SIZE[0] // scale) for scale in (1, 2, 2)]
    return [rng.integers(90 * step, 140 * step, size).astype(kind) for size in sizes]


def film(studio: Any, bits: int, name: str = "in.mkv", **settings: Any) -> Path:
    """Three equal pictures, stored without loss."""
    path: Path = studio.clip(
        name,
        planes=noise(bits),
        size=SIZE,
        pixel_format=PIXEL_FORMATS[bits],
        times=(0, 0.04, 0.08),
        **({"codec": "ffv1", "matrix": 6, "full_range": False} | settings),
    )
    return path


def planes_of(frame: av.VideoFrame) -> list[NDArray[Any]]:
    kind = np.uint16 if "10" in frame.format.name else np.uint8
    found = []
    for plane in frame.planes:
        values = np.frombuffer(memoryview(plane), kind).reshape(plane.height, -1)
        found.append(values[:, : plane.width].astype(int))
    return found


@DEPTHS
def test_a_frame_that_is_unchanged_becomes_the_very_planes_of_its_file(studio: Any, bits: int) -> None:
    reader = VideoReader(film(studio, bits))
    assert reader.info.colours == Colours(6, 6, 6, bits)
    assert reader.info.bits == bits
    encoder = PictureEncoder(SIZE[1], reader.info.colours)
    for frame in reader:
        for plane, stored in zip(planes_of(encoder.encode(frame)), noise(bits), strict=True):
            assert np.array_equal(plane, stored)


@DEPTHS
def test_of_a_changed_frame_only_the_change_is_converted(studio: Any, bits: int) -> None:
    reader = VideoReader(film(studio, bits))
    frame = next(iter(reader))
    image = frame.image.copy()
    image[11:30, 21:40] = (180, 120, 100)
    encoder = PictureEncoder(SIZE[1], reader.info.colours)
    changed = planes_of(
        encoder.encode(replace(frame, picture=with_part(frame.picture, Area(0, 0, *SIZE), image)))
    )
    converted = planes_of(encoder.encode(Frame(0, 0.0, image)))
    for plane, stored, wanted, scale in zip(changed, noise(bits), converted, (1, 2, 2), strict=True):
        reach = 4 * (scale - 1)  # columns of the picture, to either side, in whose chroma a pixel has a part
        near, inside = np.zeros(plane.shape, bool), np.zeros(plane.shape, bool)
        near[11 // scale : -(-30 // scale), (21 - reach) // scale : -((-40 - reach) // scale)] = True
        inside[-(-11 // scale) : 30 // scale, (21 + reach) // scale : -((-40 + reach) // scale)] = True
        assert np.array_equal(plane[~near], stored[~near])
        # what 8 bits could not say of the filmed pixel stays in it, at most two grey levels (all of it
        # where this one of the three values is by chance as before)
        assert np.percentile(np.abs(plane - wanted)[inside], 90) <= 2 * 2 ** (bits - 8)
        assert np.abs((plane - wanted)[inside].mean()) < 2 ** (bits - 8)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_planes_are_turned_as_the_picture_is(studio: Any, rotation: int) -> None:
    reader = VideoReader(film(studio, 8, "in.mp4", codec="libx264", options={"qp": "0"}, rotation=rotation))
    frame = next(iter(reader))
    encoded = PictureEncoder(reader.info.height, reader.info.colours).encode(frame)
    turned = [np.rot90(plane, rotation // 90) for plane in noise(8)]
    for plane, stored in zip(planes_of(encoded), turned, strict=True):
        assert np.array_equal(plane, stored)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"matrix": 1}, Colours(1, 1, 1)),
        ({"matrix": 5}, Colours(5, 5, 6)),
        ({"full_range": True}, None),
        ({"pixel_format": "yuv444p", "planes": [np.full(SIZE[::-1], 90, np.uint8)] * 3}, Colours(6, 6, 6)),
    ],
    ids=["bt709 though small", "bt601 of 625 lines", "full range", "4:4:4"],
)
def test_the_colours_of_a_source_are_kept_where_they_can_be(
    studio: Any, settings: dict[str, Any], kept: Colours | None, tmp_path: Path
) -> None:
    sizes = [(SIZE[1] // scale, SIZE[0] // scale) for scale in (1, 2, 2)]
    smooth = [np.linspace(90, 140, h * w).reshape(h, w).astype(np.uint8) for h, w in sizes]
    clip = {"planes": smooth, "size": SIZE, "options": {"qp": "0"}, "matrix": 6, "full_range": False}
    reader = VideoReader(studio.clip(**(clip | settings)))
    assert reader.info.colours == kept
    out = tmp_path / "out.mp4"
    with VideoWriter(
        out, width=SIZE[0], height=SIZE[1], rate=Fraction(25), speech=None, crf=0, colours=kept
    ) as sink:
        for frame in reader:
            sink.write(frame)
    again = VideoReader(out)
    assert again.info.colours == (kept or Colours(6, 6, 6))
    for before, after in zip(reader, again, strict=True):
        assert np.abs(before.image.astype(int) - after.image).mean() < 2


def test_a_frame_of_other_colours_than_the_file_is_converted(studio: Any) -> None:
    reader = VideoReader(film(studio, 10))
    frame = next(iter(reader))
    here = planes_of(PictureEncoder(SIZE[1], Colours(1, 1, 1)).encode(frame))
    there = planes_of(PictureEncoder(SIZE[1], Colours(1, 1, 1)).encode(replace(frame, picture=frame.image)))
    assert all(np.array_equal(a, b) for a, b in zip(here, there, strict=True))
