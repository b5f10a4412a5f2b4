"""Telling people apart without a recognition network: none of a free licence was to be had."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from lipsync_cli.errors import WeightsError
from lipsync_cli.faces.align import align_face, anchors, to_template
from lipsync_cli.interfaces import Image, Landmarks

_SIZE = 64
_CELL = 8
_BINS = 9
_TEMPLATE = np.array([[20, 24], [44, 24], [32, 38], [23, 50], [41, 50]], np.float32)
"""Eyes, nose and corners of the mouth in the aligned face."""


class FaceDescriptor:
    """Histograms of oriented gradients (Dalal and Triggs 2005) of the aligned face, less a mean face's.

    Faces of one person have a cosine of 0.74 (median; 0.41 for one pair in twenty), of two persons -0.05
    (0.17 for one pair in twenty), measured on 25 people, most in one studio (536 pairs of one person; the
    area under the curve is 0.999). It sees hair, beard, glasses and light as much as features: enough to tell
    the people of one film apart, not to recognise anybody.

    Args:
        mean: `face_mean.safetensors`, which has the one of float32 [1764].

    Raises:
        WeightsError: the file is damaged.
    """

    SAME_PERSON = 0.25
    """Least cosine of two pictures of one person."""

    def __init__(self, mean: Path) -> None:
        try:
            self._mean = load_file(mean)["mean"]
        except (OSError, SafetensorError, KeyError) as error:
            raise WeightsError(f"{mean}: damaged ({error}); install lipsync_cli anew") from error

    def describe(self, image: Image, landmarks: Landmarks) -> NDArray[np.float32]:
        """[1764], of length 1."""
        described = gradients(image, landmarks) - self._mean
        length = max(float(np.linalg.norm(described)), 1e-6)
        return np.asarray(described / length, np.float32)


def gradients(image: Image, landmarks: Landmarks) -> NDArray[np.float32]:
    """Histograms of oriented gradients of a face in a picture: [1764], of length 1."""
    aligned = align_face(image, to_template(anchors(landmarks), _TEMPLATE), _SIZE)
    grey = cv2.cvtColor(aligned, cv2.COLOR_RGB2GRAY).astype(np.float32)
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    strength = np.hypot(across, down)
    angle = (np.arctan2(down, across) % np.pi) / np.pi * _BINS
    low = np.floor(angle).astype(int) % _BINS
    share = angle - np.floor(angle)
    n_cells = _SIZE // _CELL
    cells = np.zeros((n_cells, n_cells, _BINS), np.float32)
    for place in range(_BINS):
        own = (low == place) * (1 - share) + ((low + 1) % _BINS == place) * share
        cells[..., place] = (strength * own).reshape(n_cells, _CELL, n_cells, _CELL).sum(axis=(1, 3))
    corners = [cells[y : n_cells - 1 + y, x : n_cells - 1 + x] for y in (0, 1) for x in (0, 1)]
    blocks = np.concatenate(corners, axis=2)
    blocks /= np.linalg.norm(blocks, axis=2, keepdims=True) + 50  # flat skin counts for little
    blocks = np.minimum(blocks, 0.2)
    blocks /= np.linalg.norm(blocks, axis=2, keepdims=True) + 1e-3
    described = blocks.ravel()
    return np.asarray(described / max(float(np.linalg.norm(described)), 1e-6), np.float32)
