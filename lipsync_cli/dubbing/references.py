"""The pictures of the speaker that a generator looks at: one pair for each shot, a closed and an open mouth.

Paper, section 3.2: the identity reference goes through the silent-lip generator G_S, so that the talking-face
generator G_L never sees lips that say something else. Where a shot shows closed lips, that frame is as good.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from lipsync_cli.dubbing.silencing import Silencer, is_closed
from lipsync_cli.faces.crop import crop_face
from lipsync_cli.faces.landmarks import extent
from lipsync_cli.faces.track import FaceTrack
from lipsync_cli.interfaces import Area, Box, FaceGenerator, Image, Landmarks, Picture
from lipsync_cli.pictures import part_of

MOST_CLOSED, MOST_OPEN = 1 / 6, 1 / 8
"""Shares of a shot's frames among which the closed and the open reference are chosen."""
LARGEST_MULTIPLE = 6
"""A generator that scales works at most at this multiple of its own size."""

_KEPT = 3  # candidates of each kind and each turn of the head
_TURN = 12.0  # degrees that make another turn of the head
_MOST_TURNS = 4  # to each side
_FEWEST_OF_TURN = 12  # frames that a turn of the head lasts to have references of its own
_LEAST_SPAN = 0.4  # of the shot's openings that it has to show
_BLEND = 2.5  # degrees on both sides of the middle between two turns, over which one fades into the other
_ROOM = 0.3  # of the face's size around it: the smoothed box may lie elsewhere
_SLACK = 0.05  # of the generator's size that a face may be larger than its crop
_LARGEST_PATCH = 1120  # pixels of the longer side


