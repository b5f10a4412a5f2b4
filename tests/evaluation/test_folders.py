from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lipsync_cli.errors import DataError, LipsyncError
from lipsync_cli.evaluation.clip_figures import Instruments
from lipsync_cli.evaluation.folders import Pair, match_pairs, measure_pairs
from lipsync_cli.evaluation.results import ClipResult, LeftOut


def _touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def test_videos_are_matched_by_stem_through_folders_and_endings(tmp_path: Path) -> None:
    generated = _touch(tmp_path / "g", "a.mp4", "sub/b.MOV", "notes.txt")
    reference = _touch(tmp_path / "r", "s1/a.mkv", "b.mp4")
    pairs, left_out = match_pairs(generated, reference)
    assert [(pair.name, pair.reference.name) for pair in pairs] == [("a", "a.mkv"), ("sub/b", "b.mp4")]
    assert left_out == []


def test_the_same_stem_twice_is_told_apart_by_its_folder_or_left_out(tmp_path: Path) -> None:
    generated = _touch(tmp_path / "g", "s1/a.mp4", "a.mp4")
    reference = _touch(tmp_path / "r", "s1/a.mp4", "s2/a.mp4")
    pairs, left_out = match_pairs(generated, reference)
    assert [(pair.name, pair.reference.parent.name) for pair in pairs] == [("s1/a", "s1")]
    assert left_out[0].name == "a"
    assert "2 videos" in left_out[0].reason


def test_a_missing_counterpart_on_either_side_is_listed(tmp_path: Path) -> None:
    generated, reference = _touch(tmp_path / "g", "a.mp4", "x.mp4"), _touch(tmp_path / "r", "a.mp4", "y.mp4")
    pairs, left_out = match_pairs(generated, reference)
    assert [pair.name for pair in pairs] == ["a"]
    assert [each.name for each in left_out] == ["x", "y"]
    assert "no video of the name x" in left_out[0].reason


def test_own_offsets_go_by_stem(tmp_path: Path) -> None:
    folder = _touch(tmp_path / "g", "a.mp4", "b.mp4")
    pairs, _ = match_pairs(folder, folder, {"a": 6.0, "": None})
    assert [pair.own_offset for pair in pairs] == [6.0, None]


def test_folders_that_are_missing_or_empty_are_data_errors(tmp_path: Path) -> None:
    full = _touch(tmp_path / "full", "a.mp4")
    with pytest.raises(DataError, match="not a folder"):
        match_pairs(tmp_path / "absent", full)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no video"):
        match_pairs(full, tmp_path / "empty")


def _pairs(world: Any) -> list[Pair]:
    levels = world.loudness(40)
    real = world.film("real", levels, sound=world.sound_of(levels))
    return [
        Pair("good", real, world.film("good", levels)),
        Pair("faceless", real, world.film("faceless", levels, hidden=range(40))),
    ]


def test_a_bad_clip_is_left_out_with_its_reason_and_the_others_are_measured(world: Any) -> None:
    outcomes = {each.name: each for each in measure_pairs(_pairs(world), lambda: _instruments(world))}
    assert isinstance(outcomes["good"], ClipResult)
    assert outcomes["good"].figures["opening_correlation"] > 0.99
    bad = outcomes["faceless"]
    assert isinstance(bad, LeftOut)
    assert "no frame of it has a face" in bad.reason


def _instruments(world: Any) -> Instruments:
    return Instruments(world.faces, world.faces, world.scorer)


def test_a_second_run_measures_only_what_the_first_did_not(world: Any, tmp_path: Path) -> None:
    pairs, journal = _pairs(world), tmp_path / "journal"
    made: list[int] = []

    def make() -> Instruments:
        made.append(1)
        return _instruments(world)

    first = next(iter(measure_pairs(pairs, make, journal=journal)))
    with journal.open("a") as lines:
        lines.write('["half a li')
    again = list(measure_pairs(pairs, make, journal=journal))
    assert sorted(each.name for each in again) == ["faceless", "good"]
    assert again[0].name == first.name
    list(measure_pairs(pairs, make, journal=journal))
    assert len(made) == 2


def test_a_changed_file_or_setting_is_measured_again(world: Any, tmp_path: Path) -> None:
    pairs, journal = _pairs(world)[:1], tmp_path / "journal"
    list(measure_pairs(pairs, lambda: _instruments(world), journal=journal))
    other = list(measure_pairs(pairs, _refuse, journal=journal))
    assert len(other) == 1
    with pytest.raises(AssertionError, match="measured again"):
        list(measure_pairs(pairs, _refuse, journal=journal, version="another network"))
    world.film("good", world.loudness(40, seed=9))
    with pytest.raises(AssertionError, match="measured again"):
        list(measure_pairs(pairs, _refuse, journal=journal))


def _refuse() -> Instruments:
    raise AssertionError("measured again")


def test_the_own_offset_of_the_real_video_can_be_measured(world: Any) -> None:
    words = world.loudness(95)
    late = 3  # the real sound lies 3 frames behind the picture, the dub follows the sound
    real = world.film("real", words[10:85], sound=world.sound_of(words[10 - late : 85 - late]))
    dub = world.film("dub", words[10 - late : 85 - late])
    (result,) = measure_pairs([Pair("dub", real, dub, None)], lambda: _instruments(world))
    assert isinstance(result, ClipResult)
    assert result.own_offset == late
    assert result.figures["opening_correlation"] > 0.98


def test_an_own_offset_cannot_be_measured_without_a_sync_network(world: Any) -> None:
    pair = _pairs(world)[0]
    nameless = Pair(pair.name, pair.reference, pair.generated, None)
    (outcome,) = measure_pairs([nameless], lambda: Instruments(world.faces, world.faces))
    assert isinstance(outcome, LeftOut)
    assert "sync network" in outcome.reason


@pytest.mark.slow
def test_a_process_that_is_ended_from_outside_is_told(world: Any) -> None:
    video = world.film("video", world.loudness(20))
    pairs = [Pair(name, video, video) for name in "ab"]
    with pytest.raises(LipsyncError, match="ended from outside"):
        list(measure_pairs(pairs, partial(os._exit, 1), workers=2))
