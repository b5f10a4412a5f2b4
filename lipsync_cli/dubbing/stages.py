"""The stages of a dub's second pass: each takes an iterator of frames and is one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby, islice
from queue import Empty, Queue
from threading import Event
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.dubbing.references import References
from lipsync_cli.dubbing.schedule import in_order
from lipsync_cli.dubbing.showing import Showing, Status
from lipsync_cli.faces.crop import crop_face
from lipsync_cli.faces.paste import paste_into
from lipsync_cli.faces.track import FaceTrack
from lipsync_cli.interfaces import Box, FaceGenerator, Frame, FrameStream, Image, Speech
from lipsync_cli.regions import mask_lower_half, to_image, to_network

if TYPE_CHECKING:
    from torch import Tensor

Item = TypeVar("Item")

WINDOW = 5
"""Frames of which larger batches are whole multiples."""
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
    share: float = 0.0
    """How much of the generated face shows."""
    status: Status = Status.NO_FACE
    yaw: float = 0.0
    """Degrees that the head is turned, steadied."""


def fit(stream: FrameStream, plan: Sequence[tuple[int, float]], *, first: int = 0) -> Iterator[DubFrame]:
    """Decode the frames of a `schedule`, in its order, from its frame `first` on."""
    for index, (frame, time) in enumerate(in_order(stream, plan[first:]), start=first):
        yield DubFrame(replace(frame, index=index, time=time), source=frame.index)


def mark(frames: Iterator[DubFrame], track: FaceTrack, shown: Showing) -> Iterator[DubFrame]:
    """Find the face of each frame whose mouth is to change, and what becomes of the others."""
    for item in frames:
        share, status = shown.of(item.source, item.frame.time)
        if item.status is Status.DUBBED:  # by another speaker, whose work is done
            item, status = replace(item, box=None, crop=None, face=None), item.status
        box = track.box(item.source)
        if box is None or share == 0:
            yield replace(item, share=0.0, status=status)
        else:
            yield replace(item, box=box, share=share, status=Status.DUBBED)


def crop(
    frames: Iterator[DubFrame],
    track: FaceTrack,
    shots: NDArray[np.intp],
    references: Mapping[int, References],
    shown: Showing,
) -> Iterator[DubFrame]:
    """Cut out the face of each frame whose mouth is to change, as large as its shot's references."""
    for item in mark(frames, track, shown):
        if item.box is None:
            yield item
            continue
        shot = int(shots[item.source])
        face = crop_face(item.frame.picture, item.box, references[shot].size)
        yield replace(item, shot=shot, crop=face, yaw=shown.yaw(item.source))


def speak(
    frames: Iterator[DubFrame],
    generator: FaceGenerator,
    speech: Speech,
    references: Mapping[int, References],
    *,
    batch: int,
) -> Iterator[DubFrame]:
    """G_L: draw the faces, `batch` frames (with or without a face) at a time; fewer, but a window, of large
    faces."""
    window = min(batch, WINDOW)
    while items := list(islice(frames, batch)):
        faces: dict[int, Image] = {}
        for shot, group in groupby((i for i in items if i.crop is not None), key=lambda item: item.shot):
            members = list(group)
            size = references[shot].size
            step = in_windows(max(window, _PIXELS // size**2))
            for start in range(0, len(members), step):
                part = members[start : start + step]
                drawn = _draw(part, generator, speech, references[shot], window)
                faces |= {item.frame.index: face for item, face in zip(part, drawn, strict=True)}
        for item in items:
            yield replace(item, face=faces.get(item.frame.index))


def in_windows(n: int) -> int:
    """The most frames, n at most, that are whole windows; n itself where it is no more than one."""
    return n if n <= WINDOW else n - n % WINDOW


def _draw(
    items: Sequence[DubFrame],
    generator: FaceGenerator,
    speech: Speech,
    references: References,
    window: int,
) -> Image:
    """Faces of frames of one shot, uint8 [B, size, size, 3]."""
    import torch  # not at the top: the first pass needs only `ahead`, and may run while torch is being loaded

    heard = speech.around([item.frame.time for item in items])
    crops = to_network(np.stack([item.crop for item in items if item.crop is not None]))
    pose = mask_lower_half(crops)
    if not generator.n_references:
        return to_image(_drawn(generator, heard, crops[:, None], pose, window))
    weights = torch.from_numpy(references.weights([item.yaw for item in items]))
    faces = torch.zeros_like(crops)
    for pictures, share in zip(references.sets(), weights.T, strict=True):
        rows = share.nonzero()[:, 0]
        if bool((share == 1).all()):  # as long as the head does not turn
            return to_image(_drawn(generator, heard, to_network(pictures)[None], pose, window))
        if len(rows):
            drawn = _drawn(generator, heard[rows], to_network(pictures)[None], pose[rows], window)
            faces[rows] += share[rows, None, None, None] * drawn.to(faces)
    return to_image(faces)


def _drawn(generator: FaceGenerator, heard: Tensor, references: Tensor, pose: Tensor, window: int) -> Tensor:
    """Draw B frames, more than one as whole windows (the last frame repeated): [B, 3, size, size].

    torch keeps what it has prepared for each number of frames that it met: of the default network 5.5 MB. One
    frame it meets anyway, where references are silenced.

    Args:
        generator: as the protocol says.
        heard: of B frames.
        references: [B, R, 3, size, size], or [1, R, 3, size, size] for all of them.
        pose: [B, 3, size, size].
        window: frames of one.
    """
    n = len(pose)
    missing = 0 if n == 1 else -n % window
    if missing:
        filled = np.minimum(np.arange(n + missing), n - 1)
        heard, pose = heard[filled], pose[filled]
        references = references if len(references) == 1 else references[filled]
    return generator(heard, references.expand(len(pose), -1, -1, -1, -1), pose)[:n]


def paste(frames: Iterator[DubFrame], track: FaceTrack) -> Iterator[DubFrame]:
    """Put the faces into their pictures; frames without one keep the very same picture."""
    for item in frames:
        if item.face is None or item.box is None:
            yield item
            continue
        picture = paste_into(
            item.frame.picture, item.face, item.box, track.outlines[item.source], share=item.share
        )
        yield replace(item, frame=replace(item.frame, picture=picture))


def beside(
    frames: Iterator[DubFrame], paste: Callable[[Iterator[DubFrame]], Iterator[DubFrame]]
) -> Iterator[DubFrame]:
    """The filmed picture on the left, the dubbed one on the right."""
    filmed: deque[Image] = deque()

    def kept() -> Iterator[DubFrame]:
        for item in frames:
            filmed.append(item.frame.image)
            yield item

    for item in paste(kept()):
        image = np.concatenate([filmed.popleft(), item.frame.image], axis=1)
        yield replace(item, frame=replace(item.frame, picture=image))


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
