from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from lipsync_cli.dubbing.schedule import schedule
from lipsync_cli.dubbing.stages import ahead, fit

pytestmark = pytest.mark.usefixtures("no_thread_left")

STEP = 1 / 25


def planned(n: int, duration: float, longer: str = "loop") -> list[tuple[int, float]]:
    return list(schedule(np.arange(n) * STEP, duration=duration, step=STEP, longer=longer))


def test_the_schedule_ends_within_half_a_frame_of_the_speech() -> None:
    for duration in (0.36, 0.379, 0.381, 0.4, 0.41):
        end = planned(100, duration)[-1][1] + STEP
        assert abs(end - duration) <= STEP / 2 + 1e-9


def test_even_the_shortest_speech_gets_a_frame() -> None:
    assert planned(5, 0.001) == [(0, 0.0)]


def test_looped_times_go_on_one_step_after_the_last_frame_and_the_first_frame_is_shown_at_once() -> None:
    plan = list(schedule(np.array([1.0, 1.2, 1.3]), duration=2.1, step=0.1, longer="loop"))
    assert [source for source, _ in plan] == [0] * 12 + [1, 2, 0, 1, 2, 0, 1]
    times = [time for _, time in plan]
    standing = [turn * 0.1 for turn in range(12)]
    np.testing.assert_allclose(times, [*standing, 1.2, 1.3, 1.4, 1.6, 1.7, 1.8, 2.0], atol=1e-9)


def test_fit_reads_a_stream_once_however_often_its_last_frame_is_held(world) -> None:
    stream = world.Stream([world.Shown()] * 4)
    items = list(fit(stream, planned(4, 1.0, "hold")))
    assert stream.starts == 1
    assert [item.source for item in items] == [0, 1, 2] + [3] * 22
    assert [item.frame.index for item in items] == list(range(25))
    assert all(item.frame.image is items[3].frame.image for item in items[3:])


def test_fit_goes_on_with_the_last_picture_where_the_second_decode_gets_less(world) -> None:
    items = list(fit(world.Stream([world.Shown()] * 3), planned(6, 0.24)))
    assert [item.source for item in items] == [0, 1, 2, 2, 2, 2]


def test_ahead_gives_the_same_items_in_order_from_another_thread() -> None:
    threads = set()

    def numbers() -> Iterator[int]:
        for number in range(50):
            threads.add(threading.get_ident())
            yield number

    assert list(ahead(numbers(), 3)) == list(range(50))
    assert threads.isdisjoint({threading.get_ident()})


def test_ahead_is_never_more_than_its_size_and_one_ahead() -> None:
    made = []

    def numbers() -> Iterator[int]:
        for number in range(40):
            made.append(number)
            yield number

    for taken in ahead(numbers(), 3):
        assert len(made) <= taken + 1 + 3 + 1


def test_ahead_raises_the_error_of_its_thread_after_the_items_before_it() -> None:
    def numbers() -> Iterator[int]:
        yield from range(3)
        raise ZeroDivisionError("at three")

    got = []
    with pytest.raises(ZeroDivisionError, match="at three"):
        got.extend(ahead(numbers(), 10))
    assert got == [0, 1, 2]


@pytest.mark.parametrize("size", [1, 4])
def test_ahead_stops_its_thread_when_it_is_closed_early(size: int) -> None:
    closed = []

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    source = endless()
    with closing(ahead(source, size)) as items:
        next(items)
    source.close()  # not running any more, or this raises
    assert closed == [True]


def test_ahead_can_be_nested_and_closed_from_outside() -> None:
    with closing(ahead(iter(range(100)), 2)) as inner, closing(ahead(inner, 2)) as outer:
        assert next(outer) == 0
