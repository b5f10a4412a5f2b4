"""Pictures that stay as their file holds them.

Converting all of every picture to RGB and back took longer than finding and pasting its face.
"""

from __future__ import annotations

from typing import Self, TypeVar

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from lipsync_cli.interfaces import Area, Change, Colours, Image, Picture, Plane
from lipsync_cli.media.colours import MATRICES, is_transparent, kept_colours, matrix_and_range
from lipsync_cli.media.picture import PIXEL_FORMATS, REACH, SHOWING, PictureDecoder, planes_of
from lipsync_cli.pictures import averaged

Value = TypeVar("Value", bound=np.generic)

_COLOURS = 3
_EDGE = 8  # pixels around an area out of which its colours are interpolated
_SIZES = 64  # sides of converted areas are multiples of this: a converter is set up for one size


def picture_of(frame: VideoFrame, decoder: PictureDecoder) -> Picture:
    """A decoded frame: as it is stored where it could be written so (YUV of even size, opaque), or RGB."""
    colours = kept_colours(frame)
    odd = decoder.geometry.width % 2 or decoder.geometry.height % 2
    if colours is None or odd or is_transparent(frame) or len(frame.format.components) < _COLOURS:
        return decoder.decode(frame)
    if MATRICES[colours.matrix] != matrix_and_range(frame)[0]:
        return decoder.decode(frame)
    return FilmedPicture(frame, decoder, colours)


