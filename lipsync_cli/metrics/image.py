"""Figures of single pictures: PSNR, SSIM, sharpness of the mouth, Fréchet distance.

Pictures are [H, W, 3] RGB, uint8 or float in grey levels 0..255; all arithmetic is float64 (in uint8
differences wrap, and a public script reads 28.7 dB for a true 22.1).
"""

from __future__ import annotations

from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from lipsync_cli.metrics.base import RunningMean

Picture = NDArray[Any]
"""uint8 or float [H, W, 3] RGB, grey levels 0..255."""
Floats = NDArray[np.float64]

PEAK = 255.0
HIGHEST_PSNR = 100.0
"""dB given to identical pictures, so that a perfect score is a number: the smallest difference that two
different 96 x 96 pictures can have is 92.5 dB."""

_RADIUS, _SIGMA = 5, 1.5
_C1, _C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2


def psnr(generated: Picture, target: Picture) -> float:
    """Peak signal-to-noise ratio, 10 log10(255² / mean (generated - target)²), at most 100 dB.

    The mean runs over all pixels and channels. Identical pictures: 100 dB.
    """
    error = float(np.mean((generated.astype(np.float64) - target.astype(np.float64)) ** 2))
    if error <= PEAK**2 * 10 ** (-HIGHEST_PSNR / 10):
        return HIGHEST_PSNR
    return 10 * float(np.log10(PEAK**2 / error))


def ssim(generated: Picture, target: Picture) -> float:
    """Structural similarity (Wang, Bovik, Sheikh and Simoncelli 2004), in [-1, 1], 1 for identical pictures.

    mean over pixels and channels of (2 m n + C1)(2 c + C2) / ((m² + n² + C1)(v + w + C2)) with m, n the
    means, v, w the variances and c the covariance in an 11 x 11 Gaussian window (sigma 1.5),
    C1 = (0.01 * 255)², C2 = (0.03 * 255)². Only windows that lie inside the picture count. As
    `skimage.metrics.structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    data_range=255, channel_axis=-1)`.

    Raises ValueError for pictures smaller than the window.
    """
    if min(target.shape[:2]) < 2 * _RADIUS + 1:
        raise ValueError(f"SSIM needs pictures of at least 11 x 11 pixels, got {target.shape[:2]}")
    x, y = generated.astype(np.float64), target.astype(np.float64)
    mean_x, mean_y = _windowed(x), _windowed(y)
    variance_x = _windowed(x * x) - mean_x**2
    variance_y = _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    structure = (2 * covariance + _C2) / (variance_x + variance_y + _C2)
    return float(np.mean(luminance * structure))


def _windowed(values: Floats) -> Floats:
    """Gaussian means of the windows that lie inside the picture."""
    kernel = cv2.getGaussianKernel(2 * _RADIUS + 1, _SIGMA, cv2.CV_64F)
    means = cv2.sepFilter2D(values, cv2.CV_64F, kernel, kernel)
    return np.asarray(means[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS], dtype=np.float64)


def sharpness(picture: Picture) -> float:
    """Variance of the Laplacian of the grey picture (Pech-Pacheco et al. 2000), in grey levels².

    Higher is sharper. Grey is ITU-R BT.601 luma; the Laplacian is [[0, 1, 0], [1, -4, 1], [0, 1, 0]].
    """
    grey = picture.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return float(cv2.Laplacian(grey, cv2.CV_64F, ksize=1).var())


class Psnr:
    """Mean over frames of `psnr`."""

    name: ClassVar[str] = "psnr"
    unit: ClassVar[str] = "dB"
    higher_is_better: ClassVar[bool | None] = True

    def __init__(self) -> None:
        self._mean = RunningMean()

    def update(self, generated: Picture, target: Picture) -> None:
        """One frame."""
        self._mean.add(psnr(generated, target))

    def compute(self) -> float:
        """Mean of the frames."""
        return self._mean.compute()


class Ssim:
    """Mean over frames of `ssim`."""

    name: ClassVar[str] = "ssim"
    unit: ClassVar[str] = ""
    higher_is_better: ClassVar[bool | None] = True

    def __init__(self) -> None:
        self._mean = RunningMean()

    def update(self, generated: Picture, target: Picture) -> None:
        """One frame."""
        self._mean.add(ssim(generated, target))

    def compute(self) -> float:
        """Mean of the frames."""
        return self._mean.compute()


class SharpnessRatio:
    """Mean `sharpness` of the generated pictures over that of the real ones; best is 1."""

    name: ClassVar[str] = "sharpness_ratio"
    unit: ClassVar[str] = ""
    higher_is_better: ClassVar[bool | None] = None

    def __init__(self) -> None:
        self._generated = RunningMean()
        self._target = RunningMean()

    def update(self, generated: Picture, target: Picture) -> None:
        """One frame (its mouth window)."""
        self._generated.add(sharpness(generated))
        self._target.add(sharpness(target))

    def compute(self) -> float:
        """Ratio of the means; NaN when the real pictures are flat."""
        real = self._target.compute()
        return self._generated.compute() / real if real > 0 else float("nan")


class FrechetDistance:
    """Distance of two clouds of features as Gaussians (Dowson and Landau 1982; FID of Heusel et al. 2017).

    |m - n|² + tr(S + T - 2 (S T)^½), m, n the means and S, T the covariances (over N - 1); lower is better,
    0 for equal clouds. It is FID only on the 2048 features of the public Inception network; on another
    network it goes under that network's name.
    """

    name: ClassVar[str] = "frechet_distance"
    unit: ClassVar[str] = "squared feature units"
    higher_is_better: ClassVar[bool | None] = False

    def __init__(self, n_features: int) -> None:
        self._generated = _Moments(n_features)
        self._target = _Moments(n_features)

    def update(self, generated: Floats, target: Floats) -> None:
        """Features [N, D] of generated and [M, D] of real pictures."""
        self._generated.update(generated)
        self._target.update(target)

    def compute(self) -> float:
        """The distance; NaN with fewer than two pictures on a side."""
        if min(self._generated.n, self._target.n) < 2:
            return float("nan")
        return frechet_distance(*self._generated.gaussian(), *self._target.gaussian())


def frechet_distance(mean: Floats, covariance: Floats, other_mean: Floats, other_covariance: Floats) -> float:
    """The distance of two Gaussians, [D] and [D, D] each.

    tr (S T)^½ is the sum of the roots of the eigenvalues of S^½ T S^½, which is symmetric: no complex
    roots can appear as they do in the public implementation, and negative rounding is cut at 0.
    """
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    cross = np.linalg.eigvalsh(root @ other_covariance @ root)
    trace = np.trace(covariance) + np.trace(other_covariance) - 2 * np.sqrt(np.clip(cross, 0, None)).sum()
    return max(0.0, float(np.sum((mean - other_mean) ** 2) + trace))


class _Moments:
    """Mean and covariance of features that come in batches (Chan, Golub and LeVeque 1979)."""

    def __init__(self, n_features: int) -> None:
        self.n = 0
        self._mean = np.zeros(n_features)
        self._scatter = np.zeros((n_features, n_features))

    def update(self, features: Floats) -> None:
        batch = np.asarray(features, dtype=np.float64)
        if len(batch) == 0:
            return
        mean = batch.mean(axis=0)
        step, total = mean - self._mean, self.n + len(batch)
        centred = batch - mean
        self._scatter += centred.T @ centred + np.outer(step, step) * self.n * len(batch) / total
        self._mean = self._mean + step * len(batch) / total
        self.n = total

    def gaussian(self) -> tuple[Floats, Floats]:
        return self._mean, self._scatter / (self.n - 1)
