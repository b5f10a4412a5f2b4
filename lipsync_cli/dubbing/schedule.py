"""Which frame of the source is shown when, and reading them in that order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import overload

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.dubbing.job import Longer
from lipsync_cli.interfaces import Frame, FrameStream

_LONGEST_STANDING = 0.25
"""Seconds that one frame is shown before its mouth has to move."""
_BACKWARDS_BYTES = 200_000_000
"""Pictures that are held at most while a video runs backwards."""


class Plan(Sequence[tuple[int, float]]):
    """A `schedule` as it is kept: source frame and time of each frame of the output, in 16 bytes."""

    def __init__(self, frames: Iterable[tuple[int, float]]) -> None:
        self._rows = np.fromiter(frames, dtype=[("source", np.int64), ("time", np.float64)])

    @property
    def sources(self) -> NDArray[np.int64]:
        """[N] frames of the source."""
        return self._rows["source"]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[tuple[int, float]]:
        return ((int(source), float(time)) for source, time in self._rows)

    @overload
    def __getitem__(self, place: int) -> tuple[int, float]: ...

    @overload
    def __getitem__(self, place: slice) -> Plan: ...

    def __getitem__(self, place: int | slice) -> tuple[int, float] | Plan:
        if isinstance(place, slice):
            part = Plan(())
            part._rows = self._rows[place]
            return part
        source, time = self._rows[place]
        return int(source), float(time)


def schedule(
    times: NDArray[np.float64], *, duration: float, step: float, longer: Longer, keep: bool = False
) -> Iterator[tuple[int, float]]:
    """Source frame and time of each frame of the output, which ends within half a frame of the speech.

    Time stamps stay those of the source, so that a speech made for the video's own time line fits; but the
    first frame is shown from time 0, where the picture begins later than the sound. A frame that stands
    longer than 0.25 s, also the first one before its own time, is given again every `step`, so that its mouth
    moves on.

    Args:
        times: of the source's frames.
        duration: of the speech.
        step: seconds that the last frame is shown.
        longer: what a video does that is shorter than the speech: it starts again (`loop`), runs back and
            forth (`pingpong`), stays at its last frame (`hold`), or ends (`trim`).
        keep: the output does not end before the source does.
    """
    for index, (source, time) in enumerate(_without_gaps(_endless(times, step, longer), step)):
        is_over = time >= duration - step / 2 and not (keep and time <= times[-1])
        if index and is_over:
            return
        yield source, time


def _without_gaps(frames: Iterator[tuple[int, float]], step: float) -> Iterator[tuple[int, float]]:
    """Frames that stand for long, once more every `step`."""
    before: tuple[int, float] | None = None
    for source, time in frames:
        if before is not None and time - before[1] > max(_LONGEST_STANDING, 2 * step):
            for turn in range(1, round((time - before[1]) / step)):
                yield before[0], before[1] + turn * step
        yield source, time
        before = source, time


def _endless(times: NDArray[np.float64], step: float, longer: Longer) -> Iterator[tuple[int, float]]:
    """All frames once, the first one from time 0, then what comes of them by `longer`."""
    last = len(times) - 1
    yield 0, 0.0
    yield from ((source, float(times[source])) for source in range(1, last + 1))
    if longer == "hold" or (longer != "trim" and last == 0):
        yield from ((last, float(times[last]) + turn * step) for turn in count(1))
    elif longer == "loop":
        period = float(times[last] - times[0]) + step
        for turn in count(1):
            yield from ((source, float(times[source]) + turn * period) for source in range(last + 1))
    elif longer == "pingpong":
        yield from _back_and_forth(times)


def _back_and_forth(times: NDArray[np.float64]) -> Iterator[tuple[int, float]]:
    """From the last frame back to the first, forth again, and so on; gaps are those of the source."""
    last = len(times) - 1
    length = float(times[last] - times[0])
    for turn in count():
        begin = float(times[last]) + turn * 2 * length
        yield from (
            (source, begin + float(times[last] - times[source])) for source in range(last - 1, -1, -1)
        )
        begin += length
        yield from ((source, begin + float(times[source] - times[0])) for source in range(1, last + 1))


def in_order(stream: FrameStream, plan: Iterable[tuple[int, float]]) -> Iterator[tuple[Frame, float]]:
    """Decode the frames of a `schedule`: (frame of the source, time in the output).

    A stream is read forwards; where the schedule runs backwards, some frames before the one that is wanted
    are read and held (200 MB at most).
    """
    held = _Held(stream)
    for source, time in plan:
        frame = held.get(source)
        if frame is None:
            return
        yield frame, time


class _Held:
    """Gives frames of a stream by their index, cheapest in rising order."""

    def __init__(self, stream: FrameStream) -> None:
        self._stream = stream
        self._frames: Iterator[Frame] = iter(())
        self._current: Frame | None = None
        self._block: list[Frame] = []
        info = stream.info
        self._room = max(2, _BACKWARDS_BYTES // (3 * info.width * info.height))

    def get(self, index: int) -> Frame | None:
        """A frame; the last one where the second decode gets less than the first; None of an empty stream."""
        if self._block and self._block[0].index <= index <= self._block[-1].index:
            return self._block[index - self._block[0].index]
        if self._current is not None and index == self._current.index - 1:
            self._read_block(index)
            return self._block[-1] if self._block else None
        self._block = []
        return self._forwards(index)

    def _forwards(self, index: int) -> Frame | None:
        if self._current is None or index < self._current.index:
            self._frames = iter(self._stream)
            self._current = next(self._frames, self._current)
        while self._current is not None and self._current.index < index:
            following = next(self._frames, None)
            if following is None:
                break  # the second decode got less than the first: the last picture stays
            self._current = following
        return self._current

    def _read_block(self, last: int) -> None:
        """Hold the frames up to `last`, as many as there is room for."""
        first = max(0, last + 1 - self._room)
        block: list[Frame] = []
        self._frames = iter(self._stream)
        for frame in self._frames:
            if frame.index >= first:
                block.append(frame)
            if frame.index >= last:
                break
        self._block = block
        self._current = block[0] if block else None
