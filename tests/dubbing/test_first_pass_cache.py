from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.dubbing.first_pass_cache import FirstPassCache

KEY = {"files": [{"bytes": 3}], "lengths": [1.5]}


def test_what_was_saved_is_found_under_the_same_key_only(tmp_path: Path) -> None:
    FirstPassCache(tmp_path, KEY).save({"boxes": np.arange(3)})
    assert FirstPassCache(tmp_path, KEY).load()["boxes"].tolist() == [0, 1, 2]
    assert FirstPassCache(tmp_path, KEY | {"lengths": [1.6]}).load() is None


@pytest.mark.parametrize("damage", [b"", b"text", b"PK\x03\x04 and no more"])
def test_a_damaged_file_is_as_good_as_none(damage: bytes, tmp_path: Path) -> None:
    cache = FirstPassCache(tmp_path, KEY)
    cache.save([1, 2])
    (stored,) = tmp_path.iterdir()
    stored.write_bytes(damage)
    assert cache.load() is None
    cache.save([3])
    assert cache.load() == [3]


def test_the_folder_does_not_grow_and_what_was_used_last_stays(tmp_path: Path) -> None:
    def cache(number: int) -> FirstPassCache:
        return FirstPassCache(tmp_path, {"number": number}, largest=3_500_000)

    for number in range(3):
        cache(number).save(np.zeros(1_000_000, np.uint8))
        for age, path in enumerate(sorted(tmp_path.iterdir(), key=lambda found: found.stat().st_mtime)):
            os.utime(path, (age + 1, age + 1))
    assert cache(0).load() is not None  # used: now the newest
    cache(3).save(np.zeros(1_000_000, np.uint8))
    assert [cache(number).load() is not None for number in range(4)] == [True, False, True, True]


def test_a_folder_that_cannot_be_made_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = FirstPassCache(tmp_path / "file" / "watched", KEY)
    cache.save([1])
    assert cache.load() is None
