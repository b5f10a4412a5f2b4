from __future__ import annotations

import os
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lipsync_cli.dubbing.references import References
from lipsync_cli.dubbing.saved_values import load_values, save_values
from lipsync_cli.dubbing.stored_references import StoredReferences
from lipsync_cli.errors import MediaError


def references(seed: int, *, sets: int = 1, silenced: bool = False, size: int = 24) -> References:
    random = np.random.default_rng(seed)
    pictures = [random.integers(0, 255, (2, size, size, 3), dtype=np.uint8) for _ in range(sets)]
    return References(pictures[0], silenced, tuple(float(i) for i in range(sets)), tuple(pictures[1:]))


def same(one: References, other: References) -> bool:
    return (one.silenced, one.yaws, len(one.sets())) == (
        other.silenced,
        other.yaws,
        len(other.sets()),
    ) and all(np.array_equal(mine, its) for mine, its in zip(one.sets(), other.sets(), strict=True))


def test_references_come_back_as_they_were_in_any_order(tmp_path: Path) -> None:
    with StoredReferences(tmp_path) as stored:
        for shot in range(20):
            stored.add(shot * 3, references(shot, sets=1 + shot % 3, silenced=shot % 2 == 0, size=16 + shot))
        assert list(stored) == [shot * 3 for shot in range(20)]
        for shot in np.random.default_rng(0).integers(0, 20, 100):
            wanted = references(
                int(shot), sets=1 + shot % 3, silenced=bool(shot % 2 == 0), size=16 + int(shot)
            )
            assert same(stored[int(shot) * 3], wanted)
        assert 1 not in stored
        with pytest.raises(KeyError):
            stored[1]


def test_several_threads_read_while_one_adds(tmp_path: Path) -> None:
    with StoredReferences(tmp_path) as stored, ThreadPoolExecutor(4) as pool:
        stored.add(0, references(0))

        def read(seed: int) -> bool:
            shots = np.random.default_rng(seed).integers(0, len(stored), 200)
            return all(same(stored[int(shot)], references(int(shot))) for shot in shots)

        reads = [pool.submit(read, seed) for seed in range(4)]
        for shot in range(1, 60):
            stored.add(shot, references(shot))
        reads += [pool.submit(read, seed) for seed in range(4)]
        assert all(found.result() for found in reads)


def test_the_silenced_ones_of_the_first_shots_are_counted(tmp_path: Path) -> None:
    with StoredReferences(tmp_path) as stored:
        for shot in (0, 2, 3, 7):
            stored.add(shot, references(shot, silenced=shot != 2))
        assert [stored.n_silenced(shots) for shots in (0, 1, 3, 4, 8)] == [0, 1, 1, 2, 3]


def test_nothing_is_left_of_the_file(tmp_path: Path) -> None:
    with StoredReferences(tmp_path) as stored:
        stored.add(0, references(0))
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_number_of_shots(tmp_path: Path) -> None:
    """Nor while they are written into a file of results, or read from one."""

    def peak(shots: int) -> int:
        path = tmp_path / f"{shots}"
        tracemalloc.start()
        with StoredReferences(tmp_path) as stored, StoredReferences(tmp_path) as back:
            stored.filled((shot, references(shot, size=128)) for shot in range(shots))
            save_values(path, stored)
            assert load_values(path, References, mapping=back.filled) is back
            assert sum(same(back[shot], stored[shot]) for shot in range(shots)) == shots
        reached = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return reached

    assert peak(200) < peak(20) + 1_000_000  # 180 more have 17.7 MB


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with (
        StoredReferences(tmp_path / "nowhere") as stored,
        pytest.raises(MediaError, match=r"nowhere: cannot be written \(No such file or directory\); check"),
    ):
        stored.add(0, references(0))


def test_a_disk_that_runs_full_is_told(tmp_path: Path, full_disk: Any) -> None:
    with StoredReferences(tmp_path) as stored:
        stored.add(0, references(0))
        with (
            full_disk(6000),
            pytest.raises(MediaError, match=r"cannot be written \(File too large\); check the free space"),
        ):
            stored.add(1, references(1))
        stored.add(2, references(2))
        assert list(stored) == [0, 2]
        assert same(stored[2], references(2))


def test_a_file_that_was_cut_short_is_told(tmp_path: Path) -> None:
    with StoredReferences(tmp_path) as stored:
        stored.add(0, references(0))
        stored.add(1, references(1))
        os.ftruncate(stored._file._file.fileno(), 4000)
        assert same(stored[0], references(0))
        with pytest.raises(MediaError, match="was cut short; check the disk"):
            stored[1]
