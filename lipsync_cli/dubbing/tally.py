"""Counting what becomes of the frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.dubbing.job import StatusRun
from lipsync_cli.dubbing.showing import Status
from lipsync_cli.dubbing.stages import DubFrame


class Tally:
    """What became of the frames."""

    def __init__(self, shot_starts: NDArray[np.bool_]) -> None:
        self.n_dubbed = 0
        self.runs: list[StatusRun] = []
        self.cuts: list[int] = []
        self._shots = np.cumsum(shot_starts)
        self._last_shot: int | None = None

    def add(self, item: DubFrame) -> None:
        """One more frame of the output."""
        self.n_dubbed += item.status is Status.DUBBED
        last = self.runs[-1] if self.runs else None
        if last is not None and last.status == item.status.value:
            self.runs[-1] = replace(last, frames=last.frames + 1)
        else:
            self.runs.append(StatusRun(item.frame.index, 1, item.status.value))
        shot = int(self._shots[min(item.source, len(self._shots) - 1)])
        if self._last_shot not in (None, shot):
            self.cuts.append(item.frame.index)
        self._last_shot = shot
