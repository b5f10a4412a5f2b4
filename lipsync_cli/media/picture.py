"""Between stored pictures and RGB as a viewer sees it: colour matrix, range, pixel shape, rotation."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Self

import cv2
import numpy as np
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from lipsync_cli.interfaces import Image, WideColours

_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
"""The number that ITU-T H.273 gives to a matrix -> the converter's name for it."""
_LARGEST_601_HEIGHT = 576
"""Pixels. Video that does not say is BT.601 up to here, as television of that size was, and BT.709 above."""
_OPAQUE = 255
_SQUARE_ENOUGH = Fraction(1, 100)
_ODDEST_PIXEL = 4
_BT709, _SMPTE170M = 1, 6  # ITU-T H.273: the same number for matrix, primaries and transfer
_BT2020 = 9
_BT2020_TRANSFERS = (14, 15, 16, 18)
"""BT.2020 of 10 and 12 bits, PQ (SMPTE ST 2084), HLG."""
# The mean colour of 2 x 2 pixels loses the least (64.1 dB there and back, bicubic 63.8) in half the time.
_STORING = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP
_SHOWING = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND


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
    def of(cls, frame: VideoFrame, pixel_aspect: Fraction | None) -> Self:
        """Read from a frame's display matrix and its stream's pixel aspect ratio (width over height)."""
        width, height = _square_pixels(frame.width, frame.height, pixel_aspect)
        return cls(width, height, *_orientation(frame))

    @property
    def width(self) -> int:
        """Pixels, as shown."""
        return self.scaled_height if self.transposed else self.scaled_width

    @property
    def height(self) -> int:
        """Pixels, as shown."""
        return self.scaled_width if self.transposed else self.scaled_height


class PictureDecoder:
    """Turns the frames of one stream into RGB pictures of one size."""

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._reformatter = VideoReformatter()

    def decode(self, frame: VideoFrame) -> Image:
        """Any pixel format of any depth -> uint8 [H, W, 3] RGB, full range, upright.

        What is transparent shows black.
        """
        geometry = self._geometry
        matrix, full_range = colours(frame)
        clear = is_transparent(frame)
        planar = self._reformatter.reformat(
            frame,
            width=geometry.scaled_width,
            height=geometry.scaled_height,
            format="gbrap" if clear else "gbrp",  # bit for bit as rgb24, in a third of the time
            src_colorspace=matrix,
            dst_colorspace=matrix,
            interpolation=_SHOWING,
            src_color_range=ColorRange.JPEG if full_range else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
        )
        image = _interleaved(planar)
        if geometry.transposed:
            image = image.transpose(1, 0, 2)
        if geometry.mirrored:
            image = image[:, ::-1]
        if geometry.flipped:
            image = image[::-1]
        return np.ascontiguousarray(image)


def _interleaved(planar: VideoFrame) -> Image:
    """The planes G, B, R and, if any, alpha of a picture -> [H, W, 3] RGB on black."""
    green, blue, red, *alpha = (
        np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        for plane in planar.planes
    )
    shown = [red, green, blue]
    if alpha and (alpha[0] != _OPAQUE).any():
        shown = [
            cv2.multiply(colour, alpha[0], scale=1 / _OPAQUE).astype(np.uint8, copy=False) for colour in shown
        ]
    return cv2.merge(shown).astype(np.uint8, copy=False)


class PictureEncoder:
    """RGB -> yuv420p of even size, in the colours of its size, or BT.2020 with what `wide` says.

    `matrix_number`, `primaries` and `transfer` are what the file has to be tagged with (ITU-T H.273).
    """

    def __init__(self, height: int, wide: WideColours | None = None) -> None:
        large = height + height % 2 > _LARGEST_601_HEIGHT
        standard = _BT709 if large else _SMPTE170M
        self.matrix_number = standard if wide is None else _BT2020
        self.primaries, self.transfer = wide or (standard, standard)
        self._matrix = _MATRICES[self.matrix_number]
        self._reformatter = VideoReformatter()

    def encode(self, image: Image) -> VideoFrame:
        """uint8 [H, W, 3] RGB -> a frame of its own memory."""
        height, width = image.shape[:2]
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
        return self._reformatter.reformat(
            frame,
            format="yuv420p",
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            interpolation=_STORING,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
        )


def wide_colours(frame: VideoFrame) -> WideColours | None:
    """Primaries and transfer of a frame of BT.2020, PQ or HLG."""
    primaries, transfer = int(frame.color_primaries), int(frame.color_trc)
    if primaries != _BT2020 and transfer not in _BT2020_TRANSFERS:
        return None
    return primaries, transfer


def is_transparent(frame: VideoFrame) -> bool:
    """Whether its pixels may be transparent."""
    return frame.format.has_palette or any(part.is_alpha for part in frame.format.components)


def colours(frame: VideoFrame) -> tuple[Colorspace, bool]:
    """The matrix of a frame and whether its values use the full range."""
    default = Colorspace.ITU709 if frame.height > _LARGEST_601_HEIGHT else Colorspace.ITU601
    matrix = _MATRICES.get(int(frame.colorspace), default)
    declared = int(frame.color_range)
    if declared in (ColorRange.MPEG, ColorRange.JPEG):
        return matrix, declared == ColorRange.JPEG
    name = frame.format.name
    return matrix, frame.format.is_rgb or name.startswith(("yuvj", "gray", "pal8", "mono", "ya"))


def _orientation(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """(transposed, mirrored, flipped) from the display matrix, turned to the nearest quarter."""
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # a photo's EXIF: the library has no name for that, and then tells only the rotation
        return _quarter_turns(frame.rotation)
    if not isinstance(data, SideData):
        return False, False, False
    # x' = a x + c y and y' = b x + d y (ISO/IEC 14496-12, 6.2.2); rows of three, the third is projective.
    a, b, _, c, d, *_ = (int(value) for value in np.frombuffer(bytes(data), np.int32))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, a < 0, d < 0
    return True, c < 0, b < 0


def _quarter_turns(degrees: int) -> tuple[bool, bool, bool]:
    """As `_orientation`, of a rotation counter-clockwise."""
    turns = round(degrees / 90) % 4
    return turns % 2 == 1, turns in (2, 3), turns in (1, 2)


def _square_pixels(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """Pixels that are not square are stretched along their short side, so that no detail is lost."""
    if not aspect or abs(aspect - 1) < _SQUARE_ENOUGH:
        return width, height
    if not Fraction(1, _ODDEST_PIXEL) <= aspect <= _ODDEST_PIXEL:
        return width, height  # nonsense in the header
    if aspect > 1:
        return round(width * aspect / 2) * 2, height
    return width, round(height / aspect / 2) * 2
