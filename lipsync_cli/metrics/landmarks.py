"""Figures of lip points and of the series of mouth openings read from them."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.metrics.base import RunningMean

Floats = NDArray[np.float64]
_STILL = 1e-9  # a standard deviation below this is rounding


class LmdSum:
    """Landmark distance, first public definition: mean over frames of the SUM over lip points of |g - r|.

    |.| is the Euclidean distance, in the unit of the points (pixels of a 96 x 96 crop in our reports).
    Divided by the number of points (20 in the public scripts) it is LMD as written by Chen et al. 2018.
    """

    name: ClassVar[str] = "lmd_sum"
    unit: ClassVar[str] = "pixels"
    higher_is_better: ClassVar[bool | None] = False

    def __init__(self) -> None:
        self._mean = RunningMean()

    def update(self, generated: NDArray[Any], target: NDArray[Any]) -> None:
        """Lip points [P, 2] of one frame."""
        self._mean.add(float(np.linalg.norm(_difference(generated, target), axis=1).sum()))

    def compute(self) -> float:
        """Mean of the frames."""
        return self._mean.compute()


class LmdCoordinates:
    """Landmark distance, second public definition: mean over frames, points and x, y of |g - r|."""

    name: ClassVar[str] = "lmd_coordinates"
    unit: ClassVar[str] = "pixels"
    higher_is_better: ClassVar[bool | None] = False

    def __init__(self) -> None:
        self._mean = RunningMean()

    def update(self, generated: NDArray[Any], target: NDArray[Any]) -> None:
        """Lip points [P, 2] of one frame."""
        self._mean.add(float(np.abs(_difference(generated, target)).mean()))

    def compute(self) -> float:
        """Mean of the frames."""
        return self._mean.compute()


def _difference(generated: NDArray[Any], target: NDArray[Any]) -> Floats:
    if generated.shape != target.shape:
        raise ValueError(f"lip points of two schemes: {generated.shape} and {target.shape}")
    return generated.astype(np.float64) - target.astype(np.float64)


def correlation(generated: Floats, target: Floats) -> float:
    """Pearson's r of two series [N], in [-1, 1]; higher is better.

    A generated series that does not move at all follows nothing: 0. NaN when the real one does not move, or
    with fewer than three values: then the question has no answer.
    """
    if len(target) < 3 or float(np.std(target)) < _STILL:
        return float("nan")
    if float(np.std(generated)) < _STILL:
        return 0.0
    return float(np.corrcoef(generated, target)[0, 1])


def amplitude_ratio(generated: Floats, target: Floats) -> float:
    """Standard deviation of the generated series over that of the real one; best is 1.

    NaN when the real one does not move, or with fewer than three values.
    """
    if len(target) < 3 or float(np.std(target)) < _STILL:
        return float("nan")
    return float(np.std(generated) / np.std(target))


def sampled(times: Floats, values: Floats, at: Floats, *, longest_gap: float) -> Floats:
    """A series (times [N] rising, values [N]) read at other times [M] by linear interpolation.

    NaN before its beginning, after its end, and between two values that are further apart than
    `longest_gap` seconds (frames without a face lie between them).
    """
    result = np.full(len(at), np.nan)
    if len(times) == 0:
        return result
    right = np.clip(np.searchsorted(times, at - 1e-6), 0, len(times) - 1)
    left = np.clip(right - 1, 0, None)
    on_a_value = np.abs(times[right] - at) <= 1e-6
    result[on_a_value] = values[right][on_a_value]
    span = times[right] - times[left]
    between = ~on_a_value & (times[left] < at) & (at < times[right]) & (span <= longest_gap)
    part = (at - times[left])[between] / span[between]
    result[between] = values[left][between] * (1 - part) + values[right][between] * part
    return result
