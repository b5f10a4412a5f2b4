from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.errors import MediaError
from lipsync_cli.nameless_file import NamelessFile, StoredRows


def test_arrays_come_back_from_where_they_were_put_whole_or_in_part(tmp_path: Path) -> None:
    arrays = [np.arange(n, dtype=kind) for n, kind in ((5, np.float32), (0, np.uint8), (7, np.int64))]
    with NamelessFile(tmp_path) as file:
        places = [file.append(array) for array in arrays]
        assert places == [0, 20, 20]
        for array, place in zip(arrays, places, strict=True):
            found = np.empty_like(array)
            file.fill(found, place)
            assert np.array_equal(found, array)
        assert file.append(np.zeros((0, 32), np.float32)) == 76
        part = np.empty(3, np.int64)
        file.fill(part, places[2] + 2 * 8)
        assert part.tolist() == [2, 3, 4]


def test_what_is_not_contiguous_is_put_in_order(tmp_path: Path) -> None:
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    with NamelessFile(tmp_path) as file:
        found = np.empty((3, 2), np.float32)
        file.fill(found, file.append(turned))
    assert np.array_equal(found, turned)


def test_several_threads_read_and_write(tmp_path: Path) -> None:
    with NamelessFile(tmp_path) as file, ThreadPoolExecutor(4) as pool:

        def put_and_read(seed: int) -> bool:
            array = np.random.default_rng(seed).random(1000)
            found = np.empty_like(array)
            file.fill(found, file.append(array))
            return np.array_equal(found, array)

        assert all(pool.map(put_and_read, range(100)))


def test_it_has_no_name_and_is_gone_in_the_end(tmp_path: Path) -> None:
    with NamelessFile(tmp_path) as file:
        file.append(np.zeros(10))
        assert list(tmp_path.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with (
        NamelessFile(tmp_path / "absent") as file,
        pytest.raises(MediaError, match=r"absent: cannot be written \(No such file or directory\)"),
    ):
        file.append(np.zeros(1))


def test_a_disk_that_runs_full_is_told_and_what_was_there_stays(
    tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    with NamelessFile(tmp_path) as file:
        place = file.append(np.arange(100))
        with full_disk(1000), pytest.raises(MediaError, match=r"cannot be written \(File too large\)"):
            file.append(np.zeros(1000))
        found = np.empty(100, np.int64)
        file.fill(found, place)
    assert np.array_equal(found, np.arange(100))


def test_a_file_that_was_cut_short_is_told(tmp_path: Path) -> None:
    with NamelessFile(tmp_path) as file:
        file.append(np.zeros(100))
        assert file._file is not None
        os.ftruncate(file._file.fileno(), 300)
        with pytest.raises(MediaError, match="was cut short; check the disk"):
            file.fill(np.empty(100), 0)


def test_what_was_never_put_there_is_not_read(tmp_path: Path) -> None:
    with NamelessFile(tmp_path) as file, pytest.raises(MediaError, match="was cut short"):
        file.fill(np.empty(1), 0)


def test_rows_are_read_as_those_of_the_array(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((9, 4, 2)).astype(np.float32)
    with NamelessFile(tmp_path) as file:
        file.append(np.zeros(3, np.uint8))  # what lies before
        rows = StoredRows(array, file)
        file.append(np.zeros(3, np.uint8))
        assert (len(rows), rows.shape) == (9, (9, 4, 2))
        for asked in (0, 8, slice(2, 5), slice(7, 30), slice(5, 2), slice(None)):
            assert np.array_equal(rows[asked], array[asked]), asked


@pytest.mark.parametrize("asked", [9, -1, slice(0, 9, 2)])
def test_rows_that_are_not_there_or_not_in_line_are_refused(tmp_path: Path, asked: int | slice) -> None:
    with NamelessFile(tmp_path) as file, pytest.raises(IndexError, match="row"):
        StoredRows(np.zeros((9, 2), np.float32), file)[asked]


def test_rows_of_nothing(tmp_path: Path) -> None:
    with NamelessFile(tmp_path) as file:
        assert StoredRows(np.zeros((3, 0, 2), np.float32), file)[1].shape == (0, 2)
