"""Pixel rules that data, losses, metrics and dubbing share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


def mask_lower_half(faces: Tensor) -> Tensor:
    """The pose reference (paper, section 3.1): rows from H // 2 on set to 0.

    faces [..., H, W] -> a new tensor of the same shape.
    """
    masked = faces.clone()
    masked[..., faces.shape[-2] // 2 :, :] = 0
    return masked


def lower_half(faces: Tensor) -> Tensor:
    """The lips as sync networks see them: rows from H // 2 on. [..., H, W] -> [..., H - H // 2, W]."""
    return faces[..., faces.shape[-2] // 2 :, :]


def to_network(images: NDArray[np.uint8]) -> Tensor:
    """uint8 [..., H, W, 3] RGB -> float32 [..., 3, H, W] in [0, 1]."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(images)).movedim(-1, -3).float().div_(255.0)


def to_image(faces: Tensor) -> NDArray[np.uint8]:
    """float [..., 3, H, W] in [0, 1] (clipped) -> uint8 [..., H, W, 3] RGB, rounded to nearest."""
    import cv2

    planes = faces.detach().float().cpu().contiguous().numpy()
    height, width = planes.shape[-2:]
    result = np.empty((*planes.shape[:-3], height, width, 3), np.uint8)
    for index in np.ndindex(planes.shape[:-3]):  # OpenCV clips, rounds and interleaves in a third of the time
        values = planes[index].reshape(3 * height, width)
        levels = cv2.addWeighted(values, 255, values, 0, 0, dtype=cv2.CV_8U)
        cv2.merge(list(levels.reshape(3, height, width)), dst=result[index])
    return result


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures at another size (height, width): bilinear, differentiable; written once for all.

    [..., C, H, W] -> [..., C, height, width]. Pixels are squares (corners not aligned);
    shrinking averages. Pictures that have the size already come back as they are.
    """
    from torch.nn import functional as F

    height, width = images.shape[-2:]
    if (height, width) == size:
        return images
    shrinks = size[0] < height or size[1] < width
    flat = images.reshape(-1, *images.shape[-3:])
    resized = F.interpolate(flat, size=size, mode="bilinear", align_corners=False, antialias=shrinks)
    return resized.reshape(*images.shape[:-2], *size)