class FilmedPicture:
    """The `StoredPicture` of a decoded frame, which is never written to.

    Of what is shown as it is stored (4:2:0, upright, square pixels) parts are converted by themselves, to the
    same bits; of all others the whole is.

    Args:
        frame: one that can be written as it is (`picture_of`).
        decoder: of its stream.
        colours: those in which it can be written.
        changes: what is shown otherwise than the frame has it.
    """

    def __init__(
        self, frame: VideoFrame, decoder: PictureDecoder, colours: Colours, changes: tuple[Change, ...] = ()
    ) -> None:
        self.colours = colours
        self.changes = changes
        self._frame = frame
        self._decoder = decoder
        self._as_stored = _is_shown_as_stored(frame, decoder, colours)
        self._latest: tuple[Area, Image] | None = None
        """The last area that was asked for, with surroundings: crop and paste ask for much the same."""
        self._latest_reduced: tuple[Area, int, Image] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3)."""
        return self._decoder.geometry.height, self._decoder.geometry.width, 3

    @property
    def image(self) -> Image:
        """All of it, uint8 [H, W, 3] RGB."""
        if self._latest is None or self._latest[0] != self._everything:
            self._latest = (
                self._everything,
                self._changed(self._everything, self._decoder.decode(self._frame)),
            )
        return self._latest[1]

    def planes(self) -> tuple[Plane, Plane, Plane]:
        """Y, U, V; converted to 4:2:0 only now."""
        frame, geometry = self._frame, self._decoder.geometry
        matrix, full_range = matrix_and_range(frame)
        size, form = (geometry.scaled_width, geometry.scaled_height), PIXEL_FORMATS[self.colours.bits]
        if full_range or (frame.width, frame.height) != size or frame.format.name != form:
            frame = frame.reformat(
                *size,
                format=form,
                src_colorspace=matrix,
                dst_colorspace=matrix,
                interpolation=SHOWING,
                src_color_range=ColorRange.JPEG if full_range else ColorRange.MPEG,
                dst_color_range=ColorRange.MPEG,
            )
        luma, blue, red = (geometry.upright(plane) for plane in planes_of(frame))
        return luma, blue, red

    def part(self, area: Area) -> Image:
        """An area of `image`."""
        if self._latest is None or _common(self._latest[0], area) != area:
            near = self._even(area, _EDGE, _SIZES)
            if not self._as_stored or near == self._everything:
                return _cut(self.image, self._everything, area)
            parts = [
                _cut(plane, self._everything, near, scale)
                for plane, scale in zip(planes_of(self._frame), (1, 2, 2), strict=True)
            ]
            self._latest = near, self._changed(near, self._decoder.decode_part(self._frame, parts))
        return _cut(self._latest[1], self._latest[0], area)

    def reduced(self, area: Area, step: int) -> tuple[Image, Area]:
        """About the means of step x step pixels of an area, and which one it is: see `StoredPicture`.

        Colours are taken to lie in the middle of the 2 x 2 pixels that share them.
        """
        latest = self._latest_reduced
        if latest is not None and latest[1] == step and _common(latest[0], area) == area:
            return latest[2], latest[0]
        near = self._even(area, 0, _SIZES * step)
        near = near._replace(width=near.width // step * step, height=near.height // step * step)
        if not self._as_stored or self.changes or min(near.width, near.height) == 0:
            return averaged(self.part(area), step), area
        luma, blue, red = (
            _cut(plane, self._everything, near, scale)
            for plane, scale in zip(planes_of(self._frame), (1, 2, 2), strict=True)
        )
        planes = [averaged(luma, step), *(averaged(plane, step // 2) for plane in (blue, red))]
        image = self._decoder.decode_part(self._frame, planes, full_chroma=True)
        self._latest_reduced = near, step, image
        return image, near

    def every(self, step: int) -> Image:
        """Each `step`-th pixel of each `step`-th row, in the colour of its 2 x 2 pixels."""
        if not self._as_stored:
            return np.ascontiguousarray(self.image[::step, ::step])
        luma, *chroma = planes_of(self._frame)
        places = np.ix_(*(np.arange(0, side, step) // 2 for side in luma.shape))
        sparse = [luma[::step, ::step], *(plane[places] for plane in chroma)]
        return self._decoder.decode_part(self._frame, sparse, full_chroma=True)

    def with_part(self, area: Area, part: Image) -> Self:
        """A picture with another area."""
        near = self._even(area, REACH)
        before = self.part(near)
        after = before.copy()
        _cut(after, near, area)[:] = part
        changes = (*self.changes, Change(near, before, after))
        return type(self)(self._frame, self._decoder, self.colours, changes)

    def _changed(self, area: Area, image: Image) -> Image:
        """The picture of an area with the changes in it."""
        for change in self.changes:
            common = _common(area, change.area)
            if common is not None:
                _cut(image, area, common)[:] = _cut(change.after, change.area, common)
        return image

    @property
    def _everything(self) -> Area:
        height, width, _ = self.shape
        return Area(0, 0, width, height)

    def _even(self, area: Area, room: int, step: int = 2) -> Area:
        """An area of even place, its sides multiples of `step`, around another with `room` on all sides;
        smaller where the picture ends."""
        height, width, _ = self.shape
        x, columns = _even_span(area.x - room, area.x + area.width + room, step, width)
        y, rows = _even_span(area.y - room, area.y + area.height + room, step, height)
        return Area(x, y, columns, rows)


def _is_shown_as_stored(frame: VideoFrame, decoder: PictureDecoder, colours: Colours) -> bool:
    geometry = decoder.geometry
    is_turned = geometry.transposed or geometry.mirrored or geometry.flipped
    has_size = (geometry.scaled_width, geometry.scaled_height) == (frame.width, frame.height)
    return has_size and not is_turned and frame.format.name == PIXEL_FORMATS[colours.bits]


def _even_span(low: int, high: int, step: int, side: int) -> tuple[int, int]:
    """Start and length within a side, for `FilmedPicture._even`."""
    start = max(0, low) // 2 * 2
    length = min(side, -(-(min(high, side) - start) // step) * step)
    return min(start, side - length), length


def _cut(image: NDArray[Value], area: Area, part: Area, scale: int = 1) -> NDArray[Value]:
    """A part out of the picture of a larger area, of which one pixel is `scale` of theirs; a view."""
    x, y = (part.x - area.x) // scale, (part.y - area.y) // scale
    return image[y : y + part.height // scale, x : x + part.width // scale]


def _common(one: Area, other: Area) -> Area | None:
    """What two areas have in common."""
    x, y = max(one.x, other.x), max(one.y, other.y)
    width = min(one.x + one.width, other.x + other.width) - x
    height = min(one.y + one.height, other.y + other.height) - y
    return Area(x, y, width, height) if width > 0 and height > 0 else None
