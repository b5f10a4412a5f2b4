"""What G_S is for: the closed mouth of a shot that shows none (paper, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

from lipsync_cli.faces.closing import close_lips
from lipsync_cli.faces.landmarks import opening
from lipsync_cli.faces.track import face_in_crop, find_twice
from lipsync_cli.interfaces import FaceGenerator, Image, LandmarkFinder, Speech
from lipsync_cli.regions import mask_lower_half, to_image, to_network
from lipsync_cli.speech.pauses import LONG_BEFORE

CLOSED = 0.012
"""Opening over face height below which lips count as closed."""
CLOSED_SHARE = 0.2
"""Lips opened less than this share of the open reference count as closed too."""


def is_closed(opening: float, widest: float) -> bool:
    """Whether lips are closed, by their opening and that of the widest open mouth of the same shot."""
    return opening < max(CLOSED, CLOSED_SHARE * widest)


@dataclass(frozen=True)
class Silencer:
    """The silent-lip generator G_S, and eyes to see whether it closed the lips.

    Where it opened them further, the frame itself is the better start; what is still apart then is moved
    together (`faces.closing`). A network that was trained for hours leaves teeth in a smile, and closed lips
    are what a talking-face generator starts from in every frame.
    """

    generator: FaceGenerator
    speech: Speech
    """Any that the generator can hear: only its silence is."""
    finder: LandmarkFinder

    def __call__(self, references: Image) -> Image:
        """uint8 [R, S, S, 3], crops of one face as a track cuts them -> [S, S, 3]: the first, silent."""
        pictures = to_network(references)
        pose = mask_lower_half(pictures[:1])
        face = to_image(self.generator(self.speech.around([LONG_BEFORE]), pictures[None], pose)[0])
        where = face_in_crop(len(face))
        seen, filmed = (find_twice(self.finder, picture, where) for picture in (face, references[0]))
        if seen is not None and filmed is not None and opening(filmed) < opening(seen):
            face, seen = references[0], filmed
        return face if seen is None or opening(seen) < CLOSED else close_lips(face, seen)
