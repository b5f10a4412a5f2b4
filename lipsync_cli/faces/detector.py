"""Face detection: the full-range MediaPipe network, run by OpenCV's dnn module."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lipsync_cli.errors import WeightsError
from lipsync_cli.interfaces import Box, Detection, Image

_INPUT = 192
_GRID = 48  # one anchor in each cell of a 48 x 48 grid
_OUTPUTS = ["reshaped_regressor_face_4", "reshaped_classifier_face_4"]


def read_tflite(path: Path) -> cv2.dnn.Net:
    """A network of a tflite file, run by OpenCV's classic engine (the only one that reads these files).

    Raises WeightsError when the file is missing or not a network that OpenCV can read.
    """
    if not path.is_file():
        raise WeightsError(f"{path} is missing: install lipsync_cli again or put the file back")
    engine = getattr(cv2.dnn, "ENGINE_CLASSIC", None)
    extra = () if engine is None else (engine,)
    try:
        return cv2.dnn.readNetFromTFLite(str(path), *extra)
    except cv2.error as error:
        raise WeightsError(f"{path} is not a tflite network that OpenCV can read: {error.msg}") from error


class FullRangeDetector:
    """`FaceDetector` on `face_detection_full_range.tflite` (MediaPipe, Apache-2.0).

    The picture is letter-boxed to 192 x 192 and scaled to [-1, 1]. One regression of 16 numbers
    (centre, size, six key points) and one score for each of 48 x 48 anchors come out. The network misses
    faces that fill the picture, so a picture without any is looked at again from further away.
    """

    def __init__(
        self,
        weights: Path,
        *,
        threshold: float = 0.55,
        overlap: float = 0.3,
        zooms: tuple[float, ...] = (1.0, 2.0, 3.0),
    ) -> None:
        self._network = read_tflite(weights)
        self._threshold = threshold
        self._overlap = overlap
        self._zooms = zooms
        centres = (np.arange(_GRID, dtype=np.float32) + 0.5) / _GRID
        self._anchors = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)

    def detect(self, image: Image) -> list[Detection]:
        """All faces of a uint8 [H, W, 3] picture, the most certain first."""
        for zoom in self._zooms:
            found = self._detect_within(image, max(image.shape[:2]) * zoom)
            if found:
                return found
        return []

    def _detect_within(self, image: Image, side: float) -> list[Detection]:
        """Faces of the picture, laid in the middle of a square of `side` pixels."""
        blob, offset = _letter_box(image, side)
        self._network.setInput(blob)
        regressions, logits = (out[0] for out in self._network.forward(_OUTPUTS))
        scores = 1 / (1 + np.exp(-np.clip(logits[:, 0], -100, 100)))
        keep = scores >= self._threshold
        if not keep.any():
            return []
        points = regressions[keep].reshape(-1, 8, 2) / _INPUT
        is_place = np.arange(8) != 1  # row 1 is the box's size
        points[:, is_place] += self._anchors[keep][:, None]
        points *= side
        points[:, is_place] -= offset + np.float32(0.5)
        return [_detection(points[i], float(scores[keep][i])) for i in self._suppress(points, scores[keep])]

    def _suppress(self, points: NDArray[np.float32], scores: NDArray[np.float32]) -> list[int]:
        """Indices of the boxes left by non-maximum suppression, by falling score."""
        centres, sizes = points[:, 0], points[:, 1]
        boxes = np.concatenate([centres - sizes / 2, sizes], axis=1).tolist()
        kept = cv2.dnn.NMSBoxes(boxes, scores.tolist(), self._threshold, self._overlap)
        return [int(i) for i in np.asarray(kept).reshape(-1)]


def _letter_box(image: Image, side: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The picture in the middle of a square of `side` pixels, scaled to the network's input, and where
    its corner lies in the square (x, y)."""
    height, width = image.shape[:2]
    scale = _INPUT / side
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    canvas = np.full((_INPUT, _INPUT, 3), -1, dtype=np.float32)
    left, top = (_INPUT - small.shape[1]) // 2, (_INPUT - small.shape[0]) // 2
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small / 127.5 - 1
    return canvas.transpose(2, 0, 1)[None], np.array([left / scale, top / scale], dtype=np.float32)


def _detection(points: NDArray[np.float32], score: float) -> Detection:
    centre, size, first_eye, second_eye = points[0], points[1], points[2], points[3]
    x0, y0 = centre - size / 2
    x1, y1 = centre + size / 2
    eyes = (float(first_eye[0]), float(first_eye[1])), (float(second_eye[0]), float(second_eye[1]))
    angle = math.atan2(eyes[1][1] - eyes[0][1], eyes[1][0] - eyes[0][0])
    return Detection(Box(float(x0), float(y0), float(x1), float(y1), angle), score, eyes)
