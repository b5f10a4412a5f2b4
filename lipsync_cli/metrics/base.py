"""What metrics have in common, and how the figures of many clips become one with its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

_DRAWN_AT_ONCE = 1 << 18  # numbers: thousands of clips, all resamples together, would fill the memory


class Metric(Protocol):
    """A figure of a stream of pictures, points or features: any number of `update`, then `compute`.

    Each class has its own `update`; it holds sums, never what it was given (beyond the frames that a
    difference over time needs), so that memory does not grow with the video.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    higher_is_better: ClassVar[bool | None]
    """None: nearest to a value that its docstring names."""

    def compute(self) -> float:
        """The figure of all updates; NaN when there was none."""
        ...


@dataclass(slots=True)
class RunningMean:
    """Mean of numbers that come one by one; NaN when none has come."""

    total: float = 0.0
    n: int = 0

    def add(self, value: float) -> None:
        """Count one more number in."""
        self.total += value
        self.n += 1

    def compute(self) -> float:
        """The mean so far."""
        return self.total / self.n if self.n else float("nan")


@dataclass(frozen=True, slots=True)
class Summary:
    """One figure of many clips."""

    mean: float
    median: float
    low: float
    """Lower end of the 95 % interval of the mean."""
    high: float
    """Upper end of the 95 % interval of the mean."""
    n: int
    """How many clips it comes from."""


def summarise(values: Sequence[float], *, resamples: int = 2000, seed: int = 0) -> Summary:
    """Mean and median of finite figures, one a clip, with the 95 % bootstrap interval of the mean.

    Percentile bootstrap (Efron 1979): clips are drawn with replacement `resamples` times; the interval
    runs from the 2.5th to the 97.5th percentile of the means. The same values give the same interval.

    Raises ValueError for no values, or for one that is not finite: leave those out, with a reason, before.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError("a summary needs at least one figure, and finite ones")
    means = _bootstrap_means(array, resamples, np.random.default_rng(seed))
    low, high = np.percentile(means, [2.5, 97.5])
    return Summary(float(array.mean()), float(np.median(array)), float(low), float(high), array.size)


def paired_difference(
    first: Sequence[float], second: Sequence[float], *, resamples: int = 2000, seed: int = 0
) -> Summary:
    """Summary of first - second, clip by clip; a 95 % interval without 0 tells two methods apart.

    Raises ValueError when the two have not the same clips (lengths differ).
    """
    if len(first) != len(second):
        raise ValueError(f"paired figures need the same clips, got {len(first)} and {len(second)}")
    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return summarise(differences.tolist(), resamples=resamples, seed=seed)


def _bootstrap_means(
    values: NDArray[np.float64], resamples: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    at_once = max(1, _DRAWN_AT_ONCE // values.size)
    means = [
        values[generator.integers(0, values.size, (min(at_once, resamples - first), values.size))].mean(
            axis=1
        )
        for first in range(0, resamples, at_once)
    ]
    return np.concatenate(means)
