from __future__ import annotations

import math

import numpy as np
import pytest

from lipsync_cli.metrics import base
from lipsync_cli.metrics.base import RunningMean, Summary, paired_difference, summarise


def test_a_running_mean_is_the_mean_and_nan_without_values() -> None:
    mean = RunningMean()
    assert math.isnan(mean.compute())
    for value in (1.0, 2.0, 6.0):
        mean.add(value)
    assert mean.compute() == 3.0


def test_a_summary_holds_mean_median_and_count() -> None:
    summary = summarise([1.0, 2.0, 3.0, 10.0])
    assert (summary.mean, summary.median, summary.n) == (4.0, 2.5, 4)
    assert summary.low < summary.mean < summary.high


def test_the_bootstrap_interval_is_that_of_the_normal_for_many_values() -> None:
    values = np.random.default_rng(3).normal(5, 2, 2000)
    summary = summarise(values.tolist())
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert summary.high - summary.mean == pytest.approx(half, rel=0.1)
    assert summary.mean - summary.low == pytest.approx(half, rel=0.1)


def test_the_same_values_give_the_same_interval() -> None:
    assert summarise([1.0, 4.0, 2.0]) == summarise([1.0, 4.0, 2.0])


def test_the_interval_is_that_of_resamples_drawn_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).normal(size=37)
    generator = np.random.default_rng(0)
    means = [values[generator.integers(0, 37, 37)].mean() for _ in range(2000)]
    found = summarise(values.tolist())
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])), abs=1e-12)
    monkeypatch.setattr(base, "_DRAWN_AT_ONCE", 100)  # many clips are drawn a few at a time
    assert summarise(values.tolist()) == found


def test_one_value_is_its_own_interval() -> None:
    assert summarise([2.5]) == Summary(2.5, 2.5, 2.5, 2.5, 1)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_a_summary_refuses_nothing_and_what_is_not_finite(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        summarise(values)


def test_a_constant_difference_has_an_interval_of_no_width() -> None:
    difference = paired_difference([3.0, 5.0, 9.0], [2.0, 4.0, 8.0])
    assert (difference.low, difference.mean, difference.high) == (1.0, 1.0, 1.0)


def test_paired_differences_need_the_same_clips() -> None:
    with pytest.raises(ValueError, match="same clips"):
        paired_difference([1.0], [1.0, 2.0])
