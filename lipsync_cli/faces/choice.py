"""Whose face it is that is followed, where a picture shows several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.faces.descriptor import FaceDescriptor
from lipsync_cli.faces.landmarks import extent
from lipsync_cli.interfaces import Image, Landmarks

Place = Literal["left", "right", "centre"]


class FaceChoice(Protocol):
    """Picks one of the faces of a picture."""

    @property
    def takes_the_first(self) -> bool:
        """True where the first (largest) face that is offered will do: no need to look for more."""
        ...

    def pick(self, image: Image, faces: Sequence[Landmarks]) -> Landmarks | None:
        """The face that is asked for, out of faces from large to small; None where it is not there."""
        ...


class Largest:
    """The largest face of the picture."""

    takes_the_first = True

    def pick(self, image: Image, faces: Sequence[Landmarks]) -> Landmarks | None:
        """The first."""
        return faces[0] if faces else None


@dataclass(frozen=True)
class ByPlace:
    """The face at the left, at the right, nearest to the middle, or the one of a number from the left."""

    place: Place | int
    """A number counts from 0."""
    takes_the_first = False

    def pick(self, image: Image, faces: Sequence[Landmarks]) -> Landmarks | None:
        """None where the number is larger than there are faces."""
        across = sorted(faces, key=lambda face: extent(face).centre[0])
        if not across:
            return None
        if self.place == "centre":
            middle = image.shape[1] / 2
            return min(across, key=lambda face: abs(extent(face).centre[0] - middle))
        if isinstance(self.place, int):
            return across[self.place] if self.place < len(across) else None
        return across[0 if self.place == "left" else -1]


@dataclass(frozen=True)
class ByLikeness:
    """The face that looks most like a given one."""

    wanted: NDArray[np.float32]
    """Of `FaceDescriptor`."""
    descriptor: FaceDescriptor
    takes_the_first = False

    def pick(self, image: Image, faces: Sequence[Landmarks]) -> Landmarks | None:
        """None where no face is alike enough."""
        alike = [float(self.wanted @ self.descriptor.describe(image, face)) for face in faces]
        best = int(np.argmax(alike)) if alike else -1
        return faces[best] if alike and alike[best] >= self.descriptor.SAME_PERSON else None


class ThenTheSame:
    """The face that another choice picks first, and after that the same person, wherever that one is."""

    def __init__(self, first: FaceChoice, descriptor: FaceDescriptor) -> None:
        self._choice = first
        self._descriptor = descriptor
        self._knows = False

    @property
    def takes_the_first(self) -> bool:
        """As long as nobody was picked, what the first choice says."""
        return self._choice.takes_the_first

    def pick(self, image: Image, faces: Sequence[Landmarks]) -> Landmarks | None:
        """None where that person is not there."""
        picked = self._choice.pick(image, faces)
        if picked is not None and not self._knows:
            self._choice = ByLikeness(self._descriptor.describe(image, picked), self._descriptor)
            self._knows = True
        return picked
