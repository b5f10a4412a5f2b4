"""Face landmarks, and what is read from them: mouth opening, turn of the head, outline, tight box.

Two schemes are known: `mesh468` (MediaPipe face mesh) and `ibug68` (FAN). Everything past this file asks
for facts by name and never knows which scheme a point came from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lipsync_cli.faces.detector import read_tflite
from lipsync_cli.interfaces import Box, Image, Landmarks, Points

_INPUT = 192
_OUTPUTS = ["conv2d_21", "conv2d_31"]
_MARGIN = 1.5  # the network looks at a square of 1.5 times the longer side of the face's box


@dataclass(frozen=True)
class Scheme:
    """Which landmark is which. Left and right are those of the picture."""

    eye_left: tuple[int, ...]
    eye_right: tuple[int, ...]
    inner_lips: tuple[int, int]
    """Upper and lower, in the middle."""
    lip_corners: tuple[int, int]
    top: int
    """Highest point of the middle line."""
    chin: int
    nose_tip: int
    nose_base: tuple[int, ...]
    sides: tuple[int, int]
    """Left and right edge of the face at the height of the eyes."""
    lips: tuple[int, ...]
    """Outer ring, then inner ring: 40 points (20 in `ibug68`)."""
    n_outer_lips: int
    """So many of them are the outer ring."""
    outline: tuple[int, ...]
    """Closed ring around the face."""
    height_over_top: float
    """Face height / distance from `top` to `chin` (1 where `top` is the hair line)."""


_MESH_OUTLINE: tuple[int, ...] = (
    10,
    338,
    297,
    332,
    284,
    251,
    389,
    356,
    454,
    323,
    361,
    288,
    397,
    365,
    379,
    378,
    400,
    377,
    152,
)
_MESH_OUTLINE += (148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
_MESH_LIPS: tuple[int, ...] = (
    61,
    146,
    91,
    181,
    84,
    17,
    314,
    405,
    321,
    375,
    291,
    409,
    270,
    269,
    267,
    0,
    37,
    39,
    40,
    185,
)
_MESH_LIPS += (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)

SCHEMES = {
    "mesh468": Scheme(
        eye_left=(33, 133),
        eye_right=(362, 263),
        inner_lips=(13, 14),
        lip_corners=(61, 291),
        top=10,
        chin=152,
        nose_tip=1,
        nose_base=(2, 98, 327),
        sides=(234, 454),
        lips=_MESH_LIPS,
        n_outer_lips=20,
        outline=_MESH_OUTLINE,
        height_over_top=1.0,
    ),
    "ibug68": Scheme(
        eye_left=(36, 37, 38, 39, 40, 41),
        eye_right=(42, 43, 44, 45, 46, 47),
        inner_lips=(62, 66),
        lip_corners=(48, 54),
        top=27,
        chin=8,
        nose_tip=30,
        nose_base=(31, 33, 35),
        sides=(0, 16),
        lips=tuple(range(48, 68)),
        n_outer_lips=12,
        outline=(*range(17), *range(26, 16, -1)),
        height_over_top=1.5,  # the bridge of the nose lies a third of the face below the hair line
    ),
}


class MeshLandmarks:
    """`LandmarkFinder` on `face_landmark.tflite` (MediaPipe face mesh, 468 points, Apache-2.0)."""

    reach = _MARGIN / 2
    pixels = _INPUT

    def __init__(self, weights: Path) -> None:
        self._network = read_tflite(weights)

    def find(self, image: Image, box: Box) -> Landmarks | None:
        """Points of the face in `box`; None only when the box has no size. The score says how sure it is."""
        side = max(box.width, box.height) * _MARGIN
        if side < 1:
            return None
        cosine, sine = math.cos(box.angle) * side / _INPUT, math.sin(box.angle) * side / _INPUT
        x, y = box.centre
        middle = (_INPUT - 1) / 2
        to_image = np.array(
            [
                [cosine, -sine, x - (cosine - sine) * middle],
                [sine, cosine, y - (sine + cosine) * middle],
            ],
            dtype=np.float32,
        )
        crop = cv2.warpAffine(
            image,
            to_image,
            (_INPUT, _INPUT),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
        )
        blob = (crop.astype(np.float32) / 255).transpose(2, 0, 1)[None]
        self._network.setInput(blob)
        points, logit = self._network.forward(_OUTPUTS)
        local = points.reshape(-1, 3)[:, :2].astype(np.float32)
        found = local @ to_image[:, :2].T + to_image[:, 2]
        score = 1 / (1 + math.exp(-float(np.clip(logit.reshape(-1)[0], -50, 50))))
        return Landmarks(found.astype(np.float32), "mesh468", score)


def _mean(landmarks: Landmarks, indices: tuple[int, ...]) -> NDArray[np.float32]:
    mean: NDArray[np.float32] = landmarks.points[list(indices)].mean(axis=0)
    return mean


def roll(landmarks: Landmarks) -> float:
    """Tilt of the line through the eyes in radians, clockwise on the screen; 0 is level."""
    scheme = SCHEMES[landmarks.scheme]
    across = _mean(landmarks, scheme.eye_right) - _mean(landmarks, scheme.eye_left)
    return math.atan2(float(across[1]), float(across[0]))


def levelled(landmarks: Landmarks) -> Points:
    """The points turned by -roll about the picture's origin, so that the eyes are level."""
    return turn(landmarks.points, -roll(landmarks))


