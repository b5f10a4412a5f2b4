"""Between stored pictures and RGB as a viewer sees it: colour matrix, range, pixel shape, rotation."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Self, TypeVar

import cv2
import numpy as np
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from numpy.typing import NDArray

from lipsync_cli.interfaces import Change, Colours, Frame, Image, Plane
from lipsync_cli.media.colours import MATRICES, is_transparent, matrix_and_range, usual_colours
from lipsync_cli.media.exif import exif_orientation

PIXEL_FORMATS = {8: "yuv420p", 10: "yuv420p10le"}
"""Bits of a colour -> what is written."""

FULL_CHROMA = {8: "yuv444p", 10: "yuv444p10le"}
_TAPS = (0, 2, 3, 4, 6)
REACH = 4
"""Columns, an even number, as far as a pixel's colour has a part in the chroma beside it."""

_EXIF = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}
"""Orientation -> (transposed, mirrored, flipped)."""

T = TypeVar("T", bound=np.generic)

_OPAQUE = 255
_EIGHT = 8
_FINER = 2
"""Grey levels of 8 bits: more than that is no rounding, but a colour that RGB has not."""
_SQUARE_ENOUGH = Fraction(1, 100)
_ODDEST_PIXEL = 4
_STORING = Interpolation.BICUBIC | Interpolation.ACCURATE_RND
SHOWING = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND


@dataclass(frozen=True, slots=True)
class Geometry:
    """How the stored picture becomes the shown one: scaled to square pixels, then turned or mirrored."""

    scaled_width: int
    scaled_height: int
    transposed: bool
    mirrored: bool
    """Left and right change places (after transposing)."""
    flipped: bool
    """Top and bottom change places (after transposing)."""

    @classmethod
    def of(cls, frame: VideoFrame, pixel_aspect: Fraction | None, path: Path) -> Self:
        """Read from a frame's display matrix, its stream's pixel aspect ratio (width over height) and, of a
        photo, the EXIF block of its file."""
        width, height = _square_pixels(frame.width, frame.height, pixel_aspect)
        return cls(width, height, *_orientation(frame, path))

    @property
    def width(self) -> int:
        """Pixels, as shown."""
        return self.scaled_height if self.transposed else self.scaled_width

    @property
    def height(self) -> int:
        """Pixels, as shown."""
        return self.scaled_width if self.transposed else self.scaled_height

    def upright(self, stored: NDArray[T]) -> NDArray[T]:
        """A stored picture, or a plane of one, [H, W, ...], turned as it is shown; a view."""
        shown = stored.swapaxes(0, 1) if self.transposed else stored
        if self.mirrored:
            shown = shown[:, ::-1]
        return shown[::-1] if self.flipped else shown


class _Converters(threading.local):
    """Of each thread its own: one is set up for one size, and is not to be used by two threads at once."""

    def __init__(self) -> None:
        self.whole = VideoReformatter()
        self.part = VideoReformatter()
        self.piece: VideoFrame | None = None


class PictureDecoder:
    """Turns the frames of one stream into RGB pictures of one size; several threads may do so at once."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self._converters = _Converters()

    def decode(self, frame: VideoFrame) -> Image:
        """Any pixel format of any depth -> uint8 [H, W, 3] RGB, full range, upright.

        What is transparent shows black.
        """
        geometry = self.geometry
        matrix, full_range = matrix_and_range(frame)
        clear = is_transparent(frame)
        planar = self._converters.whole.reformat(
            frame,
            width=geometry.scaled_width,
            height=geometry.scaled_height,
            format="gbrap" if clear else "gbrp",  # bit for bit as rgb24, in a third of the time
            src_colorspace=matrix,
            dst_colorspace=matrix,
            interpolation=SHOWING,
            src_color_range=ColorRange.JPEG if full_range else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
        )
        return np.ascontiguousarray(geometry.upright(_interleaved(planar)))

    def decode_part(self, like: VideoFrame, parts: Sequence[Plane], *, full_chroma: bool = False) -> Image:
        """A piece of an opaque frame of 4:2:0 as it is stored -> uint8 [H, W, 3] RGB, full range.

        like: the frame. parts: Y, U, V of the piece, of even size unless there is chroma for each pixel.
        """
        matrix, full_range = matrix_and_range(like)
        height, width = parts[0].shape
        if full_chroma:
            part = VideoFrame(width, height, FULL_CHROMA[like.format.components[0].bits])
        else:
            part = self._piece(like, width, height)
        for target, plane in zip(planes_of(part), parts, strict=True):
            target[:] = plane
        planar = self._converters.part.reformat(
            part,
            format="gbrp",
            src_colorspace=matrix,
            dst_colorspace=matrix,
            interpolation=SHOWING,
            src_color_range=ColorRange.JPEG if full_range else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            threads=1,
        )
        return _interleaved(planar)

    def _piece(self, like: VideoFrame, width: int, height: int) -> VideoFrame:
        """A smaller frame to copy a piece of one into; the same thread's next one may be the same memory."""
        piece = self._converters.piece
        size = piece and (piece.width, piece.height, piece.format.name)
        if piece is None or size != (width, height, like.format.name):
            # Where chroma lies between the pixels can be told to a frame only by making it of another one.
            piece = VideoReformatter().reformat(
                like, width=width, height=height, interpolation=Interpolation.POINT
            )
            self._converters.piece = piece
        return piece


def planes_of(frame: VideoFrame) -> Iterator[Plane]:
    """Views of a frame's planes; they keep its memory."""
    for plane in frame.planes:
        values = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        depth = frame.format.components[0].bits
        whole = values if depth <= _EIGHT else values.view("<u2")
        yield whole[:, : plane.width]


