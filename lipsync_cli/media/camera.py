"""A still picture, filmed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from lipsync_cli.interfaces import Box, Frame, Image, VideoInfo


class CameraMove:
    """Frames of a camera that moves over a picture (a `FrameStream`), drawn one at a time.

    The view goes from the window `first` to the window `last` (upright, in pixels of the picture), starting
    and ending slowly. Past the picture's edge its border repeats.

    Args:
        picture: uint8 [H, W, 3].
        path: what errors and reports call it.
        first: where the view begins.
        last: where it ends, of the same proportions.
        size: width and height of the frames.
        n_frames: at least 1.
        rate: frames a second.
    """

    def __init__(
        self,
        picture: Image,
        *,
        path: Path,
        first: Box,
        last: Box,
        size: tuple[int, int],
        n_frames: int,
        rate: Fraction,
    ) -> None:
        self._picture = picture
        self._first = np.array([first.x0, first.y0, first.x1, first.y1])
        self._last = np.array([last.x0, last.y0, last.x1, last.y1])
        self._info = VideoInfo(path, *size, rate, float(n_frames / rate), n_frames, "still")

    @property
    def info(self) -> VideoInfo:
        """Size, rate and length of the film."""
        return self._info

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._info.n_frames):
            yield Frame(index, float(index / self._info.rate), self._view(index))

    def _view(self, index: int) -> Image:
        place = index / max(1, self._info.n_frames - 1)
        share = (1 - math.cos(math.pi * place)) / 2
        x0, y0, x1, y1 = self._first + share * (self._last - self._first)
        step_x, step_y = (x1 - x0) / self._info.width, (y1 - y0) / self._info.height
        to_picture = np.array([[step_x, 0, x0 + step_x / 2 - 0.5], [0, step_y, y0 + step_y / 2 - 0.5]])
        view = cv2.warpAffine(
            self._picture,
            to_picture,
            (self._info.width, self._info.height),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return view.astype(np.uint8, copy=False)
