from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from lipsync_cli.dubbing.schedule import Plan, in_order, schedule

STEP = 1 / 25


def planned(n: int, duration: float, longer: str = "loop", *, keep: bool = False) -> list[tuple[int, float]]:
    return list(schedule(np.arange(n) * STEP, duration=duration, step=STEP, longer=longer, keep=keep))


def test_back_and_forth_no_frame_is_shown_twice_in_a_row_and_gaps_are_those_of_the_source() -> None:
    times = np.array([0.0, 0.04, 0.1, 0.11])
    plan = list(schedule(times, duration=0.5, step=0.04, longer="pingpong"))
    assert [source for source, _ in plan] == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0]
    shown = [time for _, time in plan]
    for (first, second), (a, b) in zip(pairwise(shown), pairwise(source for source, _ in plan), strict=True):
        assert second - first == pytest.approx(abs(times[b] - times[a]))


def test_a_single_picture_going_back_and_forth_is_held() -> None:
    assert [source for source, _ in planned(1, 0.2, "pingpong")] == [0] * 5


def test_trim_ends_with_the_video() -> None:
    assert [source for source, _ in planned(5, 10.0, "trim")] == [0, 1, 2, 3, 4]
    assert len(planned(5, 0.12, "trim")) == 3


def test_keep_shows_all_of_a_longer_video_and_loops_a_shorter_one() -> None:
    assert [source for source, _ in planned(10, 0.2, keep=True)] == list(range(10))
    assert len(planned(10, 0.6, keep=True)) == 15


@pytest.mark.parametrize("room", [2, 3, 100])
def test_frames_come_in_the_order_of_the_schedule_and_few_are_held(world, monkeypatch, room) -> None:
    monkeypatch.setattr("lipsync_cli.dubbing.schedule._BACKWARDS_BYTES", room * 3 * 96 * 96)
    stream = world.Stream([world.Shown()] * 7)
    plan = planned(7, 1.0, "pingpong")
    seen = [(frame.index, time) for frame, time in in_order(stream, plan)]
    assert seen == plan
    assert stream.most_alive <= min(room, 7) + 3


def test_a_frame_that_stands_for_long_is_given_again_so_that_its_mouth_moves() -> None:
    times = np.array([0.0, 0.04, 0.52, 0.56])
    plan = list(schedule(times, duration=0.6, step=0.04, longer="loop"))
    assert [source for source, _ in plan] == [0, *[1] * 12, 2, 3]
    np.testing.assert_allclose([time for _, time in plan], np.arange(15) * 0.04, atol=1e-9)


@pytest.mark.parametrize("longer", ["loop", "pingpong", "hold", "trim"])
def test_a_picture_that_begins_after_the_sound_stands_from_the_start_and_its_mouth_moves(longer: str) -> None:
    times = 0.84 + np.arange(5) * STEP
    before = list(schedule(times, duration=0.8, step=STEP, longer=longer))
    assert [source for source, _ in before] == [0] * 20
    np.testing.assert_allclose([time for _, time in before], np.arange(20) * STEP, atol=1e-9)
    past = list(schedule(times, duration=1.0, step=STEP, longer=longer))
    assert [source for source, _ in past] == [*[0] * 22, 1, 2, 3]
    np.testing.assert_allclose([time for _, time in past], np.arange(25) * STEP, atol=1e-9)


def test_a_picture_that_begins_a_little_after_the_sound_is_not_given_twice() -> None:
    plan = list(schedule(0.1 + np.arange(5) * STEP, duration=0.3, step=STEP, longer="loop"))
    assert [source for source, _ in plan] == [0, 1, 2, 3, 4]
    np.testing.assert_allclose([time for _, time in plan], [0.0, 0.14, 0.18, 0.22, 0.26])


def test_a_single_frame_that_begins_late_is_held_from_the_start() -> None:
    plan = list(schedule(np.array([0.84]), duration=1.0, step=STEP, longer="loop"))
    assert [source for source, _ in plan] == [0] * 25
    np.testing.assert_allclose([time for _, time in plan], np.arange(25) * STEP, atol=1e-9)


def test_a_plan_is_the_schedule_in_few_bytes() -> None:
    pairs = planned(7, 1.0, "pingpong")
    plan = Plan(iter(pairs))
    assert list(plan) == pairs
    assert (len(plan), plan[0], plan[-1]) == (25, pairs[0], pairs[-1])
    assert list(plan[3:9]) == pairs[3:9]
    assert plan.sources.tolist() == [source for source, _ in pairs]
    assert all(type(source) is int and type(time) is float for source, time in (plan[2], *plan))
    with pytest.raises(IndexError):
        plan[25]
    assert len(Plan(())) == 0
