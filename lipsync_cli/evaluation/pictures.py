"""Figures of the face crops of a generated video beside the real one's, frame by frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.evaluation.features import FeatureCollector, FeatureNetwork
from lipsync_cli.evaluation.watch import Watched
from lipsync_cli.faces.crop import crop_face, points_in_crop
from lipsync_cli.interfaces import Box, Frame, Image, Points
from lipsync_cli.metrics.identity import IdentitySimilarity
from lipsync_cli.metrics.image import Psnr, SharpnessRatio, Ssim
from lipsync_cli.metrics.landmarks import LmdCoordinates, LmdSum
from lipsync_cli.metrics.temporal import FlickerRatio, InterFrameConsistency

SIZE = 96
"""Pixels of the crop that pictures are compared in, as in the paper."""
MOUTH = (0.5, 5 / 6, 0.19, 0.81)
"""Top, bottom, left and right of the window around the mouth, as shares of the crop: lips of every speaker
tried lie in it, open or closed, and little else does."""
IDENTITY_STEP = 5
"""Every so many pairs of frames are asked whose face it is: from one to the next little changes."""
_LARGEST = 1024  # pixels of a crop at the video's own size


class FaceRecognizer(Protocol):
    """What tells people apart."""

    def features(self, image: Image, anchors: Points) -> NDArray[np.float32]:
        """[D] of the face in a picture [H, W, 3] with these five points [5, 2], pixels."""
        ...


class PictureFigures:
    """Compares frame after frame in crops cut from both videos with the REAL video's box."""

    def __init__(
        self,
        real: Watched,
        generated: Watched,
        features: Mapping[str, FeatureNetwork] | None = None,
        recognizer: FaceRecognizer | None = None,
    ) -> None:
        self._real, self._generated = real, generated
        self._native = _native_size(real)
        self._closed = _closed_crop(real)
        self._whole = Ssim(), Psnr(), InterFrameConsistency(), FlickerRatio()
        self._lower, self._static = Psnr(), Psnr()
        self._small_mouth, self._native_mouth = SharpnessRatio(), SharpnessRatio()
        self._lips = LmdSum(), LmdCoordinates()
        self._recognizer, self._identity = recognizer, IdentitySimilarity()
        self.features = FeatureCollector(features or {})
        """Of the crops, for distances between all pictures of a run."""
        self._last: int | None = None
        self.n_frames = 0
        """Pairs with a face so far."""
        self.n_unpaired = 0
        """Generated frames without a real one at their time."""

    def update_all(self, pairs: Iterable[tuple[Frame | None, Frame]]) -> None:
        """All pairs of `pair_frames`."""
        for real, generated in pairs:
            if real is None:
                self.n_unpaired += 1
                self._last = None
                continue
            box = self._real.track.box(real.index)
            if box is not None:
                self._update(real, generated, box)

    def _update(self, real: Frame, generated: Frame, box: Box) -> None:
        self._follow(real.index)
        crops = crop_face(generated.image, box, SIZE), crop_face(real.image, box, SIZE)
        for metric in self._whole:
            metric.update(*crops)
        self.features.update(*crops)
        lower = crops[0][SIZE // 2 :], crops[1][SIZE // 2 :]
        self._lower.update(*lower)
        self._static.update(self._closed[SIZE // 2 :], lower[1])
        self._small_mouth.update(*(mouth_window(crop) for crop in crops))
        native = (crop_face(frame.image, box, self._native) for frame in (generated, real))
        self._native_mouth.update(*(mouth_window(crop) for crop in native))
        if self._generated_has_face(generated.index):
            self._update_lips(real.index, generated.index, box)
            if self._recognizer is not None and self.n_frames % IDENTITY_STEP == 0:
                self._identity.update(
                    self._recognizer.features(generated.image, self._generated.anchors[generated.index]),
                    self._recognizer.features(real.image, self._real.anchors[real.index]),
                )
        self.n_frames += 1

    def _follow(self, index: int) -> None:
        """Differences over time never cross a cut or a gap."""
        follows = self._last is not None and index == self._last + 1
        if not follows or self._real.track.shot_starts[index]:
            self._whole[2].interrupt()
            self._whole[3].interrupt()
            self.features.interrupt()
        self._last = index

    def _generated_has_face(self, index: int) -> bool:
        return index < len(self._generated.track) and bool(self._generated.track.present[index])

    def _update_lips(self, real: int, generated: int, box: Box) -> None:
        points = [
            points_in_crop(watched.lips[index], box, SIZE)
            for watched, index in ((self._generated, generated), (self._real, real))
        ]
        for metric in self._lips:
            metric.update(*points)

    def figures(self) -> dict[str, float]:
        """Figures by name (`figures.FIGURES`), NaN where nothing could be measured."""
        ssim, psnr, ifc, flicker = (metric.compute() for metric in self._whole)
        lower, static = self._lower.compute(), self._static.compute()
        identity = {} if self._recognizer is None else {"identity": self._identity.compute()}
        return {
            **identity,
            "ssim": ssim,
            "psnr": psnr,
            "psnr_lower": lower,
            "static_psnr_lower": static,
            "psnr_gain": lower - static,
            "ifc": ifc,
            "flicker_ratio": flicker,
            "lmd_sum": self._lips[0].compute(),
            "lmd_coordinates": self._lips[1].compute(),
            "sharpness_96": self._small_mouth.compute(),
            "sharpness_native": self._native_mouth.compute(),
        }


def mouth_window(crop: Image) -> Image:
    """The part of a square crop [S, S, 3] around the mouth."""
    top, bottom, left, right = (round(share * len(crop)) for share in MOUTH)
    return crop[top:bottom, left:right]


def _native_size(real: Watched) -> int:
    """Crop size at which a pixel of the crop is about one of the video (one size for the whole clip)."""
    boxes = real.track.boxes[real.track.present]
    longer = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    return min(max(round(float(np.median(longer))), 16), _LARGEST)


def _closed_crop(real: Watched) -> Image:
    """The static baseline: the crop of the real video's most closed frame."""
    if real.closed_image is None or real.most_closed is None:
        raise ValueError("a video without a face has no closed frame")
    box = real.track.box(real.most_closed)
    if box is None:
        raise ValueError("the most closed frame has no box")
    return crop_face(real.closed_image, box, SIZE)
