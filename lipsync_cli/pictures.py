"""Looking at pictures, whether they are arrays or still as their file stores them."""

from __future__ import annotations

import math

import numpy as np

from lipsync_cli.interfaces import Area, Box, Image, Picture

_ROOM = 3  # pixels: what interpolation looks at beyond a place


def around(picture: Picture, box: Box, reach: float) -> tuple[Image, tuple[int, int]]:
    """What there is of a picture around a box, and where its corner lies in the picture (x, y).

    All pixels of a square that is turned as the box is, with its middle, and reaches `reach` times the box's
    longer side to each of its sides; of an array simply the whole. The result is not to be written to.
    """
    if isinstance(picture, np.ndarray):
        return picture, (0, 0)
    height, width, _ = picture.shape
    turned = abs(math.cos(box.angle)) + abs(math.sin(box.angle))
    away = reach * max(box.width, box.height) * turned + _ROOM
    x, y = box.centre
    left, right = _span(x - away, x + away, width)
    top, bottom = _span(y - away, y + away, height)
    return picture.part(Area(left, top, right - left, bottom - top)), (left, top)


def _span(low: float, high: float, side: int) -> tuple[int, int]:
    """The whole pixels from low to high that are there; at least the one that is nearest."""
    first = max(0, min(math.floor(low), side - 1))
    return first, max(first + 1, min(math.ceil(high) + 1, side))


def part_of(picture: Picture, area: Area) -> Image:
    """An area that lies inside of a picture; not to be written to."""
    if isinstance(picture, np.ndarray):
        return picture[area.y : area.y + area.height, area.x : area.x + area.width]
    return picture.part(area)


def with_part(picture: Picture, area: Area, part: Image) -> Picture:
    """A new picture in which an area shows something else; all other pixels are the same to the bit."""
    if not isinstance(picture, np.ndarray):
        return picture.with_part(area, part)
    changed = picture.copy()
    changed[area.y : area.y + area.height, area.x : area.x + area.width] = part
    return changed


def every(picture: Picture, step: int) -> Image:
    """Each `step`-th pixel of each `step`-th row."""
    if isinstance(picture, np.ndarray):
        return np.ascontiguousarray(picture[::step, ::step])
    return picture.every(step)


def whole(picture: Picture) -> Image:
    """All of a picture."""
    return picture if isinstance(picture, np.ndarray) else picture.image
