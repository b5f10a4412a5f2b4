"""Turning a face to the place in a square that restoration networks were trained with."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lipsync_cli.faces.landmarks import SCHEMES
from lipsync_cli.interfaces import Image, Landmarks, Points

N_ANCHORS = 5
"""Both eyes, the tip of the nose, both corners of the mouth; left is left in the picture."""

_OUTSIDE = (132, 133, 135)
"""RGB past the picture's edge: the grey of facexlib, with which VQFR and GFPGAN are used."""

Matrix = NDArray[np.float64]


def anchors(landmarks: Landmarks) -> Points:
    """The five points [5, 2] of a face, picture pixels."""
    scheme = SCHEMES[landmarks.scheme]
    points = landmarks.points
    middles = [points[list(eye)].mean(axis=0) for eye in (scheme.eye_left, scheme.eye_right)]
    return np.stack([*middles, points[scheme.nose_tip], *points[list(scheme.lip_corners)]]).astype(np.float32)


def to_template(found: Points, template: Points) -> Matrix:
    """The similarity [2, 3] that takes five points found in a picture nearest to those of a template.

    Least squares over all five (Umeyama 1991), where facexlib takes the median of squares: it changes
    smoothly from frame to frame.
    """
    middle, goal = found.mean(axis=0, dtype=np.float64), template.mean(axis=0, dtype=np.float64)
    spread, wanted = found - middle, template - goal
    # As complex numbers a similarity is one factor: the least squares solution is a projection.
    x, y = spread[:, 0] + 1j * spread[:, 1], wanted[:, 0] + 1j * wanted[:, 1]
    factor = np.vdot(x, y) / max(float(np.vdot(x, x).real), 1e-9)
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.concatenate([linear, (goal - linear @ middle)[:, None]], axis=1)


def align_face(image: Image, matrix: Matrix, size: int) -> Image:
    """The picture seen through `to_template`'s matrix, uint8 [size, size, 3].

    A face larger than in the template is sampled finer and averaged, so that it does not alias.
    """
    shrinks = 1 / max(float(np.hypot(*matrix[:, 0])), 1e-6)
    multiple = max(1, round(shrinks))
    fine = matrix.copy()
    # Pixel centres lie on whole numbers, so scaling is about the corner of the corner pixel.
    fine[:, 2] = (fine[:, 2] + 0.5) * multiple - 0.5
    fine[:, :2] *= multiple
    aligned = cv2.warpAffine(
        image,
        fine,
        (size * multiple, size * multiple),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=_OUTSIDE,
    )
    if multiple > 1:
        aligned = cv2.resize(aligned, (size, size), interpolation=cv2.INTER_AREA)
    return aligned.astype(np.uint8, copy=False)


def seen_through(aligned: Image, to_aligned: Matrix, size: int) -> Image:
    """The part of an aligned face that a square of `size` pixels covers.

    to_aligned: [2, 3], pixels of the square -> pixels of the aligned face.
    """
    part = cv2.warpAffine(
        aligned,
        to_aligned,
        (size, size),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return part.astype(np.uint8, copy=False)


def joined(second: Matrix, first: Matrix) -> Matrix:
    """The affine map [2, 3] that does `first`, then `second`."""
    linear = second[:, :2] @ first
    linear[:, 2] += second[:, 2]
    return np.asarray(linear, np.float64)
