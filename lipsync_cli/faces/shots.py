"""Where one shot of a video ends and the next begins."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from lipsync_cli.interfaces import Picture
from lipsync_cli.pictures import every

_THUMBNAIL = (48, 27)  # pixels


class ShotDetector:
    """Tells a cut from one frame to the next by the jump of a thumbnail's colours.

    A cut changes much more than the frames before it did: the jump must exceed a floor and several times
    the recent ones, so that fast motion and flicker are not cuts.
    """

    def __init__(self, *, floor: float = 18.0, ratio: float = 4.0, memory: int = 12) -> None:
        self._floor = floor
        self._ratio = ratio
        self._last: NDArray[np.float32] | None = None
        self._recent: deque[float] = deque(maxlen=memory)

    def starts_shot(self, picture: Picture) -> bool:
        """True for the first frame and for the first one after a cut."""
        step = max(1, min(picture.shape[0] // (4 * _THUMBNAIL[1]), picture.shape[1] // (4 * _THUMBNAIL[0])))
        sparse = every(picture, step)  # every pixel would take 5 ms at 720p
        small = cv2.resize(sparse, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        last, self._last = self._last, small
        if last is None:
            return True
        jump = float(np.abs(small - last).mean())
        usual = float(np.median(self._recent)) if self._recent else 0.0
        is_cut = jump > max(self._floor, self._ratio * usual)
        if is_cut:
            self._recent.clear()
        else:
            self._recent.append(jump)
        return is_cut
