from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from lipsync_cli.dubbing.job import DubSettings
from lipsync_cli.dubbing.showing import FADE, Showing, Status, showing
from lipsync_cli.errors import SettingsError
from lipsync_cli.faces.track import FaceTrack


def track(
    n: int, *, absent: tuple[int, ...] = (), cuts: tuple[int, ...] = (), width: float = 80.0
) -> FaceTrack:
    present = np.ones(n, bool)
    present[list(absent)] = False
    boxes = np.tile(np.array([10, 10, 10 + width, 110, 0], np.float32), (n, 1))
    starts = np.zeros(n, bool)
    starts[[0, *cuts]] = True
    return FaceTrack(
        times=np.arange(n) / 25,
        boxes=boxes,
        present=present,
        openings=np.zeros(n, np.float32),
        yaws=np.zeros(n, np.float32),
        outlines=np.zeros((n, 4, 2), np.float32),
        shot_starts=starts,
    )


def shown(one: FaceTrack, *, pauses=(), end: float = math.inf, **settings: object) -> Showing:
    return showing(one, DubSettings(**settings), pauses=list(pauses), end=end)  # type: ignore[arg-type]


def test_beside_frames_without_a_face_the_mouth_comes_and_goes_over_a_few_frames() -> None:
    shares = shown(track(20, absent=(10,))).shares
    assert shares[10] == 0
    assert shares[11:15].tolist() == pytest.approx([1 / FADE, 2 / FADE, 3 / FADE, 1])
    assert shares[6:10].tolist() == pytest.approx([1, 3 / FADE, 2 / FADE, 1 / FADE])
    assert (shares[:6] == 1).all()


def test_nothing_fades_across_a_cut() -> None:
    shares = shown(track(20, absent=(9,), cuts=(10,))).shares
    assert (shares[10:] == 1).all()
    assert shares[8] == pytest.approx(1 / FADE)


def test_a_head_that_turns_away_fades_to_the_filmed_one_and_back() -> None:
    one = track(120)
    one.yaws[:] = 70 * np.sin(np.linspace(0, np.pi, 120)) ** 2
    result = shown(one, max_yaw=45)
    assert result.shares[0] == result.shares[-1] == 1
    assert result.statuses[60] is Status.PROFILE
    assert result.shares[60] == 0
    assert np.abs(np.diff(result.shares)).max() <= 1 / FADE + 1e-6
    assert result.of(60, 2.4) == (0.0, Status.PROFILE)


def test_one_frame_with_a_wrong_yaw_does_not_make_the_mouth_blink() -> None:
    one = track(60)
    one.yaws[30] = 90
    assert (shown(one, max_yaw=45).shares == 1).all()


def test_too_small_a_face_keeps_the_filmed_mouth() -> None:
    result = shown(track(5, width=20), smallest_face=24)
    assert set(result.statuses) == {Status.TOO_SMALL}
    assert not result.shares.any()
    assert (shown(track(5, width=20), smallest_face=0).shares == 1).all()


def test_in_pauses_the_filmed_mouth_shows_only_where_it_is_asked_for() -> None:
    one = track(100)
    pauses = [(1.0, 2.0), (3.0, 3.2)]
    closed, original = shown(one, pauses=pauses), shown(one, pauses=pauses, silence="original")
    assert closed.of(37, 1.5) == (1.0, Status.DUBBED)
    assert original.of(37, 1.5) == (0.0, Status.PAUSE)
    assert 0 < original.of(26, 1.05)[0] < 1
    assert original.of(20, 0.9)[0] == 1
    assert original.of(77, 3.1) == (1.0, Status.DUBBED)  # too short to be worth it


def test_after_the_speech_the_filmed_mouth_is_back() -> None:
    result = shown(track(50), end=1.0)
    assert result.of(10, 0.4) == (1.0, Status.DUBBED)
    assert 0 < result.of(23, 0.94)[0] < 1
    assert result.of(30, 1.2) == (0.0, Status.AFTER_SPEECH)


def test_frames_past_the_track_have_no_face() -> None:
    assert shown(track(5)).of(7, 0.28) == (0.0, Status.NO_FACE)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"max_yaw": 2}, "--max-yaw 2"),
        ({"smallest_face": -1}, "--smallest-face -1"),
        ({"background_volume": 1.5}, "--background-volume 1.5"),
        ({"speech_for": ("right",)}, "--speech-for right: write FACE=SOUND"),
    ],
)
def test_settings_that_make_no_sense_name_their_flag(settings, says) -> None:
    with pytest.raises(SettingsError, match=says):
        DubSettings(**settings)


def test_while_something_is_before_the_mouth_the_filmed_picture_shows() -> None:
    one = replace(track(40), strange=np.zeros(40, np.float32))
    one.strange[15:25] = 9
    result = shown(one)
    assert (result.shares[15:25] == 0).all()
    assert result.shares[11:15].tolist() == pytest.approx([1, 3 / FADE, 2 / FADE, 1 / FADE])
    assert result.statuses[14:26] == (Status.DUBBED, *[Status.OCCLUDED] * 10, Status.DUBBED)
    assert (shown(one, occluder="dub").shares == 1).all()
