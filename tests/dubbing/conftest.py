"""A small world for dubs: pictures that say themselves where their face is and how far its mouth is open."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pytest
import torch
from torch import Tensor

from lipsync_cli.dubbing.job import DubSettings
from lipsync_cli.dubbing.parts import Drawing, DubParts, Speaker
from lipsync_cli.dubbing.pipeline import dub
from lipsync_cli.interfaces import Box, Detection, Frame, Image, Landmarks, VideoInfo

WIDTH, HEIGHT = 96, 96
SIZE = 32
"""The fake generator's own."""


@dataclass(frozen=True)
class Shown:
    """What a frame of a fake video shows."""

    opening: float | None = 0.05
    """None: no face."""
    tone: int = 90
    """Brightness of the whole picture; a jump of more than 18 is a cut."""
    left: int = 16
    """Where the face begins."""
    face: int = 48
    """Its width, pixels."""


def draw(shown: Shown) -> Image:
    image = np.full((HEIGHT, WIDTH, 3), shown.tone, np.uint8)
    rows = np.arange(HEIGHT, dtype=np.uint8)[:, None]
    image[..., 1] += rows // 8
    code = -1 if shown.opening is None else round(shown.opening * 1000)
    image[0, 0] = (code + 1, shown.left, shown.face)
    if shown.opening is not None:
        image[10:90, shown.left : shown.left + shown.face, 2] = 100 + code // 4
    return image


def read(image: Image) -> tuple[float, Box] | None:
    """(opening, box of the face) that a drawn picture shows."""
    code, left, width = (int(value) for value in image[0, 0])
    return None if code == 0 else ((code - 1) / 1000, Box(left, 14, left + width, 14 + 1.25 * width))


class Finder:
    """Detector and landmark finder of drawn pictures (scheme ibug68)."""

    reach = 1.0
    pixels = 10_000

    def detect(self, image: Image) -> list[Detection]:
        seen = read(image)
        return [] if seen is None else [Detection(seen[1], 0.9)]

    def find(self, image: Image, box: Box) -> Landmarks | None:
        seen = read(image)
        if seen is None:
            return None
        opening, face = seen
        turns = np.linspace(0, np.pi, 17)
        x, y = face.centre
        half_x, half_y = face.width / 2, face.height / 2
        points = np.tile(np.array([x, y], np.float32), (68, 1))
        points[:17] = np.stack([x - half_x * np.cos(turns), y + half_y * np.sin(turns)], axis=1)
        points[17:27] = np.stack([np.linspace(x - half_x, x + half_x, 10), np.full(10, face.y0)], axis=1)
        height = face.height * 0.75 * 1.5
        points[27] = (x, face.y1 - face.height * 0.75)
        points[36:42] = (x - half_x / 2, y - half_y / 3)
        points[42:48] = (x + half_x / 2, y - half_y / 3)
        points[[30, 31, 33, 35]] = (x, y)
        points[62] = (x, y + half_y / 2)
        points[66] = (x, y + half_y / 2 + opening * height)
        return Landmarks(points, "ibug68", 0.99)


class Stream:
    """A fake video. Counts the pictures that are alive at once."""

    def __init__(
        self, shows: Sequence[Shown], rate: Fraction = Fraction(25), times: Sequence[float] | None = None
    ) -> None:
        self.shows = list(shows)
        self.times = list(times) if times is not None else [float(i / rate) for i in range(len(shows))]
        length = len(shows) / float(rate)
        self.info = VideoInfo(Path("fake.mp4"), WIDTH, HEIGHT, rate, length, len(shows), "fake")
        self.alive = self.most_alive = self.starts = 0
        self.fails_at: tuple[int, int] | None = None
        """(number of the iteration, index of the frame)"""
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Frame]:
        number, self.starts = self.starts, self.starts + 1
        for index, (shown, time) in enumerate(zip(self.shows, self.times, strict=True)):
            if (number, index) == self.fails_at:
                raise OSError("the disk is gone")
            image = draw(shown)
            self._count(1)
            weakref.finalize(image, self._count, -1)
            yield Frame(index, time, image)

    def _count(self, change: int) -> None:
        with self._lock:
            self.alive += change
            self.most_alive = max(self.most_alive, self.alive)


class Speech:
    """Each window is its own time."""

    def around(self, times: Sequence[float]) -> Tensor:
        return torch.tensor(times, dtype=torch.float64)[:, None]


@dataclass
class Generator:
    """Paints the lower half with the time that it hears (modulo 1), or shows its first reference."""

    shows_reference: bool = False
    n_references: int = 2
    scalable: bool = True
    image_size: int = SIZE
    hears: str = "time"
    fails: bool = False
    heard: list[float] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    references: list[Image] = field(default_factory=list)

    def __call__(self, speech: Tensor, references: Tensor, pose: Tensor) -> Tensor:
        if self.fails:
            raise RuntimeError("a bug in a network")
        size = pose.shape[-1]
        assert references.shape == (len(speech), self.n_references, 3, size, size)
        assert pose.shape == (len(speech), 3, size, size)
        assert not pose[:, :, size // 2 :].any()
        self.heard += dict.fromkeys(speech[:, 0].tolist())  # without the frames that fill up a window
        self.batches.append(len(speech))
        self.sizes.append(size)
        self.references.append((references[0] * 255).round().byte().permute(0, 2, 3, 1).numpy())
        if self.shows_reference:
            return references[:, 0]
        face = pose.clone()
        face[:, :, size // 2 :] = (speech[:, 0].float() % 1)[:, None, None, None]
        return face


@dataclass
class Sink:
    """Keeps what is written."""

    frames: list[Frame] = field(default_factory=list)
    rate: Fraction | None = None
    ended_with: type[BaseException] | None = None
    fails_at: int | None = None

    def write(self, frame: Frame) -> None:
        if frame.index == self.fails_at:
            raise OSError("the disk is full")
        self.frames.append(frame)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended_with = kind


@dataclass
class World:
    """Everything that a dub of a fake video needs, and what comes of it."""

    Shown = Shown
    Stream = Stream
    Generator = Generator
    Speech = Speech
    Finder = Finder
    draw = staticmethod(draw)

    def __init__(self) -> None:
        self.silent_lip = Generator()
        self.talking_face = Generator()
        self.speeches = [Speech()]
        self.sink = Sink()
        self.told: list[tuple[str, int, int]] = []

    def parts(self, stream: Stream, duration: float) -> DubParts:
        def drawing() -> Drawing:
            pauses = tuple([] for _ in self.speeches)
            return Drawing(self.silent_lip, self.talking_face, tuple(self.speeches), pauses)

        return DubParts(stream, Finder(), Finder(), drawing, (Speaker(duration),))

    def dub(self, stream: Stream, duration: float, **settings: object) -> object:
        def open_sink(rate: Fraction) -> Sink:
            self.sink.rate = rate
            return self.sink

        def tell(stage: str, done: int, total: int) -> None:
            self.told.append((stage, done, total))

        chosen = DubSettings(**settings)  # type: ignore[arg-type]
        return dub(self.parts(stream, duration), open_sink, chosen, tell)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def no_thread_left() -> Iterator[Callable[[], None]]:
    """Fails the test when it ends with more threads than it began with."""
    before = set(threading.enumerate())
    yield lambda: None
    assert set(threading.enumerate()) <= before
