from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lipsync_cli.metrics.image import (
    FrechetDistance,
    Psnr,
    SharpnessRatio,
    Ssim,
    frechet_distance,
    psnr,
    sharpness,
    ssim,
)


def _pictures(
    seed: int, size: tuple[int, int] = (48, 64), noise: float = 20.0
) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    target = ndimage.gaussian_filter(random.uniform(0, 255, (*size, 3)), (2, 2, 0)) * 4 - 380
    target = np.clip(target, 0, 255).astype(np.uint8)
    return np.clip(target + random.normal(0, noise, target.shape), 0, 255).astype(np.uint8), target


@pytest.mark.parametrize("noise", [0.3, 5.0, 60.0])
def test_psnr_agrees_with_scikit_image(noise: float) -> None:
    generated, target = _pictures(1, noise=noise)
    expected = peak_signal_noise_ratio(target, generated, data_range=255)
    assert psnr(generated, target) == pytest.approx(expected, abs=1e-4)


def test_psnr_does_not_wrap_in_uint8() -> None:
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    assert psnr(black, white) == pytest.approx(0.0, abs=1e-9)


def test_identical_pictures_have_100_db_and_nearly_identical_ones_less() -> None:
    _, target = _pictures(2, (96, 96))
    assert psnr(target, target) == 100.0
    other = target.copy()
    other[0, 0, 0] ^= 1
    assert psnr(other, target) == pytest.approx(92.547, abs=1e-3)


@pytest.mark.parametrize("noise", [0.5, 10.0, 80.0])
@pytest.mark.parametrize("size", [(96, 96), (48, 96), (11, 11)])
def test_ssim_agrees_with_scikit_image(size: tuple[int, int], noise: float) -> None:
    generated, target = _pictures(3, size, noise)
    expected = structural_similarity(
        target,
        generated,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=-1,
    )
    assert ssim(generated, target) == pytest.approx(expected, abs=1e-4)


def test_ssim_of_identical_pictures_is_1_and_small_pictures_are_refused() -> None:
    _, target = _pictures(4)
    assert ssim(target, target) == pytest.approx(1.0, abs=1e-12)
    with pytest.raises(ValueError, match="11 x 11"):
        ssim(target[:10], target[:10])


def test_sharpness_is_the_variance_of_the_laplacian_of_the_luma() -> None:
    picture, _ = _pictures(5)
    grey = picture.astype(float) @ [0.299, 0.587, 0.114]
    expected = ndimage.laplace(grey, mode="mirror").var()
    assert sharpness(picture) == pytest.approx(expected, rel=1e-6)


def test_a_blurred_mouth_has_a_sharpness_ratio_below_1_and_the_real_one_1() -> None:
    _, target = _pictures(6)
    blurred = ndimage.gaussian_filter(target, (1, 1, 0))
    ratio, own = SharpnessRatio(), SharpnessRatio()
    ratio.update(blurred, target)
    own.update(target, target)
    assert ratio.compute() == pytest.approx(sharpness(blurred) / sharpness(target))
    assert ratio.compute() < 0.7
    assert own.compute() == 1.0


def test_a_flat_real_picture_has_no_sharpness_ratio() -> None:
    metric = SharpnessRatio()
    metric.update(*_pictures(1)[:1], np.full((48, 64, 3), 7, np.uint8))
    assert math.isnan(metric.compute())


@pytest.mark.parametrize(("metric", "single"), [(Psnr, psnr), (Ssim, ssim)])
def test_figures_of_clips_are_means_over_frames(metric: type, single: object) -> None:
    measured = metric()
    assert math.isnan(measured.compute())
    pairs = [_pictures(seed, noise=10.0 * seed) for seed in (1, 2, 3)]
    for pair in pairs:
        measured.update(*pair)
    assert measured.compute() == pytest.approx(np.mean([single(*pair) for pair in pairs]))


def _public_frechet(x: np.ndarray, y: np.ndarray) -> float:
    """As in the public FID scripts: the square root of a matrix by scipy."""
    root = scipy.linalg.sqrtm(np.cov(x, rowvar=False) @ np.cov(y, rowvar=False))
    gap = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    return float(gap + np.trace(np.cov(x, rowvar=False) + np.cov(y, rowvar=False) - 2 * np.real(root)))


@pytest.mark.parametrize("n_features", [2, 16, 64])
def test_frechet_distance_agrees_with_scipy(n_features: int) -> None:
    random = np.random.default_rng(n_features)
    x = random.normal(size=(200, n_features)) @ random.normal(size=(n_features, n_features))
    y = random.normal(size=(170, n_features)) + 0.5
    metric = FrechetDistance(n_features)
    for start in range(0, 200, 50):
        metric.update(x[start : start + 50], y[start : start + 50])
    assert metric.compute() == pytest.approx(_public_frechet(x, y), rel=1e-6, abs=1e-4)


def test_frechet_distance_of_a_cloud_to_itself_is_0_even_with_few_pictures() -> None:
    x = np.random.default_rng(1).normal(size=(5, 20))
    metric = FrechetDistance(20)
    metric.update(x, x)
    assert metric.compute() == pytest.approx(0.0, abs=1e-6)


def test_frechet_distance_of_two_diagonal_gaussians_by_hand() -> None:
    # |(3, 0)|² + (1 - 2)² + (2 - 2)² = 10, standard deviations 1, 2 and 2, 2
    assert frechet_distance(
        np.zeros(2), np.diag([1.0, 4.0]), np.array([3.0, 0.0]), np.diag([4.0, 4.0])
    ) == pytest.approx(10.0)


def test_frechet_distance_needs_two_pictures_on_each_side() -> None:
    metric = FrechetDistance(3)
    metric.update(np.zeros((1, 3)), np.zeros((4, 3)))
    assert math.isnan(metric.compute())
