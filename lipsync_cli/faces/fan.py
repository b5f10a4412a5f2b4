"""The paper's face detector and landmarks: S3FD and FAN, as the package face-alignment runs them.

Slow on a CPU (seconds a frame) and not needed by the default networks; here for those who have its files.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from lipsync_cli.errors import SettingsError, WeightsError
from lipsync_cli.interfaces import Box, Detection, Image, Landmarks

FILES = ("2DFAN4-11f355bf06.pth.tar", "s3fd-619a316812.pth")
"""Landmarks, detector. The digits in the names are how their sha256 begin."""
SOURCE = "https://www.adrianbulat.com/downloads/python-fan/"

_DETECTED_SIDE = 640  # pixels: S3FD looks at pictures no larger than this
_PEAK = 0.5  # mean height of the heat maps' peaks that counts as certain
_BLOCK = 1 << 20


def weights_folder() -> Path:
    """Where the package face-alignment looks for its files: torch's hub folder (see TORCH_HOME)."""
    return Path(torch.hub.get_dir()) / "checkpoints"


class FanFaces:
    """`FaceDetector` (S3FD) and `LandmarkFinder` (FAN, 68 points) in one.

    Nothing is ever downloaded. SettingsError when the package is not installed; WeightsError when one of
    `FILES` is missing from `weights_folder` or is not the file that its name says.
    """

    reach = 1.5  # the upright box of a turned face, and 1.03 of its side
    pixels = 768  # 256 of a box

    def __init__(self, device: str = "cpu") -> None:
        try:
            from face_alignment import FaceAlignment, LandmarksType
        except ImportError as error:
            raise SettingsError(
                f"--detector fan needs the package face-alignment ({error}): "
                "pip install 'lipsync_cli[fan]', or leave --detector out"
            ) from error
        _, detector = _checked_files(weights_folder())
        self._network: Any = FaceAlignment(
            LandmarksType.TWO_D,
            device=device,
            flip_input=False,
            face_detector_kwargs={"path_to_detector": str(detector)},
            compile=False,
        )

    def detect(self, image: Image) -> list[Detection]:
        """All faces of a uint8 [H, W, 3] picture, the most certain first."""
        scale = min(1.0, _DETECTED_SIDE / max(image.shape[:2]))
        seen = (
            image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        )
        found = self._network.face_detector.detect_from_image(np.ascontiguousarray(seen))
        detections = [
            Detection(Box(*(float(value) / scale for value in row[:4])), min(1.0, float(row[4])))
            for row in found
        ]
        return sorted(detections, key=lambda detection: -detection.score)

    def find(self, image: Image, box: Box) -> Landmarks | None:
        """The 68 points of the face in `box` (looked at upright); None when the box has no size.

        The score is the mean height of the heat maps' peaks, over what counts as certain.
        """
        if min(box.width, box.height) < 1:
            return None
        points, scores, _ = self._network.get_landmarks_from_image(
            image, detected_faces=[np.array([*_upright(box), 1.0])], return_landmark_score=True
        )
        score = float(np.clip(np.mean(np.asarray(scores[0])) / _PEAK, 0, 1))
        return Landmarks(np.asarray(points[0], np.float32), "ibug68", score)


def _upright(box: Box) -> tuple[float, float, float, float]:
    """The level box around a turned one."""
    cosine, sine = abs(math.cos(box.angle)), abs(math.sin(box.angle))
    half_x = (box.width * cosine + box.height * sine) / 2
    half_y = (box.width * sine + box.height * cosine) / 2
    x, y = box.centre
    return x - half_x, y - half_y, x + half_x, y + half_y


def _checked_files(folder: Path) -> list[Path]:
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise WeightsError(
            f"--detector fan: {' and '.join(missing)} missing from {folder}: "
            f"fetch {' and '.join(SOURCE + name for name in missing)} and put them there"
        )
    for name in FILES:
        expected = name.partition(".")[0].rpartition("-")[2]
        found = _sha256(folder / name)
        if not found.startswith(expected):
            raise WeightsError(
                f"{folder / name}: damaged: its sha256 begins with {found[: len(expected)]}, not {expected}: "
                f"fetch {SOURCE}{name} again"
            )
    return [folder / name for name in FILES]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
