"""Looking at pictures, whether they are arrays or still as their file stores them."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from lipsync_cli.interfaces import Area, Box, Image, Landmarks, Picture, Points

_ROOM = 3  # pixels: what interpolation looks at beyond a place
_FINER = 1.25  # times the pixels that are asked for: they will be interpolated
_LARGEST_STEP = 8


class Surroundings(NamedTuple):
    """What there is of a picture around a box, perhaps reduced."""

    image: Image
    """Not to be written to."""
    x: int
    """Where the corner of `image` lies in the picture."""
    y: int
    step: int
    """So many pixels of the picture, along a side, are one of `image`."""

    def points(self, points: Points) -> Points:
        """Places in the picture -> places in `image`."""
        return ((points - self._first) / np.float32(self.step)).astype(np.float32)

    def box(self, box: Box) -> Box:
        """A box of the picture -> the same in `image`."""
        x, y = (float(place) for place in self._first)
        step = self.step
        return Box(
            (box.x0 - x) / step, (box.y0 - y) / step, (box.x1 - x) / step, (box.y1 - y) / step, box.angle
        )

    def in_picture(self, landmarks: Landmarks) -> Landmarks:
        """Landmarks of `image` -> the same in the picture."""
        points = landmarks.points * np.float32(self.step) + self._first
        return Landmarks(points.astype(np.float32), landmarks.scheme, landmarks.score)

    @property
    def _first(self) -> Points:
        """[2] the middle of the first pixel, in the picture."""
        return np.array([self.x, self.y], np.float32) + np.float32((self.step - 1) / 2)


def surroundings(picture: Picture, box: Box, reach: float, pixels: int) -> Surroundings:
    """What there is of a picture around a box, no finer than needed.

    Args:
        picture: may be an array.
        box: of it.
        reach: all of a square is there that is turned as the box is, with its middle, and reaches so many
            times the box's longer side to each of its sides.
        pixels: that are wanted along a side of this square. Where the picture has a multiple of them, it is
            reduced by averaging, by a power of two.
    """
    across = 2 * reach * max(box.width, box.height)
    step = 1
    while step < _LARGEST_STEP and across >= 2 * step * _FINER * pixels:
        step *= 2
    if isinstance(picture, np.ndarray) and step == 1:
        return Surroundings(picture, 0, 0, step)
    area = _area_around(picture.shape[:2], box, reach, _ROOM * step)
    if step == 1:
        return Surroundings(part_of(picture, area), area.x, area.y, step)
    if not isinstance(picture, np.ndarray):
        image, shown = picture.reduced(area, step)
        return Surroundings(image, shown.x, shown.y, step)
    return Surroundings(averaged(part_of(picture, area), step), area.x, area.y, step)


def averaged(image: Image, step: int) -> Image:
    """[H, W, ...] -> [H // step, W // step, ...]: means of step x step pixels; what is left over is cut."""
    height, width = (max(1, side // step) for side in image.shape[:2])
    whole_steps = image[: height * step, : width * step]
    small = cv2.resize(whole_steps, (width, height), interpolation=cv2.INTER_AREA)
    return small.astype(image.dtype, copy=False)


def around(picture: Picture, box: Box, reach: float) -> tuple[Image, tuple[int, int]]:
    """What there is of a picture around a box, and where its corner lies in the picture (x, y).

    All pixels of a square that is turned as the box is, with its middle, and reaches `reach` times the box's
    longer side to each of its sides; of an array simply the whole. The result is not to be written to.
    """
    if isinstance(picture, np.ndarray):
        return picture, (0, 0)
    area = _area_around(picture.shape[:2], box, reach, _ROOM)
    return picture.part(area), (area.x, area.y)


def _area_around(size: tuple[int, int], box: Box, reach: float, room: int) -> Area:
    """Of a picture of a size (height, width)."""
    turned = abs(math.cos(box.angle)) + abs(math.sin(box.angle))
    away = reach * max(box.width, box.height) * turned + room
    x, y = box.centre
    left, right = _span(x - away, x + away, size[1])
    top, bottom = _span(y - away, y + away, size[0])
    return Area(left, top, right - left, bottom - top)


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
