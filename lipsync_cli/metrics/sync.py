"""Figures of how well lips and sound fit in time.

Sign of every offset here: **the picture at time t matches the sound at time t + offset** (in frames of 25 a
second). Positive: the sound comes late. The public SyncNet prints this number with the sign turned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

REACH = 15
"""Frames at 25 fps that offsets are searched over, to either side."""


@dataclass(frozen=True, slots=True)
class Offset:
    """Where lips and sound fit best."""

    frames: int
    """The picture at t matches the sound at t + frames / 25 s."""
    confidence: float
    """Score there above the median of all offsets; higher is better."""
    score: float
    """Score there."""


def offset_of_scores(scores: Floats) -> Offset:
    """From mean similarities [2 R + 1], for offsets -R .. R (NaN: not measured), to the best one.

    offset = argmax, confidence = max - median: LSE-C's rule on similarities in place of distances.

    Raises ValueError when fewer than half of the offsets were measured.
    """
    if np.isfinite(scores).sum() <= len(scores) // 2:
        raise ValueError("fewer than half of the offsets have a score")
    best = int(np.nanargmax(scores))
    highest = float(scores[best])
    return Offset(best - len(scores) // 2, highest - float(np.nanmedian(scores)), highest)


class Lse:
    """LSE-D and LSE-C (Prajwal et al. 2020), the figures of the public SyncNet v2 (Chung and Zisserman 2016).

    From features of windows of 5 frames, one a frame, at 25 fps: D[t, k] = |lips[t] - speech[t + k]| for
    k = -15 .. 15, features past either end being zero (and 1e-6 added to each difference, as torch does);
    d[k] = mean over t of D[t, k]; LSE-D = min d (feature units, lower is better), LSE-C = median d - min d
    (higher is better), offset = the k of the minimum.

    Which frames: in the LRS protocol whole frames go into the network, in the real-video protocol tracks of
    faces of at least 100 frames. That is the caller's choice and belongs beside the figure.
    """

    name: ClassVar[str] = "lse_d"
    unit: ClassVar[str] = "feature units"
    higher_is_better: ClassVar[bool | None] = False

    def __init__(self) -> None:
        self._lips: list[Floats] = []
        self._speech: list[Floats] = []

    def update(self, lips: Floats, speech: Floats) -> None:
        """The next features [n, D] of both."""
        if lips.shape != speech.shape:
            raise ValueError(f"features of lips {lips.shape} and of speech {speech.shape} differ")
        self._lips.append(np.asarray(lips, dtype=np.float64))
        self._speech.append(np.asarray(speech, dtype=np.float64))

    def compute(self) -> float:
        """LSE-D; NaN without features."""
        return self.distance()

    def distance(self) -> float:
        """LSE-D."""
        distances = self._mean_distances()
        return float(distances.min()) if len(distances) else float("nan")

    def confidence(self) -> float:
        """LSE-C."""
        distances = self._mean_distances()
        return float(np.median(distances) - distances.min()) if len(distances) else float("nan")

    def offset(self) -> int:
        """In frames, in the sign of this file (`syncnet_python` prints its negative).

        Raises ValueError without features.
        """
        distances = self._mean_distances()
        if not len(distances):
            raise ValueError("no features to find an offset from")
        return int(distances.argmin()) - REACH

    def _mean_distances(self) -> Floats:
        """d[k], [31], or [0] without features."""
        if not self._lips:
            return np.zeros(0)
        lips, speech = np.concatenate(self._lips), np.concatenate(self._speech)
        padded = np.pad(speech, [(REACH, REACH), (0, 0)])
        shifted = (padded[k : k + len(lips)] for k in range(2 * REACH + 1))
        return np.array([np.linalg.norm(lips - each + 1e-6, axis=1).mean() for each in shifted])
