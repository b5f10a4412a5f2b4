"""The stages that sharpen generated faces before they are pasted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np

from lipsync_cli.dubbing.stages import DubFrame
from lipsync_cli.faces.align import align_face, joined, seen_through, to_template
from lipsync_cli.faces.crop import crop_to_image
from lipsync_cli.faces.detail import SteadyDetail, borrow_detail
from lipsync_cli.faces.paste import paste_face
from lipsync_cli.faces.track import FaceTrack
from lipsync_cli.interfaces import FaceTemplate, Image, Points, Restorer
from lipsync_cli.regions import to_image, to_network

_LARGEST = 512
"""Side of a restored crop at most: no network draws more."""


def restore(
    frames: Iterator[DubFrame],
    restorer: Restorer,
    track: FaceTrack,
    *,
    strength: float = 1.0,
    memory: float = 0.0,
    restart: int | None = None,
) -> Iterator[DubFrame]:
    """Sharpen the generated faces.

    A network with a template sees the face as it will be in the picture: pasted, then turned to the
    template. Of its answer only the crop is kept, so that paste decides as always what shows.

    Args:
        frames: with `face` as generated.
        restorer: any; takes one face at a time.
        track: where the faces lie.
        strength: share of the restored face, 0 (none) to 1 (nothing else).
        memory: share of the past in the detail that is added (`SteadyDetail`); 0 restores frame by frame.
        restart: frames of the output after which the past is forgotten, so that a dub that goes on there
            comes out the same; None: never.
    """
    steady = SteadyDetail(memory)
    last: DubFrame | None = None
    size = 0
    for item in frames:
        if item.face is None or item.box is None:
            last = None
            yield item
            continue
        if _is_new(item, last, restart):
            steady.reset()
            # the same for all frames that follow each other, though boxes breathe: detail is carried over
            size = max(item.face.shape[0], min(_LARGEST, round(max(item.box.width, item.box.height))))
        last = item
        restored = _restored(item, restorer, track, size)
        generated = _enlarged(item.face, restored.shape[0])
        sharp = steady.blend(generated, restored)
        yield replace(item, face=_mixed(generated, sharp, strength))


def _is_new(item: DubFrame, last: DubFrame | None, restart: int | None) -> bool:
    """Whether the frame does not follow the last one that had a face."""
    if last is None or last.shot != item.shot or item.source not in (last.source, last.source + 1):
        return True
    return restart is not None and item.frame.index // restart != last.frame.index // restart


def borrow(frames: Iterator[DubFrame], strength: float = 1.0) -> Iterator[DubFrame]:
    """Give the generated faces the fine texture of the filmed skin (`borrow_detail`); no network."""
    for item in frames:
        if item.face is None or item.crop is None:
            yield item
        else:
            yield replace(item, face=borrow_detail(item.face, item.crop, strength))


def _restored(item: DubFrame, restorer: Restorer, track: FaceTrack, size: int) -> Image:
    """The restored face in the frame of its crop; `size` is of crops out of aligned faces."""
    if item.face is None or item.box is None:
        raise ValueError("a frame without a face cannot be restored")
    template = restorer.template
    if template is None:
        return _run(restorer, item.face)
    whole = paste_face(item.frame.image, item.face, item.box, track.outlines[item.source])
    matrix = to_template(track.anchors[item.source], _anchors(template))
    answer = _run(restorer, align_face(whole, matrix, template.size))
    # crop -> picture -> aligned -> answer, which may be a multiple of the aligned face
    scale = answer.shape[0] / template.size
    to_answer = np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2]])
    return seen_through(answer, joined(to_answer, joined(matrix, crop_to_image(item.box, size))), size)


def _run(restorer: Restorer, face: Image) -> Image:
    answer: Image = to_image(restorer(to_network(face[None])))[0]
    return answer


def _anchors(template: FaceTemplate) -> Points:
    return np.asarray(template.anchors, np.float32)


def _enlarged(face: Image, size: int) -> Image:
    if face.shape[0] == size:
        return face
    return cv2.resize(face, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)


def _mixed(generated: Image, restored: Image, strength: float) -> Image:
    if strength == 1:
        return restored
    mixed = cv2.addWeighted(generated, 1 - strength, restored, strength, 0)
    return mixed.astype(np.uint8, copy=False)
