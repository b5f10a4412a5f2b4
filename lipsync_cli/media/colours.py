"""Which colours a stored picture has: matrix, range, depth and transparency (numbers of ITU-T H.273)."""

from __future__ import annotations

from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace

from lipsync_cli.interfaces import Colours

MATRICES = {
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
_BT709, _BT470BG, _SMPTE170M, _BT2020 = 1, 5, 6, 9
_BT2020_TRANSFERS = (14, 15, 16, 18)
"""BT.2020 of 10 and 12 bits, PQ (SMPTE ST 2084), HLG."""
_KEPT_MATRICES = (_BT709, _BT470BG, _SMPTE170M, _BT2020)
_USUAL_TRANSFER = {_BT470BG: _SMPTE170M, _BT2020: 14}
"""Where a matrix's usual transfer has another number than the matrix."""
_SAYS_NOTHING = (0, 2, 3)


def usual_colours(height: int) -> Colours:
    """Of a video of this height that is not told otherwise."""
    standard = _BT709 if height + height % 2 > _LARGEST_601_HEIGHT else _SMPTE170M
    return Colours(standard, standard, standard)


def kept_colours(frame: VideoFrame) -> Colours | None:
    """Those of a frame, where a written video can keep them; None for RGB, grey and 8 bits of full range."""
    wide = _is_wide(frame)
    bits = 10 if bits_of(frame) > 8 else 8
    is_yuv = len(frame.format.components) >= 3 and not frame.format.is_rgb and not frame.format.has_palette
    if not wide and (not is_yuv or (bits == 8 and matrix_and_range(frame)[1])):
        return None
    matrix = int(frame.colorspace)
    if matrix not in _KEPT_MATRICES:
        matrix = _BT2020 if wide else usual_colours(frame.height).matrix
    primaries, transfer = int(frame.color_primaries), int(frame.color_trc)
    if primaries in _SAYS_NOTHING:
        primaries = matrix
    if transfer in _SAYS_NOTHING:
        transfer = _USUAL_TRANSFER.get(matrix, matrix)
    return Colours(matrix, primaries, transfer, bits if is_yuv else 8)


def bits_of(frame: VideoFrame) -> int:
    """Bits of a colour."""
    return max(part.bits for part in frame.format.components)


def is_transparent(frame: VideoFrame) -> bool:
    """Whether its pixels may be transparent."""
    return frame.format.has_palette or any(part.is_alpha for part in frame.format.components)


def matrix_and_range(frame: VideoFrame) -> tuple[Colorspace, bool]:
    """The matrix of a frame and whether its values use the full range."""
    default = MATRICES[_BT2020 if _is_wide(frame) else usual_colours(frame.height).matrix]
    matrix = MATRICES.get(int(frame.colorspace), default)
    declared = int(frame.color_range)
    if declared in (ColorRange.MPEG, ColorRange.JPEG):
        return matrix, declared == ColorRange.JPEG
    name = frame.format.name
    return matrix, frame.format.is_rgb or name.startswith(("yuvj", "gray", "pal8", "mono", "ya"))


def _is_wide(frame: VideoFrame) -> bool:
    """Whether this is BT.2020, PQ or HLG."""
    return int(frame.color_primaries) == _BT2020 or int(frame.color_trc) in _BT2020_TRANSFERS
