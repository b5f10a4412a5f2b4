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


def offset_of_scores(scores: Floats, evidence: Floats | None = None) -> Offset:
    """From mean similarities [2 R + 1], for offsets -R .. R (NaN: not measured), to the best one.

    offset = argmax, confidence = max - median: LSE-C's rule on similarities in place of distances.
    evidence: [2 R + 1] what the best one is chosen by in their place (means of `centred`); score and
    confidence are of `scores` all the same.

    Raises ValueError when fewer than half of the offsets were measured.
    """
    if np.isfinite(scores).sum() <= len(scores) // 2:
        raise ValueError("fewer than half of the offsets have a score")
    best = int(np.nanargmax(scores if evidence is None else evidence))
    return Offset(best - len(scores) // 2, float(scores[best] - np.nanmedian(scores)), float(scores[best]))


def centred(scores: Floats, frames: NDArray[np.int64]) -> Floats:
    """Scores less what the same pictures, and the same sound, get with anything else.

    Some sounds go with nearly any lips (and some lips with any sound); they would decide over an offset that
    they say nothing of. On two seconds of people never trained on, the share of offsets within a frame rises
    from 0.82 to 0.92 (`weights/README.md`).

    Args:
        scores: [N, 2 R + 1] of pictures i with the sound `frames[i] + k`, k = -R .. R; NaN: not measured.
        frames: [N] when the pictures are, in frames.

    Returns:
        [N, 2 R + 1], NaN where `scores` has it.
    """
    known = np.isfinite(scores)
    values = np.where(known, scores, 0.0)
    of_pictures = values.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    heard = frames[:, None] + np.arange(scores.shape[1])
    heard = heard - heard.min()
    sums = np.bincount(heard.ravel(), values.ravel())
    of_sound = sums / np.maximum(np.bincount(heard.ravel(), known.ravel()), 1)
    return np.asarray(scores - of_pictures[:, None] - of_sound[heard])


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
        self._sums = np.zeros(2 * REACH + 1)
        self._n_windows = 0
        self._lips = np.zeros((0, 0))
        self._speech = np.zeros((0, 0))

    def update(self, lips: Floats, speech: Floats) -> None:
        """The next features [n, D] of both; only those that later ones are compared with are held."""
        if lips.shape != speech.shape:
            raise ValueError(f"features of lips {lips.shape} and of speech {speech.shape} differ")
        if not self._n_windows:
            self._lips, self._speech = np.zeros((0, lips.shape[1])), np.zeros((REACH, lips.shape[1]))
        self._n_windows += len(lips)
        self._lips = np.concatenate([self._lips, lips])
        self._speech = np.concatenate([self._speech, speech])
        n_ready = max(0, len(self._lips) - REACH)  # the others wait for the speech after them
        self._sums += _distances(self._lips[:n_ready], self._speech)
        self._lips, self._speech = self._lips[n_ready:], self._speech[n_ready:]

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
        if not self._n_windows:
            return np.zeros(0)
        padded = np.pad(self._speech, [(0, REACH), (0, 0)])
        return (self._sums + _distances(self._lips, padded)) / self._n_windows


def _distances(lips: Floats, speech: Floats) -> Floats:
    """[31] sums over lips [n, D] of |lips[t] - speech[t + k]|; speech [n + 30 or more, D] begins at -15."""
    shifted = (speech[k : k + len(lips)] for k in range(2 * REACH + 1))
    return np.array([np.linalg.norm(lips - each + 1e-6, axis=1).sum() for each in shifted])
