"""Fine detail of generated faces: kept steady from frame to frame, or borrowed from the filmed face."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lipsync_cli.interfaces import Image

Floats = NDArray[np.float32]

_FLOW_SIDE = 192  # pixels of the longer side at which motion is found
_UNSEEN = 0.4  # of a crop, from its top: paste shows only what lies below the middle
_SAME_PLACE = 10.0  # grey levels; where pictures differ by more, the motion found is not trusted
_SAME_SKIN = 12.0  # grey levels; where slow shades differ by more, it is other skin (or lips, or teeth)
_SPEAKING = (0.72, 0.5, 0.34)  # mouth and cheeks in a crop: level, half width, half height
_LIPS = (0.70, 0.22, 0.13)  # lips in a crop; theirs is the generator's alone: filmed ones say something else
_FAINT = 0.5  # grey levels squared; detail below that is noise
_FINE = 1 / 48  # of the width: what changes faster than this is detail


class SteadyDetail:
    """Blends the detail that a restorer adds with what it added before, moved along with the face.

    Restored frame by frame, skin gets another texture in every frame. What is added here (restored minus
    generated) is a running mean along the motion of the generated face, only where that motion explains the
    picture, and only in `speaking_part`.

    Args:
        memory: share of the past in the mean, [0, 1); 0 changes nothing.
    """

    def __init__(self, memory: float) -> None:
        if not 0 <= memory < 1:
            raise ValueError(f"memory {memory} must lie in [0, 1)")
        self._memory = memory
        self._last: tuple[Image, Floats] | None = None

    def reset(self) -> None:
        """The next frame does not follow the last one."""
        self._last = None

    def blend(self, generated: Image, restored: Image) -> Image:
        """The restored face of the next frame, steadied. Both uint8 [S, S, 3], the same crop."""
        detail = restored.astype(np.float32) - generated
        last = self._last
        if last is not None and last[0].shape == generated.shape:
            before, kept = last
            motion = motion_between(generated, before)
            moved = moved_along(kept, motion)
            fits = likeness(generated, moved_along(before, motion), _SAME_PLACE)
            share = self._memory * fits * speaking_part(generated.shape[0])
            detail += share[..., None] * (moved - detail)
        self._last = generated, detail
        return _as_image(generated + detail)


def speaking_part(size: int) -> Floats:
    """How much a place of a crop belongs to mouth and cheeks, [size, size] in [0, 1], soft at its border."""
    return _ellipse(size, _SPEAKING)


def borrow_detail(generated: Image, filmed: Image, strength: float = 1.0) -> Image:
    """The generated face with the fine texture that the filmed skin of the same frame has and it lacks.

    The filmed face is moved onto the generated one; its detail is added where the slow shades of both agree,
    and only as far as the generated face has less of it. The lips get nothing: the filmed ones say something
    else, and would show through. Both uint8 [S, S, 3], the same crop; the part above the nose stays as it is,
    since none of it is ever shown.
    """
    top = int(generated.shape[0] * _UNSEEN)
    part, seen = generated[top:], filmed[top:]
    moved = moved_along(seen, motion_between(part, seen))
    own = part.astype(np.float32)
    slow_own, slow_moved = _slow(own), _slow(moved)
    fine_own, fine_moved = own - slow_own, moved - slow_moved
    lacking = _filling_up(fine_own, fine_moved)
    skin = 1 - _ellipse(generated.shape[0], _LIPS)[top:]
    share = strength * skin * lacking * likeness(slow_own, slow_moved, _SAME_SKIN)
    return np.concatenate([generated[:top], _as_image(own + share[..., None] * fine_moved)])


def _filling_up(own: Floats, filmed: Floats) -> Floats:
    """[H, W]: the share of the filmed detail that gives the face's own detail the filmed one's energy.

    The positive root s of |own + s filmed|^2 = |filmed|^2, local means; 0 where there is enough. What both
    have in common counts: a generator that moves the filmed pixels has most of their detail already.
    """
    filmed_energy = _energy(filmed, filmed) + _FAINT
    common = np.clip(_energy(own, filmed), 0, None)
    missing = np.clip(filmed_energy - _energy(own, own) - _FAINT, 0, None)
    share = (np.sqrt(common**2 + filmed_energy * missing) - common) / filmed_energy
    return np.asarray(np.clip(share, 0, 1), np.float32)


def motion_between(now: Image, before: Image) -> Floats:
    """[H, W, 2]: where each pixel of `now` lies in `before`, relative to itself (dense inverse search)."""
    height, width = now.shape[:2]
    scale = min(1.0, _FLOW_SIDE / max(height, width))
    small = max(1, round(width * scale)), max(1, round(height * scale))
    greys = [
        cv2.cvtColor(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        for picture in (now, before)
    ]
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow = finder.calc(greys[0], greys[1], np.zeros((small[1], small[0], 2), np.float32))
    larger = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(larger * np.float32(1 / scale), np.float32)


def moved_along(picture: NDArray[Any], motion: Floats) -> Floats:
    """What `motion_between` says lies at each pixel now, float32."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
    places = x + motion[..., 0], y + motion[..., 1]
    taken = cv2.remap(
        picture.astype(np.float32), *places, interpolation=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(taken, np.float32)


def likeness(one: NDArray[Any], other: NDArray[Any], scale: float) -> Floats:
    """[H, W] in [0, 1]: 1 where two pictures [H, W, 3] are alike, 0.37 where they differ by `scale`."""
    difference = np.abs(one.astype(np.float32) - other.astype(np.float32)).mean(axis=2)
    smooth = cv2.GaussianBlur(difference, (0, 0), _reach(one))
    return np.asarray(np.exp(-((smooth / scale) ** 2)), np.float32)


def _ellipse(size: int, shape: tuple[float, float, float]) -> Floats:
    """1 inside and 0 outside of an ellipse in the middle of a crop, [size, size], soft at its border.

    shape: level of its centre, half its width, half its height, in sides of the crop.
    """
    level, half_width, half_height = shape
    place = (np.arange(size, dtype=np.float32) + 0.5) / size
    across, down = (place - 0.5) / half_width, (place - level) / half_height
    distance = np.sqrt(across[None, :] ** 2 + down[:, None] ** 2)
    return np.asarray(np.clip((1.1 - distance) / 0.2, 0, 1), np.float32)


def _reach(picture: NDArray[Any]) -> float:
    """Standard deviation of the blur that parts slow shades from detail, pixels."""
    return max(1.0, float(picture.shape[1] * _FINE))


def _slow(picture: Floats) -> Floats:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), _reach(picture)), np.float32)


def _energy(one: Floats, other: Floats) -> Floats:
    """Mean product of two details [H, W, 3] around each place, [H, W]; of one with itself its mean square."""
    products = (one * other).mean(axis=2)
    return np.asarray(cv2.GaussianBlur(products, (0, 0), 2 * _reach(one)), np.float32)


def _as_image(picture: Floats) -> Image:
    return np.rint(np.clip(picture, 0, 255)).astype(np.uint8)
