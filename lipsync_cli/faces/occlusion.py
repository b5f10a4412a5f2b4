"""Things in front of a mouth: a microphone, a sleeve, a cup.

Landmark networks do not tell: the mesh's own score stayed at 1.00 (0.95 in one of seven clips) with a
microphone or a hand drawn over the mouth. Here the lower face is compared, cell by cell, with how it usually
looks in the same shot, at the same light.

Only things of another colour than the face are found, and only those that are there for less than half of the
time: else the thing is what usually is there.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lipsync_cli.faces.align import anchors, to_template
from lipsync_cli.faces.landmarks import extent
from lipsync_cli.interfaces import Landmarks, Picture
from lipsync_cli.pictures import surroundings

Floats = NDArray[np.float32]

STRANGE, USUAL_AGAIN = 3.0, 2.5
"""Strangeness from which on a thing is before the mouth, and below which it is gone."""

_SIZE = 16  # cells of a side of the aligned face
_SAMPLES = 4  # of a side of a cell
_UPPER_FACE = np.array([[4.6, 5.6], [10.6, 5.6], [7.6, 9.1]], np.float32)  # eyes and nose, in cells
_LOWER = (slice(10, 15), slice(4, 12))  # rows and columns of the cells around the mouth
_LIT = (slice(4, 9), slice(4, 12))  # those that tell the light
_DARK = 12.0  # grey levels added before the logarithm: noise in shadows counts for little
_FLOOR = 0.12  # a cell that changes less than this (in natural logarithms) has not changed
_MOST_CHANGED = 8  # cells that a thing covers at least
_FEWEST = 25  # frames that tell what is usual
_TURN = 12.0  # degrees; in heads turned further from the usual other parts of the face are seen
_SMOOTHING = 5  # frames
_REACH = 0.65  # from the middle of a face, in its longer sides: holds all cells that are read, also aslant
_PIXELS = 166  # that this part of the picture has at least: as fine as the mesh's, so that one serves both


def mouth_look(picture: Picture, landmarks: Landmarks) -> Floats:
    """Colours of the cells around the mouth, relative to those of eyes and nose: [40, 3], logarithms.

    The face is aligned by eyes and nose alone, because the points of a hidden mouth are guesses.
    """
    near = surroundings(picture, extent(landmarks), _REACH, _PIXELS)
    matrix = to_template(near.points(anchors(landmarks)[:3]), _UPPER_FACE)
    # Pixel centres lie on whole numbers, so scaling is about the corner of the corner pixel.
    matrix[:, 2] = (matrix[:, 2] + 0.5) * _SAMPLES - 0.5
    matrix[:, :2] *= _SAMPLES
    size = (_SIZE * _SAMPLES, _SIZE * _SAMPLES)
    seen = cv2.warpAffine(near.image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cells = cv2.resize(seen, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA).astype(np.float32)
    light = cells[_LIT].mean(axis=(0, 1)) + 5
    look = np.log((cells[_LOWER] + _DARK) / (light + _DARK))
    return np.asarray(look.reshape(-1, 3), np.float32)


def strangeness(looks: Floats, yaws: NDArray[np.float32]) -> Floats:
    """How far each look of one face in one shot lies from the usual: [N]; speech stays below 2.

    The mean of the most changed cells, each in units of its own usual change (so that lips may move).

    Args:
        looks: [N, 40, 3] of `mouth_look`.
        yaws: [N] degrees. Heads that are turned 12 degrees from the shot's usual are not judged: 0.
    """
    n = len(looks)
    if n < _FEWEST:
        return np.zeros(n, np.float32)
    away = np.abs(looks - np.median(looks, axis=0))
    usual = np.median(away, axis=0).mean(axis=-1)
    change = away.mean(axis=-1) / (1.5 * usual + _FLOOR)
    found = np.sort(change, axis=1)[:, -_MOST_CHANGED:].mean(axis=1)
    padded = np.pad(found, _SMOOTHING // 2, mode="edge")
    steady = np.convolve(padded, np.full(_SMOOTHING, 1 / _SMOOTHING), mode="valid")
    judged = np.clip(3 * (1 - np.abs(yaws - np.median(yaws)) / _TURN), 0, 1)
    return np.asarray(steady * judged, np.float32)


def occluded(strange: Floats) -> NDArray[np.bool_]:
    """[N] frames with a thing before the mouth: above `STRANGE`, and beside these above `USUAL_AGAIN`."""
    hidden = strange >= STRANGE
    may_be = strange >= USUAL_AGAIN
    n = len(hidden)
    for index in range(1, n):
        hidden[index] |= may_be[index] and hidden[index - 1]
    for index in range(n - 2, -1, -1):
        hidden[index] |= may_be[index] and hidden[index + 1]
    return hidden
