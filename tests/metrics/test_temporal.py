from __future__ import annotations

import math

import numpy as np
import pytest

from lipsync_cli.metrics.temporal import FlickerRatio, InterFrameConsistency


def _flat(*levels: int) -> list[np.ndarray]:
    return [np.full((4, 4, 3), level, np.uint8) for level in levels]


def test_ifc_by_hand() -> None:
    metric = InterFrameConsistency()
    for generated, target in zip(_flat(0, 10, 250, 250), _flat(5, 8, 200, 210), strict=True):
        metric.update(generated, target)
    # steps 10, 240, 0 against 3, 192, 10
    assert metric.compute() == pytest.approx((7 + 48 + 10) / 3)


def test_ifc_of_a_video_with_itself_is_0_and_without_neighbours_nan() -> None:
    metric = InterFrameConsistency()
    assert math.isnan(metric.compute())
    for level in _flat(3, 90, 1):
        metric.update(level, level)
    assert metric.compute() == 0.0


def test_ifc_does_not_cross_an_interruption() -> None:
    metric = InterFrameConsistency()
    generated, target = _flat(0, 100), _flat(0, 0)
    metric.update(generated[0], target[0])
    metric.interrupt()
    metric.update(generated[1], target[1])
    assert math.isnan(metric.compute())


def test_flicker_by_hand_is_the_ratio_of_second_differences() -> None:
    metric = FlickerRatio()
    for generated, target in zip(_flat(10, 20, 10, 20), _flat(10, 15, 10, 15), strict=True):
        metric.update(generated, target)
    assert metric.compute() == pytest.approx(2.0)


def test_steady_motion_does_not_flicker() -> None:
    metric = FlickerRatio()
    for generated, target in zip(_flat(0, 50, 100, 150), _flat(10, 12, 10, 12), strict=True):
        metric.update(generated, target)
    assert metric.compute() == 0.0


def test_flicker_has_no_answer_on_a_real_video_that_stands_still() -> None:
    metric = FlickerRatio()
    for generated in _flat(0, 50, 0):
        metric.update(generated, _flat(9)[0])
    assert math.isnan(metric.compute())


def test_flicker_does_not_cross_an_interruption() -> None:
    metric = FlickerRatio()
    for index, (generated, target) in enumerate(zip(_flat(0, 0, 90, 90), _flat(0, 0, 90, 90), strict=True)):
        if index == 2:
            metric.interrupt()
        metric.update(generated, target)
    assert math.isnan(metric.compute())