def _interleaved(planar: VideoFrame) -> Image:
    """The planes G, B, R and, if any, alpha of a picture -> [H, W, 3] RGB on black."""
    green, blue, red, *alpha = planes_of(planar)
    shown = [red, green, blue]
    if alpha and (alpha[0] != _OPAQUE).any():
        shown = [
            cv2.multiply(colour, alpha[0], scale=1 / _OPAQUE).astype(np.uint8, copy=False) for colour in shown
        ]
    return cv2.merge(shown).astype(np.uint8, copy=False)


class PictureEncoder:
    """RGB -> 4:2:0 of even size and limited range, in the given colours or the usual ones of its height.

    `colours` are what the file has to be tagged with, `pixel_format` is the library's name for the frames.
    """

    def __init__(self, height: int, colours: Colours | None = None) -> None:
        self.colours = colours or usual_colours(height)
        self.pixel_format = PIXEL_FORMATS[self.colours.bits]
        self._matrix = MATRICES[self.colours.matrix]
        self._reformatter = VideoReformatter()

    def encode(self, frame: Frame) -> VideoFrame:
        """A picture in a frame of its own memory.

        Where a frame says what its picture was made of, pixels that are unchanged become exactly that. The
        others are converted; what RGB of 8 bits could not say of what was there before, at most `_FINER` grey
        levels, stays.
        """
        picture = frame.picture
        if isinstance(picture, np.ndarray) or picture.colours != self.colours:
            return self._converted(frame.image)
        height, width, _ = picture.shape
        written = VideoFrame(width, height, self.pixel_format)
        for plane, unchanged in zip(planes_of(written), picture.planes(), strict=True):
            plane[:] = unchanged
        for change in picture.changes:
            self._write_change(written, change)
        return written

    def _write_change(self, written: VideoFrame, change: Change) -> None:
        region = _changed(change.after, change.before)
        if region is None:
            return
        limit, top = _FINER << (self.colours.bits - _EIGHT), (1 << self.colours.bits) - 1
        new, old = (planes_of(self._converted(image[region])) for image in (change.after, change.before))
        for plane, after, before, scale in zip(planes_of(written), new, old, (1, 2, 2), strict=True):
            x, y, width, height = (number // scale for number in change.area)
            part = plane[y : y + height, x : x + width][tuple(_slice(side, scale) for side in region)]
            finer = np.clip(part.astype(np.int32) - before, -limit, limit)
            part[:] = np.where(after == before, part, np.clip(after + finer, 0, top))

    def _converted(self, image: Image) -> VideoFrame:
        """uint8 [H, W, 3] RGB, all of it converted; an odd size gets its last row or column twice."""
        height, width = image.shape[:2]
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        bits = self.colours.bits
        whole = self._reformatter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24"),
            format=FULL_CHROMA[bits],
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            interpolation=_STORING,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
        )
        written = VideoFrame(whole.width, whole.height, self.pixel_format)
        luma, *chroma = planes_of(whole)
        place, *places = planes_of(written)
        place[:] = luma
        for place, plane in zip(places, chroma, strict=True):
            place[:] = _halved(plane, top=(1 << bits) - 1)
        return written


def _halved(plane: Plane, *, top: int) -> NDArray[np.int32]:
    """Chroma of every pixel [H, W] -> of 2 x 2 pixels, [H / 2, W / 2].

    H.264 and HEVC, unless they say otherwise, place it between two rows and on the left one of two columns.
    Across, this is the half-band filter (-1, 0, 9, 16, 9, 0, -1) / 32.
    """
    rows = plane[::2].astype(np.int32) + plane[1::2]
    padded = np.pad(rows, ((0, 0), (3, 3)), mode="edge")
    far, near, middle, right, farther = (padded[:, first::2][:, : plane.shape[1] // 2] for first in _TAPS)
    halved: NDArray[np.int32] = (16 * middle + 9 * (near + right) - far - farther + 32) >> 6
    return halved.clip(0, top)


def _changed(image: Image, before: Image) -> tuple[slice, slice] | None:
    """Rows and columns, on even borders, outside of which two pictures of one size are stored alike."""
    if image is before:
        return None
    difference = cv2.absdiff(image, before).reshape(len(image), -1)
    rows = np.flatnonzero(difference.any(axis=1))
    if not len(rows):
        return None
    band = slice(rows[0] // 2 * 2, rows[-1] // 2 * 2 + 2)
    columns = np.flatnonzero(difference[band].any(axis=0)) // image.shape[2]
    return band, slice(max(0, columns[0] // 2 * 2 - REACH), columns[-1] // 2 * 2 + 2 + REACH)


def _slice(whole: slice, scale: int) -> slice:
    return slice(whole.start // scale, whole.stop // scale)


def _orientation(frame: VideoFrame, path: Path) -> tuple[bool, bool, bool]:
    """(transposed, mirrored, flipped) from the display matrix, turned to the nearest quarter."""
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # a photo's EXIF: the library has no name for that, and then gives nothing away
        return _EXIF[exif_orientation(path)]
    if not isinstance(data, SideData):
        return False, False, False
    # x' = a x + c y and y' = b x + d y (ISO/IEC 14496-12, 6.2.2); rows of three, the third is projective.
    a, b, _, c, d, *_ = (int(value) for value in np.frombuffer(bytes(data), np.int32))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, a < 0, d < 0
    return True, c < 0, b < 0


def _square_pixels(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """Pixels that are not square are stretched along their short side, so that no detail is lost."""
    if not aspect or abs(aspect - 1) < _SQUARE_ENOUGH:
        return width, height
    if not Fraction(1, _ODDEST_PIXEL) <= aspect <= _ODDEST_PIXEL:
        return width, height  # nonsense in the header
    if aspect > 1:
        return round(width * aspect / 2) * 2, height
    return width, round(height / aspect / 2) * 2
