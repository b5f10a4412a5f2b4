from __future__ import annotations

import json
import os
from functools import partial
from multiprocessing import active_children

import pytest

from lipsync_cli.assembly_preparation import preparation_tools
from lipsync_cli.data.corpora.folder import list_clips
from lipsync_cli.data.layout import CacheSettings, open_cache
from lipsync_cli.data.log import LOG, read_log
from lipsync_cli.data.prepare import Outcome, prepare
from lipsync_cli.errors import DataError

SETTINGS = CacheSettings(image_size=32)


def run(folder, cache, workers: int = 1) -> dict[str, Outcome]:
    outcomes = prepare(list_clips(folder), cache, preparation_tools, settings=SETTINGS, workers=workers)
    return {outcome.source.path.name: outcome for outcome in outcomes}


@pytest.fixture
def folder(filmer, tmp_path):
    """One film that can be used, and two that cannot."""
    folder = tmp_path / "films"
    filmer.film(folder / "eileen" / "good.mp4")
    filmer.film(folder / "eileen" / "mute.mp4", sound=False)
    (folder / "eileen" / "text.mp4").write_text("no film\n" * 50)
    return folder


def test_bad_clips_are_reported_and_good_ones_prepared_once(folder, filmer, tmp_path):
    cache = tmp_path / "cache"
    first = run(folder, cache)
    assert first["good.mp4"].reason == ""
    assert first["good.mp4"].n_frames >= 29
    assert "has no sound" in first["mute.mp4"].reason
    assert "text.mp4" in first["text.mp4"].reason
    settings, clips = open_cache(cache)
    assert settings == SETTINGS
    assert [(clip.speaker, clip.name) for clip in clips] == [("eileen", "good")]
    log = [json.loads(line) for line in (cache / LOG).read_text().splitlines()]
    assert {line["path"].rpartition("/")[2]: bool(line["left_out"]) for line in log} == {
        "good.mp4": False,
        "mute.mp4": True,
        "text.mp4": True,
    }

    written = clips[0].path.stat().st_mtime_ns
    again = run(folder, cache)
    assert {name: one.reason for name, one in again.items()} == {
        name: one.reason for name, one in first.items()
    }
    assert clips[0].path.stat().st_mtime_ns == written
    assert len((cache / LOG).read_text().splitlines()) == 3

    filmer.film(folder / "eileen" / "mute.mp4")  # a file that has changed is tried again
    assert run(folder, cache)["mute.mp4"].reason == ""
    assert len(open_cache(cache)[1]) == 2


def test_when_the_iteration_is_given_up_the_workers_are_gone_and_nothing_is_half_written(folder, tmp_path):
    before = set(active_children())
    outcomes = prepare(
        list_clips(folder), tmp_path / "cache", preparation_tools, settings=SETTINGS, workers=2
    )
    next(outcomes)
    outcomes.close()
    assert set(active_children()) == before
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_a_worker_that_dies_is_reported_as_such(folder, tmp_path):
    outcomes = prepare(
        list_clips(folder), tmp_path / "cache", partial(os._exit, 1), settings=SETTINGS, workers=2
    )
    with pytest.raises(DataError, match=r"a worker process died.*with fewer --workers"):
        list(outcomes)


def test_a_cache_that_cannot_be_written_ends_the_preparation(filmer, tmp_path):
    """It is no fault of the clip, so the clip must not be remembered as left out."""
    filmer.film(tmp_path / "films" / "eileen" / "good.mp4")
    cache = tmp_path / "cache"
    (cache / "clips").mkdir(parents=True)
    (cache / "clips" / "eileen").write_text("in the way")
    with pytest.raises(DataError, match=r"good\.safetensors: cannot write the clip"):
        run(tmp_path / "films", cache)
    assert not (cache / LOG).exists()


def test_a_log_whose_last_line_was_cut_short_is_read_all_the_same(folder, tmp_path):
    cache = tmp_path / "cache"
    text = folder / "eileen" / "text.mp4"
    state = text.stat()
    known = {
        "path": str(text),
        "frames": 0,
        "left_out": "seen",
        "size": state.st_size,
        "modified": state.st_mtime_ns,
    }
    cache.mkdir()
    (cache / LOG).write_text(json.dumps(known) + "\n" + '{"path": "/x", "fra')
    (folder / "eileen" / "good.mp4").unlink()
    (folder / "eileen" / "mute.mp4").unlink()
    assert run(folder, cache)["text.mp4"].reason == "seen"


def test_after_a_log_that_was_cut_short_the_next_line_is_whole(filmer, tmp_path):
    """It used to go on in the half line, and was lost with it."""
    filmer.film(tmp_path / "films" / "eileen" / "good.mp4")
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / LOG).write_text('{"path": "/x", "fra')
    run(tmp_path / "films", cache)
    (entry,) = read_log(cache / LOG)
    (clip,) = open_cache(cache)[1]
    assert (entry.speaker, entry.name, entry.left_out) == ("eileen", "good", "")
    assert entry.facts == clip.facts
    assert clip.facts is not None
    assert clip.facts.rate == 25
    assert abs(clip.facts.roll or 90) < 10