@dataclass(frozen=True)
class Candidate:
    """A frame that may become a reference: only the part of the picture around the face is kept."""

    index: int
    """In the shot."""
    opening: float
    patch: Image
    corner: tuple[int, int]
    """Where the patch's upper left corner lay in the picture (x, y)."""
    scale: float
    """Patch pixels for one picture pixel."""

    @classmethod
    def cut(cls, index: int, opening: float, picture: Picture, face: Box) -> Candidate:
        """Copy the surroundings of a face (its tight box) out of a picture."""
        reach = (0.5 + _ROOM) * math.hypot(face.width, face.height)
        x, y = face.centre
        height, width, _ = picture.shape
        left, top = (
            max(0, min(math.floor(middle - reach), side - 1)) for middle, side in ((x, width), (y, height))
        )
        right, bottom = (
            min(side, max(start + 1, math.ceil(middle + reach)))
            for start, middle, side in ((left, x, width), (top, y, height))
        )
        patch = part_of(picture, Area(left, top, right - left, bottom - top))
        scale = min(1.0, _LARGEST_PATCH / max(patch.shape[:2]))
        if scale == 1:
            return cls(index, opening, patch.copy(), (left, top), scale)
        small = cv2.resize(patch, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return cls(index, opening, small.astype(np.uint8, copy=False), (left, top), scale)

    def crop(self, box: Box, size: int) -> Image:
        """The face as `crop_face` would cut it out of the whole picture."""
        x, y = self.corner
        # Pixel centres lie on whole numbers, so scaling is about the corner of the corner pixel.
        x0, y0, x1, y1 = (
            (value - start + 0.5) * self.scale - 0.5
            for value, start in ((box.x0, x), (box.y0, y), (box.x1, x), (box.y1, y))
        )
        return crop_face(self.patch, Box(x0, y0, x1, y1, box.angle), size)

    @property
    def sharpness(self) -> float:
        """Variance of the Laplacian of the patch's lower half."""
        grey = cv2.cvtColor(self.patch[self.patch.shape[0] // 2 :], cv2.COLOR_RGB2GRAY)
        return float(cv2.Laplacian(grey, cv2.CV_32F).var())


@dataclass
class CandidateKeeper:
    """Keeps the few frames of a shot that may become references, while the shot goes by once.

    The most closed and the most open mouths of each turn of the head: the memory does not grow.
    """

    _kept: dict[tuple[int, int], list[tuple[float, Candidate]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def offer(
        self, index: int, picture: Picture, landmarks: Landmarks, *, opening: float, yaw: float
    ) -> None:
        """Look at a frame of the shot."""
        turn = max(-_MOST_TURNS, min(_MOST_TURNS, round(yaw / _TURN)))
        found: Candidate | None = None
        for sign in (1, -1):  # the smallest openings, then the largest
            kept = self._kept[sign, turn]
            if len(kept) == _KEPT and sign * opening >= kept[-1][0]:
                continue
            found = found or Candidate.cut(index, opening, picture, extent(landmarks))
            kept.append((sign * opening, found))
            kept.sort(key=lambda ranked: ranked[0])
            del kept[_KEPT:]

    def take(self) -> list[Candidate]:
        """All candidates of the shot that ends here; the keeper is empty afterwards."""
        by_index = {found.index: found for kept in self._kept.values() for _, found in kept}
        self._kept.clear()
        return list(by_index.values())


@dataclass(frozen=True)
class References:
    """What a generator looks at through one shot."""

    pictures: Image
    """uint8 [R, size, size, 3], the closed mouth first."""
    silenced: bool
    """True where the closed mouth is the work of the silent-lip generator."""
    yaws: tuple[float, ...] = (0.0,)
    """Degrees that the head is turned: in `pictures`, then in each of `turned`."""
    turned: tuple[Image, ...] = ()
    """Pictures as `pictures` of the head turned otherwise, where the shot shows both mouths so."""

    @property
    def size(self) -> int:
        """Side of the crops of this shot, pixels."""
        return int(self.pictures.shape[1])

    def sets(self) -> tuple[Image, ...]:
        """All pictures, in the order of `yaws`."""
        return (self.pictures, *self.turned)

    def weights(self, yaws: Sequence[float]) -> NDArray[np.float32]:
        """[B, K] shares of the sets for heads turned so: the nearest one, half-way between two both."""
        weights = np.zeros((len(yaws), len(self.yaws)), np.float32)
        order = np.argsort(self.yaws)
        centres = np.asarray(self.yaws)[order]
        for row, yaw in enumerate(yaws):
            after = int(np.searchsorted((centres[1:] + centres[:-1]) / 2 + _BLEND, yaw))
            weights[row, order[after]] = 1
            if after + 1 < len(centres):
                middle = (centres[after] + centres[after + 1]) / 2
                share = float(np.clip((yaw - middle + _BLEND) / (2 * _BLEND), 0, 1))
                weights[row, order[after]], weights[row, order[after + 1]] = 1 - share, share
        return weights


def choose(
    shot: FaceTrack, candidates: Sequence[Candidate], seen: NDArray[np.bool_] | None = None
) -> tuple[Candidate, Candidate]:
    """The closed and the open reference of a shot (they may be one frame).

    Among the most closed and the most open frames those whose head is turned as usual in the shot, as large
    as usual, and sharp. seen: [N] the frames that count; all with a face where it is not given.
    """
    seen = shot.present if seen is None else seen
    widths = shot.boxes[:, 2] - shot.boxes[:, 0]
    usual_yaw, usual_width = float(np.median(shot.yaws[seen])), float(np.median(widths[seen]))
    closed_limit, open_limit = np.quantile(shot.openings[seen], (MOST_CLOSED, 1 - MOST_OPEN))
    span = max(float(open_limit - closed_limit), 1e-3)
    sharpest = max(candidate.sharpness for candidate in candidates) + 1e-6

    def strangeness(candidate: Candidate) -> float:
        turned = abs(float(shot.yaws[candidate.index]) - usual_yaw) / _TURN
        resized = abs(math.log(float(widths[candidate.index]) / usual_width)) / 0.2
        return turned + resized + 0.5 * (1 - candidate.sharpness / sharpest)

    def openness(candidate: Candidate) -> float:
        return float(shot.openings[candidate.index])

    closed = [candidate for candidate in candidates if openness(candidate) <= closed_limit]
    opened = [candidate for candidate in candidates if openness(candidate) >= open_limit]
    return (
        min(closed or candidates, key=lambda candidate: strangeness(candidate) + openness(candidate) / span),
        min(
            opened or candidates,
            key=lambda candidate: strangeness(candidate) - 0.3 * openness(candidate) / span,
        ),
    )


def references_of(shot: FaceTrack, candidates: Sequence[Candidate], silencer: Silencer) -> References:
    """Choose, crop and silence the references of a shot, out of at least one candidate.

    A generator with one reference (the paper's) always gets a silenced one; one with two gets the closed
    frame itself where its lips are really closed. One without looks at each frame itself: what is kept for it
    only tells the size of its crops.
    """
    seen = shot.present
    usual = float(np.median(shot.yaws[seen]))
    size = crop_size(shot, silencer.generator)
    first, silenced = _pictures(shot, choose(shot, candidates), size, silencer)
    yaws, turned = [usual], []
    if silencer.generator.n_references > 1:
        for part, own in _turns(shot, candidates, usual):
            pictures, _ = _pictures(shot, choose(shot, own, part), size, silencer)
            yaws.append(float(np.median(shot.yaws[part])))
            turned.append(pictures)
    return References(first, silenced, tuple(yaws), tuple(turned))


def _turns(
    shot: FaceTrack, candidates: Sequence[Candidate], usual: float
) -> Iterator[tuple[NDArray[np.bool_], list[Candidate]]]:
    """Other turns of the head than the usual one that show a closed and an open mouth: frames, candidates."""
    turns = np.round((shot.yaws - usual) / _TURN).astype(int)
    whole = _span(shot.openings[shot.present])
    for turn in sorted({int(turn) for turn in turns[shot.present]} - {0}):
        part = shot.present & (turns == turn)
        own = [candidate for candidate in candidates if part[candidate.index]]
        if part.sum() >= _FEWEST_OF_TURN and own and _span(shot.openings[part]) >= _LEAST_SPAN * whole:
            yield part, own


def _span(openings: NDArray[np.float32]) -> float:
    low, high = np.quantile(openings, (MOST_CLOSED, 1 - MOST_OPEN))
    return float(high - low)


def _pictures(
    shot: FaceTrack, chosen: tuple[Candidate, Candidate], size: int, silencer: Silencer
) -> tuple[Image, bool]:
    """The references' crops, the first silenced where that is needed, and whether it was."""
    closed, opened = chosen
    crops = []
    for candidate in chosen:
        box = shot.box(candidate.index)
        if box is None:
            raise ValueError(f"frame {candidate.index} is a candidate, but the track has no face there")
        crops.append(candidate.crop(box, size))
    n = silencer.generator.n_references
    pictures = np.stack([crops[min(i, 1)] for i in range(max(n, 1))])
    if n == 0 or (n > 1 and is_closed(closed.opening, opened.opening)):
        return pictures, False
    silent = pictures.copy()
    silent[0] = silencer(pictures)
    return silent, True


def crop_size(shot: FaceTrack, generator: FaceGenerator) -> int:
    """Side of the crops of a shot: the generator's size, or its first multiple to hold the face's pixels."""
    if not generator.scalable:
        return generator.image_size
    boxes = shot.boxes[shot.present]
    side = float(np.median((boxes[:, 2] - boxes[:, 0] + boxes[:, 3] - boxes[:, 1]) / 2))
    return generator.image_size * max(
        1, min(LARGEST_MULTIPLE, math.ceil(side / generator.image_size - _SLACK))
    )
