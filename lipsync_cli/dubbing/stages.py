"""The stages of a dub's second pass: each takes an iterator of frames and is one."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count, groupby, islice
from queue import Empty, Queue
from threading import Event
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.dubbing.references import References
from lipsync_cli.faces.crop import crop_face
from lipsync_cli.faces.paste import paste_face
from lipsync_cli.faces.track import FaceTrack
from lipsync_cli.interfaces import Box, FaceGenerator, Frame, FrameStream, Image, Speech
from lipsync_cli.regions import mask_lower_half, to_image, to_network

Item = TypeVar("Item")

_PIXELS = 25 * 192 * 192  # that a generator draws at once: some 60 MB of pictures go in


@dataclass(frozen=True, slots=True)
class DubFrame:
    """A frame on its way through the stages."""

    frame: Frame
    """Index and time are those of the output."""
    source: int
    """Index of the frame in the source video."""
    shot: int = -1
    """Number of its shot, where there is a face."""
    box: Box | None = None
    """Where its face is; None: the frame passes through."""
    crop: Image | None = None
    """The face as filmed, [size, size, 3]."""
    face: Image | None = None
    """The face as generated."""


def schedule(
    times: NDArray[np.float64], *, duration: float, step: float, longer: Literal["loop", "hold"]
) -> Iterator[tuple[int, float]]:
    """Source frame and time of each frame of the output, which ends within half a frame of the speech.

    times: of the source's frames; duration: of the speech; step: seconds that the last frame is shown.
    A video that is too short starts again (`loop`) or stays at its last frame (`hold`). Time stamps stay
    those of the source, so that a speech made for the video's own time line fits; but the first frame is
    shown from the start, where the picture begins later than the sound.
    """
    last = len(times) - 1
    period = float(times[last] - times[0]) + step
    for index in count():
        turn, source = divmod(index, len(times))
        if turn == 0 or longer == "loop":
            time = float(times[source]) + turn * period
        else:
            source, time = last, float(times[last]) + (index - last) * step
        if index and time >= duration - step / 2:
            return
        yield source, time if index else 0.0


def fit(stream: FrameStream, plan: Iterable[tuple[int, float]]) -> Iterator[DubFrame]:
    """Decode the frames of a `schedule`, in its order."""
    frames: Iterator[Frame] = iter(())
    current: Frame | None = None
    for index, (source, time) in enumerate(plan):
        if current is None or source < current.index:
            frames = iter(stream)
            current = next(frames, current)
        while current is not None and current.index < source:
            following = next(frames, None)
            if following is None:
                break  # the second decode got less than the first: the last picture stays
            current = following
        if current is None:
            return
        yield DubFrame(Frame(index, time, current.image), source=current.index)


def crop(
    frames: Iterator[DubFrame],
    track: FaceTrack,
    shots: NDArray[np.intp],
    references: Mapping[int, References],
) -> Iterator[DubFrame]:
    """Cut out the face of each frame that has one, as large as its shot's references."""
    for item in frames:
        box = track.box(item.source)
        if box is None:
            yield item
            continue
        shot = int(shots[item.source])
        face = crop_face(item.frame.image, box, references[shot].size)
        yield replace(item, shot=shot, box=box, crop=face)


def speak(
    frames: Iterator[DubFrame],
    generator: FaceGenerator,
    speech: Speech,
    references: Mapping[int, References],
    *,
    batch: int,
) -> Iterator[DubFrame]:
    """G_L: draw the faces, `batch` frames (with or without a face) at a time."""
    while items := list(islice(frames, batch)):
        faces: dict[int, Image] = {}
        for shot, group in groupby((i for i in items if i.crop is not None), key=lambda item: item.shot):
            members = list(group)
            size = references[shot].size
            step = max(1, _PIXELS // size**2)
            for start in range(0, len(members), step):
                part = members[start : start + step]
                drawn = _draw(part, generator, speech, references[shot])
                faces |= {item.frame.index: face for item, face in zip(part, drawn, strict=True)}
        for item in items:
            yield replace(item, face=faces.get(item.frame.index))


def _draw(
    items: Sequence[DubFrame], generator: FaceGenerator, speech: Speech, references: References
) -> Image:
    """Faces of frames of one shot, uint8 [B, size, size, 3]."""
    heard = speech.around([item.frame.time for item in items])
    crops = to_network(np.stack([item.crop for item in items if item.crop is not None]))
    pictures = crops[:, None]
    if generator.n_references:
        pictures = to_network(references.pictures).expand(len(items), -1, -1, -1, -1)
    return to_image(generator(heard, pictures, mask_lower_half(crops)))


def paste(frames: Iterator[DubFrame], track: FaceTrack) -> Iterator[DubFrame]:
    """Put the faces into their pictures; frames without one keep the very same array."""
    for item in frames:
        if item.face is None or item.box is None:
            yield item
            continue
        image = paste_face(item.frame.image, item.face, item.box, track.outlines[item.source])
        yield replace(item, frame=replace(item.frame, image=image))


def ahead(items: Iterator[Item], size: int = 4) -> Generator[Item, None, None]:
    """The same items, made by a thread of its own that is at most `size` of them (and one) ahead.

    Errors of the thread are raised here. However this ends (also when it is closed early), the thread is
    stopped and joined.
    """
    waiting: Queue[Item | None] = Queue(size)
    stopped = Event()

    def fill() -> None:
        try:
            for item in items:
                waiting.put(item)
                if stopped.is_set():
                    return
        finally:
            waiting.put(None)

    with ThreadPoolExecutor(1) as pool:
        filling = pool.submit(fill)
        try:
            while (item := waiting.get()) is not None:
                yield item
            filling.result()
        finally:
            stopped.set()
            while not filling.done():  # make room for a put that waits
                with suppress(Empty):
                    waiting.get(timeout=0.05)
