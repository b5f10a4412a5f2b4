"""Whose face it is, by the public SFace network, which users bring themselves."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lipsync_cli.errors import WeightsError
from lipsync_cli.faces.align import align_face, to_template
from lipsync_cli.interfaces import Image, Points

_SIZE = 112
_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    np.float32,
)
"""Eyes, nose and corners of the mouth in the square that the network was trained with."""


class SFace:
    """SFace (Zhong, Deng, Hu, Zhao, Li and Wen 2021), face_recognition_sface_2021dec.onnx of the OpenCV Zoo.

    Run by OpenCV, as its FaceRecognizerSF does: the face is turned to five points of a square of 112 pixels,
    RGB from 0 to 255, and becomes 128 numbers, of which the direction counts. OpenCV calls two pictures one
    person from a cosine of 0.363 on. Our points come from 468 landmarks in place of YuNet's five.

    Args:
        path: the ONNX file.

    Raises:
        WeightsError: it is no network that OpenCV can run on such a picture.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._network = cv2.dnn.readNetFromONNX(str(path))
            features = self._run(np.zeros((_SIZE, _SIZE, 3), np.uint8))
        except cv2.error as error:
            raise WeightsError(
                f"{path}: no ONNX network of faces of 112 x 112 pixels that OpenCV can run; give "
                "face_recognition_sface_2021dec.onnx"
            ) from error
        if features.ndim != 1 or len(features) < 2:
            raise WeightsError(f"{path}: answers with {features.shape} in place of the features of one face")

    def features(self, image: Image, anchors: Points) -> NDArray[np.float32]:
        """[D], of length 1 (0 where the network answers 0), of the face in a picture [H, W, 3].

        anchors: [5, 2], pixels: eyes, tip of the nose, corners of the mouth (`align.anchors`).
        """
        found = self._run(align_face(image, to_template(anchors, _TEMPLATE), _SIZE))
        return found / np.float32(max(float(np.linalg.norm(found)), 1e-12))

    def _run(self, aligned: Image) -> NDArray[np.float32]:
        self._network.setInput(cv2.dnn.blobFromImage(aligned))
        return np.squeeze(np.asarray(self._network.forward(), np.float32), axis=0)
