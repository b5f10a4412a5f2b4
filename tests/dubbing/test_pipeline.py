from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from lipsync_cli.dubbing.first_pass_cache import FirstPassCache
from lipsync_cli.dubbing.job import DubSettings
from lipsync_cli.dubbing.pipeline import dub
from lipsync_cli.errors import FaceError

pytestmark = pytest.mark.usefixtures("no_thread_left")


def talking(world, n: int, **changes):
    """n frames of a mouth that opens and closes."""
    return [world.Shown(opening=0.002 + 0.1 * (i % 8) / 8, **changes) for i in range(n)]


def test_every_frame_with_a_face_hears_its_own_time(world) -> None:
    counts = world.dub(world.Stream(talking(world, 60)), 2.4)
    assert world.talking_face.heard == pytest.approx([i / 25 for i in range(60)])
    assert [frame.index for frame in world.sink.frames] == list(range(60))
    assert (counts.frames, counts.dubbed, counts.passed_through) == (60, 60, 0)
    assert counts.video_seconds == pytest.approx(2.4)


def test_the_lower_half_of_the_face_changes_and_nothing_else(world) -> None:
    stream = world.Stream(talking(world, 10))
    world.dub(stream, 0.4)
    for frame in world.sink.frames:
        before = world.draw(stream.shows[frame.index])
        changed = (frame.image != before).any(axis=2)
        rows, columns = np.nonzero(changed)
        assert rows.min() > 40
        assert columns.min() >= 16
        assert columns.max() < 64
        assert changed.sum() > 150


def test_frames_without_a_face_pass_through_unchanged(world) -> None:
    shows = talking(world, 30)
    for index in range(10, 16):
        shows[index] = world.Shown(opening=None)
    counts = world.dub(world.Stream(shows), 1.2)
    assert (counts.dubbed, counts.passed_through) == (24, 6)
    for index in range(10, 16):
        assert np.array_equal(world.sink.frames[index].image, world.draw(shows[index]))
    assert len(world.talking_face.heard) == 24


def test_a_video_without_any_face_is_refused_before_the_output_is_opened(world) -> None:
    with pytest.raises(FaceError, match=r"fake\.mp4: no face in any of the 20 frames"):
        world.dub(world.Stream([world.Shown(opening=None)] * 20), 5.0)
    assert world.sink.rate is None


def test_a_longer_video_is_trimmed_to_the_speech_and_hardly_watched_further(world) -> None:
    """Ten seconds are watched for the sake of the references, however short the speech."""
    counts = world.dub(world.Stream(talking(world, 300)), 1.0)
    assert counts.frames == 25
    assert [total for stage, _, total in world.told if stage == "watch"] == [250] * 250


@pytest.mark.parametrize("duration", [0.5, 0.99, 1.0, 1.013, 3.1])
@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(60)])
@pytest.mark.parametrize("longer", ["loop", "hold"])
def test_the_output_lasts_as_long_as_the_speech_within_one_frame(world, duration, rate, longer) -> None:
    counts = world.dub(world.Stream(talking(world, 25), rate), duration, longer=longer)
    assert abs(counts.video_seconds - duration) <= float(1 / rate)
    times = [frame.time for frame in world.sink.frames]
    assert np.allclose(np.diff(times), float(1 / rate))
    assert world.talking_face.heard == pytest.approx(times)


def test_a_short_video_starts_again(world) -> None:
    stream = world.Stream(talking(world, 10))
    world.dub(stream, 1.0)
    upper = [frame.image[:40] for frame in world.sink.frames]
    assert len(upper) == 25
    for index in range(10, 25):
        assert np.array_equal(upper[index], upper[index - 10])


def test_or_holds_its_last_frame(world) -> None:
    world.dub(world.Stream(talking(world, 10)), 1.0, longer="hold")
    images = [frame.image for frame in world.sink.frames]
    assert all(np.array_equal(image[:40], images[9][:40]) for image in images[9:])
    assert not np.array_equal(images[9], images[20])  # it still speaks


def test_a_still_picture_becomes_video_of_25_frames_a_second(world) -> None:
    stream = world.Stream(talking(world, 1), Fraction(1))
    counts = world.dub(stream, 2.0)
    assert world.sink.rate == 25
    assert counts.frames == 50
    assert stream.starts == 2  # read once in each pass


def test_time_stamps_of_a_variable_frame_rate_are_kept(world) -> None:
    times = [0.0, 0.04, 0.1, 0.11, 0.3, 0.33]
    world.dub(world.Stream(talking(world, 6), times=times), 0.5)
    written = [frame.time for frame in world.sink.frames]
    assert written[:6] == times
    assert written[6:] == pytest.approx([0.37, 0.41, 0.47])  # again from the start
    assert world.talking_face.heard == pytest.approx(written)


