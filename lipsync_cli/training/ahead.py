"""Batches that are drawn by a thread while steps run, and where the time of a step goes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Generic, TypeVar

Batch = TypeVar("Batch")
_AHEAD = 3  # batches that are drawn while a step runs


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Seconds."""

    data: float = 0.0
    """The step waited for its samples."""
    draw: float = 0.0
    """The processor time that drawing them took in its own thread, beside other steps."""
    forward: float = 0.0
    """From samples to losses, the discriminator's included."""
    backward: float = 0.0
    """Gradients, and what the optimizers make of them."""

    @property
    def total(self) -> float:
        """All but `draw`, which runs beside."""
        return self.data + self.forward + self.backward

    def in_ms(self) -> dict[str, float]:
        """By name, as the log has them."""
        return {f"{field.name}_ms": 1000 * getattr(self, field.name) for field in fields(self)}

    def __add__(self, other: StepTimes) -> StepTimes:
        return StepTimes(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


class Clock:
    """Seconds of training, those of the run before it was resumed included."""

    def __init__(self, before: float) -> None:
        self._zero = time.monotonic() - before

    @property
    def seconds(self) -> float:
        """So far."""
        return time.monotonic() - self._zero


@dataclass(frozen=True, slots=True)
class Drawn(Generic[Batch]):
    """A batch."""

    number: int
    batch: Batch
    seconds: float
    """Processor time of the drawing thread."""


@contextmanager
def drawn_ahead(draw: Callable[[int], Batch], numbers: Iterator[int]) -> Iterator[Iterator[Drawn[Batch]]]:
    """Batches of those numbers, drawn by a thread a little ahead; its errors reach the taker, in order.

    The thread has ended when the block is left.
    """
    drawer = ThreadPoolExecutor(1, thread_name_prefix="draw samples")

    def drawn(number: int) -> Drawn[Batch]:
        began = time.thread_time()
        return Drawn(number, draw(number), time.thread_time() - began)

    def take() -> Iterator[Drawn[Batch]]:
        coming: deque[Future[Drawn[Batch]]] = deque()
        for number in numbers:
            coming.append(drawer.submit(drawn, number))
            if len(coming) == _AHEAD:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()

    try:
        yield take()
    finally:
        drawer.shutdown(wait=True, cancel_futures=True)
