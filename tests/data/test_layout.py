from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.data import layout
from lipsync_cli.data.conventions import todays_settings
from lipsync_cli.data.layout import CacheSettings, open_cache, start_cache
from lipsync_cli.errors import DataError, SettingsError

as_a_mortal = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="permissions do not bind the superuser"
)


def test_a_clip_reads_back_what_was_written(draw_corpus):
    drawn = draw_corpus()
    arrays = drawn.arrays(0, 26)
    path = layout.clip_path(drawn.folder, "z", "clip")
    layout.write_clip(path, arrays)
    clip = layout.Clip(path)
    assert (clip.speaker, clip.name, clip.n_frames) == ("z", "clip", 26)
    for name in layout.ClipArrays.__dataclass_fields__:
        read = clip.read(name)
        assert read.dtype == getattr(arrays, name).dtype
        assert np.array_equal(read, getattr(arrays, name))
    assert np.array_equal(clip.crops([5, 3, 5]), arrays.crops[[5, 3, 5]])


def test_clips_are_sorted_by_speaker_and_name(draw_corpus):
    settings, clips = open_cache(draw_corpus().folder)
    assert settings == CacheSettings(image_size=32, crop_centre="features")
    names = [(clip.speaker, clip.name) for clip in clips]
    assert names == sorted(names)
    assert len(names) == 8


def test_a_clip_that_was_cut_short_says_so(draw_corpus):
    clip = open_cache(draw_corpus().folder)[1][0]
    clip.path.write_bytes(clip.path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"clip0\.safetensors: damaged clip"):
        clip.read("mel")
    with pytest.raises(DataError, match="delete it and prepare again"):
        clip.crops([0])


def test_a_folder_that_is_no_cache_says_how_to_make_one(tmp_path):
    with pytest.raises(DataError, match="is not a cache: make one with 'lipsync prepare"):
        open_cache(tmp_path)


def test_an_empty_cache_points_to_its_log(tmp_path):
    start_cache(tmp_path / "cache", CacheSettings())
    with pytest.raises(DataError, match=r"has no clips: see .*log\.jsonl"):
        open_cache(tmp_path / "cache")


def test_a_damaged_cache_file_is_named(tmp_path):
    start_cache(tmp_path, CacheSettings())
    (tmp_path / "cache.json").write_text("{")
    with pytest.raises(DataError, match=r"cache\.json: cannot be read"):
        open_cache(tmp_path)


def test_a_cache_goes_on_with_the_same_settings_only(tmp_path):
    start_cache(tmp_path, CacheSettings(image_size=96))
    start_cache(tmp_path, CacheSettings(image_size=96))
    with pytest.raises(DataError, match="was made with image_size 96, not 128: prepare into a new folder"):
        start_cache(tmp_path, CacheSettings(image_size=128))
    assert json.loads((tmp_path / "cache.json").read_text())["image_size"] == 96


@pytest.mark.parametrize("size", [0, 30, 97, 2048])
def test_a_size_that_cannot_be_is_refused(size):
    with pytest.raises(SettingsError, match="image_size"):
        CacheSettings(image_size=size)


def test_a_cache_that_cannot_be_made_says_why(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot make the cache"):
        start_cache(tmp_path / "file" / "cache", CacheSettings())


def test_a_clip_that_cannot_be_written_leaves_nothing(draw_corpus, tmp_path):
    arrays = draw_corpus().arrays(0, 25)
    (tmp_path / "taken.safetensors").mkdir()
    with pytest.raises(DataError, match=r"taken\.safetensors: cannot write the clip"):
        layout.write_clip(tmp_path / "taken.safetensors", arrays)
    assert not list(tmp_path.rglob("*.part"))


@as_a_mortal
def test_a_folder_without_permission_is_named(draw_corpus, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(DataError, match="cannot write the clip: Permission denied"):
        layout.write_clip(closed / "s" / "clip.safetensors", draw_corpus().arrays(0, 25))


def test_what_a_killed_writer_left_is_removed_and_is_no_clip(draw_corpus):
    folder: Path = draw_corpus().folder
    left = folder / "clips" / "a" / ".clip9.safetensors.part"
    left.write_bytes(b"half")
    assert len(open_cache(folder)[1]) == 8
    layout.remove_parts(folder)
    assert not left.exists()
    assert len(open_cache(folder)[1]) == 8


def test_facts_are_kept_in_the_clip_and_missed_where_there_are_none(draw_corpus):
    drawn = draw_corpus()
    facts = layout.ClipFacts(
        rate=29.97, face_width=80.5, roll=-3.0, offset=-2, confidence=0.1, corrected=True
    )
    assert drawn.add("z", "clip", facts=facts).facts == facts
    assert drawn.add("z", "clip").facts is None


def test_facts_that_are_none_are_damage(draw_corpus):
    clip = draw_corpus().add("z", "clip", facts=layout.ClipFacts(rate=25.0, face_width=80.0))
    clip.path.write_bytes(clip.path.read_bytes().replace(b"face_width", b"lace_width"))
    with pytest.raises(DataError, match=r"damaged clip .*lace_width"):
        _ = clip.facts


def test_what_a_newer_version_noted_of_a_cache_is_told(tmp_path):
    start_cache(tmp_path, CacheSettings())
    (tmp_path / "cache.json").write_text('{"crop_height": 3}')
    with pytest.raises(DataError, match=r"cache\.json: unknown key 'crop_height'.* of a newer lipsync"):
        open_cache(tmp_path)


def test_a_cache_says_how_it_was_made_and_is_gone_on_with_only_so(tmp_path):
    start_cache(tmp_path, todays_settings(image_size=64))
    assert json.loads((tmp_path / "cache.json").read_text())["mel_hop"] == 200
    other = replace(todays_settings(image_size=64), mel_hop=160, crop_top_margin=0.0)
    with pytest.raises(DataError, match=r"mel_hop 200, not 160, crop_top_margin 0\.12, not 0\.0"):
        start_cache(tmp_path, other)


def test_what_an_older_cache_does_not_say_was_as_it_was_then(tmp_path):
    """Their cache.json names no mels and crops: only the crops' middle has changed since."""
    file = tmp_path / "cache.json"
    file.write_text('{"image_size": 96, "sample_rate": 16000, "crop_centre": "features", "version": 1}')
    start_cache(tmp_path, todays_settings(image_size=96))
    file.write_text('{"image_size": 96, "sample_rate": 16000, "version": 1}')
    with pytest.raises(DataError, match="made with crop_centre edges, not features: prepare into a new"):
        start_cache(tmp_path, todays_settings(image_size=96))
