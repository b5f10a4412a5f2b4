from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lipsync_cli.dubbing.job import DubSettings
from lipsync_cli.dubbing.parts import Speaker
from lipsync_cli.dubbing.pipeline import dub
from lipsync_cli.errors import FaceError
from lipsync_cli.faces.choice import ByPlace

pytestmark = pytest.mark.usefixtures("no_thread_left")


def talking(world, n: int, **changes):
    return [world.Shown(opening=0.002 + 0.1 * (i % 8) / 8, **changes) for i in range(n)]


class Later:
    """A speech that says its time plus a half."""

    def __init__(self, speech) -> None:
        self._speech = speech

    def around(self, times):
        return self._speech.around([time + 0.5 for time in times])


def test_each_speaker_says_a_speech_of_their_own_and_the_longest_counts(world) -> None:
    stream = world.Stream(talking(world, 40))
    world.speeches.append(Later(world.Speech()))
    parts = world.parts(stream, 0.8)
    parts = replace(parts, speakers=(*parts.speakers, Speaker(1.6, name="right")))
    counts = dub(parts, lambda rate: world.sink, DubSettings(batch=10))
    assert counts.frames == 40
    assert sorted(world.talking_face.heard) == pytest.approx(
        sorted([i / 25 for i in range(20)] + [i / 25 + 0.5 for i in range(40)])
    )
    assert counts.dubbed == 40


def test_the_filmed_and_the_dubbed_picture_side_by_side(world) -> None:
    stream = world.Stream(talking(world, 12))
    world.dub(stream, 0.48, side_by_side=True, batch=5)
    assert len(world.sink.frames) == 12
    for frame in world.sink.frames:
        before = world.draw(stream.shows[frame.index])
        assert frame.image.shape == (96, 192, 3)
        assert np.array_equal(frame.image[:, :96], before)
        assert not np.array_equal(frame.image[:, 96:], before)


def test_a_missing_face_can_be_a_failure(world) -> None:
    shows = talking(world, 20)
    shows[12] = world.Shown(opening=None)
    with pytest.raises(FaceError, match=r"no face in 1 of 20 frames, first at 0\.48 s"):
        world.dub(world.Stream(shows), 0.8, missing_face="fail")
    assert world.sink.rate is None


def test_the_report_tells_what_became_of_the_frames(world) -> None:
    shows = (
        talking(world, 10, tone=60) + [world.Shown(opening=None, tone=60)] * 5 + talking(world, 10, tone=160)
    )
    counts = world.dub(world.Stream(shows), 1.0)
    runs = [(run.first, run.frames, run.status) for run in counts.statuses]
    assert runs == [(0, 10, "dubbed"), (10, 5, "no_face"), (15, 10, "dubbed")]
    assert counts.cuts == (15,)


def test_the_rest_of_a_longer_video_stays_as_filmed(world) -> None:
    stream = world.Stream(talking(world, 30))
    counts = world.dub(stream, 0.8, shorter="keep")
    assert counts.frames == 30
    assert counts.statuses[-1].status == "after_speech"
    for frame in world.sink.frames[20:]:
        assert np.array_equal(frame.image, world.draw(stream.shows[frame.index]))


def test_a_face_asked_for_by_number_that_is_not_there(world) -> None:
    parts = world.parts(world.Stream(talking(world, 10)), 0.4)
    parts = replace(parts, speakers=(replace(parts.speakers[0], choice=ByPlace(3), name="3"),))
    with pytest.raises(FaceError, match=r"fake\.mp4: no face '3' in any of the 10 frames"):
        dub(parts, lambda rate: world.sink, DubSettings())