@pytest.mark.parametrize("batch", [1, 7, 200])
def test_the_batch_size_changes_nothing_but_the_batches(world, batch) -> None:
    shows = talking(world, 40)
    shows[5] = world.Shown(opening=None)
    world.dub(world.Stream(shows), 1.6, batch=batch)
    expected = type(world)()
    expected.dub(world.Stream(shows), 1.6)
    assert max(world.talking_face.batches) <= batch
    for ours, theirs in zip(world.sink.frames, expected.sink.frames, strict=True):
        assert np.array_equal(ours.image, theirs.image)


def test_a_generator_meets_few_numbers_of_frames_however_many_of_a_batch_have_a_face(world) -> None:
    shows = [world.Shown(opening=None if i % 50 < i // 50 else 0.05) for i in range(1000)]
    world.dub(world.Stream(shows), 40.0, batch=25)
    assert set(world.talking_face.batches) <= {1, 5, 10, 15, 20, 25}
    assert len(world.talking_face.heard) == sum(shown.opening is not None for shown in shows)


def test_memory_does_not_grow_with_the_length(world) -> None:
    short, long = world.Stream(talking(world, 100)), world.Stream(talking(world, 1000))
    bound = 2 * 5 + 2 * 4 + 8  # two batches, the queues, what each stage and the sink's test hold
    for stream in (short, long):
        fresh = type(world)()
        fresh.sink.write = lambda frame: None
        fresh.dub(stream, 40.0, batch=5)
        assert stream.most_alive <= bound


def test_each_shot_has_references_of_its_own(world) -> None:
    shows = talking(world, 30, tone=60) + talking(world, 30, tone=160) + talking(world, 30, tone=60)
    counts = world.dub(world.Stream(shows), 3.6, batch=25)
    assert counts.shots == 3
    tones = [int(np.median(pictures[..., 0])) for pictures in world.talking_face.references]
    assert tones == [60, 60, 160, 160, 60, 60]
    assert world.talking_face.batches == [25, 5, 20, 10, 15, 15]  # no batch looks at two shots


def test_a_shot_with_a_face_for_one_frame_only_still_works(world) -> None:
    shows = [world.Shown(opening=None)] * 9 + talking(world, 1)
    counts = world.dub(world.Stream(shows), 0.4)
    assert (counts.dubbed, counts.passed_through) == (1, 9)


def test_progress_counts_up_to_the_total_of_both_passes(world) -> None:
    world.dub(world.Stream(talking(world, 20)), 1.2)
    watched = [(done, total) for stage, done, total in world.told if stage == "watch"]
    dubbed = [(done, total) for stage, done, total in world.told if stage == "dub"]
    assert watched == [(i + 1, 20) for i in range(20)]
    assert dubbed == [(i + 1, 30) for i in range(30)]


@pytest.mark.parametrize("where", ["watch", "decode", "draw", "silence", "write"])
def test_an_error_anywhere_comes_out_as_it_is_and_stops_all_threads(world, where) -> None:
    stream = world.Stream(talking(world, 80))
    stream.fails_at = {"watch": (0, 50), "decode": (1, 50)}.get(where)
    world.talking_face.fails = where == "draw"
    world.sink.fails_at = 30 if where == "write" else None
    if where == "silence":
        world.silent_lip.fails = True
        stream.shows = [world.Shown(opening=0.08)] * 80
    with pytest.raises((OSError, RuntimeError), match=r"the disk is|a bug in"):
        world.dub(stream, 3.2)
    if where in ("decode", "draw", "write"):
        assert world.sink.ended_with in (OSError, RuntimeError)


def test_ctrl_c_ends_the_sink_and_all_threads(world) -> None:
    def interrupt(frame) -> None:
        if frame.index == 12:
            raise KeyboardInterrupt

    world.sink.write = interrupt
    with pytest.raises(KeyboardInterrupt):
        world.dub(world.Stream(talking(world, 300)), 12.0)
    assert world.sink.ended_with is KeyboardInterrupt


def test_a_video_that_was_seen_before_is_not_watched_again(world, tmp_path) -> None:
    shows = [world.Shown(opening=0.01 + 0.02 * (i % 3)) for i in range(20)]
    cache = FirstPassCache(tmp_path, {"video": 1})
    written = []
    for turn in range(2):
        world.sink = type(world.sink)()
        stream = world.Stream(shows)
        done = dub(world.parts(stream, 0.8), lambda _: world.sink, DubSettings(), cache=cache)
        assert done.dubbed == 20
        assert stream.starts == 2 - turn
        written.append([frame.image.tobytes() for frame in world.sink.frames])
    assert written[0] == written[1]
