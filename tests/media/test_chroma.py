from __future__ import annotations

from typing import Any

import av
import numpy as np
import pytest

from lipsync_cli.media.chroma import chroma_place


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("left", 0, 0.5),
        ("center", 0.5, 0.5),
        ("topleft", 0, 0),
        ("top", 0.5, 0),
        ("bottomleft", 0, 1),
        ("bottom", 0.5, 1),
    ],
)
@pytest.mark.parametrize(("size", "pixel_format"), [((64, 48), "yuv420p"), ((102, 150), "yuv420p10le")])
def test_the_place_is_what_the_file_says(
    studio: Any, name: str, x: float, y: float, size: tuple[int, int], pixel_format: str
) -> None:
    options = {"chroma_sample_location": name}
    path = studio.clip(times=[0.0], size=size, pixel_format=pixel_format, options=options, images=noise(size))
    with av.open(str(path)) as container:
        (frame,) = container.decode(video=0)
    before = frame.to_ndarray()
    place = chroma_place(frame)
    assert (place.x, place.y, place.name) == (x, y, name)
    np.testing.assert_array_equal(frame.to_ndarray(), before)


def noise(size: tuple[int, int]) -> list[Any]:
    return [np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)]


@pytest.mark.parametrize(
    ("pixel_format", "x", "y", "name"),
    [
        ("yuv422p", 0.5, None, "center"),
        ("yuv444p10le", None, None, "unspecified"),
        ("gbrp", None, None, "unspecified"),
        ("rgb24", None, None, "unspecified"),
        ("gray", None, None, "unspecified"),
        ("pal8", None, None, "unspecified"),
    ],
)
def test_where_a_side_has_a_colour_for_each_pixel_there_is_nothing_to_tell(
    pixel_format: str, x: float | None, y: float | None, name: str
) -> None:
    place = chroma_place(av.VideoFrame(64, 64, pixel_format))
    assert (place.x, place.y, place.name) == (x, y, name)
