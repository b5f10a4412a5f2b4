from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import pearsonr

from lipsync_cli.metrics.landmarks import LmdCoordinates, LmdSum, amplitude_ratio, correlation, sampled

TARGET = np.array([[0, 0], [10, 0], [5, 5]], np.float32)
OFF_BY_3_4 = TARGET + np.array([[3, 4], [0, 0], [0, -2]], np.float32)


def test_lmd_sum_adds_the_distances_of_the_points_and_averages_the_frames() -> None:
    metric = LmdSum()
    metric.update(OFF_BY_3_4, TARGET)
    metric.update(TARGET, TARGET)
    assert metric.compute() == pytest.approx((5 + 0 + 2) / 2)


def test_lmd_coordinates_averages_absolute_differences_of_x_and_y() -> None:
    metric = LmdCoordinates()
    metric.update(OFF_BY_3_4, TARGET)
    metric.update(TARGET, TARGET)
    assert metric.compute() == pytest.approx((3 + 4 + 2) / 6 / 2)


@pytest.mark.parametrize("metric", [LmdSum, LmdCoordinates])
def test_lmd_refuses_points_of_two_schemes_and_is_nan_without_frames(metric: type) -> None:
    measured = metric()
    assert math.isnan(measured.compute())
    with pytest.raises(ValueError, match="schemes"):
        measured.update(TARGET, TARGET[:2])


def test_correlation_agrees_with_scipy() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=50), random.normal(size=50)
    assert correlation(x + y, y) == pytest.approx(pearsonr(x + y, y).statistic, abs=1e-12)


def test_a_mouth_that_never_moves_follows_nothing() -> None:
    moving = np.array([0.0, 1.0, 0.0, 1.0])
    assert correlation(np.full(4, 0.3), moving) == 0.0
    assert amplitude_ratio(np.full(4, 0.3), moving) == 0.0


def test_a_real_mouth_that_never_moves_gives_no_answer() -> None:
    assert math.isnan(correlation(np.array([0.0, 1.0, 0.0]), np.full(3, 0.3)))
    assert math.isnan(amplitude_ratio(np.array([0.0, 1.0, 0.0]), np.full(3, 0.3)))


def test_amplitude_is_a_ratio_of_standard_deviations() -> None:
    real = np.array([0.0, 1.0, 3.0, 2.0])
    assert amplitude_ratio(0.5 * real + 7, real) == pytest.approx(0.5)


def test_a_series_is_read_between_its_values_but_not_over_gaps_or_ends() -> None:
    times, values = np.array([0.0, 0.04, 0.08, 0.2]), np.array([0.0, 4.0, 8.0, 20.0])
    at = np.array([-0.01, 0.0, 0.02, 0.07, 0.08, 0.1, 0.2, 0.21])
    read = sampled(times, values, at, longest_gap=0.06)
    np.testing.assert_allclose(read, [math.nan, 0, 2, 7, 8, math.nan, 20, math.nan], atol=1e-9)


def test_an_empty_series_has_no_values() -> None:
    assert np.isnan(sampled(np.zeros(0), np.zeros(0), np.array([0.0]), longest_gap=1.0)).all()
