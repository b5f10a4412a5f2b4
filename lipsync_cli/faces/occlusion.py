"""Things in front of a mouth: a microphone, a sleeve, a hand.

Landmark networks do not tell: the mesh's own score stayed at 1.00 (0.95 in one of seven clips) with a
microphone or a hand drawn over the mouth. Here two things are compared with how they usually look in the same
shot, at the same light:

- The lower face, cell by cell. It changes where a thing of another colour is.
- How the lips stand out from the skin around them, along the ring of the lips' points. These follow the lips,
  so speech changes it little; where the mouth is hidden they are guesses, and what is seen there are no lips,
  also where the thing is of the skin's own colour.

Only things that are there for less than half of the time are found: else the thing is what usually is there.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from lipsync_cli.faces.align import anchors, to_template
from lipsync_cli.faces.landmarks import SCHEMES, Scheme, extent, lips
from lipsync_cli.interfaces import Image, Landmarks, Picture, Points
from lipsync_cli.pictures import surroundings

Floats = NDArray[np.float32]
Look = NDArray[np.float16]
"""[40 + P, 3] natural logarithms of RGB: 40 cells around the mouth, relative to those of eyes and nose; then
P places along the lips (20, in `ibug68` 12), relative to the skin around them."""

STRANGE, USUAL_AGAIN = 3.0, 2.5
"""Strangeness from which on a thing is before the mouth, and below which it is gone."""

_SIZE = 16  # cells of a side of the aligned face
_SAMPLES = 4  # of a side of a cell
_UPPER_FACE = np.array([[4.6, 5.6], [10.6, 5.6], [7.6, 9.1]], np.float32)  # eyes and nose, in cells
_LOWER = (slice(10, 15), slice(4, 12))  # rows and columns of the cells around the mouth
_N_CELLS = 40
_LIT = (slice(4, 9), slice(4, 12))  # those that tell the light
_DARK = 12.0  # grey levels added before the logarithm: noise in shadows counts for little
_FLOOR = 0.12  # a cell that changes less than this (in natural logarithms) has not changed
_MOST_CHANGED = 8  # cells that a thing covers at least
_FEWEST = 25  # frames that tell what is usual
_TURN = 12.0  # degrees; in heads turned further from the usual other parts of the face are seen
_SMOOTHING = 5  # frames
_SOFTENED = 0.8  # samples; the lips' points are no surer than this
_BESIDE = (1.35, 1.75)  # times as far from the mouth's middle as the lips' outer ring: skin
_CONTRASTS = np.array([[1 / 3, 1 / 3, 1 / 3], [2, -2, 0], [0.5, 0.5, -1]], np.float32)  # red: twice
_UNLIKE = 0.03  # lips that are less unlike the usual (1 - cosine) have not changed
_WIDE_CELLS, _WIDE_LIPS = 1.0, 2.0  # what a mouth changes by opening wider than usual, a face height
_WIDEST = 0.06  # face heights; wider than the usual by more, it is as likely a thing that looks like a mouth
_SHORTEST = 9  # frames; lips that look strange for less than half of it are speech
_REACH = 0.65  # from the middle of a face, in its longer sides: holds all cells that are read, also aslant
_PIXELS = 166  # that this part of the picture has at least: as fine as the mesh's, so that one serves both


def mouth_look(picture: Picture, landmarks: Landmarks) -> Look:
    """How a mouth and its surroundings look: [40 + P, 3] of `Look`.

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
    look = np.log((cells[_LOWER] + _DARK) / (light + _DARK)).reshape(_N_CELLS, 3)
    points = (near.points(lips(landmarks)) @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    contrasts = _lips_contrasts(seen.astype(np.uint8, copy=False), points, SCHEMES[landmarks.scheme])
    return np.concatenate([look, contrasts]).astype(np.float16)


def _lips_contrasts(seen: Image, points: Points, scheme: Scheme) -> Floats:
    """[P, 3] logarithms of the lips' colours over those of the skin around; points: the lips', in `seen`."""
    outer, inner = points[: scheme.n_outer_lips], points[scheme.n_outer_lips :]
    nearest = np.square(outer[:, None] - inner).sum(axis=-1).argmin(axis=1)
    middle = outer.mean(axis=0)
    beside = [middle + reach * (outer - middle) for reach in _BESIDE]
    places = np.stack([(outer + inner[nearest]) / 2, *beside])
    softened = cv2.GaussianBlur(seen, (0, 0), _SOFTENED)
    colours = cv2.remap(
        softened, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    on_lips, *on_skin = np.log(colours.astype(np.float32) + _DARK)
    return np.asarray(on_lips - np.mean(on_skin, axis=0), np.float32)


def strangeness(looks: Look, yaws: Floats, openings: Floats) -> Floats:
    """How far each look of one face in one shot lies from the usual: [N]; speech stays below 2.5.

    Args:
        looks: [N, 40 + P, 3] of `mouth_look`.
        yaws: [N] degrees. Heads that are turned 12 degrees from the shot's usual are not judged: 0.
        openings: [N] of the mouth, in face heights.
    """
    n = len(looks)
    if n < _FEWEST:
        return np.zeros(n, np.float32)
    wide = np.clip(openings - np.median(openings), 0, _WIDEST)
    strange = np.maximum(
        _strange_cells(looks[:, :_N_CELLS], wide),
        _strange_lips(looks[:, _N_CELLS:].astype(np.float32), wide),
    )
    judged = np.clip(3 * (1 - np.abs(yaws - np.median(yaws)) / _TURN), 0, 1)
    return np.asarray(strange * judged, np.float32)


def _strange_cells(cells: Look, wide: Floats) -> Floats:
    """The mean of the most changed cells, each in units of its own usual change (so that lips may move).

    A cell at a time: of a long shot all at once would be many copies.

    wide: [N] openings beyond the usual; in a shot of somebody who is mostly silent speech is unusual.
    """
    change = np.stack(
        [_change(cells[:, place].astype(np.float32), wide) for place in range(_N_CELLS)], axis=1
    )
    found = np.sort(change, axis=1)[:, -_MOST_CHANGED:].mean(axis=1)
    padded = np.pad(found, _SMOOTHING // 2, mode="edge")
    return np.asarray(np.convolve(padded, np.full(_SMOOTHING, 1 / _SMOOTHING), mode="valid"), np.float32)


def _change(cell: Floats, wide: Floats) -> Floats:
    """How far one cell [N, 3] is from its usual colours, in units of how far it usually is."""
    away = np.abs(cell - np.median(cell, axis=0))
    usual = np.median(away, axis=0).mean()
    return np.asarray(away.mean(axis=-1) / (1.5 * usual + _FLOOR + _WIDE_CELLS * wide), np.float32)


def _strange_lips(contrasts: Floats, wide: Floats) -> Floats:
    """How unlike the usual ones the lips are, in units of how unlike they usually are."""
    seen = (contrasts @ _CONTRASTS.T).reshape(len(contrasts), -1)
    usual = np.median(seen, axis=0)
    lengths = np.linalg.norm(seen, axis=1) * np.linalg.norm(usual)
    unlike = 1 - (seen @ usual) / np.maximum(lengths, 1e-6)
    strange = unlike / (1.1 * np.median(unlike) + _UNLIKE + _WIDE_LIPS * wide)
    padded = np.pad(strange, _SHORTEST // 2, mode="edge")
    return np.asarray(np.median(sliding_window_view(padded, _SHORTEST), axis=1), np.float32)


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
