from __future__ import annotations

import math

import numpy as np
import pytest

from lipsync_cli.metrics.identity import IdentitySimilarity


def test_identity_is_the_mean_cosine_by_hand() -> None:
    metric = IdentitySimilarity()
    assert math.isnan(metric.compute())
    metric.update(np.array([3.0, 4.0]), np.array([6.0, 8.0]))  # 1
    metric.update(np.array([1.0, 0.0]), np.array([1.0, math.sqrt(3)]))  # 0.5
    metric.update(np.array([0.0, 0.0]), np.array([1.0, 0.0]))  # 0: nothing is known of it
    assert metric.compute() == pytest.approx(0.5)


def test_identity_does_not_wrap_in_small_types() -> None:
    metric = IdentitySimilarity()
    metric.update(np.array([200, 100], np.uint8), np.array([200, 100], np.uint8))
    assert metric.compute() == pytest.approx(1.0)
