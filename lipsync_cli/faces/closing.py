"""Closing lips by moving them, where a silent-lip generator leaves them a little apart.

Upper and lower lip move towards each other until they touch; skin between the base of the nose and the upper
lip is stretched, skin between the lower lip and the chin too, and what lay between the lips is covered.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lipsync_cli.faces.landmarks import SCHEMES, lips
from lipsync_cli.interfaces import Image, Landmarks, Points

_UPPER_SHARE = 0.35  # of the way that the upper lip goes; the lower one, with the jaw, goes the rest
_RIM = 0.3  # of the gap that is covered of each lip beside it: points lie on the lips' rim, not behind it
_LARGEST_RIM = 0.4  # of a lip's thickness
_MOST_SQUEEZED = 0.8  # of the room up to nose and chin that a lip may take: nothing folds over

Floats = NDArray[np.float32]


def close_lips(image: Image, landmarks: Landmarks) -> Image:
    """The same face with its lips together.

    Args:
        image: uint8 [H, W, 3], a face whose eyes are about level.
        landmarks: of the face, in pixels of `image`.
    """
    scheme = SCHEMES[landmarks.scheme]
    height, width = image.shape[:2]
    outer, inner = np.split(lips(landmarks), [scheme.n_outer_lips])
    columns = np.arange(width, dtype=np.float32)
    upper, lower = _edges(inner, columns)
    top, bottom = _edges(outer, columns)
    rim = _RIM * (lower - upper)
    upper = upper - np.minimum(rim, _LARGEST_RIM * np.maximum(upper - top, 0))
    lower = lower + np.minimum(rim, _LARGEST_RIM * np.maximum(bottom - lower, 0))
    seam = upper + _UPPER_SHARE * (lower - upper)
    nose = float(landmarks.points[list(scheme.nose_base), 1].max())
    chin = float(landmarks.points[scheme.chin, 1])
    rows = np.arange(height, dtype=np.float32)[:, None]
    # Full way at the seam, through the lip itself, then less and less, none at the nose and at the chin.
    lip_top = np.minimum(float(top.min()), seam)
    lip_bottom = np.maximum(float(bottom.max()), seam)
    up = np.minimum(seam - upper, _MOST_SQUEEZED * np.maximum(lip_top - nose, 0))
    down = np.minimum(lower - seam, _MOST_SQUEEZED * np.maximum(chin - lip_bottom, 0))
    above = -up * _share(rows, nose, lip_top)
    below = down * _share(-rows, -chin, -lip_bottom)
    source = (rows + np.where(rows <= seam, above, below)).astype(np.float32)
    return np.asarray(
        cv2.remap(
            image,
            np.broadcast_to(columns, source.shape).copy(),
            source,
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.uint8,
    )


def _edges(ring: Points, columns: Floats) -> tuple[Floats, Floats]:
    """Rows of the upper and of the lower edge of a ring of points in each column; equal outside of it."""
    first, last = int(ring[:, 0].argmin()), int(ring[:, 0].argmax())
    turned = np.roll(ring, -first, axis=0)
    place = (last - first) % len(ring)
    chains = turned[: place + 1], np.concatenate([turned[place:], turned[:1]])[::-1]
    # Where a chain turns back on itself, as at a corner that is seen from the side, its last point counts.
    one, other = (
        np.interp(columns, np.maximum.accumulate(chain[:, 0]), chain[:, 1]).astype(np.float32)
        for chain in chains
    )
    return np.minimum(one, other), np.maximum(one, other)


def _share(rows: Floats, zero: float, one: Floats) -> Floats:
    """0 up to `zero`, 1 from `one` on, linear between."""
    share: Floats = np.clip((rows - zero) / np.maximum(one - zero, 1e-3), 0, 1)
    return share