def turn(points: Points, angle: float) -> Points:
    """Points turned by `angle` radians (clockwise on the screen) about the picture's origin."""
    cosine, sine = math.cos(angle), math.sin(angle)
    matrix = np.array([[cosine, -sine], [sine, cosine]], dtype=np.float32)
    turned: Points = points @ matrix.T
    return turned


def face_height(landmarks: Landmarks) -> float:
    """Pixels from the hair line to the chin."""
    scheme = SCHEMES[landmarks.scheme]
    line = landmarks.points[scheme.top] - landmarks.points[scheme.chin]
    return float(np.hypot(*line)) * scheme.height_over_top


def opening(landmarks: Landmarks) -> float:
    """Distance of the inner lips over the face's height; about 0.005 closed, 0.1 wide open."""
    upper, lower = SCHEMES[landmarks.scheme].inner_lips
    gap = landmarks.points[upper] - landmarks.points[lower]
    return float(np.hypot(*gap)) / max(face_height(landmarks), 1e-6)


def mouth_width(landmarks: Landmarks) -> float:
    """Distance of the lip corners over the face's width (rounded lips: small)."""
    scheme = SCHEMES[landmarks.scheme]
    left, right = (landmarks.points[i] for i in scheme.lip_corners)
    side_left, side_right = (landmarks.points[i] for i in scheme.sides)
    return float(np.hypot(*(left - right))) / max(float(np.hypot(*(side_left - side_right))), 1e-6)


def yaw(landmarks: Landmarks) -> float:
    """About how far the head is turned, in degrees; 0 is frontal, positive towards the picture's right.

    From the place of the nose tip between the two edges of the face: on a head like a cylinder it moves
    with the sine of the angle, and the tip stands out by about a third of the radius.
    """
    scheme = SCHEMES[landmarks.scheme]
    points = levelled(landmarks)
    left, right = points[scheme.sides[0], 0], points[scheme.sides[1], 0]
    half = max(float(right - left) / 2, 1e-6)
    place = (float(points[scheme.nose_tip, 0]) - float(left + right) / 2) / half
    return math.degrees(math.asin(max(-1.0, min(1.0, place / 1.3))))


def outline(landmarks: Landmarks) -> Points:
    """Closed ring of points around the face, [N, 2] pixels."""
    return landmarks.points[list(SCHEMES[landmarks.scheme].outline)]


def lips(landmarks: Landmarks) -> Points:
    """The lips' points, outer ring then inner ring, [40 (20 for ibug68), 2] pixels."""
    return landmarks.points[list(SCHEMES[landmarks.scheme].lips)]


def extent(landmarks: Landmarks) -> Box:
    """The tight box of all points, level with the eyes (turned by the roll)."""
    angle = roll(landmarks)
    points = turn(landmarks.points, -angle)
    low, high = points.min(axis=0), points.max(axis=0)
    return turned_box(low, high, angle)


def turned_box(low: NDArray[np.float32], high: NDArray[np.float32], angle: float) -> Box:
    """The Box whose corners are `low` and `high` (x, y) in a picture turned by -angle about its origin."""
    centre = turn(((low + high) / 2)[None].astype(np.float32), angle)[0]
    half = (high - low) / 2
    x, y = float(centre[0]), float(centre[1])
    return Box(x - float(half[0]), y - float(half[1]), x + float(half[0]), y + float(half[1]), angle)
