"""Where the colour samples of a picture lie between its pixels (ITU-T H.273, ChromaLocType)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from lipsync_cli.media.picture import SHOWING, planes_of

_SIDES = (64, 96)
_COLOURS = 3
_EDGE = 12  # pixels at either end of which a converter knows no neighbours
_STEP = 2  # of 8 bits, from one colour sample to the next
_NAMES = {
    (0.0, 0.5): "left",
    (0.5, 0.5): "center",
    (0.0, 0.0): "topleft",
    (0.5, 0.0): "top",
    (0.0, 1.0): "bottomleft",
    (0.5, 1.0): "bottom",
}


class ChromaPlace(NamedTuple):
    """Pixels from the first of the pixels that share a colour sample to that sample: 0, 0.5 or 1.

    None along a side on which every pixel has a colour of its own.
    """

    x: float | None
    y: float | None

    @property
    def name(self) -> str:
        """As the media library calls it; `unspecified` where there is nothing to be told."""
        if self.x is None:
            return "unspecified"
        return _NAMES.get((self.x, 0.5 if self.y is None else self.y), "unspecified")


def chroma_place(frame: VideoFrame) -> ChromaPlace:
    """Where a decoded picture's colour samples lie, as the converter to RGB takes it.

    The library does not tell, so its converter is asked: which pixels of a slope, drawn into a picture of the
    frame's own kind, come out in the colour of a sample?
    """
    form = frame.format
    if form.is_rgb or form.has_palette or len(form.components) < _COLOURS:
        return ChromaPlace(None, None)
    side = next(side for side in _SIDES if side != frame.width)
    drawn = VideoReformatter().reformat(frame, width=side, height=side, interpolation=Interpolation.POINT)
    return ChromaPlace(
        _along(drawn, rises_down=False) if form.chroma_width(side) < side else None,
        _along(drawn, rises_down=True) if form.chroma_height(side) < side else None,
    )


def _along(drawn: VideoFrame, *, rises_down: bool) -> float:
    """Draws over a picture: red rises along one half of it and falls along the other one."""
    luma, blue, red, *_ = planes_of(drawn)
    bits = drawn.format.components[0].bits
    middle, step = 1 << (bits - 1), _STEP << (bits - 8)
    luma[:] = blue[:] = middle
    slopes = red.T if rises_down else red
    rows, samples = slopes.shape
    rise = step * (np.arange(samples) - samples // 2)
    slopes[: rows // 2], slopes[rows // 2 :] = middle + rise, middle - rise
    shown = VideoReformatter().reformat(drawn, format="gbrp", interpolation=SHOWING)
    _, _, shown_red = planes_of(shown)
    values: NDArray[np.float64] = (shown_red.T if rises_down else shown_red).astype(np.float64)
    half = len(values) // 2
    rising, falling = values[_EDGE : half - _EDGE].mean(axis=0), values[half + _EDGE : -_EDGE].mean(axis=0)
    pixels = np.arange(values.shape[1])[_EDGE:-_EDGE]
    slope, height = np.polyfit(pixels, (rising - falling)[_EDGE:-_EDGE], 1)
    crossing = -height / slope
    return round(2 * float(crossing - values.shape[1] // 2)) / 2
