"""Figures of how pictures change from frame to frame."""

from __future__ import annotations

from collections import deque
from typing import ClassVar

import numpy as np

from lipsync_cli.metrics.base import RunningMean
from lipsync_cli.metrics.image import Floats, Picture


class InterFrameConsistency:
    """IFC (paper, section 4; named after Zhu et al., no public code): our formula, written out.

    IFC = mean over t of |d(g[t+1], g[t]) - d(r[t+1], r[t])|, with g the generated and r the real crops and
    d(a, b) = mean over pixels and channels of |a - b| in grey levels (0..255). 0: the generated video
    changes from frame to frame exactly as much as the real one. Lower is better. The paper says "the
    difference between the distances of the consecutive frames in the generated and GT videos" and leaves
    d open, so its numbers (0.16 to 0.51) are not comparable with these.
    """

    name: ClassVar[str] = "ifc"
    unit: ClassVar[str] = "grey levels"
    higher_is_better: ClassVar[bool | None] = False

    def __init__(self) -> None:
        self._mean = RunningMean()
        self._last: tuple[Floats, Floats] | None = None

    def update(self, generated: Picture, target: Picture) -> None:
        """The next frame of both."""
        now = generated.astype(np.float64), target.astype(np.float64)
        if self._last is not None:
            steps = [float(np.abs(a - b).mean()) for a, b in zip(now, self._last, strict=True)]
            self._mean.add(abs(steps[0] - steps[1]))
        self._last = now

    def interrupt(self) -> None:
        """The next frame does not follow the last one (a cut, or frames without a face between)."""
        self._last = None

    def compute(self) -> float:
        """Mean over pairs of neighbours."""
        return self._mean.compute()


class FlickerRatio:
    """Trembling of the generated video over that of the real one; best is 1, above it flickers.

    Trembling = mean over t, pixels and channels of |f[t-1] - 2 f[t] + f[t+1]| (grey levels): steady motion
    has none, a pixel that jumps to and fro has most. Formula: ours.
    """

    name: ClassVar[str] = "flicker_ratio"
    unit: ClassVar[str] = ""
    higher_is_better: ClassVar[bool | None] = None

    def __init__(self) -> None:
        self._means = RunningMean(), RunningMean()
        self._last: deque[tuple[Floats, Floats]] = deque(maxlen=2)

    def update(self, generated: Picture, target: Picture) -> None:
        """The next frame of both."""
        now = generated.astype(np.float64), target.astype(np.float64)
        if len(self._last) == 2:
            for mean, a, b, c in zip(self._means, self._last[0], self._last[1], now, strict=True):
                mean.add(float(np.abs(a - 2 * b + c).mean()))
        self._last.append(now)

    def interrupt(self) -> None:
        """The next frame does not follow the last one."""
        self._last.clear()

    def compute(self) -> float:
        """The ratio; NaN when the real video stands still."""
        generated, real = (mean.compute() for mean in self._means)
        return generated / real if real > 0 else float("nan")
